/*
 * Resharding (H1 to H4 in directory/reshard.h, H5): every kind of segment, fingerprint width and
 * direction, against the model; every call of the file layer failing; what is refused.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "damage.h"
#include "store/manifest_write.h"
#include "support/faulty_files.h"
#include "directory/reshard.h"

TestSuite(writer_reshard, .timeout = 120);

struct place {
        struct scratch scratch;
        struct model model;
        uint32_t kind;
        uint32_t fingerprint_bits;
        uint32_t n_lanes; /* at creation */
        struct lanemap_reshard_report report;
        struct lanemap_error error;
        char kept[320]; /* as it was made */
};

static int place_open(struct place *place, uint32_t n_lanes, struct lanemap_writer **ret_writer)
{
        struct lanemap_writer_options options;

        engine_options_init(&options, &place->scratch, &place->error);
        options.n_lanes = n_lanes;
        options.fingerprint_bits = place->fingerprint_bits;
        options.segment_kind_young = options.segment_kind_bottom = place->kind;
        options.flush_bytes = UINT64_C(1) << 30; /* only when it is asked for */
        options.log_file_bytes = 0;              /* nor because the log has grown */
        options.scrub_bytes_per_second = UINT64_MAX;
        return lanemap_writer_open(&options, ret_writer);
}

/* A bottom, a younger segment with tombstones and changed postings, records behind them; then it
 * dies. */
static int index_main(void *arg)
{
        struct lanemap_writer *writer;

        if (place_open(arg, ((struct place *)arg)->n_lanes, &writer) != 0)
                return 1;
        damage_index_apply(writer, NULL, 0);
        if (engine_request(writer, LANEMAP_REQUEST_COMPACT) != 0)
                return 2;
        damage_index_apply(writer, NULL, 1);
        if (engine_request(writer, LANEMAP_REQUEST_FLUSH) != 0)
                return 3;
        damage_index_apply(writer, NULL, 3);
        return lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0 ? 0 : 4;
}

static void place_init(struct place *place, uint32_t kind, uint32_t fingerprint_bits,
                       uint32_t n_lanes)
{
        *place = (struct place){
                .kind = kind, .fingerprint_bits = fingerprint_bits, .n_lanes = n_lanes};
        scratch_init(&place->scratch, "reshard");
        cr_assert_eq(engine_crash_after(index_main, place), 0);
        model_init(&place->model);
        damage_index_apply(NULL, &place->model, 0);
        damage_index_apply(NULL, &place->model, 1);
        damage_index_apply(NULL, &place->model, 3);
        snprintf(place->kept, sizeof(place->kept), "%s-kept", place->scratch.directory);
        scratch_copy_directory(place->scratch.directory, place->kept);
}

static void place_renew(struct place *place)
{
        scratch_remove_tree(place->scratch.directory);
        scratch_copy_directory(place->kept, place->scratch.directory);
}

static void place_deinit(struct place *place)
{
        scratch_remove_tree(place->kept);
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

static int reshard_with(struct place *place, const struct lanemap_files *files, uint32_t n_lanes)
{
        struct lanemap_reshard_options options = {
                .files = files, .directory = place->scratch.directory, .n_lanes = n_lanes};

        place->error.text[0] = '\0';
        return lanemap_reshard_directory(&options, &place->report, &place->error);
}

static int reshard(struct place *place, uint32_t n_lanes)
{
        return reshard_with(place, &lanemap_files_posix, n_lanes);
}

static void manifest_read(struct place *place, struct lanemap_manifest *manifest)
{
        int fd = open(place->scratch.directory, O_RDONLY | O_DIRECTORY);

        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, fd, manifest, &place->error), 0,
                     "%s", place->error.text);
        close(fd);
}

static void manifest_write(struct place *place, struct lanemap_manifest *manifest)
{
        int fd = open(place->scratch.directory, O_RDONLY | O_DIRECTORY);

        manifest->generation++;
        cr_assert_eq(lanemap_manifest_write(&lanemap_files_posix, fd, manifest), 0);
        close(fd);
        lanemap_manifest_deinit(manifest);
}

