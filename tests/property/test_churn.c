/*
 * A long churn beside an exact model, and what it may cost: keys are replaced again and again, the
 * oldest by new ones, while flushes and merges go on. Asserted are counted bytes and entries, never
 * time: before each look, merges are given as long as they need to get within their budget.
 *
 * The model: the live keys are the numbers first .. first + KEYS, and each has one id, a function
 * of its number; so every answer is known.
 *
 * LANEMAP_TEST_SEED repeats a run, LANEMAP_TEST_STEPS (thousands of replaced keys) makes it longer.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/engine.h"
#include "support/rng.h"

TestSuite(churn, .timeout = 300);

#define KEYS        100000
#define LANES       8
#define FLUSH_BYTES (32 << 10) /* of tables: 750 to 1400 entries, about 1 % of the keys */
#define BATCH       250        /* keys replaced between two looks */

/* Per pair that was added or removed: entries that flushes and merges wrote, measured 15 to 17. */
#define ENTRIES_WRITTEN_MAX 22

/* Bytes of segments per key: 10.6 of bottoms for so small an index, 4 % of excess, of which merges
 * may be one group late, one flush on top, and a file that is on its way out. */
#define BYTES_PER_KEY_MAX 12.5

/* Of a lane: five while merges lag, and one that a flush puts on top of those that are being
 * merged. */
#define SEGMENTS_MAX 6

struct churn {
        struct lanemap_writer *writer;
        struct rng rng;
        uint64_t first; /* the oldest live key */
        struct lanemap_writer_stats stats;
};

static uint32_t id_of(uint64_t number)
{
        return (uint32_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 33);
}

static size_t key_text(uint64_t number, char *text)
{
        return (size_t)sprintf(text, "churned=%" PRIu64, number);
}

/* The oldest n keys go, n new ones come, in one batch; at the very first, they only come. */
static void replace(struct churn *churn, uint32_t n, bool deletes)
{
        static struct lanemap_op ops[2 * BATCH];
        static char texts[2 * BATCH][32];
        size_t n_ops = 0, n_applied;

        for (uint32_t i = 0; i < n; i++) {
                uint64_t added = deletes ? churn->first + KEYS + i : churn->first + i;

                if (deletes) {
                        size_t bytes = key_text(churn->first + i, texts[n_ops]);

                        ops[n_ops] = (struct lanemap_op){LANEMAP_OP_DELETE, 0, texts[n_ops], bytes};
                        n_ops++;
                }
                ops[n_ops] = (struct lanemap_op){LANEMAP_OP_ADD, id_of(added), texts[n_ops],
                                                 key_text(added, texts[n_ops])};
                n_ops++;
        }
        cr_assert_eq(lanemap_writer_apply(churn->writer, ops, n_ops, NULL, &n_applied, NULL), 0);
        cr_assert_eq(n_applied, n_ops);
        churn->first += n;
}

static void look_up(struct churn *churn, uint64_t number)
{
        bool live = number >= churn->first && number < churn->first + KEYS;
        uint32_t id = 0;
        char text[32];
        size_t n_ids;

        cr_assert_eq(lanemap_writer_lookup(churn->writer, text, key_text(number, text), &id, 1,
                                           &n_ids, NULL),
                     0);
        cr_assert_eq(n_ids, live, "key %" PRIu64 ", the oldest is %" PRIu64, number, churn->first);
        if (live)
                cr_assert_eq(id, id_of(number));
}

/* Until nothing is flushed or merged any more and nothing is due: a machine that is slow is no
 * finding. */
static void merges_wait(struct churn *churn)
{
        const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
        uint64_t n_merges;

        do {
                n_merges = churn->stats.n_merges;
                nanosleep(&pause, NULL);
                engine_stats(churn->writer, &churn->stats);
                cr_assert_leq(churn->stats.n_segments_max, SEGMENTS_MAX);
        } while (churn->stats.n_merges != n_merges ||
                 churn->stats.overlay_bytes > FLUSH_BYTES * 3 / 2 ||
                 churn->stats.segment_young_bytes * 20 > churn->stats.segment_bytes ||
                 churn->stats.segment_bytes > churn->stats.segment_live_bytes * 11 / 10);
}

