/*
 * Every byte of small sections and files flipped, as every kind, with each filter and without:
 * verification notices, or every answer is still right; and whoever does not verify is given an
 * answer or -EBADMSG, the same in plain C, and nothing is read that is not there.
 */
#include "expect.h"
#include "file_bytes.h"

#include <errno.h>

TestSuite(flips, .timeout = 100);

/* What a reader and a merge do, on bytes that may be anything. */
static void exercise(const struct lanemap_segment *segment, const struct model *model)
{
        struct lanemap_segment_posting posting;
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;
        size_t n = 0;
        int r;

        for (size_t i = 0; i < model->n_entries; i++) {
                struct lanemap_fingerprint fp = model->entries[i].fingerprint;

                lanemap_segment_prefetch_directory(segment, fp, 0);
                lanemap_segment_prefetch_entry(segment, fp, 1);
                lanemap_segment_prefetch_value(segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN);
                find(segment, fp, 1, &posting);
                r = find(segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN, &posting);
                cr_assert(r == 0 || r == LANEMAP_SEGMENT_E_ABSENT || r == -EBADMSG);
                if (r == 0 && posting.n_ids <= LANEMAP_N_ELEMENTS(scratch)) {
                        lanemap_segment_posting_copy(&posting, scratch);
                        lanemap_segment_posting_contains(&posting, 500);
                }
        }

        if (segment->ids_max > 100000)
                return;
        cr_assert_eq(cursor_init(&cursor, segment), 0);
        while ((r = cursor.cursor.next(&cursor.cursor, &entry)) == 0)
                n++;
        cr_assert(r == -EBADMSG || (r == LANEMAP_CURSOR_END && n == segment->n_keys));
        cursor_deinit(&cursor);
}

static int count(void *arg, struct lanemap_fingerprint fp)
{
        ++*(size_t *)arg;
        return 0;
}

/* Whether the flip of this byte may make another entry of one, which only the checksum of the file
 * tells from damage: a tag, a remainder, a value, an id; and the check value is made right. */
static bool makes_another_entry(const struct built *built, size_t at)
{
        struct lanemap_segment_section_file header;
        uint64_t from, to = built->n_bytes - built->counts.filter_bytes;

        memcpy(&header, built->bytes, sizeof(header));
        from = le64toh(header.tags_off ? header.tags_off : header.payload_off);
        return (at >= from && at < to) || (at >= SECTION_OFF(check) && at < SECTION_OFF(version));
}

/* One byte of a section is another one, and its header is signed. */
static void flipped_run(const struct built *built, const struct model *model, bool another)
{
        struct lanemap_segment_report report;
        struct lanemap_segment segment;
        int verified, opened;
        size_t n = 0;

        section_sign(built->bytes);
        verified = lanemap_segment_verify(built->bytes, built->n_bytes, model->fingerprint_bits,
                                          &report);
        cr_assert_eq(verified == 0, report.what == NULL);
        opened = section_open(built, model->fingerprint_bits, &segment);
        if (opened != 0) {
                cr_assert_lt(verified, 0);
                return;
        }

        if (verified == 0 && !another)
                for (size_t i = 0; i < model->n_entries; i++)
                        expect_found(&segment, &model->entries[i], LANEMAP_SEGMENT_RANK_UNKNOWN);
        exercise(&segment, model);
        if (lanemap_segment_walk(&segment, count, &n) == 0)
                cr_assert_eq(n, segment.n_keys);
        else
                cr_assert_lt(verified, 0);
}

static void sections_run(uint32_t kind, uint32_t filter, uint32_t fingerprint_bits, uint64_t seed)
{
        struct built built, kept;
        struct model model;

        model_filled(&model, kind, filter, fingerprint_bits, 120, IDS_ALL, &seed);
        model.options.bucket_entries = kind == LANEMAP_SEGMENT_KIND_PACKED ? 0 : 40;
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(model_build(&model, &kept), 0);
        for (size_t at = 0; at < built.n_bytes; at++) {
                built.bytes[at] ^= (unsigned char)(1u << random_next(&seed) % 8);
                flipped_run(&built, &model, makes_another_entry(&kept, at));
                memcpy(built.bytes, kept.bytes, sizeof(struct lanemap_segment_section_file));
                built.bytes[at] = kept.bytes[at];
        }
        cr_assert_eq(memcmp(built.bytes, kept.bytes, built.n_bytes), 0);
        free(built.bytes);
        free(kept.bytes);
        model_deinit(&model);
}

