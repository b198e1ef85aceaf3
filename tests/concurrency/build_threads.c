/*
 * Sections built by several threads have the bytes that one thread gives them, for every kind with
 * a perfect hash, and an error is the same error; memory that is not to be had is one.
 *
 *         build_threads [--keys N] [--seed S]
 *
 * Also run under TSan: parts of one round write side by side.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "common/fingerprint.h"
#include "common/order.h"
#include "crash_support.h"
#include "segment/build.h"

#define THREADS_MAX 6

/* Threads of its own for each round: the worst that an executor may do. */
struct threads {
        struct lanemap_executor executor; /* first */
        void (*task)(void *arg, uint32_t i, uint32_t thread);
        void *arg;
        uint32_t n;
        uint32_t next;      /* atomic */
        uint32_t n_largest; /* of all rounds */
        uint64_t n_rounds;
        uint32_t n_by_thread[THREADS_MAX];
};

struct one {
        struct threads *threads;
        uint32_t thread;
};

static void *one_main(void *arg)
{
        struct one *one = arg;
        struct threads *threads = one->threads;
        uint32_t i = one->thread;

        /* The first one is dealt, so that no thread comes too late for any. */
        while (i < threads->n) {
                threads->task(threads->arg, i, one->thread);
                threads->n_by_thread[one->thread]++;
                sched_yield();
                i = __atomic_fetch_add(&threads->next, 1, __ATOMIC_RELAXED);
        }

        return NULL;
}

static void threads_run(struct lanemap_executor *executor,
                        void (*task)(void *arg, uint32_t i, uint32_t thread), void *arg, uint32_t n)
{
        struct threads *threads = (struct threads *)executor;
        struct one ones[THREADS_MAX];
        pthread_t ids[THREADS_MAX];

        threads->task = task;
        threads->arg = arg;
        threads->n = n;
        threads->next = executor->n_threads;
        threads->n_largest = LANEMAP_MAX(threads->n_largest, n);
        threads->n_rounds++;
        for (uint32_t i = 0; i < executor->n_threads; i++) {
                ones[i] = (struct one){.threads = threads, .thread = i};
                must(pthread_create(&ids[i], NULL, one_main, &ones[i]) == 0);
        }
        for (uint32_t i = 0; i < executor->n_threads; i++)
                must(pthread_join(ids[i], NULL) == 0);
}

/* Keys with one id, some with several, some tombstones. */
struct source {
        struct lanemap_cursor cursor; /* first */
        uint64_t *hashes;
        uint64_t n;
        uint64_t at;
        uint32_t ids[8];
};

static int source_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct source *source = (struct source *)cursor;
        uint64_t hash;

        if (source->at == source->n)
                return LANEMAP_CURSOR_END;

        hash = source->hashes[source->at++];
        for (uint32_t i = 0; i < 8; i++)
                source->ids[i] = (uint32_t)(hash % 100000 + i * (1 + hash % 7));
        *ret_entry = (struct lanemap_entry){
                .fingerprint = {.hash = hash, .ext = (uint32_t)(hash % 1000)},
                .n_ids = hash % 16 == 0 ? (uint32_t)(hash / 16 % 9) : 1,
                .ids = source->ids,
        };
        return 0;
}

static int source_rewind(struct lanemap_cursor *cursor)
{
        ((struct source *)cursor)->at = 0;
        return 0;
}

static int hash_order(const void *a, const void *b)
{
        uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

        return (left > right) - (left < right);
}

static void source_init(struct source *source, uint64_t n, struct rng *rng)
{
        *source = (struct source){.cursor = {.next = source_next, .rewind = source_rewind}, .n = n};
        source->hashes = malloc((n + 1) * sizeof(*source->hashes));
        must(source->hashes);
        for (uint64_t i = 0; i < n; i++)
                source->hashes[i] = rng_next(rng);
        qsort(source->hashes, n, sizeof(*source->hashes), hash_order);
}

static int build(struct source *source, struct lanemap_segment_build_options options,
                 struct lanemap_heap *heap, struct lanemap_segment_built *ret_built)
{
        static uint64_t slots[LANEMAP_SLOT_WORDS];

        memset(slots, 0xff, sizeof(slots));
        options.slot_bitmap = slots;
        return lanemap_segment_build(heap, &options, &source->cursor, ret_built);
}

static void compare(struct source *source, struct lanemap_segment_build_options options,
                    uint64_t *n_rounds)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built alone = {0}, together = {0};
        int expected;

        must(heap);
        expected = build(source, options, heap, &alone);
        for (uint32_t n = 1; n <= THREADS_MAX; n += n < 3 ? 1 : 3) {
                struct threads threads = {.executor = {.run = threads_run, .n_threads = n}};

                options.executor = &threads.executor;
                must(build(source, options, heap, &together) == expected);
                *n_rounds += threads.n_rounds;
                if (expected < 0)
                        continue;

                must(together.n_bytes == alone.n_bytes);
                must(memcmp(together.bytes, alone.bytes, alone.n_bytes) == 0);
                for (uint32_t i = 0; i < LANEMAP_MIN(n, threads.n_largest); i++)
                        must(threads.n_by_thread[i] > 0);
        }
        lanemap_heap_free(heap);
}

/* Every allocation that a build by two threads makes fails once: the error, and nothing is left. */
static void allocations_fail(struct source *source, struct lanemap_segment_build_options options)
{
        int r = -ENOMEM;

        for (uint64_t n = 1; r == -ENOMEM; n++) {
                struct threads threads = {.executor = {.run = threads_run, .n_threads = 2}};
                struct lanemap_heap *heap = lanemap_heap_new();
                struct lanemap_segment_built built;

                must(heap);
                options.executor = &threads.executor;
                lanemap_alloc_fail_after(n);
                r = build(source, options, heap, &built);
                lanemap_alloc_fail_after(0);
                must(r == 0 || r == -ENOMEM);
                must(n > 1 || r == -ENOMEM);
                lanemap_heap_free(heap);
        }
}

static const struct lanemap_segment_build_options shapes[] = {
        {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .fingerprint_bits = 80},
        {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .fingerprint_bits = 80, .bucket_entries = 300},
        {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .fingerprint_bits = 96, .bucket_entries = 20},
        {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .fingerprint_bits = 80, .leaf_entries = 5},
        {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .fingerprint_bits = 80, .bucket_entries = 7},
        {.kind = LANEMAP_SEGMENT_KIND_PACKED, .fingerprint_bits = 96},
};

int main(int argc, char **argv)
{
        uint64_t n_keys = argument_u64(argc, argv, "--keys", 30000), n_rounds = 0;
        struct source source;
        struct rng rng;

        rng_init(&rng, argument_seed(argc, argv));
        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
                const uint64_t sizes[] = {0, 1, 2, 999, 4097, n_keys};

                for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
                        source_init(&source, sizes[k], &rng);
                        compare(&source, shapes[i], &n_rounds);
                        if (sizes[k] == 999)
                                allocations_fail(&source, shapes[i]);
                        free(source.hashes);
                }

                /* Too many in one bucket: found while threads are at work on others. */
                source_init(&source, n_keys, &rng);
                for (uint64_t k = 0; k < n_keys / 2; k++)
                        source.hashes[n_keys / 3 + k] = source.hashes[n_keys / 3] + k;
                qsort(source.hashes, n_keys, sizeof(*source.hashes), hash_order);
                compare(&source, shapes[i], &n_rounds);
                free(source.hashes);
        }

        printf("the same bytes, %llu rounds\n", (unsigned long long)n_rounds);
        return n_rounds < 100;
}