/* Nothing is damaged, the counts are those that are counted again. */
static void expect_sound(struct place *place, const char *what)
{
        struct lanemap_verify_report verified;

        damage_verify(place->scratch.directory, &verified);
        cr_expect_eq(verified.findings.n, 0, "%s: %s", what,
                     verified.findings.n ? verified.findings.items[0].what : "");
        lanemap_findings_deinit(&verified.findings);
}

/* Opens it and compares everything with the model. */
static void expect_answers(struct place *place, uint32_t n_lanes, const char *what)
{
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        char why[256];
        int r;

        r = place_open(place, n_lanes, &writer);
        cr_assert_eq(r, 0, "%s: %s", what, place->error.text);
        cr_expect(engine_matches(writer, NULL, &place->model, why, sizeof(why)), "%s: %s", what,
                  why);
        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, place->model.n_keys, "%s", what);
        cr_expect_eq(stats.n_pairs, place->model.n_pairs, "%s", what);
        lanemap_writer_close(writer);
}

static uint32_t segment_files(struct place *place)
{
        char *listing = scratch_listing(place->scratch.directory);
        uint32_t n = 0;

        for (const char *at = listing; (at = strstr(at, "seg-")); at++)
                n++;
        free(listing);
        return n;
}

/* ---- every kind, width and direction ---- */

struct row {
        uint32_t kind, fingerprint_bits, from, to;
};

ParameterizedTestParameters(writer_reshard, an_index_with_another_number_of_lanes_is_the_same_index)
{
        static const uint32_t lanes[][2] = {{4, 7}, {7, 4}, {1, 16}, {64, 1}};
        static struct row rows[36];
        size_t n = 0;

        for (uint32_t kind = LANEMAP_SEGMENT_PACKED; kind <= LANEMAP_SEGMENT_BBHASH; kind++)
                for (uint32_t bits = 64; bits <= 96; bits += 16)
                        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(lanes); i++)
                                rows[n++] = (struct row){kind, bits, lanes[i][0], lanes[i][1]};

        return cr_make_param_array(struct row, rows, n);
}

static void reader_expect(struct lanemap_reader *reader, const struct model *model,
                          const char *what)
{
        uint32_t ids[512];
        size_t n_ids;

        for (size_t i = 0; i < model->n; i++) {
                const struct model_key *key = &model->keys[i];

                cr_assert_eq(
                        lanemap_reader_lookup(reader, key->bytes, key->n_bytes, ids, 512, &n_ids),
                        0, "%s: %.*s", what, (int)key->n_bytes, (const char *)key->bytes);
                cr_assert_eq(n_ids, key->n_ids, "%s", what);
                cr_assert_eq(memcmp(ids, key->ids, n_ids * sizeof(ids[0])), 0, "%s", what);
        }
}

