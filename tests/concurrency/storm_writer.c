/* The writer of the storm: as fast as it goes, versions of random keys, flushed, merged, flipped.
 * See storm.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "storm.h"

#define BATCH_MAX  48
#define FLIGHT_MAX 256 /* batches that are not yet durable */

/* A batch that is not known to be durable. */
struct flight {
        uint64_t position;
        uint32_t n;
        uint32_t keys[BATCH_MAX];
        uint64_t versions[BATCH_MAX];
};

struct state {
        struct storm *storm;
        struct lanemap_writer *writer;
        struct rng rng;
        struct lanemap_writer_stats seen; /* what of this writer's numbers has been reported */
        struct flight flights[FLIGHT_MAX];
        uint64_t n_begun;
        uint64_t n_landed;
};

/* After a takeover: which version each key came back with. */
static void versions_take_back(struct state *state)
{
        struct storm *storm = state->storm;
        uint32_t ids[VERSIONS_IDS_MAX + 1];
        char text[VERSIONS_KEY_BYTES];

        for (uint32_t k = 0; k < STORM_KEYS; k++) {
                struct storm_key *key = &storm->keys[k];
                uint64_t version = 0;
                size_t n_ids = 0;
                int r = lanemap_writer_lookup(state->writer, text, versions_key(k, text), ids,
                                              VERSIONS_IDS_MAX + 1, &n_ids, NULL);

                if (r != 0 || n_ids > VERSIONS_IDS_MAX ||
                    !versions_judge(k, ids, n_ids, key->durable, key->highest, &version))
                        storm_wrong(storm,
                                    "key %u came back as %zu ids from %u (%d); durable was version "
                                    "%llu, started %llu",
                                    k, n_ids, n_ids ? ids[0] : 0, r,
                                    (unsigned long long)key->durable,
                                    (unsigned long long)key->highest);
                lanemap_store_relaxed(&key->started, version);
                lanemap_store_relaxed(&key->finished, version);
                /* What a successful open brought back is durable. */
                lanemap_store_relaxed(&key->durable, version);
        }
}

static void flights_land(struct state *state)
{
        uint64_t durable = lanemap_writer_durable(state->writer, NULL);

        while (state->n_landed < state->n_begun) {
                struct flight *flight = &state->flights[state->n_landed % FLIGHT_MAX];

                if (flight->position > durable)
                        return;
                for (uint32_t i = 0; i < flight->n; i++)
                        lanemap_store_relaxed(&state->storm->keys[flight->keys[i]].durable,
                                              flight->versions[i]);
                state->n_landed++;
        }
}

/* A few keys are hot: they are where long postings and reuse come from. */
static uint32_t key_pick(struct state *state, bool is_short)
{
        if (rng_below(&state->rng, is_short ? 2 : 3) == 0)
                return 7 + 64 * (uint32_t)rng_below(&state->rng, 6);

        return (uint32_t)rng_below(&state->rng, STORM_KEYS);
}

/* Of random keys, or all of one. */
static void batch_run(struct state *state, bool of_one_key)
{
        struct flight *flight = &state->flights[state->n_begun % FLIGHT_MAX];
        struct storm_key *keys = state->storm->keys;
        struct lanemap_op ops[BATCH_MAX];
        char texts[BATCH_MAX][VERSIONS_KEY_BYTES];
        size_t n_applied = 0;
        bool is_short;

        /* Short ones too: a key that comes once is changed in another way than one that comes
         * often. */
        is_short = rng_below(&state->rng, 8) != 0;
        flight->n = 1 + (uint32_t)rng_below(&state->rng, is_short ? 3 : BATCH_MAX);
        for (uint32_t i = 0; i < flight->n; i++) {
                uint32_t k = of_one_key ? 0 : key_pick(state, is_short);
                uint64_t version = keys[k].started + 1;

                ops[i] = versions_op(k, version);
                ops[i].key = texts[i];
                ops[i].key_bytes = versions_key(k, texts[i]);
                flight->keys[i] = k;
                flight->versions[i] = version;
                lanemap_store_release(&keys[k].started, version);
                if (version > keys[k].highest)
                        lanemap_store_release(&keys[k].highest, version);
        }

        while (n_applied < flight->n) {
                size_t n = 0;
                int r = lanemap_writer_apply(state->writer, ops + n_applied, flight->n - n_applied,
                                             NULL, &n, &flight->position);

                n_applied += n;
                if (r < 0 && r != -ENOSPC && r != -EIO) {
                        storm_wrong(state->storm, "apply answers %d", r);
                        return;
                }
        }
        for (uint32_t i = 0; i < flight->n; i++)
                lanemap_store_release(&keys[flight->keys[i]].finished, flight->versions[i]);
        state->n_begun++;
        state->storm->writer.n_operations += flight->n;
}