static void look(struct churn *churn)
{
        double bytes_per_key;

        for (uint32_t i = 0; i < 200; i++)
                look_up(churn, churn->first - 1000 + rng_below(&churn->rng, KEYS + 2000));
        for (uint32_t i = 0; i < 20; i++) {
                look_up(churn, churn->first - 1 - i);
                look_up(churn, churn->first + i);
                look_up(churn, churn->first + KEYS - 1 - i);
        }
        merges_wait(churn);
        cr_assert_eq(churn->stats.n_keys, KEYS);
        cr_assert_eq(churn->stats.n_pairs, KEYS);
        cr_assert_leq(churn->stats.probes_per_1000, 4000);
        bytes_per_key = (double)churn->stats.segment_bytes / KEYS;
        cr_assert_leq(bytes_per_key, BYTES_PER_KEY_MAX, "%.2f bytes of segments per key",
                      bytes_per_key);
}

static void open_and_load(struct churn *churn, struct scratch *scratch, uint64_t compaction_rate)
{
        struct lanemap_writer_options options;
        struct lanemap_error error = {0};

        rng_init(&churn->rng, rng_test_seed(20261123));
        scratch_init(scratch, "churn");
        engine_options_init(&options, scratch, &error);
        options.n_lanes = LANES;
        options.flush_bytes = FLUSH_BYTES;
        options.log_file_bytes = 0;
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        options.compaction_bytes_per_second = compaction_rate;
        cr_assert_eq(lanemap_writer_open(&options, &churn->writer), 0, "%s", error.text);
        churn->first = 1000000;
        for (uint32_t i = 0; i < KEYS / BATCH; i++)
                replace(churn, BATCH, false);
        churn->first -= KEYS;
}

Test(churn, amplification_is_bounded)
{
        uint64_t n_batches = rng_test_steps(20) * 1000 / BATCH, n_entries, n_changed;
        struct lanemap_writer_stats before;
        struct churn churn = {0};
        struct scratch scratch;

        open_and_load(&churn, &scratch, 0);
        cr_assert_eq(engine_request(churn.writer, LANEMAP_REQUEST_COMPACT), 0);
        engine_stats(churn.writer, &before);
        cr_expect_eq(before.n_segments, LANES);

        for (uint64_t i = 0; i < n_batches; i++) {
                replace(&churn, BATCH, true);
                look(&churn);
        }

        n_changed = churn.stats.n_changed - before.n_changed;
        n_entries = churn.stats.flush_entries_written + churn.stats.merge_entries_written -
                    before.flush_entries_written - before.merge_entries_written;
        cr_expect_eq(n_changed, 2 * n_batches * BATCH);
        cr_expect_leq(n_entries, ENTRIES_WRITTEN_MAX * n_changed, "%.1f written per change",
                      (double)n_entries / (double)n_changed);
        cr_expect_eq(churn.stats.segment_bytes_written,
                     churn.stats.flush_bytes_written + churn.stats.merge_bytes_written);
        /* Bottoms are rewritten, but not for each flush. */
        cr_expect_gt(churn.stats.n_merges, before.n_merges + 8);
        cr_expect_leq((churn.stats.merge_entries_written - before.merge_entries_written) * 3,
                      (churn.stats.n_flushes - before.n_flushes) * KEYS);

        /* Nobody writes any more: one segment for each lane, if anybody asks. */
        cr_assert_eq(engine_request(churn.writer, LANEMAP_REQUEST_COMPACT), 0);
        look(&churn);
        cr_expect_eq(churn.stats.n_segments, LANES);
        cr_expect_eq(churn.stats.segment_young_bytes, 0);
        cr_expect_eq(churn.stats.probes_per_1000, 1000);

        lanemap_writer_close(churn.writer);
        scratch_deinit(&scratch);
}

/* Merges that may write next to nothing: flushes and writes go on, and no lane gets any deeper. */
Test(churn, a_compaction_that_is_slowed_costs_memory_not_depth)
{
        struct churn churn = {0};
        struct scratch scratch;

        open_and_load(&churn, &scratch, 4096);
        for (uint32_t i = 0; i < 40; i++) {
                replace(&churn, BATCH, true);
                cr_assert_eq(engine_request(churn.writer, LANEMAP_REQUEST_FLUSH), 0);
                engine_stats(churn.writer, &churn.stats);
                cr_assert_leq(churn.stats.n_segments_max, SEGMENTS_MAX);
                look_up(&churn, churn.first);
                look_up(&churn, churn.first - 1);
        }
        cr_expect_eq(churn.stats.n_keys, KEYS);
        cr_expect_geq(churn.stats.n_flushes, 40);

        /* Closing waits for no bucket. */
        lanemap_writer_close(churn.writer);
        scratch_deinit(&scratch);
}