ParameterizedTest(struct row *row, writer_reshard,
                  an_index_with_another_number_of_lanes_is_the_same_index)
{
        struct lanemap_manifest before, after;
        struct lanemap_reader *reader, *late;
        struct lanemap_writer *writer;
        struct place place;
        char why[256];

        place_init(&place, row->kind, row->fingerprint_bits, row->from);
        cr_assert_eq(lanemap_reader_attach(place.scratch.name, NULL, &reader), 0);
        manifest_read(&place, &before);
        cr_assert_eq(before.n_lanes, row->from);
        cr_assert_geq(before.n_files, 2);

        cr_assert_eq(reshard(&place, row->to), 0, "%s", place.error.text);
        manifest_read(&place, &after);
        cr_expect_eq(place.report.n_lanes_before, row->from);
        cr_expect_eq(after.n_lanes, row->to);
        cr_expect_eq(after.generation, before.generation + 1);
        cr_expect_eq(after.fingerprint_bits, row->fingerprint_bits);
        cr_expect_eq(after.n_files, place.report.n_files);
        cr_expect_eq(lanemap_manifest_lowest_position(&after),
                     lanemap_manifest_highest_position(&before));
        for (uint32_t i = 0; i < after.n_lanes; i++)
                if (after.lanes[i].n_segments > 0) {
                        cr_expect_eq(after.lanes[i].n_segments, 1);
                        cr_expect_eq(after.lanes[i].segments[0].kind, row->kind);
                        cr_expect_eq(after.lanes[i].segments[0].n_keys, after.lanes[i].n_keys,
                                     "no tombstones");
                }
        expect_sound(&place, "resharded");

        /* H2: whoever attaches now opens the old files. */
        reader_expect(reader, &place.model, "before the next start");
        cr_assert_eq(lanemap_reader_attach(place.scratch.name, NULL, &late), 0);
        reader_expect(late, &place.model, "attached before the next start");
        cr_assert_eq(place_open(&place, row->to, &writer), 0, "%s", place.error.text);
        cr_expect(engine_matches(writer, reader, &place.model, why, sizeof(why)), "%s", why);
        cr_expect_eq(segment_files(&place), after.n_files, "the old ones are gone");

        /* It is an index as any other. */
        for (uint32_t part = 1; part <= 3; part += 2) {
                damage_index_apply(writer, &place.model, part);
                cr_assert_eq(engine_request(writer, part == 1 ? LANEMAP_REQUEST_FLUSH
                                                              : LANEMAP_REQUEST_COMPACT),
                             0);
                cr_expect(engine_matches(writer, reader, &place.model, why, sizeof(why)), "%s",
                          why);
        }
        damage_index_apply(writer, &place.model, 1);
        lanemap_writer_close(writer);
        expect_answers(&place, row->to, "a restart");
        reader_expect(reader, &place.model, "a restart");

        cr_assert_eq(reshard(&place, row->from), 0, "%s", place.error.text);
        expect_sound(&place, "and back");
        expect_answers(&place, row->from, "and back");
        reader_expect(reader, &place.model, "and back");
        reader_expect(late, &place.model, "and back");
        lanemap_manifest_deinit(&before);
        lanemap_manifest_deinit(&after);
        lanemap_reader_detach(reader);
        lanemap_reader_detach(late);
        place_deinit(&place);
}

Test(writer_reshard, as_many_lanes_as_there_can_be_and_an_empty_index)
{
        struct place place;

        place_init(&place, LANEMAP_SEGMENT_PACKED, 64, 4);
        cr_assert_eq(reshard(&place, 1024), 0, "%s", place.error.text);
        expect_sound(&place, "1024 lanes");
        expect_answers(&place, 1024, "1024 lanes");
        cr_assert_eq(reshard(&place, 3), 0, "%s", place.error.text);
        expect_answers(&place, 3, "3 lanes");
        place_deinit(&place);

        struct lanemap_writer *writer;
        struct place empty = {.kind = LANEMAP_SEGMENT_PACKED, .fingerprint_bits = 64};

        scratch_init(&empty.scratch, "reshard");
        cr_assert_eq(place_open(&empty, 5, &writer), 0);
        lanemap_writer_close(writer);
        cr_assert_eq(reshard(&empty, 9), 0, "%s", empty.error.text);
        cr_expect_eq(empty.report.n_files, 0);
        expect_answers(&empty, 9, "an empty index");
        scratch_deinit(&empty.scratch);
}

/* ---- what fails ---- */

/* H1. With n_failing calls failing from the n-th on: what a writer finds then. */
static void calls_fail(struct place *place, uint64_t n_failing)
{
        uint64_t n = 0, n_refused = 0;

        for (bool failed = true; failed;) {
                struct faulty_files faulty;
                struct lanemap_manifest manifest;
                uint32_t n_lanes;
                char what[64];
                int fd, r;

                place_renew(place);
                fd = open(place->scratch.directory, O_RDONLY | O_DIRECTORY);
                faulty_files_init(&faulty, fd);
                faulty.fail_at = ++n;
                faulty.n_failing = n_failing;
                r = reshard_with(place, &faulty.files, 7);
                failed = faulty.n_failed > 0;
                faulty_files_deinit(&faulty);
                close(fd);
                cr_assert(r == 0 || (r == -EIO && place->error.text[0]), "call %llu: %d",
                          (unsigned long long)n, r);
                n_refused += r < 0;

                snprintf(what, sizeof(what), "call %llu of %llu", (unsigned long long)n,
                         (unsigned long long)n_failing);
                manifest_read(place, &manifest);
                n_lanes = manifest.n_lanes;
                lanemap_manifest_deinit(&manifest);
                cr_expect(n_lanes == 7 || (n_lanes == 4 && r < 0), "%s: %u lanes", what, n_lanes);
                expect_sound(place, what);
                expect_answers(place, n_lanes, what);
                manifest_read(place, &manifest);
                cr_expect_eq(segment_files(place), manifest.n_files, "%s: nothing else", what);
                lanemap_manifest_deinit(&manifest);
        }
        cr_expect_geq(n_refused, 12);
}

