/*
 * See verify.h. The checksum alone would do for the answer; the rest says where, and
 * catches a writer that signed nonsense.
 */
#include "segment/verify.h"

#include <sodium.h>
#include <string.h>

#include "segment/kind_build.h"
#include "segment/layout.h"

/* One section under verification. */
struct verify {
        const unsigned char *section;
        struct lanemap_segment segment;
        struct lanemap_segment_section_file header;
        const struct lanemap_segment_build_ops *ops; /* by kind */
        struct lanemap_segment_sizes sizes;
        struct lanemap_segment_report *report;
        uint32_t *ids;
        void *scratch;
        uint32_t ids_max;    /* seen */
        uint32_t inline_max; /* seen */
        uint64_t postings_at;
        uint64_t last_list_off;
};

/* The first byte of [from, to) that is not 0, or `to`. */
static uint64_t zeros_end(const unsigned char *bytes, uint64_t from, uint64_t to)
{
        while (from < to && bytes[from] == 0)
                from++;

        return from;
}

#define N_ARRAYS 5

/* The arrays of a section, in their order: what is between them is zeros. */
struct arrays {
        uint64_t n_bytes[N_ARRAYS];
        uint64_t starts[N_ARRAYS + 1]; /* the last: where the section ends */
};

static void arrays_of(const struct verify *verify, struct arrays *ret_arrays)
{
        const struct lanemap_segment *segment = &verify->segment;
        const struct lanemap_segment_sizes *sizes = &verify->sizes;
        struct arrays arrays = {
                .n_bytes = {sizes->index_bytes, sizes->tags_bytes,
                            ((uint64_t)segment->n_keys * sizes->entry_bits + 7) / 8,
                            segment->postings_bytes},
        };
        struct lanemap_segment_layout layout;

        lanemap_segment_layout_of(arrays.n_bytes[0], arrays.n_bytes[1], arrays.n_bytes[2],
                                  arrays.n_bytes[3], &layout);
        arrays.starts[0] = layout.index_off;
        arrays.starts[1] = layout.tags_off;
        arrays.starts[2] = layout.payload_off;
        arrays.starts[3] = layout.postings_off;
        arrays.starts[N_ARRAYS] = layout.section_bytes;
        if (segment->has_filter) {
                arrays.n_bytes[4] = lanemap_filter_bytes(
                        segment->filter.kind, segment->filter.shift, segment->filter.n_blocks);
                arrays.starts[4] = layout.section_bytes;
                arrays.starts[N_ARRAYS] += LANEMAP_ALIGN_UP(
                        arrays.n_bytes[4] + LANEMAP_BITS_PADDING, (uint64_t)LANEMAP_SEGMENT_ALIGN);
        }
        *ret_arrays = arrays;
}

/* The arrays lie where they must, with zeros between them. */
static int verify_layout(struct verify *verify)
{
        const struct lanemap_segment_section_file *header = &verify->header;
        uint64_t end = sizeof(*header), at;
        struct arrays arrays;

        arrays_of(verify, &arrays);
        if (le64toh(header->index_off) != arrays.starts[0] ||
            le64toh(header->tags_off) != arrays.starts[1] ||
            le64toh(header->payload_off) != arrays.starts[2] ||
            le64toh(header->postings_off) != arrays.starts[3] ||
            le64toh(header->filter_off) != arrays.starts[4] ||
            le64toh(header->section_bytes) != arrays.starts[N_ARRAYS])
                return lanemap_segment_wrong(
                        verify->report, offsetof(struct lanemap_segment_section_file, index_off),
                        "section header: the arrays do not lie where they must");

        for (uint32_t i = 0; i <= N_ARRAYS; i++) {
                if (i < N_ARRAYS && arrays.n_bytes[i] == 0)
                        continue;
                at = zeros_end(verify->section, end, arrays.starts[i]);
                if (at < arrays.starts[i])
                        return lanemap_segment_wrong(verify->report, at, "padding is not zero");
                end = i < N_ARRAYS ? arrays.starts[i] + arrays.n_bytes[i] : end;
        }

        return 0;
}

