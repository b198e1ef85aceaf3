/* Views, and postings of either kind of level. See read.h. */
#include "lane/read.h"

static struct lanemap_overlay_cells table_decode(const struct lanemap_lane_source *source,
                                                 uint64_t off, uint8_t log2_cells)
{
        const struct lanemap_overlay_table table = {
                .off = off, .log2_cells = log2_cells, .cell_bytes = source->cell_bytes};

        return lanemap_overlay_cells(&source->window, &table);
}

/* A packed section without a group. */
static const struct lanemap_segment no_segment = {.kind = LANEMAP_SEGMENT_KIND_PACKED};

int lanemap_lane_decode(const struct lanemap_lane_source *source, uint64_t view_off,
                        struct lanemap_lane_levels *ret_levels)
{
        struct lanemap_lane_levels *levels = ret_levels;
        const struct lanemap_lane_view_shm *view =
                lanemap_window_at(&source->window, view_off, sizeof(*view), 16);
        uint64_t frozen_off;
        uint32_t n_segments;

        if (!view || lanemap_load_relaxed(&view->magic) != LANEMAP_LANE_VIEW_MAGIC)
                return -EBADMSG;

        n_segments = lanemap_load_relaxed(&view->n_segments);
        if (n_segments > LANEMAP_LANE_SEGMENTS_MAX ||
            !lanemap_window_at(&source->window, view_off,
                               sizeof(*view) + n_segments * sizeof(view->segments[0]), 16))
                return -EBADMSG;

        levels->active = table_decode(source, lanemap_load_relaxed(&view->active_off),
                                      lanemap_load_relaxed(&view->active_log2_cells));
        if (!levels->active.first)
                return -EBADMSG;

        frozen_off = lanemap_load_relaxed(&view->frozen_off);
        levels->has_frozen = frozen_off != 0;
        levels->frozen = (struct lanemap_overlay_cells){.first = NULL};
        if (frozen_off) {
                levels->frozen = table_decode(source, frozen_off,
                                              lanemap_load_relaxed(&view->frozen_log2_cells));
                if (!levels->frozen.first)
                        return -EBADMSG;
        }

        levels->cell_bytes = source->cell_bytes;
        levels->n_segments = (uint16_t)n_segments;
        for (uint32_t i = 0; i < n_segments; i++) {
                levels->segments[i] = lanemap_lane_segment(source->files, &view->segments[i]);
                if (!levels->segments[i])
                        return LANEMAP_LANE_E_UNMAPPED;
        }

        if (n_segments == 0)
                levels->segments[0] = &no_segment;
        levels->is_simple = n_segments <= 1 && !levels->has_frozen &&
                            levels->cell_bytes == sizeof(struct lanemap_overlay_cell_shm) &&
                            levels->segments[0]->kind == LANEMAP_SEGMENT_KIND_PACKED &&
                            !levels->segments[0]->has_filter;
        return 0;
}

int lanemap_lane_simple_posting(enum lanemap_lane_place place, uint64_t value,
                                const struct lanemap_segment *segment,
                                struct lanemap_lane_posting *ret_posting)
{
        struct lanemap_lane_posting posting = {
                .in_overlay = place == LANEMAP_LANE_IN_OVERLAY,
                .overlay_value = value,
                .from = segment,
        };
        int r = 0;

        if (place == LANEMAP_LANE_IN_SEGMENT)
                r = lanemap_segment_value(segment, value, &posting.segment);
        *ret_posting = posting;
        return r;
}

/* N3: what has just been read of a posting in a segment. Return: r, or -EBADMSG. */
static int read_end(const struct lanemap_segment *from, int r)
{
        return from && !lanemap_lane_segments_readable(lanemap_lane_segment_in_array, &from, 1)
                       ? -EBADMSG
                       : r;
}

int lanemap_lane_posting_count(const struct lanemap_window *window,
                               const struct lanemap_lane_posting *posting, uint64_t *ret_n_ids)
{
        if (posting->in_overlay)
                return lanemap_overlay_posting_count(window, posting->overlay_value, ret_n_ids);

        *ret_n_ids = posting->segment.n_ids;
        return 0;
}

int lanemap_lane_posting_copy(const struct lanemap_window *window,
                              const struct lanemap_lane_posting *posting, uint32_t *ids,
                              size_t capacity, size_t *ret_n_ids)
{
        int r;

        if (posting->in_overlay)
                return lanemap_overlay_posting_copy(window, posting->overlay_value, ids, capacity,
                                                    ret_n_ids);

        if (posting->segment.n_ids <= capacity) {
                r = read_end(posting->from, lanemap_segment_posting_copy(&posting->segment, ids));
                if (r < 0)
                        return r;
        }

        *ret_n_ids = posting->segment.n_ids;
        return 0;
}

int lanemap_lane_walk_begin(const struct lanemap_window *window,
                            const struct lanemap_lane_posting *posting,
                            struct lanemap_lane_walk *ret_walk, uint64_t *ret_n_ids)
{
        int r;

        ret_walk->in_overlay = posting->in_overlay;
        if (posting->in_overlay) {
                r = lanemap_overlay_walk_begin(window, posting->overlay_value, &ret_walk->overlay);
                if (r == 0)
                        *ret_n_ids = ret_walk->overlay.n_left;
                return r;
        }

        ret_walk->from = posting->from;
        r = read_end(posting->from,
                     lanemap_segment_posting_walk_begin(&posting->segment, &ret_walk->segment));
        if (r == 0)
                *ret_n_ids = posting->segment.n_ids;
        return r;
}