Test(writer_reshard, a_failed_call_leaves_the_old_index_or_the_new_one)
{
        struct place place;

        place_init(&place, LANEMAP_SEGMENT_PACKED, 80, 4);
        calls_fail(&place, 1);
        place_deinit(&place);
}

Test(writer_reshard, a_death_at_any_call_leaves_the_old_index_or_the_new_one)
{
        struct place place;

        place_init(&place, LANEMAP_SEGMENT_RECSPLIT, 64, 4);
        calls_fail(&place, UINT64_MAX);
        place_deinit(&place);
}

/* ---- what is refused ---- */

static void expect_refused(struct place *place, uint32_t n_lanes, int error, const char *says)
{
        char *before = scratch_listing(place->scratch.directory), *after;

        cr_expect_eq(reshard(place, n_lanes), error, "%s", place->error.text);
        cr_expect_not_null(strstr(place->error.text, says), "'%s' in '%s'", says,
                           place->error.text);
        after = scratch_listing(place->scratch.directory);
        cr_expect_str_eq(before, after, "nothing is changed");
        free(before);
        free(after);
}

Test(writer_reshard, a_directory_that_is_not_ready_is_refused_and_stays_as_it_is)
{
        struct lanemap_manifest manifest;
        struct place place;
        char path[512];

        place_init(&place, LANEMAP_SEGMENT_PACKED, 64, 4);
        expect_refused(&place, 0, -EINVAL, "1 to 1024");
        expect_refused(&place, 1025, -EINVAL, "1 to 1024");
        expect_refused(&place, 4, LANEMAP_RESHARD_E_SAME, "");
        cr_expect_eq(place.report.n_lanes_before, 4);

        for (uint32_t file = 0; file < 2; file++) {
                cr_assert(damage_segment_path(place.scratch.directory, file, path, sizeof(path)));
                damage_flip(path, damage_file_bytes(path) * 2 / 3, 4);
                expect_refused(&place, 7, -EBADMSG, strrchr(path, '/') + 1);
                expect_refused(&place, 7, -EBADMSG, "lanemap repair");
                unlink(path);
                expect_refused(&place, 7, -EBADMSG, "is missing");
                place_renew(&place);
        }

        /* H4, H3 */
        manifest_read(&place, &manifest);
        manifest.lanes[1].position--;
        manifest_write(&place, &manifest);
        expect_refused(&place, 7, -EINVAL, "start and stop the writer");
        place_renew(&place);
        manifest_read(&place, &manifest);
        manifest.lanes[2].n_pairs++;
        manifest_write(&place, &manifest);
        expect_refused(&place, 7, -EBADMSG, "manifest says");
        place_deinit(&place);
}

Test(writer_reshard, writer_and_resharding_exclude_each_other)
{
        struct lanemap_writer *writer;
        struct place place;

        place_init(&place, LANEMAP_SEGMENT_PACKED, 64, 4);
        cr_assert_eq(place_open(&place, 0, &writer), 0, "%s", place.error.text);
        /* What the start left to flush and to merge is done: the writer changes no file from
         * here. */
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_refused(&place, 7, -EBUSY, "stop it first");
        lanemap_writer_close(writer);

        /* A writer that wants another number is told how to get it. */
        cr_expect_eq(place_open(&place, 7, &writer), -EINVAL);
        cr_expect_not_null(strstr(place.error.text, "lanemap reshard"), "%s", place.error.text);
        cr_expect_not_null(strstr(place.error.text, "--lanes 7"), "%s", place.error.text);
        cr_assert_eq(reshard(&place, 7), 0, "%s", place.error.text);
        expect_answers(&place, 7, "7 lanes");
        place_deinit(&place);
}
