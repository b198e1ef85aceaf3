/*
 * Every live key with its ids, for tools. A merge of a lane's levels, newest first, would have to
 * hold still for as long as the tool takes; instead the fingerprints of one lane are gathered level
 * by level, and each is then looked up like any other key. So an answer is as true as a lookup's,
 * and a key that comes or goes meanwhile may or may not be seen.
 */
#include "reader/private.h"

#include <errno.h>
#include <stdlib.h>

#include "common/guard.h"

struct gather {
        struct lanemap_fingerprint *fps;
        size_t n;
        size_t capacity;
};

static int gather_push(struct gather *gather, struct lanemap_fingerprint fp)
{
        if (gather->n == gather->capacity) {
                size_t capacity = gather->capacity ? gather->capacity * 2 : 1024;
                struct lanemap_fingerprint *fps = realloc(gather->fps, capacity * sizeof(*fps));

                if (!fps)
                        return -ENOMEM;
                gather->fps = fps;
                gather->capacity = capacity;
        }

        gather->fps[gather->n++] = fp;
        return 0;
}

static int gather_table(struct gather *gather, const unsigned char *cells,
                        const struct lanemap_overlay_table *table)
{
        if (!cells)
                return 0;

        for (uint64_t i = 0; i < UINT64_C(1) << table->log2_cells; i++) {
                const struct lanemap_overlay_wide_cell_shm *cell =
                        (const void *)(cells + i * table->cell_bytes);
                struct lanemap_fingerprint fp = {0};
                int r;

                if (lanemap_load_acquire(&cell->value) == 0)
                        continue;
                fp.hash = lanemap_load_relaxed(&cell->hash);
                if (table->cell_bytes == sizeof(*cell))
                        fp.ext = lanemap_load_relaxed(&cell->ext);
                r = gather_push(gather, fp);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int gather_found(void *arg, struct lanemap_fingerprint fp)
{
        return gather_push(arg, fp);
}

/* Inside a guard. */
static int gather_lane(struct gather *gather, const struct lanemap_shm_region *region,
                       uint32_t lane)
{
        for (int i = 0; i < LANEMAP_SHM_TRIES_MAX; i++) {
                uint64_t epoch = lanemap_load_acquire(&region->control->epoch);
                struct lanemap_lane_source source = {
                        .window = {.base = region->base,
                                   .bytes = lanemap_load_relaxed(&region->bytes)},
                        .files = lanemap_load_acquire(&region->files),
                        .cell_bytes = region->cell_bytes,
                };
                struct lanemap_lane_levels levels;
                int r;

                if (lanemap_load_acquire(&region->control->generation) != region->generation)
                        return LANEMAP_SHM_E_GENERATION;

                gather->n = 0;
                r = lanemap_lane_open(&source, lanemap_load_acquire(&region->lanes[lane].view_off),
                                      (struct lanemap_fingerprint){0}, 0, &levels);
                if (r == 0)
                        r = gather_table(gather, levels.active_cells, &levels.active);
                if (r == 0)
                        r = gather_table(gather, levels.frozen_cells, &levels.frozen);
                for (uint32_t s = 0; r == 0 && s < levels.n_segments; s++)
                        r = lanemap_segment_walk(levels.segments[s], gather_found, gather);

                lanemap_fence_acquire();
                if (lanemap_load_relaxed(&region->control->watermark) <= epoch)
                        return r == LANEMAP_LANE_E_UNMAPPED ? LANEMAP_SHM_E_UNMAPPED : r;
        }

        return -EAGAIN;
}

static int fingerprint_order(const void *a, const void *b)
{
        const struct lanemap_fingerprint *left = a, *right = b;

        return lanemap_fingerprint_compare(*left, *right);
}

struct answer {
        uint32_t *ids;
        size_t capacity;
        size_t n;
};

/* As lanemap_reader_lookup(), by fingerprint, into a buffer that grows. */
static int fingerprint_lookup(struct lanemap_reader *reader, struct lanemap_fingerprint fp,
                              struct answer *answer)
{
        uint64_t n_retries = 0;

        for (int n_mended = 0; n_mended < READER_MEND_TRIES_MAX; n_mended++) {
                const struct reader_attachment *attachment;
                struct lanemap_guard *guard;
                struct reader_sight seen;
                int r;

                guard = lanemap_guard_enter();
                attachment = reader_attachment_get(reader);
                seen = reader_sight_of(attachment);
                r = lanemap_shm_lookup(&attachment->region, fp, answer->ids, answer->capacity,
                                       &answer->n, &n_retries);
                lanemap_guard_leave(guard);
                if (r != 0) {
                        r = lanemap_reader_mend(reader, r, &seen);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (answer->n <= answer->capacity)
                        return 0;

                free(answer->ids);
                answer->capacity = answer->n + answer->n / 4;
                answer->ids = malloc(answer->capacity * sizeof(*answer->ids));
                if (!answer->ids) {
                        answer->capacity = 0;
                        return -ENOMEM;
                }
        }

        return -EAGAIN;
}

static int lane_iterate(struct lanemap_reader *reader, uint32_t lane, struct gather *gather,
                        struct answer *answer,
                        int (*fn)(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids,
                                  size_t n_ids),
                        void *arg)
{
        int r = -EAGAIN;

        /* Bounded: bytes may be such that what is mapped for one segment is retired for another. */
        for (int n_mended = 0; n_mended < READER_MEND_TRIES_MAX; n_mended++) {
                const struct reader_attachment *attachment;
                struct lanemap_guard *guard;
                struct reader_sight seen;

                guard = lanemap_guard_enter();
                attachment = reader_attachment_get(reader);
                seen = reader_sight_of(attachment);
                r = lane < attachment->region.n_lanes
                            ? gather_lane(gather, &attachment->region, lane)
                            : 0;
                lanemap_guard_leave(guard);
                if (r == 0)
                        break;

                r = lanemap_reader_mend(reader, r, &seen);
                if (r < 0)
                        return r;
                r = -EAGAIN;
        }
        if (r < 0)
                return r;

        if (gather->n > 0)
                qsort(gather->fps, gather->n, sizeof(gather->fps[0]), fingerprint_order);
        for (size_t i = 0; i < gather->n; i++) {
                if (i > 0 && lanemap_fingerprint_equal(gather->fps[i], gather->fps[i - 1]))
                        continue;

                r = fingerprint_lookup(reader, gather->fps[i], answer);
                if (r == 0 && answer->n > 0)
                        r = fn(arg, gather->fps[i].hash, gather->fps[i].ext, answer->ids,
                               answer->n);
                if (r != 0)
                        return r;
        }

        return 0;
}

int lanemap_reader_iterate(struct lanemap_reader *reader,
                           int (*fn)(void *arg, uint64_t hash, uint32_t hash_ext,
                                     const uint32_t *ids, size_t n_ids),
                           void *arg)
{
        struct gather gather = {0};
        struct answer answer = {0};
        struct lanemap_guard *guard;
        uint32_t n_lanes;
        int r = 0;

        if (!reader || !fn)
                return -EINVAL;

        guard = lanemap_guard_enter();
        n_lanes = ((const struct reader_attachment *)lanemap_load_acquire(&reader->attachment))
                          ->region.n_lanes;
        lanemap_guard_leave(guard);

        for (uint32_t lane = 0; lane < n_lanes && r == 0; lane++)
                r = lane_iterate(reader, lane, &gather, &answer, fn, arg);

        free(gather.fps);
        free(answer.ids);
        return r;
}