static void sections_of_kind_run(uint32_t k)
{
        static const uint32_t widths[] = {64, 80, 96};

        for (uint32_t f = 0; f < LANEMAP_N_ELEMENTS(filter_kinds); f++)
                sections_run(segment_kinds[k], filter_kinds[f], widths[(k + f) % 3], 10 * k + f);
}

Test(flips, sections_of_packed)
{
        sections_of_kind_run(0);
}

Test(flips, sections_of_recsplit)
{
        sections_of_kind_run(1);
}

Test(flips, sections_of_bbhash)
{
        sections_of_kind_run(2);
}

/* A file as somebody opens it who does not know its checksum. */
static void file_exercise(const unsigned char *bytes, size_t n_bytes, const struct model *model)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_file file;
        struct lanemap_segment segment;

        if (lanemap_segment_file_open(&file, bytes, n_bytes) != 0)
                return;
        for (uint32_t i = 0; i < file.n_sections; i++) {
                cr_assert_eq(lanemap_segment_file_section(&file, i, &section), 0);
                if (lanemap_segment_open(&segment, bytes + section.offset, section.n_bytes,
                                         model->fingerprint_bits) == 0)
                        exercise(&segment, model);
        }
}

/* Every bit of a file: the checksum covers all of them, and so does what verification recounts when
 * the check values in front of it are right again. */
static void file_run(uint32_t kind, uint32_t filter, uint64_t seed)
{
        struct lanemap_segment_report report;
        unsigned char *bytes, *copy;
        struct built built;
        struct model model;
        size_t n_bytes;

        model_filled(&model, kind, filter, 64, 6, IDS_ALL, &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        bytes = file_of(&built, kind, 64, &n_bytes);
        copy = malloc(n_bytes);
        cr_assert(copy);
        memcpy(copy, bytes, n_bytes);
        cr_assert_eq(lanemap_segment_file_verify(copy, n_bytes, &report), 0, "%s", report.what);
        for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
                int r;

                memcpy(copy, bytes, n_bytes);
                copy[bit / 8] ^= (unsigned char)(1u << bit % 8);
                r = lanemap_segment_file_verify(copy, n_bytes, &report);
                cr_assert(r == -EBADMSG || r == -EPROTONOSUPPORT, "bit %zu", bit);
                cr_assert_not_null(report.what);
                file_exercise(copy, n_bytes, &model);
                file_recheck(copy, n_bytes);
                r = lanemap_segment_file_verify(copy, n_bytes, &report);
                /* Only what the check values themselves hold has been mended. */
                cr_assert(r < 0 || memcmp(copy, bytes, n_bytes) == 0, "bit %zu", bit);
                file_exercise(copy, n_bytes, &model);
        }
        free(copy);
        free(bytes);
        free(built.bytes);
        model_deinit(&model);
}

Test(flips, files_of_packed)
{
        for (uint32_t f = 0; f < LANEMAP_N_ELEMENTS(filter_kinds); f++)
                file_run(segment_kinds[0], filter_kinds[f], 50 + f);
}

Test(flips, files_of_recsplit)
{
        for (uint32_t f = 0; f < LANEMAP_N_ELEMENTS(filter_kinds); f++)
                file_run(segment_kinds[1], filter_kinds[f], 60 + f);
}

Test(flips, files_of_bbhash)
{
        for (uint32_t f = 0; f < LANEMAP_N_ELEMENTS(filter_kinds); f++)
                file_run(segment_kinds[2], filter_kinds[f], 70 + f);
}