/* From the first byte that this kind leaves zero to the filter's fields. */
static int verify_reserved(struct verify *verify)
{
        const uint64_t end = offsetof(struct lanemap_segment_section_file, filter_off);
        uint64_t at = zeros_end(verify->section, verify->ops->reserved_off, end);

        if (at < end)
                return lanemap_segment_wrong(verify->report, at,
                                             "section header: reserved bytes are not zero");

        return 0;
}

/* A filter of a kind that is known, or none. What a reader may ignore is not ignored here: nobody
 * could tell it from damage. */
static int verify_filter_fields(struct verify *verify)
{
        const struct lanemap_segment_section_file *header = &verify->header;

        if (verify->segment.has_filter) {
                if (le16toh(header->filter_seed) < LANEMAP_FILTER_ATTEMPTS)
                        return 0;
        } else if (header->filter_kind != LANEMAP_FILTER_NONE) {
                lanemap_segment_wrong(verify->report,
                                      offsetof(struct lanemap_segment_section_file, filter_kind),
                                      "section header: a filter of an unknown kind");
                return -EPROTONOSUPPORT;
        } else if ((header->filter_blocks | header->filter_shift | header->filter_seed) == 0) {
                return 0;
        }

        return lanemap_segment_wrong(
                verify->report, offsetof(struct lanemap_segment_section_file, filter_off),
                "section header: the filter has other parameters than it can have");
}

/* Bitmap, ranks and count of the slots agree; what is reserved is zero. */
static int verify_header(struct verify *verify)
{
        const struct lanemap_segment_section_file *header = &verify->header;
        uint32_t n_slots = 0;
        int r;

        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                if (le16toh(header->slot_ranks[i]) != n_slots)
                        return lanemap_segment_wrong(
                                verify->report,
                                offsetof(struct lanemap_segment_section_file, slot_ranks) +
                                        i * sizeof(header->slot_ranks[0]),
                                "section header: slot ranks do not match the bitmap");
                n_slots += (uint32_t)__builtin_popcountll(header->slot_bitmap[i]);
        }
        if (n_slots != verify->segment.n_slots)
                return lanemap_segment_wrong(verify->report,
                                             offsetof(struct lanemap_segment_section_file, n_slots),
                                             "section header: wrong number of slots");

        r = verify_reserved(verify);
        return r < 0 ? r : verify_filter_fields(verify);
}

/* The filter lets it pass, and the index leads to the entry, of which there is only one. */
static int verify_found(struct verify *verify, const struct lanemap_segment_cursor *cursor,
                        const struct lanemap_entry *entry)
{
        const struct lanemap_segment *segment = &verify->segment;
        uint64_t dense = lanemap_dense_hash(entry->fingerprint.hash, (uint32_t)cursor->rank), value;
        int r;

        if (!lanemap_segment_passes(segment, dense, entry->fingerprint.ext))
                return lanemap_segment_wrong(verify->report, le64toh(verify->header.filter_off),
                                             "filter: an entry is not let through");
        if (verify->ops->ordered)
                return 0;

        r = lanemap_segment_ops_of(segment->kind)
                    ->find(segment, dense, entry->fingerprint.ext, &value);
        if (r != 0 || value != cursor->value)
                return lanemap_segment_wrong(verify->report, le64toh(verify->header.index_off),
                                             "index: an entry is not found");

        return 0;
}

/* A list lies right after the one before, and its reference is not the tombstone's. */
static int verify_list(struct verify *verify, uint64_t value)
{
        const struct lanemap_segment *segment = &verify->segment;
        uint64_t offset = value & lanemap_bits_mask(segment->value_bits);
        struct lanemap_segment_posting posting;
        size_t end;

        if (offset != verify->postings_at ||
            lanemap_segment_posting_open(segment->postings, segment->postings_bytes, offset,
                                         segment->ids_max, &posting) < 0 ||
            lanemap_segment_posting_copy_end(&posting, verify->ids, &end) < 0)
                return -EBADMSG;

        verify->last_list_off = offset;
        verify->postings_at = (uint64_t)(posting.bytes - segment->postings) + end;
        return 0;
}

