/* See directory/salvage_entries.h. The bytes read here are known to be damaged. */
#include "directory/salvage_entries.h"

#include <errno.h>
#include <lanemap/lanemap.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096

bool lanemap_salvage_readable(const struct lanemap_salvage_holes *holes, uint64_t offset,
                              uint64_t n_bytes)
{
        if (!holes->any || n_bytes == 0)
                return true;

        for (uint64_t page = offset / PAGE_BYTES; page <= (offset + n_bytes - 1) / PAGE_BYTES;
             page++)
                if (holes->pages[page])
                        return false;

        return true;
}

static bool bytes_are_readable(const struct lanemap_salvage_entries *entries,
                               const unsigned char *bytes, uint64_t n_bytes)
{
        return lanemap_salvage_readable(
                entries->holes, entries->section_off + (uint64_t)(bytes - entries->segment.section),
                n_bytes);
}

/* ---- groups ---- */

struct group {
        uint64_t first;
        uint64_t end;
        bool sane;
};

/* A group, by the directory; after the last one an empty one at the end. */
static struct group group_of(const struct lanemap_salvage_entries *entries, uint64_t group)
{
        const struct lanemap_packed *packed = &entries->segment.packed;
        const unsigned char *record = packed->directory + group * LANEMAP_PACKED_RECORD_BYTES;
        uint64_t first;

        if (group >= packed->n_groups)
                return (struct group){packed->n_entries, packed->n_entries, true};

        first = lanemap_load_le32(record);
        return (struct group){
                .first = first,
                .end = first + record[7],
                .sane = record[4] <= record[5] && record[5] <= record[6] &&
                        record[6] <= record[7] && first + record[7] <= packed->n_entries &&
                        bytes_are_readable(entries, record, LANEMAP_PACKED_RECORD_BYTES),
        };
}

/*
 * A group is believed when it begins where the one before ended (if that is known) and ends where
 * the next one begins; or when the next one is itself at odds with the one after it, so that it is
 * the next one's word that counts for nothing.
 */
static bool group_is_believed(const struct lanemap_salvage_entries *entries, uint64_t index)
{
        struct group group = group_of(entries, index), next = group_of(entries, index + 1);
        bool begins = entries->group_end == UINT64_MAX || entries->group_end == group.first;

        if (!group.sane || !begins)
                return false;
        if (next.sane && group.end == next.first)
                return true;

        return entries->group_end != UINT64_MAX && index + 1 < entries->segment.packed.n_groups &&
               (!next.sane || next.end != group_of(entries, index + 2).first);
}

static void group_enter(struct lanemap_salvage_entries *entries)
{
        uint64_t index = entries->sub >> LANEMAP_PACKED_SUB_BITS;

        entries->group_good = group_is_believed(entries, index);
        entries->group_end = entries->group_good ? group_of(entries, index).end : UINT64_MAX;
}

/* ---- entries ---- */

static struct lanemap_salvage_entry entry_decode(const struct lanemap_salvage_entries *entries,
                                                 uint64_t position)
{
        const struct lanemap_packed *packed = &entries->segment.packed;
        uint64_t at = position * packed->entry_bits;
        struct lanemap_salvage_entry entry = {0};
        uint64_t dense, rank;

        if (!bytes_are_readable(entries, packed->tags + position, 1) ||
            !bytes_are_readable(entries, packed->payload + at / 8, packed->entry_bits / 8 + 2))
                return entry;

        dense = entries->sub << packed->sub_shift |
                (uint64_t)packed->tags[position] << packed->tag_shift |
                lanemap_packed_field(packed->payload, at, packed->tag_shift);
        rank = dense >> LANEMAP_SLOT_LOW_BITS;
        if (rank >= entries->segment.n_slots)
                return entry;

        entry.fingerprint.hash = (uint64_t)entries->slot_of_rank[rank] << LANEMAP_SLOT_LOW_BITS |
                                 (dense & LANEMAP_SLOT_LOW_MASK);
        at += packed->tag_shift;
        entry.fingerprint.ext =
                (uint32_t)lanemap_packed_field(packed->payload, at, packed->ext_bits);
        at += packed->ext_bits;
        entry.value = lanemap_packed_field(packed->payload, at, packed->value_bits);
        entry.good = true;
        return entry;
}

