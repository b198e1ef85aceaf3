/* See read.h. */
#include "shm/read.h"

#include <string.h>

#include "common/siphash_many.h"
#include "shm/question_read.h"

int lanemap_shm_region_init(struct lanemap_shm_region *region, const void *base, uint64_t bytes)
{
        struct lanemap_window window = {.base = base, .bytes = bytes};
        const struct lanemap_shm_data *data = base;
        uint32_t fingerprint_bits, n_lanes;
        uint64_t slots_off, lanes_off;

        if (bytes < sizeof(*data) || lanemap_load_relaxed(&data->magic) != LANEMAP_SHM_DATA_MAGIC)
                return -EBADMSG;
        if (lanemap_load_relaxed(&data->version) != LANEMAP_SHM_DATA_VERSION ||
            lanemap_load_relaxed(&data->incompatible) != 0 ||
            lanemap_load_relaxed(&data->layout_hash) != LANEMAP_SHM_LAYOUT_HASH)
                return -EPROTONOSUPPORT;
        if (lanemap_load_relaxed(&data->generation) != region->generation)
                return -EBADMSG;

        fingerprint_bits = lanemap_load_relaxed(&data->fingerprint_bits);
        n_lanes = lanemap_load_relaxed(&data->n_lanes);
        if ((fingerprint_bits != 64 && fingerprint_bits != 80 && fingerprint_bits != 96) ||
            n_lanes == 0 || n_lanes > LANEMAP_N_LANES_MAX)
                return -EBADMSG;

        slots_off = lanemap_load_relaxed(&data->slots_off);
        lanes_off = lanemap_load_relaxed(&data->lanes_off);
        region->slots = lanemap_window_at(&window, slots_off,
                                          LANEMAP_N_SLOTS * sizeof(struct lanemap_slot), 64);
        region->lanes = lanemap_window_at(&window, lanes_off,
                                          n_lanes * sizeof(struct lanemap_lane_shm), 64);
        if (!region->slots || !region->lanes)
                return -EBADMSG;

        region->base = base;
        lanemap_store_relaxed(&region->bytes, bytes);
        region->n_lanes = n_lanes;
        region->cell_bytes = lanemap_overlay_cell_bytes(fingerprint_bits);
        memcpy(region->uuid, data->uuid, sizeof(region->uuid));
        lanemap_hash_key_init(&region->hash_key, data->hash_key, fingerprint_bits);
        region->hash_key.vectors = lanemap_sip_vectors_best();
        return 0;
}

/* Decodes the view that a lane's word leads to, and keeps it for the next lookup. */
int lanemap_shm_levels_decode(const struct lanemap_shm_region *region,
                              const struct lanemap_shm_try *try, uint32_t lane, uint64_t word,
                              struct lanemap_lane_levels *ret_levels)
{
        struct lanemap_lane_source source = {.cell_bytes = region->cell_bytes};
        uint64_t serial;
        int r;

        /* Before the table is looked at: what has left it at a later number may be found (P9). */
        serial = lanemap_load_acquire(&region->files_serial);
        source.window = lanemap_shm_window(region);
        /* Pairs with the release store of a new table by its owner. */
        source.files = lanemap_load_acquire(&region->files);
        r = lanemap_lane_decode(&source, word, ret_levels);
        if (r != 0)
                return r == LANEMAP_LANE_E_UNMAPPED ? LANEMAP_SHM_E_UNMAPPED : r;

        if (region->kept && lanemap_shm_epoch_holds(region, try->epoch))
                lanemap_shm_kept_put(&region->kept[lane], word, serial, try->epoch, ret_levels);
        return 0;
}

int lanemap_shm_posting_find(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                             struct lanemap_fingerprint fp,
                             struct lanemap_lane_posting *ret_posting)
{
        struct lanemap_lane_levels levels;
        uint32_t lane, rank;
        int r;

        r = lanemap_shm_slot(region, fp.hash, &lane, &rank);
        if (r == 0)
                r = lanemap_shm_levels_get(region, try, lane, &levels);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        lanemap_lane_prefetch(&levels, fp, rank);
        r = lanemap_lane_find(&levels, fp, rank, ret_posting);
        if (r != LANEMAP_LANE_E_ABSENT)
                return r;

        *ret_posting = (struct lanemap_lane_posting){.in_overlay = false};
        return 0;
}

bool lanemap_shm_simple_copy(const struct lanemap_shm_region *region,
                             const struct lanemap_segment *segment, enum lanemap_lane_place place,
                             uint64_t value, uint32_t *ids, size_t capacity, size_t *ret_n_ids)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct lanemap_lane_posting posting;

        return place != LANEMAP_LANE_UNKNOWN &&
               lanemap_lane_simple_posting(place, value, segment, &posting) == 0 &&
               lanemap_lane_posting_copy(&window, &posting, ids, capacity, ret_n_ids) == 0;
}

