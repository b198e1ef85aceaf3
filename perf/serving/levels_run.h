/*
 * Lookups in one lane of several levels. Compiled twice: as it is, and with requests for cache lines
 * made to nothing, so that the two differ in nothing else.
 */
#include "lane/read.h"
#include "serving/levels_private.h"

#define CHUNK 32

static uint32_t posting_id(int r, const struct lanemap_lane_posting *posting)
{
        return r == 0 ? posting->segment.id : 0;
}

/* One after the other: each begins when the one before has its answer. */
static uint64_t run_single(const struct serving_lane *lane, const uint64_t *hashes, size_t n)
{
        uint64_t sum = 0, last = 0;

        for (size_t i = 0; i < n; i++) {
                struct lanemap_fingerprint fp = {.hash = hashes[i] ^ (last & lane->zero)};
                struct lanemap_lane_levels levels;
                struct lanemap_lane_posting posting;
                int r;

                r = lanemap_lane_open(&lane->source, 0, fp, lanemap_slot_of(fp.hash), &levels);
                if (r == 0)
                        r = lanemap_lane_find(&levels, fp, &posting);
                last = posting_id(r, &posting);
                sum += last;
        }

        return sum;
}

static uint64_t run_batch(const struct serving_lane *lane, const uint64_t *hashes, size_t n)
{
        struct lanemap_lane_levels levels[CHUNK];
        struct lanemap_fingerprint fps[CHUNK];
        struct lanemap_lane_posting posting;
        uint64_t sum = 0;

        for (size_t at = 0; at + CHUNK <= n; at += CHUNK) {
                for (size_t i = 0; i < CHUNK; i++) {
                        fps[i] = (struct lanemap_fingerprint){.hash = hashes[at + i]};
                        if (lanemap_lane_open(&lane->source, 0, fps[i],
                                              lanemap_slot_of(fps[i].hash), &levels[i]) != 0)
                                return 0;
                }
                for (size_t i = 0; i < CHUNK; i++)
                        lanemap_lane_prefetch_entries(&levels[i], fps[i]);
                for (size_t i = 0; i < CHUNK; i++)
                        lanemap_lane_prefetch_values(&levels[i], fps[i]);
                for (size_t i = 0; i < CHUNK; i++)
                        sum += posting_id(lanemap_lane_find(&levels[i], fps[i], &posting),
                                          &posting);
        }

        return sum;
}

uint64_t SERVING_LEVELS(const struct serving_lane *lane, const uint64_t *hashes, size_t n,
                        bool batch)
{
        return batch ? run_batch(lane, hashes, n) : run_single(lane, hashes, n);
}
