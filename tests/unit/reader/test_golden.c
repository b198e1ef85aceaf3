/*
 * Indexes that an earlier writer left (tests/data/golden): today's writer takes the directory over,
 * torn log and all, and goes on with it; today's reader attaches to the shared objects; what a
 * later version would write is refused with the name of what it is, or passed over where the format
 * says that it may be (W9).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/bits.h"
#include "data/golden/golden.h"
#include "segment/file_read.h"
#include "shm/object.h"
#include "store/log_format.h"
#include "store/manifest_text.h"
#include "support/engine.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

TestSuite(golden_index, .timeout = 110);

struct fixture {
        struct scratch scratch;
        char directory[300]; /* the golden data directory, copied */
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct model model;
};

static void model_add(void *arg, const struct lanemap_op *op)
{
        (void)model_apply(arg, op);
}

static void shm_path(const struct fixture *fixture, uint64_t generation, char *path, size_t bytes)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];

        if (generation)
                lanemap_shm_data_name(fixture->scratch.name, generation, object);
        else
                lanemap_shm_control_name(fixture->scratch.name, object);
        snprintf(path, bytes, "%s/%s", LANEMAP_SHM_DIRECTORY, object);
}

static void shell(const char *command)
{
        cr_assert_eq(system(command), 0, "%s", command);
}

static void fixture_init(struct fixture *fixture, const struct golden *golden, uint32_t n_stages)
{
        char command[900];

        memset(fixture, 0, sizeof(*fixture));
        scratch_init(&fixture->scratch, "old");
        snprintf(fixture->directory, sizeof(fixture->directory), "%s/data",
                 fixture->scratch.directory);
        snprintf(command, sizeof(command), "tar -xzf %s/v1/%s.tar.gz --no-same-owner -C %s",
                 GOLDEN_INDEXES, golden->name, fixture->scratch.directory);
        shell(command);
        engine_options_init(&fixture->options, &fixture->scratch, &fixture->error);
        fixture->options.directory = fixture->directory;
        fixture->options.n_lanes = 0; /* what it has */
        model_init(&fixture->model);
        for (uint32_t stage = 0; stage < n_stages; stage++)
                golden_stage(stage, model_add, &fixture->model);
}

static void fixture_deinit(struct fixture *fixture)
{
        model_deinit(&fixture->model);
        scratch_deinit(&fixture->scratch);
}

/* ---- the directory ---- */

static struct lanemap_writer *writer_open(struct fixture *fixture)
{
        struct lanemap_writer *writer = NULL;
        int r = lanemap_writer_open(&fixture->options, &writer);

        cr_assert_eq(r, 0, "%d, %s", r, fixture->error.text);
        return writer;
}

static void expect_all(struct fixture *fixture, struct lanemap_writer *writer, const char *when)
{
        struct lanemap_reader *reader = NULL;
        char why[300];

        cr_assert_eq(lanemap_reader_attach(fixture->scratch.name, NULL, &reader), 0);
        cr_assert(engine_matches(writer, reader, &fixture->model, why, sizeof(why)), "%s: %s", when,
                  why);
        lanemap_reader_detach(reader);
}

Test(golden_index, a_writer_takes_over_and_goes_on)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                struct lanemap_op op = {LANEMAP_OP_ADD, 5, "new", 3};
                struct lanemap_writer *writer;
                struct fixture fixture;

                fixture_init(&fixture, &goldens[i], GOLDEN_TORN);
                writer = writer_open(&fixture);
                expect_all(&fixture, writer, "as it was");
                cr_assert_eq(engine_apply_durably(writer, &op, 1), 0);
                model_add(&fixture.model, &op);
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
                expect_all(&fixture, writer, "flushed");
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
                expect_all(&fixture, writer, "compacted");
                lanemap_writer_close(writer);
                writer = writer_open(&fixture);
                expect_all(&fixture, writer, "opened again");
                lanemap_writer_close(writer);
                fixture_deinit(&fixture);
        }
}

/* Replaces bytes of a file of the directory, found by its prefix. */
static void file_patch(const char *path, off_t at, const void *bytes, size_t n)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        cr_assert(fd >= 0 && pwrite(fd, bytes, n, at) == (ssize_t)n, "%s", path);
        close(fd);
}

static char *file_read(const char *path, size_t *ret_bytes)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        char *text;

        cr_assert(fd >= 0 && fstat(fd, &st) == 0, "%s", path);
        text = calloc(1, (size_t)st.st_size + 1);
        cr_assert(text && read(fd, text, (size_t)st.st_size) == st.st_size);
        close(fd);
        *ret_bytes = (size_t)st.st_size;
        return text;
}

