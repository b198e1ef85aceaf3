/*
 * Building a packed section. See segment_build.h and, for the bytes, segment_format.h.
 *
 * The width of a group is known before anything is written: the first pass remembers the last 255
 * dense hashes, and the closest pair that is 255 entries apart says how wide a group can be without
 * holding more than 255. So nothing is ever built and thrown away.
 *
 * Invariant of the second pass: it writes nothing that the first has not counted, even if the
 * cursor does not give the same entries again.
 */
#include "segment/segment_build.h"

#include <errno.h>
#include <string.h>

#include "segment/posting_build.h"
#include "segment/segment_read.h"

#define GROUP_ENTRIES_MIN 48

/* What both passes know of the slots and check of each entry. */
struct intake {
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        uint16_t slot_ranks[LANEMAP_SLOT_WORDS];
        uint32_t n_slots;
        uint32_t fingerprint_bits;
        uint32_t slot; /* of the last entry, and its rank */
        uint32_t rank;
        struct lanemap_fingerprint last;
        uint64_t n_keys;
        uint64_t n_pairs;
        uint64_t n_tombstones;
};

/* What the first pass finds out. */
struct census {
        uint64_t n_lists;
        uint64_t postings_bytes;
        uint64_t last_list_off;
        uint64_t closest; /* the least xor of two dense hashes that are 255 entries apart */
        uint32_t inline_max;
        uint32_t ids_max;
        uint32_t recent_at;
        uint64_t recent[LANEMAP_PACKED_GROUP_ENTRIES_MAX];
};

/* Everything that the second pass needs to place an entry. */
struct shape {
        uint32_t group_shift;
        uint32_t sub_shift;
        uint32_t tag_shift;
        uint32_t ext_bits;
        uint32_t value_bits; /* without the flag */
        uint32_t flagged;
        uint32_t entry_bits;
        uint64_t n_groups;
        struct lanemap_segment_layout layout;
};

struct encoder {
        const struct intake *counted;
        const struct census *census;
        const struct shape *shape;
        unsigned char *bytes;
        uint64_t postings_at;
        uint64_t group;
        uint64_t group_first;
        uint32_t counts[4]; /* entries of the group by sub-block */
};

static int intake_init(struct intake *intake, const struct lanemap_segment_build_options *options)
{
        uint32_t bits = options->fingerprint_bits;

        if (options->kind != LANEMAP_SEGMENT_KIND_PACKED || !options->slot_bitmap ||
            (bits != 64 && bits != 80 && bits != 96))
                return -EINVAL;

        *intake = (struct intake){.fingerprint_bits = bits, .slot = LANEMAP_N_SLOTS};
        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                intake->slot_bitmap[i] = options->slot_bitmap[i];
                intake->slot_ranks[i] = (uint16_t)intake->n_slots;
                intake->n_slots += (uint32_t)__builtin_popcountll(options->slot_bitmap[i]);
        }

        return 0;
}

static void intake_restart(struct intake *intake)
{
        intake->n_keys = 0;
        intake->n_pairs = 0;
        intake->n_tombstones = 0;
}

/* Entries come in the order of their slots, so the rank is seldom looked up. */
static int intake_enter_slot(struct intake *intake, uint32_t slot)
{
        uint64_t word = intake->slot_bitmap[slot >> 6], bit = UINT64_C(1) << (slot & 63);

        if (!(word & bit))
                return -EINVAL;

        intake->slot = slot;
        intake->rank =
                intake->slot_ranks[slot >> 6] + (uint32_t)__builtin_popcountll(word & (bit - 1));
        return 0;
}

