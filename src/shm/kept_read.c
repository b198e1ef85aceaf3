/* See kept_read.h. */
#include "shm/kept_read.h"

#include <stdlib.h>
#include <string.h>

#include "common/guard.h"

#define SEQUENCE_FORKS_SHIFT 48

struct lanemap_shm_kept *lanemap_shm_kept_new(uint32_t n_lanes)
{
        struct lanemap_shm_kept *kept;
        void *memory;

        if (posix_memalign(&memory, LANEMAP_CACHE_LINE_BYTES, n_lanes * sizeof(*kept)) != 0)
                return NULL;

        kept = memset(memory, 0, n_lanes * sizeof(*kept));
        /* No table of files has this number. */
        for (uint32_t lane = 0; lane < n_lanes; lane++)
                kept[lane].serial = UINT64_MAX;
        return kept;
}

static void levels_store(struct lanemap_lane_levels *to, const struct lanemap_lane_levels *from)
{
        lanemap_store_relaxed(&to->active.first, from->active.first);
        lanemap_store_relaxed(&to->active.mask, from->active.mask);
        lanemap_store_relaxed(&to->cell_bytes, from->cell_bytes);
        lanemap_store_relaxed(&to->has_frozen, from->has_frozen);
        lanemap_store_relaxed(&to->is_simple, from->is_simple);
        lanemap_store_relaxed(&to->n_segments, from->n_segments);
        for (uint32_t i = 0; i < LANEMAP_MAX(from->n_segments, from->is_simple); i++)
                lanemap_store_relaxed(&to->segments[i], from->segments[i]);
        lanemap_store_relaxed(&to->frozen.first, from->frozen.first);
        lanemap_store_relaxed(&to->frozen.mask, from->frozen.mask);
}

/* Makes the number odd, and this thread the one that writes. Return: the number, 0: another thread
 * of this process is. */
static uint64_t sequence_claim(uint64_t *sequence)
{
        uint64_t forks = lanemap_guard_forks() << SEQUENCE_FORKS_SHIFT;
        uint64_t seen = lanemap_load_relaxed(sequence), claimed;

        if ((seen & 1) && seen >> SEQUENCE_FORKS_SHIFT == forks >> SEQUENCE_FORKS_SHIFT)
                return 0;

        claimed = ((seen + 1) | 1) << (64 - SEQUENCE_FORKS_SHIFT) >> (64 - SEQUENCE_FORKS_SHIFT) |
                  forks;
        return __atomic_compare_exchange_n(sequence, &seen, claimed, false, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED)
                       ? claimed
                       : 0;
}

void lanemap_shm_kept_put(struct lanemap_shm_kept *kept, uint64_t word, uint64_t serial,
                          uint64_t epoch, const struct lanemap_lane_levels *levels)
{
        uint64_t claimed = sequence_claim(&kept->sequence);

        if (!claimed)
                return;

        /* Pairs with the acquire fence in lanemap_shm_kept_get(): weaker, words of two decodings
         * could be taken for one. */
        lanemap_fence_release();
        lanemap_store_relaxed(&kept->word, word);
        lanemap_store_relaxed(&kept->serial, serial);
        lanemap_store_relaxed(&kept->epoch, epoch);
        levels_store(&kept->levels, levels);
        lanemap_store_release(&kept->sequence, claimed + 1);
}
