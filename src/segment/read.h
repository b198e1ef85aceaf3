/*
 * Reading a section: opening it, lookups, iteration. The bytes are described in format.h;
 * the file around it is read in file_read.h.
 *
 * Guarantees
 *
 *   G1  No function reads outside the bytes it was given, whatever these bytes are. They are input:
 *       what does not fit answers -EBADMSG.
 *   G2  All loops are bounded: a find looks at 255 entries at most (packed), at ten nodes of 2048
 *       words of code (recsplit), at 24 levels and 15 entries (bbhash); a cursor ends after n_keys
 *       entries, a posting after as many bytes as its window has.
 *   G3  Nothing is allocated and nothing is written but the outputs, so any number of threads and
 *       processes can use one mapping at once.
 *   G4  A struct lanemap_segment is a plain value: copy it, keep it in a table, drop it. It is
 *       valid for as long as the bytes are mapped, and lookups never go back to the header unless
 *       the rank of the slot is unknown.
 *   G5  All fingerprint bits are compared. There are no false hits beside equal fingerprints: a
 *       filter only saves asking the index.
 *   G6  A mapping's owner that puts other bytes where a page cannot be read sets `unreadable`
 *       first, for good. An answer from a section's bytes is believed only if the mark is not set
 *       afterwards: see lanemap_segment_is_unreadable().
 */
#ifndef LANEMAP_SEGMENT_READ_H
#define LANEMAP_SEGMENT_READ_H

#include "common/entry.h"
#include "common/order.h"
#include "segment/filter/read.h"
#include "segment/kind_read.h"
#include "segment/packed/read.h"
#include "segment/perfect/bbhash_read.h"
#include "segment/perfect/recsplit_read.h"
#include "segment/posting/read.h"

/* The check value of headers and tables: SipHash-2-4 under LANEMAP_SEGMENT_CHECK_KEY. */
uint64_t lanemap_segment_check_of(const void *bytes, size_t n_bytes);

/* An open section. Guarantee G4. */
struct lanemap_segment {
        const unsigned char *section;
        const unsigned char *postings;
        uint64_t section_bytes;
        uint64_t postings_bytes;
        uint64_t n_pairs;
        uint32_t n_keys; /* entries, tombstones among them */
        uint32_t n_tombstones;
        uint32_t ids_max; /* length of the longest posting */
        uint16_t n_slots;
        uint8_t kind; /* LANEMAP_SEGMENT_KIND_* */
        uint8_t fingerprint_bits;
        uint8_t value_flagged;
        uint8_t value_bits; /* without the flag */
        uint8_t has_filter;
        uint8_t unreadable;  /* atomic: G6 */
        uint32_t inline_max; /* a value field up to this is the one id itself */
        union {
                struct lanemap_packed packed;
                struct lanemap_recsplit recsplit;
                struct lanemap_bbhash bbhash;
                struct lanemap_mph mph; /* the head of the two before */
        };
        struct lanemap_filter filter; /* where has_filter says so */
};

static_assert(offsetof(struct lanemap_segment, filter) <= 128, "two lines, and one for a filter");

/*
 * G6, by an acquire fence after the loads of the section's bytes. It pairs with the release
 * store of the mark, which comes before the page is replaced: whoever has read a byte of the new
 * page sees the mark. Without the fence, "absent" could be believed of a page of zeros.
 */
LANEMAP_ALWAYS_INLINE bool lanemap_segment_is_unreadable(const struct lanemap_segment *segment)
{
        return LANEMAP_UNLIKELY(lanemap_load_relaxed(&segment->unreadable));
}

/*
 * Validates a section's header and every offset in it.
 *
 * n_bytes           what can be read at `section`; may be more than the section has
 * fingerprint_bits  of the index; a section with another width is -EBADMSG
 *
 * Return: 0. Errors: -EBADMSG, -EPROTONOSUPPORT (version, incompatible bits, kind).
 * Thread: any. Owner: *ret_segment points into the section. Cost: 1 microsecond.
 */
