/*
 * One process, many threads: some look up in the writer's own mapping (protocol P0 and RCU), some
 * through one reader object, one applies, and the engine's own flush, merge and flip. Every answer
 * is judged as in the storm (versions.h).
 *
 *         threads [--seconds N] [--seed S] [--immediate-reuse]
 *                 [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96]
 *
 * Under TSan this is where data races show: the writer's lookups and its stores meet in one
 * mapping. The reader object has a mapping of its own, which TSan takes for other memory; there it
 * sees races on the reader's private state only.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "common/order.h"
#include "versions.h"

#define N_KEYS               20000
#define BATCH_MAX            24
#define OPERATIONS_PER_FLUSH 2000
#define N_WRITER_LOOKERS     2
#define QUESTIONS_MORE_MAX   1000
#define N_READER_LOOKERS     2

struct key {
        uint64_t started;
        uint64_t finished;
};

struct threads {
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct key keys[N_KEYS];
        uint64_t seed;
        uint32_t stop;
        uint32_t n_wrong;
        uint64_t n_lookups;
        uint64_t n_operations;
};

static struct threads threads;

static void wrong(const char *what, uint32_t key, int r, uint64_t low, uint64_t high)
{
        if (__atomic_fetch_add(&threads.n_wrong, 1, __ATOMIC_SEQ_CST) == 0)
                printf("WRONG: %s of key %u answers %d; it was version %" PRIu64 " to %" PRIu64
                       "\n",
                       what, key, r, low, high);
        lanemap_store_release(&threads.stop, 1);
}

static uint32_t key_pick(struct rng *rng)
{
        if (rng_below(rng, 4) == 0)
                return 7 + 64 * (uint32_t)rng_below(rng, 4);

        return (uint32_t)rng_below(rng, N_KEYS);
}

static void lookup_run(struct rng *rng, bool by_reader, uint32_t *ids)
{
        uint32_t k = key_pick(rng);
        uint64_t low = lanemap_load_acquire(&threads.keys[k].finished), high, version = 0;
        char text[VERSIONS_KEY_BYTES];
        size_t n_ids = 0, bytes = versions_key(k, text);
        int r = by_reader ? lanemap_reader_lookup(threads.reader, text, bytes, ids,
                                                  VERSIONS_IDS_MAX, &n_ids)
                          : lanemap_writer_lookup(threads.writer, text, bytes, ids,
                                                  VERSIONS_IDS_MAX, &n_ids, NULL);

        high = lanemap_load_acquire(&threads.keys[k].started);
        if (r != 0 || n_ids > VERSIONS_IDS_MAX ||
            !versions_judge(k, ids, n_ids, low, high, &version))
                wrong("a lookup", k, r, low, high);
}

static void contains_run(struct rng *rng, bool by_reader)
{
        uint32_t k = key_pick(rng), first, n, id;
        uint64_t low = lanemap_load_acquire(&threads.keys[k].finished), high;
        char text[VERSIONS_KEY_BYTES];
        size_t bytes = versions_key(k, text);
        int r;

        n = versions_ids(k, low, &first);
        id = first + (uint32_t)rng_below(rng, n + 2);
        r = by_reader ? lanemap_reader_contains(threads.reader, text, bytes, id)
                      : lanemap_writer_contains(threads.writer, text, bytes, id, NULL);
        high = lanemap_load_acquire(&threads.keys[k].started);
        if (r < 0 || !versions_judge_contains(k, id, r == 1, low, high))
                wrong("contains", k, r, low, high);
}

static void batch_lookup_run(struct rng *rng, uint32_t *ids)
{
        char texts[40][VERSIONS_KEY_BYTES];
        struct lanemap_key keys[40];
        struct lanemap_span spans[40];
        uint32_t numbers[40];
        uint64_t lows[40], high, version = 0;
        int r;

        for (uint32_t i = 0; i < 40; i++) {
                numbers[i] = (uint32_t)rng_below(rng, N_KEYS);
                lows[i] = lanemap_load_acquire(&threads.keys[numbers[i]].finished);
                keys[i].data = texts[i];
                keys[i].bytes = versions_key(numbers[i], texts[i]);
        }
        r = lanemap_reader_lookup_batch(threads.reader, keys, 40, ids, 2 * VERSIONS_IDS_MAX, spans);
        for (uint32_t i = 0; i < 40; i++) {
                high = lanemap_load_acquire(&threads.keys[numbers[i]].started);
                if (r < 0 || (spans[i].offset != LANEMAP_SPAN_UNWRITTEN &&
                              !versions_judge(numbers[i], ids + spans[i].offset, spans[i].n_ids,
                                              lows[i], high, &version))) {
                        wrong("a batch", numbers[i], r, lows[i], high);
                        return;
                }
        }
}

static void *looker_main(void *arg)
{
        bool by_reader = (uintptr_t)arg & 1;
        struct rng rng;
        uint32_t ids[2 * VERSIONS_IDS_MAX];
        struct lanemap_status status = {.size = sizeof(status)};
        uint64_t n = 0;

        rng_init(&rng, threads.seed + (uintptr_t)arg);
        for (; !lanemap_load_relaxed(&threads.stop); n++) {
                if (n % 4 == 0)
                        contains_run(&rng, by_reader);
                else if (by_reader && n % 16 == 1)
                        batch_lookup_run(&rng, ids);
                else
                        lookup_run(&rng, by_reader, ids);
                if (by_reader && n % 256 == 0)
                        must(lanemap_reader_status(threads.reader, &status) == 0);
        }

        __atomic_fetch_add(&threads.n_lookups, n, __ATOMIC_RELAXED);
        return NULL;
}

/* As fast as flushes can follow: one that holds everything leaves no merges. Return: operations
 * since the flush that was last waited for. */
