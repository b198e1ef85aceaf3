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
#include "reader/retry.h"

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

static int gather_table(struct gather *gather, struct lanemap_overlay_cells cells,
                        uint32_t cell_bytes)
{
        for (uint64_t i = 0; i <= cells.mask; i++) {
                const struct lanemap_overlay_wide_cell_shm *cell =
                        (const void *)(cells.first + i * cell_bytes);
                struct lanemap_fingerprint fp = {0};
                int r;

                if (lanemap_load_acquire(&cell->value) == 0)
                        continue;
                fp.hash = lanemap_load_relaxed(&cell->hash);
                if (cell_bytes == sizeof(*cell))
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

static int gather_levels(void *arg, const struct lanemap_lane_levels *levels)
{
        struct gather *gather = arg;
        int r;

        gather->n = 0;
        r = gather_table(gather, levels->active, levels->cell_bytes);
        if (r == 0 && levels->has_frozen)
                r = gather_table(gather, levels->frozen, levels->cell_bytes);
        for (uint32_t s = 0; r == 0 && s < levels->n_segments; s++)
                r = lanemap_segment_walk(levels->segments[s], gather_found, gather);
        return r;
}

struct lane_question {
        uint32_t lane;
        struct gather *gather;
};

static int lane_try(const struct lanemap_shm_region *region, void *arg)
{
        const struct lane_question *question = arg;

        /* A generation with fewer lanes came into force. */
        if (question->lane >= region->n_lanes) {
                question->gather->n = 0;
                return 0;
        }

        return lanemap_shm_lane_visit(region, question->lane, gather_levels, question->gather);
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

struct fingerprint_question {
        struct lanemap_fingerprint fp;
        struct answer *answer;
};

static int fingerprint_try(const struct lanemap_shm_region *region, void *arg)
{
        const struct fingerprint_question *question = arg;
        struct answer *answer = question->answer;
        uint64_t n_retries = 0;

        return lanemap_shm_lookup(region, question->fp, answer->ids, answer->capacity, &answer->n,
                                  &n_retries);
}

/* As lanemap_reader_lookup(), by fingerprint, into a buffer that grows until the answer fits. */
static int fingerprint_lookup(struct lanemap_reader *reader, struct lanemap_fingerprint fp,
                              struct answer *answer)
{
        struct fingerprint_question question = {.fp = fp, .answer = answer};
        int r;

        for (int n_grown = 0; n_grown < READER_REFRESH_TRIES_MAX; n_grown++) {
                r = reader_retry(reader, fingerprint_try, &question);
                if (r < 0 || answer->n <= answer->capacity)
                        return r;

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
        struct lane_question question = {.lane = lane, .gather = gather};
        int r;

        r = reader_retry(reader, lane_try, &question);
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
        n_lanes = reader_attachment_get(reader)->region.n_lanes;
        lanemap_guard_leave(guard);

        for (uint32_t lane = 0; lane < n_lanes && r == 0; lane++)
                r = lane_iterate(reader, lane, &gather, &answer, fn, arg);

        free(gather.fps);
        free(answer.ids);
        return r;
}
