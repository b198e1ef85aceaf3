/*
 * Building a packed section. See intake.h and, for the bytes, format.h.
 *
 * The width of a group is known before anything is written: the first pass remembers the last 255
 * dense hashes, and the closest pair that is 255 entries apart says how wide a group can be without
 * holding more than 255. So nothing is ever built and thrown away.
 */
#include "segment/packed/build.h"

#include <string.h>

#include "segment/intake.h"
#include "segment/kind_build.h"
#include "segment/read.h"

#define GROUP_ENTRIES_MIN 48

static_assert(LANEMAP_PACKED_GROUP_SHIFT_MAX - LANEMAP_PACKED_SUB_BITS - LANEMAP_PACKED_TAG_BITS <=
                              56 &&
                      LANEMAP_SEGMENT_VALUE_BITS_MAX + 1 <= 56,
              "fields that lanemap_bits_write() takes");

/* Results of the first pass. */
struct census {
        const struct lanemap_build_intake *intake; /* of this pass */
        struct lanemap_build_values values;
        uint64_t closest; /* the least xor of two dense hashes that are 255 entries apart */
        uint32_t recent_at;
        uint64_t recent[LANEMAP_PACKED_GROUP_ENTRIES_MAX];
};

/* Everything that the second pass needs to place an entry. */
struct shape {
        uint32_t group_shift;
        uint32_t sub_shift;
        uint32_t tag_shift;
        uint32_t ext_bits;
        uint32_t entry_bits;
        uint64_t n_groups;
        struct lanemap_segment_layout layout;
};

struct encoder {
        const struct lanemap_build_intake *counted;
        const struct lanemap_build_intake *intake; /* of this pass */
        struct lanemap_build_values *values;
        const struct shape *shape;
        unsigned char *bytes;
        struct lanemap_bits_writer payload;
        uint64_t group;
        uint64_t group_first;
        uint32_t counts[4]; /* entries of the group by sub-block */
};

static int census_entry(void *arg, uint64_t dense, const struct lanemap_entry *entry)
{
        struct census *census = arg;

        if (census->intake->n_keys > LANEMAP_PACKED_GROUP_ENTRIES_MAX) {
                uint64_t apart = census->recent[census->recent_at] ^ dense;

                census->closest = LANEMAP_MIN(census->closest, apart);
        }
        census->recent[census->recent_at] = dense;
        if (++census->recent_at == LANEMAP_PACKED_GROUP_ENTRIES_MAX)
                census->recent_at = 0;

        lanemap_build_values_count(&census->values, entry);
        return 0;
}

static int census_take(struct lanemap_build_intake *intake, struct lanemap_cursor *cursor,
                       struct census *ret_census)
{
        int r;

        *ret_census = (struct census){.intake = intake, .closest = UINT64_MAX};
        r = lanemap_build_intake_pass(intake, cursor, census_entry, ret_census);
        if (r < 0)
                return r;

        return lanemap_build_values_settle(&ret_census->values, intake->n_tombstones);
}

/* The widest group with 48 entries or more on average; no wider than all slots together. */
static uint32_t group_shift_wanted(uint64_t n_keys, uint32_t n_slots)
{
        uint64_t wanted = (uint64_t)GROUP_ENTRIES_MIN * n_slots;
        uint32_t shift = LANEMAP_PACKED_GROUP_SHIFT_MIN, shift_max;

        shift_max = LANEMAP_SLOT_LOW_BITS + lanemap_bits_width(n_slots - 1);
        while (shift < shift_max) {
                bool enough = shift < LANEMAP_SLOT_LOW_BITS
                                      ? n_keys >= wanted << (LANEMAP_SLOT_LOW_BITS - shift)
                                      : n_keys << (shift - LANEMAP_SLOT_LOW_BITS) >= wanted;

                if (enough)
                        break;
                shift++;
        }

        return shift;
}