/* Replaces a piece of the manifest, and makes its checksum right again. */
static void manifest_edit(const struct fixture *fixture, const char *from, const char *to)
{
        char path[400], digits[2 * LANEMAP_MANIFEST_CHECKSUM_BYTES + 1], *text, *edited, *at;
        size_t bytes, n;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", fixture->directory, LANEMAP_MANIFEST_NAME);
        text = file_read(path, &bytes);
        at = strstr(text, from);
        cr_assert(at, "%s", from);
        n = bytes - strlen(from) + strlen(to);
        edited = calloc(1, n + 1);
        memcpy(edited, text, (size_t)(at - text));
        strcpy(edited + (at - text), to);
        strcat(edited, at + strlen(from));
        lanemap_manifest_checksum(edited, n, digits);
        memcpy(edited + n - strlen(LANEMAP_MANIFEST_ENDING) - 64, digits, 64);
        fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        cr_assert(fd >= 0 && write(fd, edited, n) == (ssize_t)n);
        close(fd);
        free(text);
        free(edited);
}

static void expect_writer_refuses(struct fixture *fixture, const char *what)
{
        char *before = scratch_listing(fixture->directory), *after;
        struct lanemap_writer *writer = NULL;
        int r = lanemap_writer_open(&fixture->options, &writer);

        cr_expect_eq(r, -EPROTONOSUPPORT, "%s: %d, %s", what, r, fixture->error.text);
        cr_expect(strstr(fixture->error.text, what), "\"%s\" does not name %s", fixture->error.text,
                  what);
        if (r == 0)
                lanemap_writer_close(writer);

        /* The lock file aside, which a first try makes. */
        after = scratch_listing(fixture->directory);
        cr_expect(strlen(after) >= strlen(before) && strstr(after, before + strcspn(before, "\n")),
                  "%s: something was changed", what);
        free(before);
        free(after);
        fixture->error.text[0] = '\0';
}

Test(golden_index, a_writer_refuses_what_a_later_one_wrote)
{
        static const struct {
                const char *from, *to, *says;
        } edits[] = {
                {"\"format_version\": 1", "\"format_version\": 2", "format version 2"},
                {"\"incompatible\": []", "\"incompatible\": [\"nested-lanes\"]", "nested-lanes"},
                {"jump-4096", "jump-8192", "jump-8192"},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(edits); i++) {
                struct fixture fixture;

                fixture_init(&fixture, &goldens[0], GOLDEN_TORN);
                manifest_edit(&fixture, edits[i].from, edits[i].to);
                expect_writer_refuses(&fixture, edits[i].says);
                fixture_deinit(&fixture);
        }
}

/* What a name in "compatible" says may be dropped, and members nobody asks for: read as if they
 * were not there; the next manifest is without them. */
Test(golden_index, a_writer_passes_over_what_is_compatible)
{
        struct lanemap_writer *writer;
        struct fixture fixture;
        char path[400], *text;
        size_t bytes;

        fixture_init(&fixture, &goldens[0], GOLDEN_TORN);
        manifest_edit(&fixture, "\"compatible\": []",
                      "\"compatible\": [\"weather\"],\n \"weather\": {\"sun\": 1}");
        writer = writer_open(&fixture);
        expect_all(&fixture, writer, "with members of a later version");
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
        lanemap_writer_close(writer);
        snprintf(path, sizeof(path), "%s/%s", fixture.directory, LANEMAP_MANIFEST_NAME);
        text = file_read(path, &bytes);
        cr_expect(!strstr(text, "weather"), "dropped, as FORMAT.md says");
        free(text);
        fixture_deinit(&fixture);
}

static void log_edit(const char *path, size_t at, uint64_t value, size_t n)
{
        unsigned char header[LANEMAP_LOG_HEADER_BYTES], word[8];
        int fd = open(path, O_RDONLY | O_CLOEXEC);

        cr_assert(fd >= 0 && pread(fd, header, sizeof(header), 0) == sizeof(header));
        close(fd);
        lanemap_store_le64(word, value);
        memcpy(header + at, word, n);
        lanemap_store_le64(header + 120, XXH3_64bits(header, 120));
        file_patch(path, 0, header, sizeof(header));
        file_patch(path, LANEMAP_LOG_HEADER_COPY_OFF, header, sizeof(header));
}