struct lookup {
        struct lanemap_fingerprint fp;
        uint32_t *ids;
        size_t capacity;
        size_t n_ids;
};

LANEMAP_ALWAYS_INLINE int lookup_try(const struct lanemap_shm_region *region,
                                     struct lanemap_shm_try *try, void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct lookup *lookup = arg;
        struct lanemap_lane_posting posting;
        int r;

        lookup->n_ids = 0;
        r = lanemap_shm_posting_find(region, try, lookup->fp, &posting);
        if (r == 0 && (posting.in_overlay || posting.segment.n_ids > 0))
                r = lanemap_lane_posting_copy(&window, &posting, lookup->ids, lookup->capacity,
                                              &lookup->n_ids);
        return r;
}

int lanemap_shm_lookup(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                       uint32_t *ids, size_t capacity, size_t *ret_n_ids, uint64_t *n_tries)
{
        struct lookup lookup = {.fp = fp, .ids = ids, .capacity = capacity};
        int r;

        r = lanemap_shm_question_ask(region, lookup_try, &lookup, n_tries);
        if (LANEMAP_LIKELY(r == 0))
                *ret_n_ids = lookup.n_ids;
        return r;
}

struct lookup_from {
        struct lookup lookup;
        uint32_t from;
};

static int lookup_from_try(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                           void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct lookup_from *ask = arg;
        struct lookup *lookup = &ask->lookup;
        struct lanemap_lane_posting posting;
        int r;

        lookup->n_ids = 0;
        r = lanemap_shm_posting_find(region, try, lookup->fp, &posting);
        if (r == 0)
                r = lanemap_lane_posting_copy_from(&window, &posting, ask->from, lookup->ids,
                                                   lookup->capacity, &lookup->n_ids);
        return r;
}

int lanemap_shm_lookup_from(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                            uint32_t from, uint32_t *ids, size_t capacity, size_t *ret_n_ids,
                            uint64_t *n_tries)
{
        struct lookup_from ask = {.lookup = {.fp = fp, .ids = ids, .capacity = capacity},
                                  .from = from};
        int r;

        r = lanemap_shm_question_ask(region, lookup_from_try, &ask, n_tries);
        if (LANEMAP_LIKELY(r == 0))
                *ret_n_ids = ask.lookup.n_ids;
        return r;
}

struct contains {
        struct lanemap_fingerprint fp;
        uint32_t id;
        bool found;
};

LANEMAP_ALWAYS_INLINE int contains_try(const struct lanemap_shm_region *region,
                                       struct lanemap_shm_try *try, void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct contains *contains = arg;
        struct lanemap_lane_posting posting;
        int r;

        contains->found = false;
        r = lanemap_shm_posting_find(region, try, contains->fp, &posting);
        if (r != 0)
                return r;

        r = lanemap_lane_posting_contains(&window, &posting, contains->id);
        contains->found = r == 1;
        return r < 0 ? r : 0;
}

int lanemap_shm_contains(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                         uint32_t id, bool *ret_found, uint64_t *n_tries)
{
        struct contains contains = {.fp = fp, .id = id};
        int r;

        r = lanemap_shm_question_ask(region, contains_try, &contains, n_tries);
        if (LANEMAP_LIKELY(r == 0))
                *ret_found = contains.found;
        return r;
}

struct weigh {
        struct lanemap_fingerprint fp;
        uint64_t n_chunks;
        uint64_t n_bytes, n_ids;
};

static int weigh_try(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                     void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct weigh *weigh = arg;
        struct lanemap_lane_posting posting;
        int r;

        weigh->n_bytes = weigh->n_ids = 0;
        r = lanemap_shm_posting_find(region, try, weigh->fp, &posting);
        if (r == 0)
                r = lanemap_lane_posting_bytes(&window, region->cell_bytes, &posting,
                                               weigh->n_chunks, &weigh->n_bytes, &weigh->n_ids);
        return r;
}

int lanemap_shm_posting_bytes(const struct lanemap_shm_region *region,
                              struct lanemap_fingerprint fp, uint64_t n_chunks, uint64_t *ret_bytes,
                              uint64_t *ret_n_ids, uint64_t *n_tries)
{
        struct weigh weigh = {.fp = fp, .n_chunks = n_chunks};
        int r;

        r = lanemap_shm_question_ask(region, weigh_try, &weigh, n_tries);
        if (r == 0) {
                *ret_bytes = weigh.n_bytes;
                *ret_n_ids = weigh.n_ids;
        }
        return r;
}