static void counts_report(struct state *state)
{
        struct storm_writer_counts *counts = &state->storm->writer;
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};

        must(lanemap_writer_get_stats(state->writer, &stats) == 0);
        counts->n_flushes += stats.n_flushes - state->seen.n_flushes;
        counts->n_merges += stats.n_merges - state->seen.n_merges;
        counts->n_growths += stats.n_overlay_growths - state->seen.n_overlay_growths;
        counts->n_flips += stats.n_generation_flips - state->seen.n_generation_flips;
        state->seen = stats;
}

/* Flips are refused while stopped readers hold two old objects: then later. */
static void outcome_judge(struct state *state, int r)
{
        if (r < 0 && r != -EBUSY)
                storm_wrong(state->storm, "a request ended with %d", r);
}

static void request_run(struct state *state, uint32_t request)
{
        uint64_t ticket;

        must(lanemap_writer_request(state->writer, request, &ticket) == 0);
        outcome_judge(state, lanemap_writer_request_wait(state->writer, ticket));
}

/*
 * A flush by itself takes in what workers would merge, and may do so always. So: all lanes into one
 * file, then one lane out of it into the next; a compaction has to fetch the others.
 */
static void merge_bring_about(struct state *state)
{
        request_run(state, LANEMAP_REQUEST_FLUSH);
        batch_run(state, true);
        request_run(state, LANEMAP_REQUEST_COMPACT);
}

static void requests_run(struct state *state, uint64_t *ticket)
{
        bool hurry = lanemap_load_relaxed(&state->storm->hurry);
        int r = *ticket ? lanemap_writer_request_state(state->writer, *ticket) : 0;

        if (r == LANEMAP_PENDING)
                return;
        outcome_judge(state, r);
        *ticket = 0;
        if (hurry && state->storm->writer.n_merges < STORM_MERGES_LEAST)
                merge_bring_about(state);
        if (hurry || rng_below(&state->rng, 40) == 0)
                must(lanemap_writer_request(state->writer,
                                            hurry || rng_below(&state->rng, 4)
                                                    ? LANEMAP_REQUEST_FLIP
                                                    : LANEMAP_REQUEST_COMPACT,
                                            ticket) == 0);
}

void storm_writer_main(struct storm *storm, uint64_t seed)
{
        static struct state state;
        struct lanemap_writer_options options = {
                .n_lanes = 4,
                .flush_bytes = 100000,
                .log_file_bytes = 4 << 20,
                .appendfsync = LANEMAP_APPENDFSYNC_EVERYSEC,
                .immediate_reuse = storm->immediate_reuse,
                .quarantine_ns = storm->quarantine_ns,
        };
        uint64_t ticket = 0;

        index_shape(&options);
        state.storm = storm;
        rng_init(&state.rng, seed);
        state.writer = scratch_writer_open(&storm->scratch, &options);
        versions_take_back(&state);
        __atomic_fetch_add(&storm->era, 1, __ATOMIC_SEQ_CST);

        for (uint64_t i = 0; !lanemap_load_relaxed(&storm->stop_writer); i++) {
                batch_run(&state, false);
                flights_land(&state);
                if (state.n_begun - state.n_landed == FLIGHT_MAX) {
                        must(lanemap_writer_sync(
                                     state.writer,
                                     state.flights[state.n_landed % FLIGHT_MAX].position) == 0);
                        flights_land(&state);
                }
                if (i % 64 == 0) {
                        counts_report(&state);
                        requests_run(&state, &ticket);
                }
        }

        counts_report(&state);
        lanemap_writer_close(state.writer);
        _exit(0);
}
