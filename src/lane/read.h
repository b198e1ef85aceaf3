/*
 * One key in one lane: its view, then active overlay, frozen overlay, segments, newest first; the
 * first that knows the key has the answer.
 *
 * N1. A lookup that loads a lane's word once, and finds every segment of that view mapped,
 *     answers as of that view: no entry is missed or seen twice because of a freeze, a flush or
 *     a merge in between.
 * N2. As O2: any bytes, bounded steps, inside the window.
 * N3. A segment whose owner could not read a page of it (G6) answers -EBADMSG, never "absent": the
 *     mark is looked at after the last load of its bytes. Newer levels answer as always.
 *
 * In stages, so that a batch overlaps its cache misses: lanemap_lane_decode() reads the view, once
 * for many keys; lanemap_lane_prefetch() requests the first line of every level that a key may be
 * in; lanemap_lane_find() resolves them.
 *
 * Thread: any. Cost: all first lines are requested at once, so about two DRAM accesses, however
 * many levels.
 */
#ifndef LANEMAP_LANE_READ_H
#define LANEMAP_LANE_READ_H

#include "lane/format.h"
#include "overlay/read.h"
#include "segment/read.h"

#define LANEMAP_LANE_E_ABSENT   1 /* no level knows the key */
#define LANEMAP_LANE_E_UNMAPPED 2 /* the view names a segment that this process has not mapped */

/* A mapped segment file: private memory of a process, immutable while it is reachable. */
struct lanemap_lane_file {
        uint64_t number;
        uint64_t check;
        const unsigned char *bytes;
        uint64_t n_bytes;
        uint32_t n_sections;

        /* The owner's notes, under its lock; no lookup looks at them. */
        bool wanted_copy; /* the view named the copy when this was mapped */
        bool is_copy;     /* and it is the copy */
        bool populated;
        uint32_t n_tables; /* atomic: attachments of this process that have it in their table */
        uint64_t device;   /* which file it is */
        uint64_t inode;
        struct lanemap_mapping *guard;    /* the writer's (verify/mapping.h) */
        struct lanemap_lane_file *former; /* the writer's: mapped before, for the same file */

        struct lanemap_segment sections[];
};

/* By file slot. An entry is NULL or a file, published with a release store; what it points to stays
 * until readers of this process that may have seen it are gone (guards, RCU). */
struct lanemap_lane_files {
        uint32_t n_slots;
        struct lanemap_lane_file *slots[];
};

/* Where to look. A plain value, copied for each lookup. */
struct lanemap_lane_source {
        struct lanemap_window window; /* the data object */
        const struct lanemap_lane_files *files;
        uint32_t cell_bytes;
};

/*
 * A view, decoded: every pointer checked, nothing in shared memory. It is good for any key of the
 * lane, for as long as the view's block and the segments' mappings are.
 */
struct lanemap_lane_levels {
        struct lanemap_overlay_cells active;
        uint32_t cell_bytes;
        uint16_t n_segments;
        bool has_frozen;
        bool is_simple; /* as lanemap_lane_find_simple() needs it; then there is a first segment,
                           perhaps one without entries */
        const struct lanemap_segment *segments[LANEMAP_LANE_SEGMENTS_MAX];
        struct lanemap_overlay_cells frozen;
};

/* A posting that was found: a value word in the data object, or a posting in a segment. */
struct lanemap_lane_posting {
        bool in_overlay;
        uint64_t overlay_value;
        struct lanemap_segment_posting segment;
        const struct lanemap_segment *from; /* what `segment` is in; NULL: an empty posting */
};

/* The mapped section that a view's entry names, or NULL: not mapped here. */
LANEMAP_ALWAYS_INLINE const struct lanemap_segment *
lanemap_lane_segment(const struct lanemap_lane_files *files,
                     const struct lanemap_lane_segment_shm *entry)
{
        uint32_t slot = lanemap_load_relaxed(&entry->file_slot);
        uint32_t section = lanemap_load_relaxed(&entry->section);
        const struct lanemap_lane_file *file;

        if (LANEMAP_UNLIKELY(slot >= files->n_slots))
                return NULL;

        /* Pairs with the release store that put the file there: its sections are whole. */
        file = lanemap_load_acquire(&files->slots[slot]);
        if (LANEMAP_UNLIKELY(!file || file->number != lanemap_load_relaxed(&entry->file_number) ||
                             section >= file->n_sections))
                return NULL;

        return &file->sections[section];
}

/*
 * Decodes the view at view_off.
 *
 * Return: 0, LANEMAP_LANE_E_UNMAPPED, -EBADMSG.
 */
int lanemap_lane_decode(const struct lanemap_lane_source *source, uint64_t view_off,
                        struct lanemap_lane_levels *ret_levels);

/*
 * Requests the first line of every level.
 *
 * rank    of the key's slot in its lane, and so in each of its sections
 */