struct view_open {
        struct lanemap_fingerprint fp;
        struct lanemap_shm_view *view;
        uint64_t n_ids;
};

LANEMAP_ALWAYS_INLINE int view_try(const struct lanemap_shm_region *region,
                                   struct lanemap_shm_try *try, void *arg)
{
        struct lanemap_lane_posting posting;
        struct lanemap_window window = lanemap_shm_window(region);
        struct view_open *open = arg;
        int r;

        open->n_ids = 0;
        open->view->region = region;
        open->view->epoch = try->epoch;
        open->view->window = window;
        r = lanemap_shm_posting_find(region, try, open->fp, &posting);
        if (r != 0)
                return r;

        return lanemap_lane_walk_begin(&window, &posting, &open->view->walk, &open->n_ids);
}

int lanemap_shm_view_begin(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                           struct lanemap_shm_view *ret_view, uint64_t *ret_n_ids,
                           uint64_t *n_tries)
{
        struct view_open open = {.fp = fp, .view = ret_view};
        int r;

        r = lanemap_shm_question_ask(region, view_try, &open, n_tries);
        if (LANEMAP_LIKELY(r == 0))
                *ret_n_ids = open.n_ids;
        return r;
}

bool lanemap_shm_view_end(const struct lanemap_shm_view *view)
{
        /* As lanemap_shm_epoch_holds(): what was read of the posting is not moved after the load of
         * W (P2). The caller's own loads are among it; it is a call into another object for them.
         */
        lanemap_fence_acquire();
        return lanemap_load_relaxed(&view->region->control->watermark) <= view->epoch;
}

int lanemap_shm_view_next(struct lanemap_shm_view *view, const uint32_t **ret_ids,
                          uint32_t *ret_n_ids)
{
        int r = lanemap_lane_walk_next(&view->window, &view->walk, ret_ids, ret_n_ids);

        /* Not needed for the truth of the end, but nobody wants to be led through garbage. */
        return lanemap_shm_view_end(view) ? r : -EAGAIN;
}

struct segment_list {
        uint32_t lane;
        struct lanemap_lane_segment_shm *segments;
        uint32_t n;
};

static int segments_try(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                        void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct segment_list *list = arg;
        uint64_t view_off = lanemap_load_acquire(&region->lanes[list->lane].view_off);
        const struct lanemap_lane_view_shm *view =
                lanemap_window_at(&window, view_off, sizeof(*view), 16);
        uint32_t n;

        if (!view || lanemap_load_relaxed(&view->magic) != LANEMAP_LANE_VIEW_MAGIC)
                return -EBADMSG;

        n = lanemap_load_relaxed(&view->n_segments);
        if (n > LANEMAP_LANE_SEGMENTS_MAX ||
            !lanemap_window_at(&window, view_off, sizeof(*view) + n * sizeof(view->segments[0]),
                               16))
                return -EBADMSG;

        for (uint32_t i = 0; i < n; i++) {
                struct lanemap_lane_segment_shm *copy = &list->segments[i];

                copy->file_number = lanemap_load_relaxed(&view->segments[i].file_number);
                copy->file_check = lanemap_load_relaxed(&view->segments[i].file_check);
                copy->file_slot = lanemap_load_relaxed(&view->segments[i].file_slot);
                copy->section = lanemap_load_relaxed(&view->segments[i].section);
                copy->flags = lanemap_load_relaxed(&view->segments[i].flags);
        }

        list->n = n;
        return 0;
}

int lanemap_shm_lane_segments(const struct lanemap_shm_region *region, uint32_t lane,
                              struct lanemap_lane_segment_shm *ret_segments, uint32_t *ret_n)
{
        struct segment_list list = {.lane = lane, .segments = ret_segments};
        uint64_t n_tries = 0;
        int r;

        r = lanemap_shm_question_ask(region, segments_try, &list, &n_tries);
        if (r == 0)
                *ret_n = list.n;
        return r;
}

struct levels_visit {
        uint32_t lane;
        int (*fn)(void *arg, const struct lanemap_lane_levels *levels);
        void *arg;
};

static int levels_try(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                      void *arg)
{
        const struct levels_visit *visit = arg;
        struct lanemap_lane_levels levels;
        int r;

        r = lanemap_shm_levels_get(region, try, visit->lane, &levels);
        return r != 0 ? r : visit->fn(visit->arg, &levels);
}

int lanemap_shm_lane_visit(const struct lanemap_shm_region *region, uint32_t lane,
                           int (*fn)(void *arg, const struct lanemap_lane_levels *levels),
                           void *arg)
{
        struct levels_visit visit = {.lane = lane, .fn = fn, .arg = arg};
        uint64_t n_tries = 0;

        return lanemap_shm_question_ask(region, levels_try, &visit, &n_tries);
}
