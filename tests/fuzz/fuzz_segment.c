/*
 * Segment bytes of any kind: a section, a file, or a posting list, as they are or with their check
 * values made right (so that what lies behind the checks is reached).
 *
 * Beyond not crashing: an entry that the cursor gives is found by a lookup, with the same ids,
 * unless the filter hides it; with and without the filter a lookup has the same answer or none; a
 * lookup with the tag compare in plain C has the same answer; and a section that the verification
 * accepts can be read to its end.
 *
 * An input: one byte for the mode, one for the fingerprint bits, then the bytes. In mode 5 these
 * damage one array of a section that is right otherwise: a byte for kind and filter, one for the
 * array, two for where to begin, then what is xored there.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plain_segment.h"
#include "segment/build.h"
#include "segment/verify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

/* The last chunks, of a list that may be anything; of a good one they are its last ids. */
static void walk_from(const struct lanemap_segment_posting *posting, const uint32_t *ids,
                      uint32_t from)
{
        struct lanemap_segment_posting_walk walk;
        uint32_t chunk[LANEMAP_SEGMENT_POSTING_BLOCK], n = 0;
        int r = lanemap_segment_posting_walk_begin(posting, &walk);

        if (r == 0)
                r = lanemap_segment_posting_walk_seek(&walk, from);
        MUST(r < 0 || walk.n_left <= posting->n_ids);
        while (r == 0 && (r = lanemap_segment_posting_walk_next(&walk, chunk, &n)) == 1) {
                MUST(!ids ||
                     memcmp(ids + posting->n_ids - walk.n_left - n, chunk, n * sizeof(*ids)) == 0);
                r = 0;
        }
        MUST(!ids || r == 0);
}

/* Chunk by chunk: the same ids, or the same refusal. */
static void walk(const struct lanemap_segment_posting *posting, const uint32_t *ids, int copied)
{
        struct lanemap_segment_posting_walk walk;
        uint32_t chunk[LANEMAP_SEGMENT_POSTING_BLOCK], n = 0, n_ids = 0;
        int r = lanemap_segment_posting_walk_begin(posting, &walk);

        while (r == 0 && (r = lanemap_segment_posting_walk_next(&walk, chunk, &n)) == 1) {
                MUST(n > 0 && n <= posting->n_ids - n_ids);
                MUST(copied < 0 || memcmp(ids + n_ids, chunk, n * sizeof(*ids)) == 0);
                n_ids += n;
                r = 0;
        }
        MUST(r == copied && (r < 0 || n_ids == posting->n_ids));
        if (copied == 0 && n_ids > 0)
                walk_from(posting, ids, ids[n_ids / 2]);
        else
                walk_from(posting, NULL, 1000);
}

static bool posting_is(const struct lanemap_segment_posting *a,
                       const struct lanemap_segment_posting *b)
{
        return a->n_ids == b->n_ids && a->id == b->id && a->bytes == b->bytes;
}

/* The lookup in plain C gives the answer of the one in this processor's instructions. */
static void look_up_plain(const struct lanemap_segment *segment, struct lanemap_fingerprint fp,
                          uint32_t rank, int found, const struct lanemap_segment_posting *posting)
{
        struct lanemap_segment_posting same;

        MUST(plain_segment_find(segment, fp, rank, &same) == found);
        MUST(found != 0 || posting_is(&same, posting));
}

static void look_up(const struct lanemap_segment *segment, struct lanemap_fingerprint fp,
                    uint32_t rank)
{
        struct lanemap_segment unfiltered = *segment;
        struct lanemap_segment_posting posting, same;
        uint32_t *ids;
        int copied, found;

        lanemap_segment_prefetch_directory(segment, fp, rank);
        lanemap_segment_prefetch_entry(segment, fp, rank);
        lanemap_segment_prefetch_value(segment, fp, rank);
        found = lanemap_segment_find(segment, fp, rank, &posting);
        look_up_plain(segment, fp, rank, found, &posting);
        if (found != 0)
                return;

        /* A filter only ever hides. */
        unfiltered.has_filter = 0;
        MUST(lanemap_segment_find(&unfiltered, fp, rank, &same) == 0);
        MUST(posting_is(&same, &posting));

        MUST(posting.n_ids <= segment->section_bytes);
        ids = malloc(((size_t)posting.n_ids + 1) * sizeof(*ids));
        MUST(ids);
        copied = lanemap_segment_posting_copy(&posting, ids);
        walk(&posting, ids, copied);
        if (copied == 0)
                for (uint32_t i = 0; i < posting.n_ids; i += 1 + i / 4) {
                        MUST(i == 0 || ids[i - 1] < ids[i]);
                        MUST(lanemap_segment_posting_contains(&posting, ids[i]) == 1);
                }
        lanemap_segment_posting_contains(&posting, 77);
        free(ids);
}

