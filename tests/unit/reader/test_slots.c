/*
 * A view whose two segments name one slot of the readers' table of files: what is mapped for the
 * one is retired for the other. Every call ends, with an error or a true answer (R5). Found by
 * tests/soak flip-bits: iterating never ended.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/engine.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

TestSuite(slots, .timeout = 60);

static int pair_count(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids,
                      size_t n_ids)
{
        *(uint64_t *)arg += n_ids;
        return 0;
}

static struct lanemap_lane_view_shm *view_of_two(unsigned char *base, uint32_t n_lanes)
{
        const struct lanemap_shm_data *data = (void *)base;
        const struct lanemap_lane_shm *lanes = (void *)(base + data->lanes_off);

        for (uint32_t l = 0; l < n_lanes; l++) {
                struct lanemap_lane_view_shm *view = (void *)(base + lanes[l].view_off);

                if (view->n_segments >= 2 &&
                    view->segments[0].file_number != view->segments[1].file_number)
                        return view;
        }
        return NULL;
}

static void keys_add(struct lanemap_writer *writer, uint32_t round, uint32_t n)
{
        static struct lanemap_op ops[3000];
        static char keys[3000][24];

        for (uint32_t i = 0; i < n; i++) {
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[i], 0};
                ops[i].key_bytes = (size_t)snprintf(keys[i], sizeof(keys[i]), "r%u-%u", round, i);
        }
        cr_assert_eq(engine_apply_durably(writer, ops, n), 0);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
}

/* An index that nobody writes any more, some lane of which has segments in two files; its object.
 */
static unsigned char *index_make(struct lanemap_writer_options *options)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES], path[200];
        struct lanemap_writer *writer;
        unsigned char *base;
        struct stat st;
        int fd;

        cr_assert_eq(lanemap_writer_open(options, &writer), 0);
        for (uint32_t round = 0; round < 50; round++) {
                keys_add(writer, round, round == 0 ? 3000 : 20);
                if (view_of_two(writer->shm.object->base, writer->identity.n_lanes))
                        break;
        }
        lanemap_shm_data_name(options->name, writer->shm.object->generation, object);
        lanemap_engine_abandon(writer);
        snprintf(path, sizeof(path), "/dev/shm/%s", object);
        fd = open(path, O_RDWR | O_CLOEXEC);
        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        base = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        cr_assert(base != MAP_FAILED);
        close(fd);
        return base;
}

Test(slots, two_files_in_one_slot)
{
        struct lanemap_writer_options options;
        struct lanemap_lane_view_shm *view;
        struct lanemap_reader *reader, *older;
        struct scratch scratch;
        uint64_t n_pairs = 0;
        size_t n_ids;
        uint32_t id;
        int r;

        scratch_init(&scratch, "slots");
        engine_options_init(&options, &scratch, NULL);
        options.flush_bytes = 64 << 20;
        options.n_lanes = 16;
        view = view_of_two(index_make(&options), options.n_lanes);
        cr_assert(view, "no lane has two segments");
        cr_assert_eq(lanemap_reader_attach(scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_attach(scratch.name, NULL, &older), 0);
        cr_assert_eq(lanemap_reader_iterate(older, pair_count, &n_pairs), 0);

        view->segments[0].file_slot = view->segments[1].file_slot;
        r = lanemap_reader_iterate(reader, pair_count, &n_pairs);
        cr_expect(r == -EAGAIN || r == -EBADMSG, "%d", r);
        /* Has decoded all views before. */
        r = lanemap_reader_iterate(older, pair_count, &n_pairs);
        cr_expect(r == 0 || r == -EAGAIN || r == -EBADMSG, "%d", r);
        for (uint32_t i = 0; i < 3000; i += 100) {
                char key[24];
                int n = snprintf(key, sizeof(key), "r0-%u", i);

                r = lanemap_reader_lookup(reader, key, (size_t)n, &id, 1, &n_ids);
                cr_expect(r < 0 || (n_ids == 1 && id == i), "%s: %d, %zu ids, %u", key, r, n_ids,
                          id);
        }
        lanemap_reader_detach(reader);
        lanemap_reader_detach(older);
        scratch_deinit(&scratch);
}