LANEMAP_ALWAYS_INLINE void lanemap_lane_prefetch(const struct lanemap_lane_levels *levels,
                                                 struct lanemap_fingerprint fp, uint32_t rank)
{
        lanemap_overlay_prefetch(levels->active, levels->cell_bytes, fp);
        if (LANEMAP_UNLIKELY(levels->has_frozen))
                lanemap_overlay_prefetch(levels->frozen, levels->cell_bytes, fp);
        for (uint32_t i = 0; i < levels->n_segments; i++)
                lanemap_segment_prefetch_directory(levels->segments[i], fp, rank);
}

/* Between the stages, in a batch: the directory lines have arrived; requests what they point to. */
LANEMAP_ALWAYS_INLINE void lanemap_lane_prefetch_entries(const struct lanemap_lane_levels *levels,
                                                         struct lanemap_fingerprint fp,
                                                         uint32_t rank)
{
        for (uint32_t i = 0; i < levels->n_segments; i++)
                lanemap_segment_prefetch_entry(levels->segments[i], fp, rank);
}

/* And once more, when these have arrived: where the value is, if the key is there. */
LANEMAP_ALWAYS_INLINE void lanemap_lane_prefetch_values(const struct lanemap_lane_levels *levels,
                                                        struct lanemap_fingerprint fp,
                                                        uint32_t rank)
{
        for (uint32_t i = 0; i < levels->n_segments; i++)
                lanemap_segment_prefetch_value(levels->segments[i], fp, rank);
}

/* Segments, newest first, as their owner keeps them; an inline function, compiled into the loop. */
typedef const struct lanemap_segment *lanemap_lane_segment_at(const void *owner, uint32_t i);

LANEMAP_ALWAYS_INLINE const struct lanemap_segment *lanemap_lane_segment_in_array(const void *array,
                                                                                  uint32_t i)
{
        return ((const struct lanemap_segment *const *)array)[i];
}

/* Return: true if every page that was read of these segments was there (N3). */
LANEMAP_ALWAYS_INLINE bool lanemap_lane_segments_readable(lanemap_lane_segment_at *segment_at,
                                                          const void *owner, uint32_t n_looked)
{
        bool unreadable = false;

        /* G6. */
        lanemap_fence_acquire();
        for (uint32_t i = 0; i < n_looked; i++)
                unreadable |= lanemap_segment_is_unreadable(segment_at(owner, i));
        return LANEMAP_LIKELY(!unreadable);
}

/*
 * The one search through the levels below the active overlay: frozen overlay, then segments.
 *
 * frozen   no first cell: none
 *
 * Return: 0 (the posting may be a tombstone), LANEMAP_LANE_E_ABSENT, -EBADMSG.
 */
LANEMAP_ALWAYS_INLINE int
lanemap_lane_find_below_active(struct lanemap_overlay_cells frozen, uint32_t cell_bytes,
                               lanemap_lane_segment_at *segment_at, const void *owner,
                               uint32_t n_segments, struct lanemap_fingerprint fp, uint32_t rank,
                               struct lanemap_lane_posting *ret_posting)
{
        int r = LANEMAP_SEGMENT_E_ABSENT;
        uint32_t n_looked = 0;

        if (LANEMAP_UNLIKELY(frozen.first) &&
            lanemap_overlay_find(frozen, cell_bytes, fp, &ret_posting->overlay_value) == 0) {
                ret_posting->in_overlay = true;
                return 0;
        }

        ret_posting->in_overlay = false;
        while (n_looked < n_segments && r == LANEMAP_SEGMENT_E_ABSENT) {
                ret_posting->from = segment_at(owner, n_looked++);
                r = lanemap_segment_find(ret_posting->from, fp, rank, &ret_posting->segment);
        }
        if (!lanemap_lane_segments_readable(segment_at, owner, n_looked))
                return -EBADMSG;

        return r == LANEMAP_SEGMENT_E_ABSENT ? LANEMAP_LANE_E_ABSENT : r;
}

/* Return: 0 (the posting may be a tombstone), LANEMAP_LANE_E_ABSENT, -EBADMSG. */
LANEMAP_ALWAYS_INLINE int lanemap_lane_find(const struct lanemap_lane_levels *levels,
                                            struct lanemap_fingerprint fp, uint32_t rank,
                                            struct lanemap_lane_posting *ret_posting)
{
        struct lanemap_overlay_cells frozen = {.first = NULL};

        if (lanemap_overlay_find(levels->active, levels->cell_bytes, fp,
                                 &ret_posting->overlay_value) == 0) {
                ret_posting->in_overlay = true;
                return 0;
        }

        if (LANEMAP_UNLIKELY(levels->has_frozen))
                frozen = levels->frozen;
        return lanemap_lane_find_below_active(frozen, levels->cell_bytes,
                                              lanemap_lane_segment_in_array, levels->segments,
                                              levels->n_segments, fp, rank, ret_posting);
}

/* Where a key is in simple levels. */
enum lanemap_lane_place {
        LANEMAP_LANE_NOWHERE,
        LANEMAP_LANE_IN_OVERLAY, /* and its value word */
        LANEMAP_LANE_IN_SEGMENT, /* and its value field */
        LANEMAP_LANE_UNKNOWN,    /* lanemap_lane_find() has to say */
};