static uint64_t flush_follow(uint64_t n_operations)
{
        static uint64_t n_flushes;
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};

        if (n_operations < OPERATIONS_PER_FLUSH)
                return n_operations;

        for (int i = 0; i < 50 && !lanemap_load_relaxed(&threads.stop); i++) {
                must(lanemap_writer_get_stats(threads.writer, &stats) == 0);
                if (stats.n_flushes > n_flushes)
                        break;
                (void)usleep(1000);
        }
        n_flushes = stats.n_flushes;
        return 0;
}

static void *applier_main(void *arg)
{
        struct rng rng;
        struct lanemap_op ops[BATCH_MAX];
        char texts[BATCH_MAX][VERSIONS_KEY_BYTES];
        uint32_t numbers[BATCH_MAX];
        uint64_t versions[BATCH_MAX], n_since_flush = 0;

        rng_init(&rng, threads.seed);
        while (!lanemap_load_relaxed(&threads.stop)) {
                uint32_t n = 1 + (uint32_t)rng_below(&rng, BATCH_MAX);
                size_t n_applied;
                int r;

                for (uint32_t i = 0; i < n; i++) {
                        numbers[i] = key_pick(&rng);
                        versions[i] = threads.keys[numbers[i]].started + 1;
                        ops[i] = versions_op(numbers[i], versions[i]);
                        ops[i].key = texts[i];
                        ops[i].key_bytes = versions_key(numbers[i], texts[i]);
                        lanemap_store_release(&threads.keys[numbers[i]].started, versions[i]);
                }
                r = lanemap_writer_apply(threads.writer, ops, n, NULL, &n_applied, NULL);
                if (r != 0) {
                        wrong("an apply", numbers[0], r, 0, 0);
                        break;
                }
                for (uint32_t i = 0; i < n; i++)
                        lanemap_store_release(&threads.keys[numbers[i]].finished, versions[i]);
                __atomic_fetch_add(&threads.n_operations, n, __ATOMIC_RELAXED);

                n_since_flush = flush_follow(n_since_flush + n);
        }

        return NULL;
}

/* What a daemon asks beside its writes. */
static void questions_run(struct rng *rng)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        uint64_t ticket, position, what;
        size_t n;
        uint32_t *ids;
        int r;

        must(lanemap_writer_get_stats(threads.writer, &stats) == 0);
        lanemap_writer_mark(threads.writer, mark, &n, &position);
        (void)lanemap_writer_acknowledgeable(threads.writer, NULL);
        /* Often in the midst of an apply, whose record is not in the log yet. */
        for (int i = 0; i < 200; i++) {
                position = lanemap_writer_position(threads.writer);
                must(lanemap_writer_sync(threads.writer, position) == 0);
                must(lanemap_writer_durable(threads.writer, NULL) >= position);
        }
        if (rng_below(rng, 8) == 0 && lanemap_writer_ids(threads.writer, &ids, &n) == 0)
                lanemap_writer_ids_free(ids);

        /* Compactions leave nothing to merge: rarely. */
        what = rng_below(rng, 20);
        if (what >= 9)
                return;
        must(lanemap_writer_request(threads.writer,
                                    what < 4   ? LANEMAP_REQUEST_FLUSH
                                    : what < 8 ? LANEMAP_REQUEST_FLIP
                                               : LANEMAP_REQUEST_COMPACT,
                                    &ticket) == 0);
        r = lanemap_writer_request_wait(threads.writer, ticket);
        must(r == 0 || r == -EBUSY);
}