static int shape_group(struct shape *shape, const struct lanemap_build_intake *intake,
                       const struct census *census)
{
        uint32_t wanted = group_shift_wanted(intake->n_keys, intake->n_slots), possible;

        /* Two hashes share a group when they do not differ in a bit at or above its width. */
        possible = lanemap_bits_width(census->closest);
        possible = possible == 0 ? 0 : possible - 1;
        if (intake->n_keys <= LANEMAP_PACKED_GROUP_ENTRIES_MAX)
                possible = LANEMAP_PACKED_GROUP_SHIFT_MAX;

        shape->group_shift = LANEMAP_MIN(wanted, possible);
        if (shape->group_shift < LANEMAP_PACKED_GROUP_SHIFT_MIN ||
            wanted - shape->group_shift > LANEMAP_SEGMENT_NARROWING_MAX)
                return -ERANGE;

        return 0;
}

void lanemap_packed_layout(uint64_t n_groups, uint64_t n_entries, uint32_t entry_bits,
                           uint64_t postings_bytes, struct lanemap_segment_layout *ret_layout)
{
        lanemap_segment_layout_of(n_groups * LANEMAP_PACKED_RECORD_BYTES, n_entries,
                                  (n_entries * entry_bits + 7) / 8, postings_bytes, ret_layout);
}

static int shape_init(struct shape *shape, const struct lanemap_build_intake *intake,
                      const struct census *census)
{
        const struct lanemap_build_values *values = &census->values;
        int r;

        *shape = (struct shape){.group_shift = LANEMAP_PACKED_GROUP_SHIFT_MAX};
        if (intake->n_keys > 0) {
                r = shape_group(shape, intake, census);
                if (r < 0)
                        return r;

                shape->n_groups = lanemap_packed_n_groups(intake->n_slots, shape->group_shift);
        }

        shape->sub_shift = shape->group_shift - LANEMAP_PACKED_SUB_BITS;
        shape->tag_shift = shape->sub_shift - LANEMAP_PACKED_TAG_BITS;
        shape->ext_bits = lanemap_fingerprint_ext_bits(intake->fingerprint_bits);
        shape->entry_bits =
                shape->tag_shift + shape->ext_bits + values->flagged + values->value_bits;
        lanemap_packed_layout(shape->n_groups, intake->n_keys, shape->entry_bits,
                              values->postings_bytes, &shape->layout);
        return 0;
}

/* Writes the record of the group at hand and begins the next. */
static void encoder_group_end(struct encoder *encoder)
{
        unsigned char *record = encoder->bytes + encoder->shape->layout.index_off +
                                encoder->group * LANEMAP_PACKED_RECORD_BYTES;
        uint32_t n = 0;

        lanemap_store_le32(record, (uint32_t)encoder->group_first);
        for (uint32_t i = 0; i < 4; i++) {
                n += encoder->counts[i];
                record[4 + i] = (unsigned char)n;
                encoder->counts[i] = 0;
        }
        encoder->group_first += n;
        encoder->group++;
}

static int encoder_entry(void *arg, uint64_t dense, const struct lanemap_entry *entry)
{
        struct encoder *encoder = arg;
        const struct shape *shape = encoder->shape;
        uint64_t position = encoder->intake->n_keys - 1, sub = dense >> shape->sub_shift, value;
        int r;

        if (position >= encoder->counted->n_keys)
                return -EINVAL;

        while (encoder->group < sub >> LANEMAP_PACKED_SUB_BITS)
                encoder_group_end(encoder);
        if (position - encoder->group_first >= LANEMAP_PACKED_GROUP_ENTRIES_MAX)
                return -EINVAL;

        r = lanemap_build_values_put(encoder->values, entry, &value);
        if (r < 0)
                return r;

        encoder->bytes[shape->layout.tags_off + position] =
                (unsigned char)(dense >> shape->tag_shift);
        lanemap_bits_write(&encoder->payload, shape->tag_shift,
                           dense & lanemap_bits_mask(shape->tag_shift));
        lanemap_bits_write(&encoder->payload, shape->ext_bits, entry->fingerprint.ext);
        lanemap_bits_write(&encoder->payload,
                           encoder->values->value_bits + encoder->values->flagged, value);
        encoder->counts[sub & 3]++;
        return 0;
}