/* Where the entry at a position is in the section: in a perfect hash, roughly. */
static uint64_t entry_off(const struct verify *verify, uint64_t position)
{
        return le64toh(verify->header.payload_off) + position * verify->sizes.entry_bits / 8;
}

static int verify_entry(struct verify *verify, const struct lanemap_segment_cursor *cursor,
                        const struct lanemap_entry *entry)
{
        struct lanemap_segment_report *report = verify->report;

        report->n_keys++;
        report->n_pairs += entry->n_ids;
        report->n_tombstones += entry->n_ids == 0;
        verify->ids_max = LANEMAP_MAX(verify->ids_max, entry->n_ids);
        if (entry->n_ids == 1)
                verify->inline_max = LANEMAP_MAX(verify->inline_max, entry->ids[0]);
        if (entry->n_ids > 1 && verify_list(verify, cursor->value) < 0)
                return lanemap_segment_wrong(report, entry_off(verify, cursor->position - 1),
                                             "a list does not lie behind the one before");

        return verify_found(verify, cursor, entry);
}

/* The widths are the least that hold what was found: one spelling for each set of entries. */
static int verify_widths(struct verify *verify, const struct lanemap_segment_report *before)
{
        const struct lanemap_segment *segment = &verify->segment;
        struct lanemap_segment_report *report = verify->report;
        uint64_t n_tombstones = report->n_tombstones - before->n_tombstones;
        uint32_t list_bits =
                verify->postings_at ? lanemap_bits_width(verify->last_list_off + 1) : 0;
        uint32_t inline_bits = lanemap_bits_width(verify->inline_max);

        if (report->n_keys - before->n_keys != segment->n_keys ||
            report->n_pairs - before->n_pairs != segment->n_pairs ||
            n_tombstones != segment->n_tombstones || verify->ids_max != segment->ids_max)
                return lanemap_segment_wrong(
                        report, offsetof(struct lanemap_segment_section_file, n_keys),
                        "section header: the counts are not those of the entries");
        if (verify->postings_at != segment->postings_bytes ||
            segment->value_flagged != (verify->postings_at > 0 || n_tombstones > 0) ||
            segment->value_bits != LANEMAP_MAX(inline_bits, list_bits))
                return lanemap_segment_wrong(
                        report, offsetof(struct lanemap_segment_section_file, value_flags),
                        "section header: the widths are not those of the entries");

        return 0;
}