Test(golden_index, a_log_of_a_later_version)
{
        static const struct {
                size_t at;
                uint64_t value;
                size_t n;
                const char *says; /* NULL: it is fine */
        } edits[] = {
                {offsetof(struct lanemap_log_header_file, format_version), 2, 4,
                 "format version 2"},
                {offsetof(struct lanemap_log_header_file, incompatible), 0x10, 8, "0x10"},
                {offsetof(struct lanemap_log_header_file, compatible), 0x10, 8, NULL},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(edits); i++) {
                struct fixture fixture;
                char path[400];

                fixture_init(&fixture, &goldens[0], GOLDEN_TORN);
                cr_assert(scratch_find(fixture.directory, "log-", path, sizeof(path)));
                log_edit(path, edits[i].at, edits[i].value, edits[i].n);
                if (edits[i].says) {
                        expect_writer_refuses(&fixture, edits[i].says);
                } else {
                        struct lanemap_writer *writer = writer_open(&fixture);

                        expect_all(&fixture, writer, "a log with a compatible feature");
                        lanemap_writer_close(writer);
                }
                fixture_deinit(&fixture);
        }
}

/* ---- shared memory ---- */

/* Puts the image where a writer would have left it. */
static uint64_t image_place(const struct fixture *fixture)
{
        char command[1200], control[200], data[200], path[400], *bytes;
        uint64_t generation;
        size_t n;

        snprintf(path, sizeof(path), "%s/shm/control", fixture->scratch.directory);
        bytes = file_read(path, &n);
        cr_assert_eq(n, 4096);
        generation = lanemap_load_le64((unsigned char *)bytes + 80);
        free(bytes);
        shm_path(fixture, 0, control, sizeof(control));
        shm_path(fixture, generation, data, sizeof(data));
        snprintf(command, sizeof(command),
                 "cd %s/shm && cp control %s && cp data %s && chmod 0640 %s %s",
                 fixture->scratch.directory, control, data, control, data);
        shell(command);
        return generation;
}

static int image_attach(struct fixture *fixture, struct lanemap_reader **ret_reader)
{
        struct lanemap_reader_options options = {
                .size = sizeof(options), .directory = fixture->directory, .error = &fixture->error};

        fixture->error.text[0] = '\0';
        return lanemap_reader_attach(fixture->scratch.name, &options, ret_reader);
}

static int pair_count(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids, size_t n)
{
        uint64_t *digest = arg;

        (void)hash;
        (void)hash_ext;
        *digest += model_ids_digest(ids, n);
        return 0;
}

static void expect_image(struct fixture *fixture, struct lanemap_reader *reader)
{
        struct lanemap_status status = {.size = sizeof(status)};
        uint64_t digest = 0;
        uint32_t ids[400];

        for (size_t i = 0; i < fixture->model.n; i++) {
                const struct model_key *key = &fixture->model.keys[i];
                size_t n_ids = 77;

                cr_assert_eq(
                        lanemap_reader_lookup(reader, key->bytes, key->n_bytes, ids, 400, &n_ids),
                        0);
                cr_assert_eq(n_ids, key->n_ids, "%.*s", (int)key->n_bytes, key->bytes);
                cr_assert(n_ids == 0 || memcmp(ids, key->ids, n_ids * sizeof(*ids)) == 0);
        }
        cr_assert_eq(lanemap_reader_iterate(reader, pair_count, &digest), 0);
        cr_expect_eq(digest, model_digest(&fixture->model));
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.n_keys, fixture->model.n_keys);
        cr_expect_eq(status.n_pairs, fixture->model.n_pairs);
        cr_expect_eq(status.state, LANEMAP_STATE_RUNNING);
}

Test(golden_index, a_reader_attaches_to_the_region)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                struct lanemap_reader *reader = NULL;
                struct fixture fixture;
                int r;

                fixture_init(&fixture, &goldens[i], GOLDEN_STAGES);
                (void)image_place(&fixture);
                r = image_attach(&fixture, &reader);
                cr_assert_eq(r, 0, "%d, %s", r, fixture.error.text);
                expect_image(&fixture, reader);
                lanemap_reader_detach(reader);
                fixture_deinit(&fixture);
        }
}

/* A byte of the control object, of the data object, of a segment file. */
static void image_edit(const struct fixture *fixture, uint64_t generation, size_t at,
                       const void *bytes, size_t n)
{
        char path[200];

        shm_path(fixture, generation, path, sizeof(path));
        file_patch(path, (off_t)at, bytes, n);
}