int lanemap_segment_open(struct lanemap_segment *ret_segment, const void *section, size_t n_bytes,
                         uint32_t fingerprint_bits);

/* The rank of the hash's slot is not known to the caller: it is counted in the section's bitmap. */
#define LANEMAP_SEGMENT_RANK_UNKNOWN UINT32_MAX

/* Return: true if the section holds this slot. If false, it has no key of this slot. */
LANEMAP_ALWAYS_INLINE bool lanemap_segment_has_slot(const struct lanemap_segment *segment,
                                                    uint32_t slot)
{
        const unsigned char *bitmap =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_bitmap);

        return bitmap[slot >> 3] >> (slot & 7) & 1;
}

/* Return: the rank of a slot, or LANEMAP_SEGMENT_RANK_UNKNOWN when the section does not hold it. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_segment_rank(const struct lanemap_segment *segment,
                                                    uint32_t slot)
{
        const unsigned char *bitmap =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_bitmap);
        const unsigned char *ranks =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_ranks);
        uint64_t word = lanemap_load_le64(bitmap + (slot >> 6) * 8);
        uint64_t below = word & ((UINT64_C(1) << (slot & 63)) - 1);

        if (!(word >> (slot & 63) & 1))
                return LANEMAP_SEGMENT_RANK_UNKNOWN;

        return (uint32_t)(ranks[(slot >> 6) * 2] | ranks[(slot >> 6) * 2 + 1] << 8) +
               (uint32_t)__builtin_popcountll(below);
}

LANEMAP_ALWAYS_INLINE int lanemap_segment_dense(const struct lanemap_segment *segment,
                                                uint64_t hash, uint32_t rank, uint64_t *ret_dense)
{
        if (rank == LANEMAP_SEGMENT_RANK_UNKNOWN)
                rank = lanemap_segment_rank(segment, lanemap_slot_of(hash));
        if (LANEMAP_UNLIKELY(rank >= segment->n_slots))
                return LANEMAP_SEGMENT_E_ABSENT;

        *ret_dense = lanemap_dense_hash(hash, rank);
        return 0;
}

/* Return: true if the index has to be asked. If false, the filter says that the key is absent. */
LANEMAP_ALWAYS_INLINE bool lanemap_segment_passes(const struct lanemap_segment *segment,
                                                  uint64_t dense, uint32_t ext)
{
        return LANEMAP_LIKELY(!segment->has_filter) ||
               lanemap_filter_passes(&segment->filter, dense, ext);
}

/* A value field that is no id: a tombstone, a list, or bad bytes. Return: 0. Errors: -EBADMSG. */
int lanemap_segment_value_open(const struct lanemap_segment *segment, uint64_t value,
                               struct lanemap_segment_posting *ret_posting);

/* Turns a value field into a posting. Return: 0. Errors: -EBADMSG. */
LANEMAP_ALWAYS_INLINE int lanemap_segment_value(const struct lanemap_segment *segment,
                                                uint64_t value,
                                                struct lanemap_segment_posting *ret_posting)
{
        if (LANEMAP_UNLIKELY(value > segment->inline_max))
                return lanemap_segment_value_open(segment, value, ret_posting);

        *ret_posting = (struct lanemap_segment_posting){.n_ids = 1, .id = (uint32_t)value};
        return 0;
}

/*
 * Looks one fingerprint up.
 *
 * rank         of the fingerprint's slot among the section's slots, or
 *              LANEMAP_SEGMENT_RANK_UNKNOWN. A wrong rank finds nothing.
 * ret_posting  a tombstone has n_ids 0
 *
 * Return: 0 found; LANEMAP_SEGMENT_E_ABSENT. Errors: -EBADMSG.
 * Thread: any. Owner: *ret_posting points into the section. Cost: packed: about 1.1 DRAM latencies
 * for a miss and 1.5 for a hit; recsplit: 2; bbhash: 2 to 3; one more for a posting of several ids.
 * With a filter: 1 for a miss, and 1 more for a hit whose index was not requested beside it.
 */