/* Return: 0 the section can be read to its end. */
static int iterate(const struct lanemap_segment *segment)
{
        struct lanemap_segment_cursor cursor;
        uint32_t *ids = malloc(((size_t)segment->ids_max + 1) * sizeof(*ids));
        void *scratch = malloc(lanemap_segment_cursor_scratch_bytes(segment) + 1);
        struct lanemap_entry entry;
        int r;

        MUST(ids && scratch);
        MUST(lanemap_segment_cursor_init(&cursor, segment, NULL, ids, segment->ids_max, scratch) ==
             0);
        while ((r = cursor.cursor.next(&cursor.cursor, &entry)) == 0) {
                struct lanemap_segment_posting posting;

                MUST(entry.n_ids <= segment->ids_max);
                look_up(segment, entry.fingerprint, LANEMAP_SEGMENT_RANK_UNKNOWN);
                /* Ranks are foreign bytes too: a wrong one hides an entry, no more. */
                if (lanemap_segment_find(segment, entry.fingerprint, (uint32_t)cursor.rank,
                                         &posting) == 0)
                        MUST(posting.n_ids == entry.n_ids);
        }
        free(ids);
        free(scratch);
        return r == LANEMAP_CURSOR_END ? 0 : r;
}

/* Batches, as a merge reads them, are what single entries are; without lists there is no room for
 * ids. */
static void iterate_batches(const struct lanemap_segment *segment)
{
        struct lanemap_segment_cursor one, batches;
        uint32_t capacity = segment->ids_max, n = 0;
        uint32_t *ids = capacity ? malloc((size_t)capacity * 2 * sizeof(*ids)) : NULL;
        void *scratch = malloc(lanemap_segment_cursor_scratch_bytes(segment) + 1);
        void *scratch_one = malloc(lanemap_segment_cursor_scratch_bytes(segment) + 1);
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH], entry;
        int r;

        MUST((ids || !capacity) && scratch && scratch_one);
        MUST(lanemap_segment_cursor_init(&one, segment, NULL, ids, capacity, scratch_one) == 0);
        MUST(lanemap_segment_cursor_init(&batches, segment, NULL, ids ? ids + capacity : NULL,
                                         capacity, scratch) == 0);
        while ((r = lanemap_cursor_next_batch(&batches.cursor, entries, &n)) == 0) {
                MUST(n > 0 && n <= LANEMAP_CURSOR_BATCH);
                for (uint32_t i = 0; i < n; i++) {
                        MUST(one.cursor.next(&one.cursor, &entry) == 0);
                        MUST(entry.fingerprint.hash == entries[i].fingerprint.hash);
                        MUST(entry.fingerprint.ext == entries[i].fingerprint.ext);
                        MUST(entry.n_ids == entries[i].n_ids);
                        MUST(entry.n_ids == 0 ||
                             memcmp(entry.ids, entries[i].ids, entry.n_ids * sizeof(*ids)) == 0);
                }
        }
        MUST(r == LANEMAP_CURSOR_END || r == -EBADMSG);
        MUST(r != LANEMAP_CURSOR_END || one.cursor.next(&one.cursor, &entry) == r);
        free(ids);
        free(scratch);
        free(scratch_one);
}

/* A slot at a time, as a resharding reads it: of that slot only, and what is begun anew is the
 * same. */
static void iterate_slots(const struct lanemap_segment *segment)
{
        static const uint32_t slots[] = {0, 1, 7, 64, 2048, LANEMAP_N_SLOTS - 1};
        uint32_t *ids = malloc(((size_t)segment->ids_max + 1) * sizeof(*ids));
        void *scratch = malloc(lanemap_segment_cursor_scratch_bytes(segment) + 1);
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;

        MUST(ids && scratch);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(slots); i++) {
                uint64_t n[2] = {0};
                int r;

                r = lanemap_segment_cursor_init_slot(&cursor, segment, slots[i], ids,
                                                     segment->ids_max, scratch);
                for (uint32_t round = 0; round < 2 && r == 0; round++) {
                        while ((r = cursor.cursor.next(&cursor.cursor, &entry)) == 0) {
                                MUST(lanemap_slot_of(entry.fingerprint.hash) == slots[i]);
                                MUST(++n[round] <= segment->n_keys);
                        }
                        if (r == LANEMAP_CURSOR_END)
                                r = cursor.cursor.rewind(&cursor.cursor);
                }
                MUST(r == 0 ? n[0] == n[1] : r == -EBADMSG);
        }
        free(ids);
        free(scratch);
}