/* A run that saw less than this proved nothing. */
static bool enough_happened(void)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        /* Flushes that build a perfect hash come one after the other here, and take the segments
         * with them that workers would merge. */
        uint64_t merges_least = index_shape_has(LANEMAP_SEGMENT_PACKED) ? 5 : 1;

        must(lanemap_writer_get_stats(threads.writer, &stats) == 0);
        return stats.n_flushes >= 20 && stats.n_merges >= merges_least &&
               stats.n_overlay_growths >= 5 && stats.n_generation_flips >= 1;
}

/* For so many seconds, and then until enough has happened, for which it is asked often enough in
 * so many questions. */
static bool threads_run(uint64_t seconds)
{
        pthread_t lookers[N_WRITER_LOOKERS + N_READER_LOOKERS], applier;
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct rng rng;
        uint64_t until_ns = now_ns() + seconds * UINT64_C(1000000000), n_more = 0;

        rng_init(&rng, ~threads.seed);
        must(pthread_create(&applier, NULL, applier_main, NULL) == 0);
        for (uintptr_t i = 0; i < N_WRITER_LOOKERS; i++)
                must(pthread_create(&lookers[i], NULL, looker_main, (void *)(2 * i + 2)) == 0);
        for (uintptr_t i = 0; i < N_READER_LOOKERS; i++)
                must(pthread_create(&lookers[N_WRITER_LOOKERS + i], NULL, looker_main,
                                    (void *)(2 * i + 1)) == 0);

        while (!lanemap_load_acquire(&threads.stop) &&
               (now_ns() < until_ns || (!enough_happened() && n_more++ < QUESTIONS_MORE_MAX))) {
                questions_run(&rng);
                (void)usleep((useconds_t)rng_below(&rng, 40000));
        }
        lanemap_store_release(&threads.stop, 1);
        pthread_join(applier, NULL);
        for (int i = 0; i < N_WRITER_LOOKERS + N_READER_LOOKERS; i++)
                pthread_join(lookers[i], NULL);

        must(lanemap_writer_get_stats(threads.writer, &stats) == 0);
        printf("%" PRIu64 " lookups, %u wrong; %" PRIu64 " operations, %" PRIu64
               " flushes, %" PRIu64 " merges, %" PRIu64 " growths, %" PRIu64 " flips\n",
               threads.n_lookups, threads.n_wrong, threads.n_operations, stats.n_flushes,
               stats.n_merges, stats.n_overlay_growths, stats.n_generation_flips);
        if (!enough_happened()) {
                printf("too little happened: this run proves nothing\n");
                return false;
        }

        return threads.n_wrong == 0;
}

int main(int argc, char **argv)
{
        struct lanemap_writer_options options = {
                .n_lanes = 4,
                .n_workers = 2,
                .flush_bytes = 40000,
                .log_file_bytes = 1 << 20,
                .appendfsync = LANEMAP_APPENDFSYNC_EVERYSEC,
                .quarantine_ns = 200 * 1000,
                .shared_bytes_max = 256 << 20,
                .immediate_reuse = argument_flag(argc, argv, "--immediate-reuse"),
        };
        struct lanemap_reader_options reader_options = {
                .size = sizeof(reader_options), .helper_thread = 1, .statistics = 1};
        struct scratch scratch;
        bool good;

        threads.seed = argument_seed(argc, argv);
        argument_shape(argc, argv);
        index_shape(&options);
        (void)setenv("TMPDIR", "/dev/shm", 0);
        scratch_init(&scratch, "threads");
        threads.writer = scratch_writer_open(&scratch, &options);
        must(lanemap_reader_attach(scratch.name, &reader_options, &threads.reader) == 0);
        good = threads_run(argument_u64(argc, argv, "--seconds", 5));
        lanemap_reader_detach(threads.reader);
        lanemap_writer_close(threads.writer);
        scratch_deinit(&scratch);
        return !good;
}