LANEMAP_ALWAYS_INLINE int lanemap_segment_find(const struct lanemap_segment *segment,
                                               struct lanemap_fingerprint fingerprint,
                                               uint32_t rank,
                                               struct lanemap_segment_posting *ret_posting)
{
        uint64_t dense, value;
        int r;

        r = lanemap_segment_dense(segment, fingerprint.hash, rank, &dense);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        if (!lanemap_segment_passes(segment, dense, fingerprint.ext))
                return LANEMAP_SEGMENT_E_ABSENT;

        if (LANEMAP_LIKELY(segment->kind == LANEMAP_SEGMENT_KIND_PACKED))
                r = lanemap_packed_find(&segment->packed, dense, fingerprint.ext, &value);
        else
                r = lanemap_segment_ops_by_kind[segment->kind]->find(segment, dense,
                                                                     fingerprint.ext, &value);
        if (r != 0)
                return r;

        return lanemap_segment_value(segment, value, ret_posting);
}

/*
 * The three stages before a batch of finds: request the first line of each, then, by what that
 * says, the next one, and so on. None waits for memory that the stage before has not requested.
 */
LANEMAP_ALWAYS_INLINE void
lanemap_segment_prefetch_directory(const struct lanemap_segment *segment,
                                   struct lanemap_fingerprint fingerprint, uint32_t rank)
{
        uint64_t dense, group;

        if (lanemap_segment_dense(segment, fingerprint.hash, rank, &dense) != 0)
                return;
        if (LANEMAP_UNLIKELY(segment->has_filter))
                lanemap_filter_prefetch(&segment->filter, dense, fingerprint.ext);
        if (LANEMAP_UNLIKELY(segment->kind != LANEMAP_SEGMENT_KIND_PACKED)) {
                lanemap_segment_ops_by_kind[segment->kind]->prefetch_index(segment, dense,
                                                                           fingerprint.ext);
                return;
        }

        group = dense >> segment->packed.sub_shift >> LANEMAP_PACKED_SUB_BITS;
        if (group < segment->packed.n_groups)
                lanemap_prefetch(segment->packed.directory + group * LANEMAP_PACKED_RECORD_BYTES);
}

LANEMAP_ALWAYS_INLINE void lanemap_segment_prefetch_entry(const struct lanemap_segment *segment,
                                                          struct lanemap_fingerprint fingerprint,
                                                          uint32_t rank)
{
        struct lanemap_packed_range range;
        uint64_t dense;

        if (lanemap_segment_dense(segment, fingerprint.hash, rank, &dense) != 0 ||
            !lanemap_segment_passes(segment, dense, fingerprint.ext))
                return;
        if (LANEMAP_UNLIKELY(segment->kind != LANEMAP_SEGMENT_KIND_PACKED)) {
                lanemap_segment_ops_by_kind[segment->kind]->prefetch_entry(segment, dense,
                                                                           fingerprint.ext);
                return;
        }
        if (lanemap_packed_range(&segment->packed, dense, &range) != 0)
                return;

        lanemap_packed_prefetch_tags(&segment->packed, range);
}

LANEMAP_ALWAYS_INLINE void lanemap_segment_prefetch_value(const struct lanemap_segment *segment,
                                                          struct lanemap_fingerprint fingerprint,
                                                          uint32_t rank)
{
        struct lanemap_packed_range range;
        uint64_t dense;

        if (segment->kind != LANEMAP_SEGMENT_KIND_PACKED ||
            lanemap_segment_dense(segment, fingerprint.hash, rank, &dense) != 0 ||
            !lanemap_segment_passes(segment, dense, fingerprint.ext) ||
            lanemap_packed_range(&segment->packed, dense, &range) != 0)
                return;

        lanemap_packed_prefetch_match(&segment->packed, range,
                                      lanemap_packed_tag(&segment->packed, dense));
}