int lanemap_lane_walk_next(const struct lanemap_window *window, struct lanemap_lane_walk *walk,
                           const uint32_t **ret_ids, uint32_t *ret_n_ids)
{
        int r;

        if (walk->in_overlay)
                return lanemap_overlay_walk_next(window, &walk->overlay, ret_ids, ret_n_ids);

        r = read_end(walk->from,
                     lanemap_segment_posting_walk_next(&walk->segment, walk->ids, ret_n_ids));
        if (r == 1)
                *ret_ids = walk->ids;
        return r;
}

static int walk_seek(const struct lanemap_window *window, struct lanemap_lane_walk *walk,
                     uint32_t from)
{
        if (walk->in_overlay)
                return lanemap_overlay_walk_seek(window, &walk->overlay, from);

        return read_end(walk->from, lanemap_segment_posting_walk_seek(&walk->segment, from));
}

int lanemap_lane_posting_copy_from(const struct lanemap_window *window,
                                   const struct lanemap_lane_posting *posting, uint32_t from,
                                   uint32_t *ids, size_t capacity, size_t *ret_n_copied)
{
        struct lanemap_lane_walk walk;
        size_t n_copied = 0;
        uint64_t n_ids;
        int r;

        r = lanemap_lane_walk_begin(window, posting, &walk, &n_ids);
        if (r == 0 && n_ids > 0)
                r = walk_seek(window, &walk, from);
        if (r < 0)
                return r;

        while (n_copied < capacity) {
                const uint32_t *chunk;
                uint32_t n;

                r = lanemap_lane_walk_next(window, &walk, &chunk, &n);
                if (r < 0)
                        return r;
                if (r == 0)
                        break;
                for (uint32_t i = 0; i < n && n_copied < capacity; i++) {
                        uint32_t id = lanemap_load_relaxed(&chunk[i]);

                        if (id >= from)
                                ids[n_copied++] = id;
                }
        }

        *ret_n_copied = n_copied;
        return 0;
}

int lanemap_lane_posting_contains(const struct lanemap_window *window,
                                  const struct lanemap_lane_posting *posting, uint32_t id)
{
        if (posting->in_overlay)
                return lanemap_overlay_posting_contains(window, posting->overlay_value, id);

        return read_end(posting->from, lanemap_segment_posting_contains(&posting->segment, id));
}

/* Ids [0, n_looked) of a walk have so many bytes: as many, in proportion, as all. */
static uint64_t bytes_of_all(uint64_t n_bytes, uint64_t n_looked, uint64_t n_ids)
{
        if (n_looked == 0)
                return 0;
        return (uint64_t)((double)n_bytes * ((double)n_ids / (double)n_looked));
}

/* What the posting has besides its ids. */
static uint64_t bytes_beside_ids(uint32_t cell_bytes, const struct lanemap_lane_posting *posting,
                                 const struct lanemap_lane_walk *walk)
{
        const struct lanemap_segment *segment = posting->from;
        uint64_t n_bytes;

        if (posting->in_overlay && walk->overlay.root_off)
                return cell_bytes + sizeof(struct lanemap_overlay_long_shm);
        if (posting->in_overlay)
                return cell_bytes;
        if (!segment || segment->n_keys == 0)
                return 0;
        n_bytes = (segment->section_bytes - segment->postings_bytes) / segment->n_keys;
        if (posting->segment.bytes) /* skip records, and the number of ids */
                n_bytes += (uint64_t)(walk->segment.at - posting->segment.bytes) +
                           (uint64_t)(38 - __builtin_clz(posting->segment.n_ids)) / 7;
        return n_bytes;
}

/* Of a chunk that a walk has just answered: `before` is where its encoded bytes began. */
static uint64_t chunk_bytes(const struct lanemap_lane_walk *walk, const uint32_t *ids,
                            const unsigned char *before, uint32_t n_ids, bool is_long)
{
        if (!walk->in_overlay)
                return walk->segment.at ? (uint64_t)(walk->segment.at - before) : 0;
        if (ids == &walk->overlay.inline_id)
                return 0;
        return sizeof(struct lanemap_overlay_node_shm) + n_ids * sizeof(*ids) +
               (is_long ? sizeof(struct lanemap_overlay_child_shm) : 0);
}

int lanemap_lane_posting_bytes(const struct lanemap_window *window, uint32_t cell_bytes,
                               const struct lanemap_lane_posting *posting, uint64_t n_chunks,
                               uint64_t *ret_bytes, uint64_t *ret_n_ids)
{
        uint64_t n_bytes = 0, n_looked = 0, n_beside;
        struct lanemap_lane_walk walk;
        const uint32_t *ids;
        bool is_long;
        int r;

        r = lanemap_lane_walk_begin(window, posting, &walk, ret_n_ids);
        if (r < 0)
                return r;
        n_beside = bytes_beside_ids(cell_bytes, posting, &walk);
        is_long = walk.in_overlay && walk.overlay.root_off;
        for (uint64_t i = 0; n_chunks == 0 || i < n_chunks; i++) {
                const unsigned char *before = walk.in_overlay ? NULL : walk.segment.at;
                uint32_t n;

                r = lanemap_lane_walk_next(window, &walk, &ids, &n);
                if (r <= 0)
                        break;
                n_bytes += chunk_bytes(&walk, ids, before, n, is_long);
                n_looked += n;
        }
        if (r < 0)
                return r;
        *ret_bytes = n_beside + bytes_of_all(n_bytes, n_looked, *ret_n_ids);
        return 0;
}