/* Checks one entry and counts it. */
static int intake_take(struct intake *intake, const struct lanemap_entry *entry,
                       uint64_t *ret_dense)
{
        struct lanemap_fingerprint fp = entry->fingerprint;
        uint32_t slot = lanemap_slot_of(fp.hash);
        int r;

        if (intake->n_keys > 0 && lanemap_fingerprint_compare(intake->last, fp) >= 0)
                return -EINVAL;
        if (slot != intake->slot) {
                r = intake_enter_slot(intake, slot);
                if (r < 0)
                        return r;
        }
        if ((uint64_t)fp.ext >> lanemap_fingerprint_ext_bits(intake->fingerprint_bits) != 0 ||
            !lanemap_segment_ids_valid(entry->ids, entry->n_ids))
                return -EINVAL;
        if (intake->n_keys == UINT32_MAX || entry->n_ids > LANEMAP_SEGMENT_IDS_MAX)
                return -EFBIG;

        *ret_dense = lanemap_dense_hash(fp.hash, intake->rank);
        intake->last = fp;
        intake->n_keys++;
        intake->n_pairs += entry->n_ids;
        intake->n_tombstones += entry->n_ids == 0;
        return 0;
}

static void census_count(struct census *census, uint64_t n_keys, uint64_t dense,
                         const struct lanemap_entry *entry)
{
        if (n_keys > LANEMAP_PACKED_GROUP_ENTRIES_MAX) {
                uint64_t apart = census->recent[census->recent_at] ^ dense;

                census->closest = LANEMAP_MIN(census->closest, apart);
        }
        census->recent[census->recent_at] = dense;
        if (++census->recent_at == LANEMAP_PACKED_GROUP_ENTRIES_MAX)
                census->recent_at = 0;

        census->ids_max = LANEMAP_MAX(census->ids_max, entry->n_ids);
        if (entry->n_ids == 1) {
                census->inline_max = LANEMAP_MAX(census->inline_max, entry->ids[0]);
        } else if (entry->n_ids > 1) {
                census->n_lists++;
                census->last_list_off = census->postings_bytes;
                census->postings_bytes += lanemap_segment_posting_size(entry->ids, entry->n_ids);
        }
}

static int census_take(struct intake *intake, struct lanemap_cursor *cursor,
                       struct census *ret_census)
{
        struct lanemap_entry entry;
        int r;

        *ret_census = (struct census){.closest = UINT64_MAX};
        r = cursor->rewind(cursor);
        if (r < 0)
                return r;

        while ((r = cursor->next(cursor, &entry)) == 0) {
                uint64_t dense;

                r = intake_take(intake, &entry, &dense);
                if (r < 0)
                        return r;

                census_count(ret_census, intake->n_keys, dense, &entry);
        }