/* The second pass. `intake` counts again; what it counts must be what was counted. */
static int encode(struct encoder *encoder, struct lanemap_build_intake *intake,
                  struct lanemap_cursor *cursor)
{
        int r;

        encoder->intake = intake;
        r = lanemap_build_intake_pass(intake, cursor, encoder_entry, encoder);
        if (r < 0)
                return r;

        while (encoder->group < encoder->shape->n_groups)
                encoder_group_end(encoder);
        if (!lanemap_build_intake_agrees(intake, encoder->counted) ||
            encoder->values->postings_at != encoder->values->postings_bytes)
                return -EINVAL;

        return 0;
}

static int packed_build(struct lanemap_heap *heap,
                        const struct lanemap_segment_build_options *options,
                        struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        struct lanemap_segment_section_file header = {.kind = htole32(options->kind)};
        struct lanemap_build_intake intake, counted;
        struct census census;
        struct encoder encoder;
        struct shape shape;
        int r;

        r = lanemap_build_intake_init(&intake, options);
        if (r < 0)
                return r;

        r = census_take(&intake, cursor, &census);
        if (r < 0)
                return r;

        r = shape_init(&shape, &intake, &census);
        if (r < 0)
                return r;

        counted = intake;
        lanemap_build_intake_restart(&intake);
        encoder = (struct encoder){.counted = &counted, .values = &census.values, .shape = &shape};
        encoder.bytes =
                lanemap_build_block(heap, options, shape.layout.section_bytes, counted.n_keys);
        if (!encoder.bytes)
                return -ENOMEM;

        encoder.payload.at = encoder.bytes + shape.layout.payload_off;
        census.values.postings = encoder.bytes + shape.layout.postings_off;
        r = encode(&encoder, &intake, cursor);
        if (r < 0)
                return r;

        header.group_shift = htole32(shape.group_shift);
        header.entry_bits = htole32(shape.entry_bits);
        lanemap_build_header_put(encoder.bytes, &header, &counted, &census.values, &shape.layout);
        *ret_built = (struct lanemap_segment_built){
                .bytes = encoder.bytes,
                .n_bytes = shape.layout.section_bytes,
                .n_keys = counted.n_keys,
                .n_pairs = counted.n_pairs,
                .n_tombstones = counted.n_tombstones,
        };
        return 0;
}

static void packed_sizes(const struct lanemap_segment *segment, struct lanemap_segment_sizes *ret)
{
        *ret = (struct lanemap_segment_sizes){
                .index_bytes = segment->packed.n_groups * LANEMAP_PACKED_RECORD_BYTES,
                .tags_bytes = segment->n_keys,
                .entry_bits = segment->packed.entry_bits,
        };
}

/* Each group begins where the one before ended, and its sub-blocks rise. */
static int packed_verify_index(const struct lanemap_segment *segment,
                               struct lanemap_segment_report *report)
{
        const struct lanemap_packed *packed = &segment->packed;
        uint64_t n = 0;

        for (uint64_t group = 0; group < packed->n_groups; group++) {
                const unsigned char *record =
                        packed->directory + group * LANEMAP_PACKED_RECORD_BYTES;

                if (lanemap_load_le32(record) != n || record[4] > record[5] ||
                    record[5] > record[6] || record[6] > record[7])
                        return lanemap_segment_wrong(
                                report, (uint64_t)(record - segment->section),
                                "directory: a group does not begin where the last one ended");
                n += record[7];
        }
        if (n != segment->n_keys)
                return lanemap_segment_wrong(report,
                                             (uint64_t)(packed->directory - segment->section),
                                             "directory: wrong number of entries");

        return 0;
}

const struct lanemap_segment_build_ops lanemap_packed_build_ops = {
        .build = packed_build,
        .sizes = packed_sizes,
        .verify_index = packed_verify_index,
        .reserved_off = offsetof(struct lanemap_segment_section_file, bucket_entries),
        .ordered = true,
};
