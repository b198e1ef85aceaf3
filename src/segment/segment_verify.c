/*
 * See segment_verify.h. The checksum alone would do for the answer; the rest says where, and
 * catches a writer that signed nonsense.
 */
#include "segment/segment_verify.h"

#include <sodium.h>
#include <string.h>

#include "segment/segment_build.h"

/* One section under verification. */
struct verify {
        const unsigned char *section;
        struct lanemap_segment segment;
        struct lanemap_segment_section_file header;
        struct lanemap_segment_report *report;
        uint32_t *ids;
        uint32_t ids_max;    /* seen */
        uint32_t inline_max; /* seen */
        uint64_t postings_at;
        uint64_t last_list_off;
};

static int wrong(struct lanemap_segment_report *report, uint64_t offset, const char *what)
{
        report->what = what;
        report->offset = offset;
        return -EBADMSG;
}

/* The first byte of [from, to) that is not 0, or `to`. */
static uint64_t zeros_end(const unsigned char *bytes, uint64_t from, uint64_t to)
{
        while (from < to && bytes[from] == 0)
                from++;

        return from;
}

/* The arrays lie where they must, with zeros between them. */
static int verify_layout(struct verify *verify)
{
        const struct lanemap_segment_section_file *header = &verify->header;
        const struct lanemap_packed *packed = &verify->segment.packed;
        uint64_t n = verify->segment.n_keys, postings_bytes = verify->segment.postings_bytes;
        struct lanemap_segment_layout layout;
        uint64_t ends[5], starts[5], at;

        lanemap_segment_layout_packed(packed->n_groups, n, packed->entry_bits, postings_bytes,
                                      &layout);
        if (le64toh(header->index_off) != layout.index_off ||
            le64toh(header->tags_off) != layout.tags_off ||
            le64toh(header->payload_off) != layout.payload_off ||
            le64toh(header->postings_off) != layout.postings_off ||
            le64toh(header->section_bytes) != layout.section_bytes)
                return wrong(verify->report,
                             offsetof(struct lanemap_segment_section_file, index_off),
                             "section header: the arrays do not lie where they must");

        ends[0] = sizeof(*header);
        starts[0] = n ? layout.index_off : ends[0];
        ends[1] = starts[0] + packed->n_groups * LANEMAP_PACKED_RECORD_BYTES;
        starts[1] = n ? layout.tags_off : ends[1];
        ends[2] = starts[1] + n;
        starts[2] = n ? layout.payload_off : ends[2];
        ends[3] = starts[2] + (n * packed->entry_bits + 7) / 8;
        starts[3] = postings_bytes ? layout.postings_off : ends[3];
        ends[4] = starts[3] + postings_bytes;
        starts[4] = layout.section_bytes;
        for (uint32_t i = 0; i < 5; i++) {
                at = zeros_end(verify->section, ends[i], starts[i]);
                if (at < starts[i])
                        return wrong(verify->report, at, "padding is not zero");
        }

        return 0;
}

/* Bitmap, ranks and count of the slots agree; what is reserved is zero. */
static int verify_header(struct verify *verify)
{
        const struct lanemap_segment_section_file *header = &verify->header;
        uint32_t n_slots = 0;
        uint64_t at;

        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                if (le16toh(header->slot_ranks[i]) != n_slots)
                        return wrong(verify->report,
                                     offsetof(struct lanemap_segment_section_file, slot_ranks) +
                                             i * sizeof(header->slot_ranks[0]),
                                     "section header: slot ranks do not match the bitmap");
                n_slots += (uint32_t)__builtin_popcountll(header->slot_bitmap[i]);
        }
        if (n_slots != verify->segment.n_slots)
                return wrong(verify->report, offsetof(struct lanemap_segment_section_file, n_slots),
                             "section header: wrong number of slots");

        at = zeros_end(verify->section, offsetof(struct lanemap_segment_section_file, reserved),
                       offsetof(struct lanemap_segment_section_file, slot_bitmap));
        if (at < offsetof(struct lanemap_segment_section_file, slot_bitmap))
                return wrong(verify->report, at, "section header: reserved bytes are not zero");

        return 0;
}