        return r == LANEMAP_CURSOR_END ? 0 : r;
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

static int shape_group(struct shape *shape, const struct intake *intake,
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

static int shape_init(struct shape *shape, const struct intake *intake, const struct census *census)
{
        uint32_t list_bits = census->n_lists ? lanemap_bits_width(census->last_list_off + 1) : 0;
        int r;

        *shape = (struct shape){.group_shift = LANEMAP_PACKED_GROUP_SHIFT_MAX};
        if (intake->n_keys > 0) {
                r = shape_group(shape, intake, census);
                if (r < 0)
                        return r;

                shape->n_groups = lanemap_packed_n_groups(intake->n_slots, shape->group_shift);
        }

        shape->flagged = census->n_lists > 0 || intake->n_tombstones > 0;
        shape->value_bits = LANEMAP_MAX(lanemap_bits_width(census->inline_max), list_bits);
        if (shape->value_bits > LANEMAP_SEGMENT_VALUE_BITS_MAX)
                return -EFBIG;

        shape->sub_shift = shape->group_shift - LANEMAP_PACKED_SUB_BITS;
        shape->tag_shift = shape->sub_shift - LANEMAP_PACKED_TAG_BITS;
        shape->ext_bits = lanemap_fingerprint_ext_bits(intake->fingerprint_bits);
        shape->entry_bits = shape->tag_shift + shape->ext_bits + shape->flagged + shape->value_bits;
        lanemap_segment_layout_packed(shape->n_groups, intake->n_keys, shape->entry_bits,
                                      census->postings_bytes, &shape->layout);
        return 0;
}

static uint64_t layout_array(uint64_t *end, uint64_t n_bytes)
{
        uint64_t offset = *end;

        if (n_bytes == 0)
                return 0;

        *end = LANEMAP_ALIGN_UP(offset + n_bytes + LANEMAP_BITS_PADDING, LANEMAP_SEGMENT_ALIGN);
        return offset;
}

void lanemap_segment_layout_packed(uint64_t n_groups, uint64_t n_entries, uint32_t entry_bits,
                                   uint64_t postings_bytes,
                                   struct lanemap_segment_layout *ret_layout)
{
        uint64_t end = sizeof(struct lanemap_segment_section_file);

        ret_layout->index_off = layout_array(&end, n_groups * LANEMAP_PACKED_RECORD_BYTES);
        ret_layout->tags_off = layout_array(&end, n_entries);
        ret_layout->payload_off = layout_array(&end, (n_entries * entry_bits + 7) / 8);
        ret_layout->postings_off = layout_array(&end, postings_bytes);
        ret_layout->section_bytes = end;
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

/* The value field of an entry; a list goes to the postings. */
static int encoder_value(struct encoder *encoder, const struct lanemap_entry *entry,
                         uint64_t *ret_value)
{
        const struct shape *shape = encoder->shape;
        const struct census *census = encoder->census;
        uint64_t flag = UINT64_C(1) << shape->value_bits, n_bytes;

        if (entry->n_ids == 1) {
                *ret_value = entry->ids[0];
                return entry->ids[0] <= census->inline_max ? 0 : -EINVAL;
        }
        if (!shape->flagged)
                return -EINVAL;
        if (entry->n_ids == 0) {
                *ret_value = flag | (flag - 1);
                return 0;
        }

        n_bytes = lanemap_segment_posting_size(entry->ids, entry->n_ids);
        if (encoder->postings_at > census->last_list_off || entry->n_ids > census->ids_max ||
            n_bytes > census->postings_bytes - encoder->postings_at)
                return -EINVAL;

        *ret_value = flag | encoder->postings_at;
        lanemap_segment_posting_encode(encoder->bytes + shape->layout.postings_off +
                                               encoder->postings_at,
                                       entry->ids, entry->n_ids);
        encoder->postings_at += n_bytes;
        return 0;
}

static int encoder_put(struct encoder *encoder, uint64_t position, uint64_t dense,
                       const struct lanemap_entry *entry)
{
        const struct shape *shape = encoder->shape;
        uint64_t sub = dense >> shape->sub_shift, at = position * shape->entry_bits, value;
        unsigned char *payload = encoder->bytes + shape->layout.payload_off;
        int r;

        if (position >= encoder->counted->n_keys)
                return -EINVAL;

        while (encoder->group < sub >> LANEMAP_PACKED_SUB_BITS)
                encoder_group_end(encoder);
        if (position - encoder->group_first >= LANEMAP_PACKED_GROUP_ENTRIES_MAX)
                return -EINVAL;

        r = encoder_value(encoder, entry, &value);
        if (r < 0)
                return r;

        encoder->bytes[shape->layout.tags_off + position] =
                (unsigned char)(dense >> shape->tag_shift);
        lanemap_bits_put(payload, at, shape->tag_shift,
                         dense & lanemap_bits_mask(shape->tag_shift));
        at += shape->tag_shift;
        if (shape->ext_bits > 0)
                lanemap_bits_put(payload, at, shape->ext_bits, entry->fingerprint.ext);
        at += shape->ext_bits;
        lanemap_bits_put(payload, at, shape->value_bits + shape->flagged, value);
        encoder->counts[sub & 3]++;
        return 0;
}

/* The second pass. `intake` counts again; what it counts must be what was counted. */
static int encode(struct encoder *encoder, struct intake *intake, struct lanemap_cursor *cursor)
{
        const struct intake *counted = encoder->counted;
        struct lanemap_entry entry;
        int r;

        r = cursor->rewind(cursor);
        if (r < 0)
                return r;

        while ((r = cursor->next(cursor, &entry)) == 0) {
                uint64_t dense, position = intake->n_keys;

                r = intake_take(intake, &entry, &dense);
                if (r < 0)
                        return r;

                r = encoder_put(encoder, position, dense, &entry);
                if (r < 0)
                        return r;
        }
        if (r != LANEMAP_CURSOR_END)
                return r;

        while (encoder->group < encoder->shape->n_groups)
                encoder_group_end(encoder);
        if (intake->n_keys != counted->n_keys || intake->n_pairs != counted->n_pairs ||
            intake->n_tombstones != counted->n_tombstones ||
            encoder->postings_at != encoder->census->postings_bytes)
                return -EINVAL;

        return 0;
}

static void header_put(unsigned char *bytes, const struct intake *intake,
                       const struct census *census, const struct shape *shape)
{
        struct lanemap_segment_section_file header = {
                .magic = htole64(LANEMAP_SEGMENT_SECTION_MAGIC),
                .version = htole32(LANEMAP_SEGMENT_FORMAT_VERSION),
                .kind = htole32(LANEMAP_SEGMENT_KIND_PACKED),
                .fingerprint_bits = htole32(intake->fingerprint_bits),
                .section_bytes = htole64(shape->layout.section_bytes),
                .n_keys = htole64(intake->n_keys),
                .n_pairs = htole64(intake->n_pairs),
                .n_tombstones = htole64(intake->n_tombstones),
                .index_off = htole64(shape->layout.index_off),
                .tags_off = htole64(shape->layout.tags_off),
                .payload_off = htole64(shape->layout.payload_off),
                .postings_off = htole64(shape->layout.postings_off),
                .postings_bytes = htole64(census->postings_bytes),
                .ids_max = htole32(census->ids_max),
                .n_slots = htole32(intake->n_slots),
                .value_flags = htole32(shape->flagged ? LANEMAP_SEGMENT_VALUE_FLAGGED : 0),
                .value_bits = htole32(shape->value_bits),
                .group_shift = htole32(shape->group_shift),
                .entry_bits = htole32(shape->entry_bits),
        };

        for (uint32_t i = 0; i < LANEMAP_SLOT_WORDS; i++) {
                header.slot_bitmap[i] = htole64(intake->slot_bitmap[i]);
                header.slot_ranks[i] = htole16(intake->slot_ranks[i]);
        }
        header.check = htole64(lanemap_segment_check_of(&header, sizeof(header)));
        memcpy(bytes, &header, sizeof(header));
}

int lanemap_segment_build(struct lanemap_heap *heap,
                          const struct lanemap_segment_build_options *options,
                          struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        struct intake intake, counted;
        struct census census;
        struct encoder encoder;
        struct shape shape;
        int r;

        r = intake_init(&intake, options);
        if (r < 0)
                return r;

        r = census_take(&intake, cursor, &census);
        if (r < 0)
                return r;

        r = shape_init(&shape, &intake, &census);
        if (r < 0)
                return r;

        counted = intake;
        intake_restart(&intake);
        encoder = (struct encoder){.counted = &counted, .census = &census, .shape = &shape};
        encoder.bytes = lanemap_heap_alloc(heap, shape.layout.section_bytes);
        if (!encoder.bytes)
                return -ENOMEM;

        memset(encoder.bytes, 0, shape.layout.section_bytes);
        r = encode(&encoder, &intake, cursor);
        if (r < 0)
                return r;

        header_put(encoder.bytes, &counted, &census, &shape);
        *ret_built = (struct lanemap_segment_built){
                .bytes = encoder.bytes,
                .n_bytes = shape.layout.section_bytes,
                .n_keys = counted.n_keys,
                .n_pairs = counted.n_pairs,
                .n_tombstones = counted.n_tombstones,
        };
        return 0;
}