static int count(void *arg, struct lanemap_fingerprint fingerprint)
{
        ++*(uint64_t *)arg;
        return 0;
}

static void exercise_section(const uint8_t *bytes, size_t n_bytes, uint32_t fingerprint_bits)
{
        struct lanemap_segment_report report;
        struct lanemap_segment segment;
        uint64_t n = 0;
        int verified;

        verified = lanemap_segment_verify(bytes, n_bytes, fingerprint_bits, &report);
        MUST((verified == 0) == (report.what == NULL));
        if (lanemap_segment_open(&segment, bytes, n_bytes, fingerprint_bits) != 0) {
                MUST(verified < 0);
                return;
        }

        for (uint64_t i = 0; i < 64; i++) {
                struct lanemap_fingerprint fp = {.hash = i << 58 | i * 0x123456789,
                                                 .ext = (uint32_t)i};

                look_up(&segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN);
                look_up(&segment, fp, (uint32_t)i);
        }
        iterate_batches(&segment);
        iterate_slots(&segment);
        if (iterate(&segment) < 0)
                MUST(verified < 0);
        if (lanemap_segment_walk(&segment, count, &n) == 0)
                MUST(n == segment.n_keys);
        else
                MUST(verified < 0);
}

static void section_mend(uint8_t *bytes, size_t n_bytes)
{
        if (n_bytes < sizeof(struct lanemap_segment_section_file))
                return;

        lanemap_store_le64(bytes, LANEMAP_SEGMENT_SECTION_MAGIC);
        lanemap_store_le64(bytes + 8, 0);
        lanemap_store_le64(bytes + 8, lanemap_segment_check_of(
                                              bytes, sizeof(struct lanemap_segment_section_file)));
}

static void file_mend(uint8_t *bytes, size_t n_bytes)
{
        const size_t head = sizeof(struct lanemap_segment_header_file);
        uint8_t *check = bytes + offsetof(struct lanemap_segment_header_file, check);
        uint64_t table_bytes;

        if (n_bytes < head)
                return;

        table_bytes = (uint64_t)lanemap_load_le32(
                              bytes + offsetof(struct lanemap_segment_header_file, n_sections)) *
                      sizeof(struct lanemap_segment_table_file);
        if (table_bytes <= n_bytes - head)
                lanemap_store_le64(
                        bytes + offsetof(struct lanemap_segment_header_file, table_check),
                        lanemap_segment_check_of(bytes + head, table_bytes));
        lanemap_store_le64(bytes + offsetof(struct lanemap_segment_header_file, file_bytes),
                           n_bytes);
        lanemap_store_le64(check, 0);
        lanemap_store_le64(check, lanemap_segment_check_of(bytes, head));
}

static void exercise_file(const uint8_t *bytes, size_t n_bytes)
{
        struct lanemap_segment_report report;
        struct lanemap_segment_file file;

        lanemap_segment_file_verify(bytes, n_bytes, &report);
        if (lanemap_segment_file_open(&file, bytes, n_bytes) != 0)
                return;

        for (uint32_t i = 0; i < file.n_sections && i < 4; i++) {
                struct lanemap_segment_file_section section;

                MUST(lanemap_segment_file_section(&file, i, &section) == 0);
                exercise_section(bytes + section.offset, section.n_bytes, file.fingerprint_bits);
        }
}

static void exercise_posting(const uint8_t *bytes, size_t n_bytes)
{
        struct lanemap_segment_posting posting;
        uint32_t *ids;
        int copied;

        if (lanemap_segment_posting_open(bytes, n_bytes, 0, UINT32_MAX, &posting) != 0)
                return;

        MUST(posting.n_ids <= n_bytes);
        ids = malloc((size_t)posting.n_ids * sizeof(*ids));
        MUST(ids);
        copied = lanemap_segment_posting_copy(&posting, ids);
        walk(&posting, ids, copied);
        if (copied == 0) {
                for (uint32_t i = 0; i < posting.n_ids; i++)
                        MUST(lanemap_segment_posting_contains(&posting, ids[i]) == 1);
                MUST(lanemap_segment_posting_contains(&posting, UINT32_MAX) != 1);
        }
        lanemap_segment_posting_contains(&posting, 12345);
        free(ids);
}

#define TEMPLATE_ENTRIES 150

struct template_cursor {
        struct lanemap_cursor cursor; /* first */
        uint32_t fingerprint_bits;
        uint32_t position;
        uint32_t ids[140];
};