/*
 * The search in the levels that nearly all lookups meet: fingerprints of 64 bits, no frozen
 * overlay, at most one section, packed and without a filter. The first lines are requested here.
 */
LANEMAP_ALWAYS_INLINE enum lanemap_lane_place
lanemap_lane_find_simple(struct lanemap_overlay_cells active, const struct lanemap_segment *segment,
                         uint64_t hash, uint32_t rank, uint64_t *ret_value)
{
        const struct lanemap_fingerprint fp = {.hash = hash};
        uint64_t dense = lanemap_dense_hash(hash, rank);
        uint64_t sub = lanemap_packed_sub(&segment->packed, dense);
        const unsigned char *record = lanemap_packed_record(&segment->packed, sub);
        struct lanemap_packed_range range;
        bool is_there;

        lanemap_prefetch(record);
        if (lanemap_overlay_find(active, sizeof(struct lanemap_overlay_cell_shm), fp, ret_value) ==
            0)
                return LANEMAP_LANE_IN_OVERLAY;

        if (LANEMAP_UNLIKELY(!record))
                return LANEMAP_LANE_NOWHERE;
        if (LANEMAP_UNLIKELY(lanemap_packed_range_in(&segment->packed, record, sub, &range) != 0))
                return LANEMAP_LANE_UNKNOWN;

        is_there = lanemap_packed_find_in(&segment->packed, range, dense, false, 0, ret_value) == 0;
        /* N3. */
        lanemap_fence_acquire();
        if (lanemap_segment_is_unreadable(segment))
                return LANEMAP_LANE_UNKNOWN;

        return is_there ? LANEMAP_LANE_IN_SEGMENT : LANEMAP_LANE_NOWHERE;
}

/* The posting of a key that was found in simple levels. Return: 0, -EBADMSG. */
int lanemap_lane_simple_posting(enum lanemap_lane_place place, uint64_t value,
                                const struct lanemap_segment *segment,
                                struct lanemap_lane_posting *ret_posting);

/* Counts the ids. Return: 0, -EBADMSG. */
int lanemap_lane_posting_count(const struct lanemap_window *window,
                               const struct lanemap_lane_posting *posting, uint64_t *ret_n_ids);

/* Copies the ids out when they fit. Return: 0 and *ret_n_ids, -EBADMSG. */
int lanemap_lane_posting_copy(const struct lanemap_window *window,
                              const struct lanemap_lane_posting *posting, uint32_t *ids,
                              size_t capacity, size_t *ret_n_ids);

/*
 * Copies the ids from `from` on out, at most `capacity`.
 *
 * Return: 0 and how many were copied: fewer than capacity, there are no more. -EBADMSG. Cost: of
 * what is copied, and a search.
 */
int lanemap_lane_posting_copy_from(const struct lanemap_window *window,
                                   const struct lanemap_lane_posting *posting, uint32_t from,
                                   uint32_t *ids, size_t capacity, size_t *ret_n_copied);

/* A walk through the ids of a posting: in place where they lie as they are, decoded into `ids`
 * where they do not. */
struct lanemap_lane_walk {
        bool in_overlay;
        const struct lanemap_segment *from; /* as in a posting */
        union {
                struct lanemap_overlay_walk overlay;
                struct lanemap_segment_posting_walk segment;
        };
        uint32_t ids[LANEMAP_SEGMENT_POSTING_BLOCK];
};

/* Return: 0 and the number of ids that are to come, -EBADMSG. */
int lanemap_lane_walk_begin(const struct lanemap_window *window,
                            const struct lanemap_lane_posting *posting,
                            struct lanemap_lane_walk *ret_walk, uint64_t *ret_n_ids);

/* Return: 1 and a chunk, 0 no more, -EBADMSG. Owner: *ret_ids is valid until the next call, and as
 * long as the walk stays where it is. */
int lanemap_lane_walk_next(const struct lanemap_window *window, struct lanemap_lane_walk *walk,
                           const uint32_t **ret_ids, uint32_t *ret_n_ids);

/*
 * Bytes that a posting has where it lies: in an overlay its cell and the nodes of its ids, in a
 * segment its encoded list and an even share of what the section has for finding its keys. What an
 * allocator or a table has besides, and older postings of the key, are not counted.
 *
 * n_chunks   as many are looked at, of leaves or of lists of 128 ids; the rest is taken to be like
 *            them; 0: all
 *
 * Return: 0, -EBADMSG. Cost: of a walk through so many chunks.
 */
int lanemap_lane_posting_bytes(const struct lanemap_window *window, uint32_t cell_bytes,
                               const struct lanemap_lane_posting *posting, uint64_t n_chunks,
                               uint64_t *ret_bytes, uint64_t *ret_n_ids);

/* Return: 1, 0, -EBADMSG. */
int lanemap_lane_posting_contains(const struct lanemap_window *window,
                                  const struct lanemap_lane_posting *posting, uint32_t id);

#endif