/* Of two neighbours out of order it is not known which is wrong: both go. */
static void block_drop_disorder(struct lanemap_salvage_entries *entries)
{
        struct lanemap_salvage_entry *block = entries->block;
        bool bad[LANEMAP_PACKED_GROUP_ENTRIES_MAX] = {false};
        const struct lanemap_salvage_entry *last = NULL;

        for (uint32_t i = 1; i < entries->n; i++)
                if (block[i].good && block[i - 1].good &&
                    lanemap_fingerprint_compare(block[i - 1].fingerprint, block[i].fingerprint) >=
                            0)
                        bad[i] = bad[i - 1] = true;
        for (uint32_t i = 0; i < entries->n; i++)
                block[i].good &= !bad[i];

        /* More than one is wrong, perhaps the directory: nothing here can be believed. */
        for (uint32_t i = 0; i < entries->n; i++) {
                if (!block[i].good)
                        continue;
                if (last &&
                    lanemap_fingerprint_compare(last->fingerprint, block[i].fingerprint) >= 0) {
                        entries->n = 0;
                        return;
                }
                last = &block[i];
        }
}

/* ---- buckets ---- */

/* X3: the entry that the lookup of its own fingerprint finds. */
static struct lanemap_salvage_entry placed_decode(const struct lanemap_salvage_entries *entries,
                                                  uint32_t bucket, uint64_t start,
                                                  uint64_t position)
{
        const struct lanemap_segment *segment = &entries->segment;
        const struct lanemap_mph *mph = &segment->mph;
        struct lanemap_mph_entry stored = lanemap_mph_entry_at(mph, position);
        struct lanemap_salvage_entry entry = {0};
        uint64_t dense, value = 0;
        int r;

        if (!bytes_are_readable(entries, mph->entries + position * mph->entry_bits / 8,
                                mph->entry_bits / 8 + 2) ||
            lanemap_mph_dense(mph, bucket, start, stored.remainder, &dense) < 0 ||
            dense >> LANEMAP_SLOT_LOW_BITS >= segment->n_slots)
                return entry;

        r = lanemap_segment_ops_of(segment->kind)->find(segment, dense, stored.ext, &value);
        entry.fingerprint.hash = (uint64_t)entries->slot_of_rank[dense >> LANEMAP_SLOT_LOW_BITS]
                                         << LANEMAP_SLOT_LOW_BITS |
                                 (dense & LANEMAP_SLOT_LOW_MASK);
        entry.fingerprint.ext = stored.ext;
        entry.value = stored.value;
        entry.good = r == 0 && value == stored.value;
        return entry;
}

static int entry_order(const void *a, const void *b)
{
        const struct lanemap_salvage_entry *left = a, *right = b;

        return lanemap_fingerprint_compare(left->fingerprint, right->fingerprint);
}

/* Fills the block with the next bucket, in order. Return: 0, LANEMAP_CURSOR_END. */
static int bucket_load(struct lanemap_salvage_entries *entries)
{
        const struct lanemap_mph *mph = &entries->segment.mph;
        uint32_t index = (uint32_t)entries->sub;
        struct lanemap_mph_bucket bucket;
        uint64_t start;

        entries->at = entries->n = 0;
        if (index == mph->n_buckets)
                return LANEMAP_CURSOR_END;

        entries->sub++;
        if (lanemap_segment_ops_of(entries->segment.kind)
                            ->bucket(&entries->segment, index, &bucket) < 0 ||
            bucket.n > mph->bucket_entries_max)
                return 0;

        start = lanemap_mph_bucket_start(mph, index);
        for (uint32_t i = 0; i < bucket.n; i++) {
                entries->block[entries->n] = placed_decode(entries, index, start, bucket.first + i);
                entries->n += entries->block[entries->n].good;
        }
        qsort(entries->block, entries->n, sizeof(*entries->block), entry_order);
        for (uint32_t i = 1; i < entries->n; i++)
                if (entry_order(&entries->block[i - 1], &entries->block[i]) == 0)
                        entries->block[i - 1].good = entries->block[i].good = false;
        return 0;
}

/* ---- both ---- */

/* Fills the block with the next sub-block. Return: 0, LANEMAP_CURSOR_END. */
static int block_load(struct lanemap_salvage_entries *entries)
{
        const struct lanemap_packed *packed = &entries->segment.packed;
        struct lanemap_packed_range range;

        if (entries->segment.kind != LANEMAP_SEGMENT_KIND_PACKED)
                return bucket_load(entries);

        entries->at = entries->n = 0;
        if (entries->sub >> LANEMAP_PACKED_SUB_BITS >= packed->n_groups)
                return LANEMAP_CURSOR_END;
        if ((entries->sub & 3) == 0)
                group_enter(entries);

        if (entries->group_good &&
            lanemap_packed_range(packed, entries->sub << packed->sub_shift, &range) == 0) {
                for (uint64_t i = range.first; i < range.end; i++)
                        entries->block[entries->n++] = entry_decode(entries, i);
                block_drop_disorder(entries);
        }
        entries->sub++;
        return 0;
}