/* Scratch of a cursor, to sort one bucket. */
struct lanemap_segment_cursor_slot {
        uint64_t dense;
        uint32_t ext;
        uint32_t position;
};

/* Entries as they are stored, and the whole of their hashes. */
struct lanemap_segment_cursor_stored {
        uint64_t dense[LANEMAP_CURSOR_BATCH];
        uint64_t values[LANEMAP_CURSOR_BATCH];
        uint32_t exts[LANEMAP_CURSOR_BATCH];
};

/*
 * All entries of a section in ascending order, as a struct lanemap_cursor (common/entry.h). Checks
 * on its way that the order is strict and that the index is right: -EBADMSG otherwise.
 */
struct lanemap_segment_cursor {
        struct lanemap_cursor cursor; /* first: what merges and builds take */
        struct lanemap_segment segment;
        const uint64_t *slot_mask; /* NULL: all slots */
        uint32_t *ids;
        size_t ids_capacity;
        struct lanemap_segment_cursor_slot *bucket; /* of perfect hashes: the bucket at hand, sorted
                                                     */
        struct lanemap_fingerprint last;
        uint64_t sub;          /* the next sub-block (over all groups), or bucket */
        uint64_t value;        /* the last entry's value field */
        uint32_t position;     /* the next entry, counted in the cursor's order */
        uint32_t sub_end;      /* where its sub-block or bucket ends */
        uint32_t sub_first;    /* and begins */
        uint32_t stored_first; /* entries [stored_first, stored_end) are in `stored` */
        uint32_t stored_end;
        int32_t rank; /* of the last entry's slot; -1: none yet */
        int32_t slot;
        int32_t slot_first; /* of a cursor over some slots; entries of others are not given */
        int32_t slot_last;
        uint32_t end; /* the position after its last entry, as far as that is known */
        struct lanemap_segment_cursor_stored stored;
        uint32_t inlined[LANEMAP_CURSOR_BATCH]; /* ids of entries that have one */
};

/* Return: the bytes of scratch that a cursor over this section needs: 0 for packed; 36 for each
 * entry of the fullest bucket for the other kinds, about 5 KB for recsplit, 80 KB for bbhash. */
size_t lanemap_segment_cursor_scratch_bytes(const struct lanemap_segment *segment);

/*
 * slot_mask    bitmap of LANEMAP_SLOT_WORDS words: entries of other slots are passed over; NULL:
 *              none is. Kept.
 * ids          room for ids_capacity ids, at least segment->ids_max: lists are decoded into it, as
 *              many for one batch as fit. May be NULL when that is 0. Kept.
 * scratch      lanemap_segment_cursor_scratch_bytes() bytes, aligned to 8; may be NULL when that is
 *              0. Kept.
 *
 * Return: 0. Errors: -EINVAL the ids do not fit, or no scratch. Thread: a cursor belongs to one
 * thread. Owner: the caller; nothing to give back. Cost: packed: about 5 ns an entry, sequential;
 * the others: 30 to 60.
 */
int lanemap_segment_cursor_init(struct lanemap_segment_cursor *cursor,
                                const struct lanemap_segment *segment, const uint64_t *slot_mask,
                                uint32_t *ids, size_t ids_capacity, void *scratch);

/*
 * The same for the entries of one slot, reached without reading what is before it.
 *
 * Return, Thread, Owner: as above; also -EBADMSG. Cost: as above for these entries; beside them at
 * most a sub-block (packed) or a bucket is read, and a rank is counted.
 */
int lanemap_segment_cursor_init_slot(struct lanemap_segment_cursor *cursor,
                                     const struct lanemap_segment *segment, uint32_t slot,
                                     uint32_t *ids, size_t ids_capacity, void *scratch);

/*
 * Calls fn with every fingerprint, in no order, until it answers something else than 0.
 *
 * Return: 0, or what fn answered. Errors: -EBADMSG. Thread: any. Cost: 10 ns an entry beside fn; no
 * memory.
 */
int lanemap_segment_walk(const struct lanemap_segment *segment,
                         int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg);

#endif