static int verify_entries(struct verify *verify)
{
        struct lanemap_segment_report before = *verify->report;
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;
        int r;

        r = lanemap_segment_cursor_init(&cursor, &verify->segment, NULL, verify->ids,
                                        verify->segment.ids_max, verify->scratch);
        if (r < 0)
                return r;

        while ((r = cursor.cursor.next(&cursor.cursor, &entry)) == 0) {
                r = verify_entry(verify, &cursor, &entry);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return lanemap_segment_wrong(verify->report, entry_off(verify, cursor.position),
                                             "an entry is out of order or out of range");

        return verify_widths(verify, &before);
}

/* Offsets in the report are counted from the section's first byte. */
static int verify_section(const void *section, size_t n_bytes, uint32_t fingerprint_bits,
                          struct lanemap_segment_report *report)
{
        struct verify verify = {.section = section, .report = report};
        int r;

        r = lanemap_segment_open(&verify.segment, section, n_bytes, fingerprint_bits);
        if (r < 0) {
                lanemap_segment_wrong(report, 0, "section header");
                return r;
        }

        memcpy(&verify.header, section, sizeof(verify.header));
        report->kind = verify.segment.kind;
        verify.ops = lanemap_segment_build_ops_of(report->kind);
        verify.ops->sizes(&verify.segment, &verify.sizes);
        if (verify.segment.section_bytes != n_bytes)
                return lanemap_segment_wrong(
                        report, offsetof(struct lanemap_segment_section_file, section_bytes),
                        "section header: not the size that the table says");

        r = verify_header(&verify);
        if (r < 0)
                return r;

        r = verify_layout(&verify);
        if (r < 0)
                return r;

        r = verify.ops->verify_index(&verify.segment, report);
        if (r < 0)
                return r;

        verify.ids = lanemap_alloc(((size_t)verify.segment.ids_max + 1) * sizeof(*verify.ids));
        verify.scratch = lanemap_alloc(lanemap_segment_cursor_scratch_bytes(&verify.segment) + 1);
        r = verify.ids && verify.scratch ? verify_entries(&verify) : -ENOMEM;
        lanemap_free(verify.ids);
        lanemap_free(verify.scratch);
        return r;
}

int lanemap_segment_verify(const void *section, size_t n_bytes, uint32_t fingerprint_bits,
                           struct lanemap_segment_report *report)
{
        *report = (struct lanemap_segment_report){.lane = LANEMAP_SEGMENT_LANE_NONE};
        return verify_section(section, n_bytes, fingerprint_bits, report);
}

static int checksum_verify(const unsigned char *bytes, size_t n_bytes)
{
        struct lanemap_segment_header_file header;
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        crypto_generichash_state state;

        memcpy(&header, bytes, sizeof(header));
        memset(header.checksum, 0, sizeof(header.checksum));
        header.check = 0;
        if (sodium_init() < 0 || crypto_generichash_init(&state, NULL, 0, sizeof(checksum)) < 0)
                return -EIO;

        crypto_generichash_update(&state, (const unsigned char *)&header, sizeof(header));
        crypto_generichash_update(&state, bytes + sizeof(header), n_bytes - sizeof(header));
        crypto_generichash_final(&state, checksum, sizeof(checksum));
        return memcmp(checksum, bytes + offsetof(struct lanemap_segment_header_file, checksum),
                      sizeof(checksum)) == 0
                       ? 0
                       : -EBADMSG;
}

/* One section of a file: what it holds, and that the table tells the same. */
static int file_section_verify(const struct lanemap_segment_file *file, uint32_t index,
                               struct lanemap_segment_report *report)
{
        struct lanemap_segment_report before = *report;
        struct lanemap_segment_file_section section;
        int r;

        r = lanemap_segment_file_section(file, index, &section);
        if (r < 0)
                return r;

        report->lane = section.lane;
        r = verify_section(file->bytes + section.offset, section.n_bytes, file->fingerprint_bits,
                           report);
        if (r < 0) {
                report->offset += section.offset;
                return r;
        }
        if (report->n_keys - before.n_keys != section.n_keys ||
            report->n_pairs - before.n_pairs != section.n_pairs || section.kind != report->kind)
                return lanemap_segment_wrong(
                        report,
                        sizeof(struct lanemap_segment_header_file) +
                                index * sizeof(struct lanemap_segment_table_file),
                        "table: not what the section holds");

        report->lane = LANEMAP_SEGMENT_LANE_NONE;
        return 0;
}

int lanemap_segment_file_verify(const void *bytes, size_t n_bytes,
                                struct lanemap_segment_report *report)
{
        struct lanemap_segment_file file;
        int r;

        *report = (struct lanemap_segment_report){.lane = LANEMAP_SEGMENT_LANE_NONE};
        r = lanemap_segment_file_open(&file, bytes, n_bytes);
        if (r < 0) {
                lanemap_segment_wrong(report, 0, "file header or table");
                return r;
        }

        for (uint32_t i = 0; i < file.n_sections; i++) {
                r = file_section_verify(&file, i, report);
                if (r < 0)
                        return r;
        }

        r = checksum_verify(bytes, n_bytes);
        if (r == -EBADMSG)
                lanemap_segment_wrong(
                        report, offsetof(struct lanemap_segment_header_file, checksum), "checksum");

        return r;
}