static int template_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        static const uint32_t lengths[] = {1, 1, 0, 2, 1, 1, 3, 1, 1, 1, 1, 1, 140, 1, 1};
        struct template_cursor *cursor = (struct template_cursor *)base;
        uint32_t i = cursor->position++;

        if (i == TEMPLATE_ENTRIES)
                return LANEMAP_CURSOR_END;

        ret_entry->fingerprint.hash = (uint64_t)i * (UINT64_MAX / TEMPLATE_ENTRIES >> 8) + 99;
        ret_entry->fingerprint.ext = cursor->fingerprint_bits > 64 ? i * 77 % 65536 : 0;
        ret_entry->n_ids = lengths[i % LANEMAP_N_ELEMENTS(lengths)];
        ret_entry->ids = cursor->ids;
        for (uint32_t k = 0; k < ret_entry->n_ids; k++)
                cursor->ids[k] = i * 100 + k * k * 3;
        return 0;
}

static int template_rewind(struct lanemap_cursor *base)
{
        ((struct template_cursor *)base)->position = 0;
        return 0;
}

/* A section with all five arrays, made once. */
static const struct lanemap_segment_built *template_of(uint32_t kind, uint32_t filter,
                                                       uint32_t fingerprint_bits)
{
        static struct lanemap_segment_built built[3][2][3];
        static struct lanemap_heap *heap;
        const uint64_t slots[LANEMAP_SLOT_WORDS] = {0xffff};
        struct lanemap_segment_built *made =
                &built[kind - 1][filter - 1][(fingerprint_bits - 64) / 16];
        struct template_cursor cursor = {.cursor = {template_next, template_rewind},
                                         .fingerprint_bits = fingerprint_bits};
        struct lanemap_segment_build_options options = {.kind = kind,
                                                        .fingerprint_bits = fingerprint_bits,
                                                        .slot_bitmap = slots,
                                                        .bucket_entries = kind == 1 ? 0 : 40,
                                                        .filter = filter};

        if (!heap)
                heap = lanemap_heap_new();
        if (!made->bytes)
                MUST(heap && lanemap_segment_build(heap, &options, &cursor.cursor, made) == 0);
        return made;
}

/* One array of a section, damaged; what is not hit keeps its meaning. */
static void exercise_array(const uint8_t *data, size_t n_data, uint32_t fingerprint_bits)
{
        const struct lanemap_segment_built *built;
        struct lanemap_segment_section_file header;
        uint64_t starts[6], at, end;
        uint8_t *bytes;

        if (n_data < 4)
                return;

        built = template_of(1 + data[0] % 3, 1 + data[0] / 3 % 2, fingerprint_bits);
        memcpy(&header, built->bytes, sizeof(header));
        starts[0] = le64toh(header.index_off);
        starts[2] = le64toh(header.payload_off);
        starts[1] = header.tags_off ? le64toh(header.tags_off) : starts[2];
        starts[3] = le64toh(header.postings_off);
        starts[4] = le64toh(header.filter_off);
        starts[5] = built->n_bytes;
        at = starts[data[1] % 5] + ((uint64_t)data[2] | (uint64_t)data[3] << 8);
        end = starts[data[1] % 5 + 1];

        bytes = malloc(built->n_bytes);
        MUST(bytes);
        memcpy(bytes, built->bytes, built->n_bytes);
        for (size_t i = 4; i < n_data && at < end; i++, at++)
                bytes[at] ^= data[i];
        exercise_section(bytes, built->n_bytes, fingerprint_bits);
        free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        static const uint32_t widths[] = {64, 80, 96};
        uint32_t fingerprint_bits;
        uint8_t *bytes;

        if (n_bytes < 2)
                return 0;

        fingerprint_bits = widths[data[1] % 3];
        bytes = malloc(n_bytes - 2 ? n_bytes - 2 : 1);
        MUST(bytes);
        n_bytes -= 2;
        memcpy(bytes, data + 2, n_bytes);
        switch (data[0] % 6) {
        case 1:
                section_mend(bytes, n_bytes);
                /* fall through */
        case 0:
                exercise_section(bytes, n_bytes, fingerprint_bits);
                break;
        case 3:
                file_mend(bytes, n_bytes);
                /* fall through */
        case 2:
                exercise_file(bytes, n_bytes);
                break;
        case 5:
                exercise_array(bytes, n_bytes, fingerprint_bits);
                break;
        default:
                exercise_posting(bytes, n_bytes);
                break;
        }
        free(bytes);
        return 0;
}
