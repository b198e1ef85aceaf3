/* See small_index.h. */
#include "small_index.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "writer/core/engine.h"
#include "writer/life/life.h"

#define N_KEYS 200

static size_t key_text(uint32_t key, char *text)
{
        return (size_t)sprintf(text, "key-%u", key);
}

/* n_lanes    0: those that it has */
static int index_open(const struct lanemap_files *files, const char *name, const char *directory,
                      uint32_t n_lanes, struct lanemap_writer **ret_writer,
                      struct lanemap_error *ret_error)
{
        struct lanemap_writer_hooks hooks = {.files = files};
        struct lanemap_writer_options options = {
                .size = sizeof(options),
                .name = name,
                .directory = directory,
                .n_lanes = n_lanes,
                .shared_bytes_max = 4 << 20,
                .scrub_bytes_per_second = UINT64_MAX,
                .hooks = &hooks,
                .error = ret_error,
        };

        ret_error->text[0] = '\0';
        return lanemap_writer_open(&options, ret_writer);
}

int small_index_open(const struct lanemap_files *files, const char *name, const char *directory,
                     struct lanemap_writer **ret_writer, struct lanemap_error *ret_error)
{
        return index_open(files, name, directory, 0, ret_writer, ret_error);
}

void small_index_make(const struct lanemap_files *files, const struct scratch *scratch)
{
        struct lanemap_writer *writer;
        struct lanemap_error error;

        must(index_open(files, scratch->name, scratch->directory, 2, &writer, &error) == 0);
        for (uint32_t i = 0; i < 2 * N_KEYS + 40; i++) {
                struct lanemap_op op = {LANEMAP_OP_ADD, i, NULL, 0};
                char text[16];
                uint64_t ticket;

                op.key = text;
                op.key_bytes = key_text(i % N_KEYS, text);
                must(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) == 0);
                if (i + 1 != N_KEYS && i + 1 != N_KEYS + 20)
                        continue;
                must(lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) == 0);
                must(lanemap_writer_request_wait(writer, ticket) == 0);
        }
        must(lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0);
        lanemap_engine_abandon(writer);
        (void)lanemap_writer_unlink(scratch->name, NULL);
}

int small_index_digest(struct lanemap_writer *writer, uint64_t *ret_digest)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        XXH3_state_t *state = XXH3_createState();
        uint64_t n_pairs = 0;
        int r = 0;

        must(state && XXH3_64bits_reset(state) == XXH_OK);
        for (uint32_t k = 0; k < N_KEYS && r == 0; k++) {
                uint32_t ids[8];
                char text[16];
                size_t n_ids = 0;

                r = lanemap_writer_lookup(writer, text, key_text(k, text), ids, 8, &n_ids, NULL);
                if (r == 0 && n_ids > 8)
                        r = -EBADMSG;
                if (r < 0)
                        break;
                XXH3_64bits_update(state, &k, sizeof(k));
                XXH3_64bits_update(state, ids, n_ids * sizeof(ids[0]));
                n_pairs += n_ids;
        }
        /* After a repair, entries may be of keys that nobody has: they are counted all the same. */
        must(lanemap_writer_get_stats(writer, &stats) == 0);
        if (r == 0 && stats.n_pairs < n_pairs)
                r = -EBADMSG;
        XXH3_64bits_update(state, &stats.n_pairs, sizeof(stats.n_pairs));
        if (r == 0)
                *ret_digest = XXH3_64bits_digest(state);
        XXH3_freeState(state);
        return r;
}

int small_index_read(const struct lanemap_files *files, const char *name, const char *directory,
                     uint64_t *ret_digest, struct lanemap_error *ret_error)
{
        struct lanemap_writer *writer;
        int r = small_index_open(files, name, directory, &writer, ret_error);

        if (r < 0) {
                (void)lanemap_writer_unlink(name, NULL);
                return r;
        }

        r = small_index_digest(writer, ret_digest);
        lanemap_engine_abandon(writer);
        (void)lanemap_writer_unlink(name, NULL);
        return r;
}