static bool entry_ids(struct lanemap_salvage_entries *entries,
                      const struct lanemap_salvage_entry *entry, uint32_t *ret_n_ids)
{
        struct lanemap_segment_posting posting;
        size_t end;

        if (lanemap_segment_value(&entries->segment, entry->value, &posting) < 0 ||
            posting.n_ids > entries->segment.ids_max ||
            lanemap_segment_posting_copy_end(&posting, entries->ids, &end) < 0 ||
            (posting.bytes && !bytes_are_readable(entries, posting.bytes, end)))
                return false;
        /* Five bytes in front of the list hold its length, at most. */
        if (posting.bytes && !bytes_are_readable(entries, posting.bytes - 1, 1))
                return false;
        for (uint32_t i = 1; i < posting.n_ids; i++)
                if (entries->ids[i] <= entries->ids[i - 1])
                        return false;
        if (posting.n_ids > 0 && entries->ids[posting.n_ids - 1] > LANEMAP_ID_MAX)
                return false;

        *ret_n_ids = posting.n_ids;
        return true;
}

static bool slot_is_wanted(const struct lanemap_salvage_entries *entries, uint64_t hash)
{
        uint32_t slot = lanemap_slot_of(hash);

        return entries->slot_bitmap[slot >> 6] >> (slot & 63) & 1;
}

static int entries_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        struct lanemap_salvage_entries *entries =
                LANEMAP_CONTAINER_OF(base, struct lanemap_salvage_entries, cursor);

        for (;;) {
                const struct lanemap_salvage_entry *entry;

                if (entries->at == entries->n) {
                        if (block_load(entries) == LANEMAP_CURSOR_END)
                                return LANEMAP_CURSOR_END;
                        continue;
                }

                entry = &entries->block[entries->at++];
                if (!entry->good || !entry_ids(entries, entry, &ret_entry->n_ids))
                        continue;
                entries->n_good++;
                if (!slot_is_wanted(entries, entry->fingerprint.hash))
                        continue;

                ret_entry->fingerprint = entry->fingerprint;
                ret_entry->ids = entries->ids;
                return 0;
        }
}

static int entries_rewind(struct lanemap_cursor *base)
{
        struct lanemap_salvage_entries *entries =
                LANEMAP_CONTAINER_OF(base, struct lanemap_salvage_entries, cursor);

        entries->sub = 0;
        entries->group_end = 0;
        entries->at = entries->n = 0;
        entries->n_good = 0;
        return 0;
}

static void ranks_fill(struct lanemap_salvage_entries *entries)
{
        uint32_t rank = 0;

        for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++)
                if (lanemap_segment_has_slot(&entries->segment, slot))
                        entries->slot_of_rank[rank++] = (uint16_t)slot;
}

int lanemap_salvage_entries_new(struct lanemap_heap *heap, const struct lanemap_segment *segment,
                                uint64_t section_off, const struct lanemap_salvage_holes *holes,
                                const uint64_t *slot_bitmap,
                                struct lanemap_salvage_entries **ret_entries)
{
        struct lanemap_salvage_entries *entries = lanemap_heap_alloc(heap, sizeof(*entries));
        size_t block_max = segment->kind == LANEMAP_SEGMENT_KIND_PACKED
                                   ? LANEMAP_PACKED_GROUP_ENTRIES_MAX
                                   : (size_t)segment->mph.bucket_entries_max + 1;

        if (!entries)
                return -ENOMEM;

        *entries = (struct lanemap_salvage_entries){
                .cursor = {.next = entries_next, .rewind = entries_rewind},
                .segment = *segment,
                .section_off = section_off,
                .holes = holes,
                .slot_bitmap = slot_bitmap,
                .slot_of_rank = lanemap_heap_alloc(heap, LANEMAP_N_SLOTS * sizeof(uint16_t)),
                .block = lanemap_heap_alloc(heap, block_max * sizeof(*entries->block)),
                .ids = lanemap_heap_alloc(heap, ((size_t)segment->ids_max + 1) * sizeof(uint32_t)),
        };
        if (!entries->slot_of_rank || !entries->block || !entries->ids)
                return -ENOMEM;

        memset(entries->slot_of_rank, 0, LANEMAP_N_SLOTS * sizeof(uint16_t));
        ranks_fill(entries);
        *ret_entries = entries;
        return 0;
}