/* Each group begins where the one before ended, and its sub-blocks rise. */
static int verify_directory(struct verify *verify)
{
        const struct lanemap_packed *packed = &verify->segment.packed;
        uint64_t n = 0;

        for (uint64_t group = 0; group < packed->n_groups; group++) {
                const unsigned char *record =
                        packed->directory + group * LANEMAP_PACKED_RECORD_BYTES;

                if (lanemap_load_le32(record) != n || record[4] > record[5] ||
                    record[5] > record[6] || record[6] > record[7])
                        return wrong(verify->report, (uint64_t)(record - verify->section),
                                     "directory: a group does not begin where the last one ended");
                n += record[7];
        }
        if (n != verify->segment.n_keys)
                return wrong(verify->report, (uint64_t)(packed->directory - verify->section),
                             "directory: wrong number of entries");

        return 0;
}

/* A list lies right behind the one before, and its reference is not the tombstone's. */
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

static int verify_entry(struct verify *verify, const struct lanemap_segment_cursor *cursor,
                        const struct lanemap_entry *entry)
{
        struct lanemap_segment_report *report = verify->report;
        uint64_t bit = ((uint64_t)cursor->position - 1) * verify->segment.packed.entry_bits;

        report->n_keys++;
        report->n_pairs += entry->n_ids;
        report->n_tombstones += entry->n_ids == 0;
        verify->ids_max = LANEMAP_MAX(verify->ids_max, entry->n_ids);
        if (entry->n_ids == 1)
                verify->inline_max = LANEMAP_MAX(verify->inline_max, entry->ids[0]);
        if (entry->n_ids > 1 && verify_list(verify, cursor->value) < 0)
                return wrong(report,
                             (uint64_t)(verify->segment.packed.payload - verify->section) + bit / 8,
                             "a list does not lie behind the one before");

        return 0;
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
                return wrong(report, offsetof(struct lanemap_segment_section_file, n_keys),
                             "section header: the counts are not those of the entries");
        if (verify->postings_at != segment->postings_bytes ||
            segment->value_flagged != (verify->postings_at > 0 || n_tombstones > 0) ||
            segment->value_bits != LANEMAP_MAX(inline_bits, list_bits))
                return wrong(report, offsetof(struct lanemap_segment_section_file, value_flags),
                             "section header: the widths are not those of the entries");

        return 0;
}

static int verify_entries(struct verify *verify)
{
        const struct lanemap_packed *packed = &verify->segment.packed;
        struct lanemap_segment_report before = *verify->report;
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;
        int r;

        r = lanemap_segment_cursor_init(&cursor, &verify->segment, NULL, verify->ids,
                                        verify->segment.ids_max);
        if (r < 0)
                return r;

        while ((r = cursor.cursor.next(&cursor.cursor, &entry)) == 0) {
                r = verify_entry(verify, &cursor, &entry);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return wrong(verify->report,
                             (uint64_t)(packed->payload - verify->section) +
                                     (uint64_t)cursor.position * packed->entry_bits / 8,
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
                wrong(report, 0, "section header");
                return r;
        }

        memcpy(&verify.header, section, sizeof(verify.header));
        if (verify.segment.section_bytes != n_bytes)
                return wrong(report, offsetof(struct lanemap_segment_section_file, section_bytes),
                             "section header: not the size that the table says");

        r = verify_header(&verify);
        if (r < 0)
                return r;

        r = verify_layout(&verify);
        if (r < 0)
                return r;

        r = verify_directory(&verify);
        if (r < 0)
                return r;

        verify.ids = lanemap_alloc(((size_t)verify.segment.ids_max + 1) * sizeof(*verify.ids));
        if (!verify.ids)
                return -ENOMEM;

        r = verify_entries(&verify);
        lanemap_free(verify.ids);
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
            report->n_pairs - before.n_pairs != section.n_pairs ||
            section.kind != LANEMAP_SEGMENT_KIND_PACKED)
                return wrong(report,
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
                wrong(report, 0, "file header or table");
                return r;
        }

        for (uint32_t i = 0; i < file.n_sections; i++) {
                r = file_section_verify(&file, i, report);
                if (r < 0)
                        return r;
        }

        r = checksum_verify(bytes, n_bytes);
        if (r == -EBADMSG)
                wrong(report, offsetof(struct lanemap_segment_header_file, checksum), "checksum");

        return r;
}