Test(golden_index, a_reader_refuses_what_a_later_writer_published)
{
        static const struct {
                bool in_data;
                size_t at;
                uint32_t value;
                int r;
                const char *says;
        } edits[] = {
                {false, 8, 2, -EPROTONOSUPPORT, "format version 2"},
                {true, 8, 2, -EPROTONOSUPPORT, "format version 2"},
                {true, 12, 0x40, -EPROTONOSUPPORT, "features 0x40"},
                {true, 16, 0x12345678, -EPROTONOSUPPORT, "12345678"},
                /* Reserved: nobody looks. */
                {false, 12, 0xffffffff, 0, NULL},
                {false, 40, 0xffffffff, 0, NULL},
                {false, 108, 0xffffffff, 0, NULL},
                {false, 136, 0xffffffff, 0, NULL},
                {false, 4092, 0xffffffff, 0, NULL},
                {true, 200, 0xffffffff, 0, NULL},
                {true, 300, 0xffffffff, 0, NULL},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(edits); i++) {
                struct lanemap_reader *reader = NULL;
                struct fixture fixture;
                unsigned char word[4];
                uint64_t generation;
                int r;

                fixture_init(&fixture, &goldens[0], GOLDEN_STAGES);
                generation = image_place(&fixture);
                lanemap_store_le32(word, edits[i].value);
                image_edit(&fixture, edits[i].in_data ? generation : 0, edits[i].at, word, 4);
                r = image_attach(&fixture, &reader);
                cr_expect_eq(r, edits[i].r, "edit %zu: %d, %s", i, r, fixture.error.text);
                if (r == 0)
                        expect_image(&fixture, reader);
                else
                        cr_expect(strstr(fixture.error.text, edits[i].says) &&
                                          strstr(fixture.error.text, "upgrade the older") &&
                                          strstr(fixture.error.text, "lanemap."),
                                  "edit %zu: %s", i, fixture.error.text);
                lanemap_reader_detach(reader);
                fixture_deinit(&fixture);
        }
}

Test(golden_index, a_segment_of_a_later_version)
{
        struct lanemap_segment_header_file header;
        struct lanemap_reader *reader = NULL;
        struct fixture fixture;
        char path[400], *bytes;
        size_t n;
        int r;

        fixture_init(&fixture, &goldens[0], GOLDEN_STAGES);
        (void)image_place(&fixture);
        cr_assert(scratch_find(fixture.directory, "seg-", path, sizeof(path)));
        bytes = file_read(path, &n);
        memcpy(&header, bytes, sizeof(header));
        free(bytes);
        header.version = LANEMAP_SEGMENT_FORMAT_VERSION + 1;
        header.check = 0;
        header.check = lanemap_segment_check_of(&header, sizeof(header));
        file_patch(path, 0, &header, sizeof(header));
        r = image_attach(&fixture, &reader);
        cr_expect_eq(r, -EPROTONOSUPPORT, "%d", r);
        cr_expect(strstr(fixture.error.text, strrchr(path, '/') + 1), "%s", fixture.error.text);
        lanemap_reader_detach(reader);
        fixture_deinit(&fixture);
}

/* ---- frozen ---- */

/* The control object's layout is for ever: every field where the golden bytes have it. */
Test(golden_index, the_control_object_is_where_it_always_was)
{
        const unsigned char *control;
        struct fixture fixture;
        char path[400], *bytes;
        size_t n;

        fixture_init(&fixture, &goldens[0], 0);
        snprintf(path, sizeof(path), "%s/shm/control", fixture.scratch.directory);
        bytes = file_read(path, &n);
        control = (const unsigned char *)bytes;
        cr_assert_eq(n, 4096);
        cr_expect_eq(memcmp(control, "lmapctrl", 8), 0);
        cr_expect_eq(lanemap_load_le32(control + 8), 1);
        cr_expect_eq(lanemap_load_le32(control + 12), 0);
        cr_expect_gt(lanemap_load_le64(control + 64), 0, "E");
        cr_expect_leq(lanemap_load_le64(control + 72), lanemap_load_le64(control + 64), "W");
        cr_expect_neq(lanemap_load_le64(control + 80), 0, "the generation");
        cr_expect_eq(lanemap_load_le32(control + 88), LANEMAP_STATE_RUNNING);
        cr_expect_eq(lanemap_load_le64(control + 128), lanemap_load_le64(control + 80));
        free(bytes);

        cr_expect_eq(sizeof(struct lanemap_shm_control), 4096);
        cr_expect_eq(offsetof(struct lanemap_shm_control, magic), 0);
        cr_expect_eq(offsetof(struct lanemap_shm_control, version), 8);
        cr_expect_eq(offsetof(struct lanemap_shm_control, uuid), 16);
        cr_expect_eq(offsetof(struct lanemap_shm_control, epoch), 64);
        cr_expect_eq(offsetof(struct lanemap_shm_control, watermark), 72);
        cr_expect_eq(offsetof(struct lanemap_shm_control, generation), 80);
        cr_expect_eq(offsetof(struct lanemap_shm_control, state), 88);
        cr_expect_eq(offsetof(struct lanemap_shm_control, heartbeat), 96);
        fixture_deinit(&fixture);
}
