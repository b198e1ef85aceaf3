/*
 * See segments_private.h: one section of each of lanemap's kinds.
 *
 * All 4,096 slots are in the section, so a slot is its own rank, and known before the lookup, as it
 * is in an index.
 */
#include "segments/private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segment/merge.h"
#include "support/pin.h"
#include "support/windows.h"

#define REPEATS_MAX    5          /* of a build, of a merge, */
#define REPEATS_NS     1000000000 /* while they take less than that together */
#define THREADS_ROUNDS 3
#define MERGE_PART     11       /* one key in so many is in the newer of the two that are merged */
#define LARGE_KEYS     20000000 /* above that: what takes no more than a minute, but for --all */

/* A kind with its parameters. */
struct variant {
        const char *name;
        struct lanemap_segment_build_options options;
        bool large; /* also measured above LARGE_KEYS */
};

static const struct variant variants[] = {
        {"packed", {.kind = LANEMAP_SEGMENT_KIND_PACKED}, true},
        {"recsplit", {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT}},
        {"recsplit_leaf5",
         {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .leaf_entries = 5, .bucket_entries = 32}},
        {"bbhash_gamma1", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 256}, true},
        {"bbhash_gamma2", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512}, true},
        {"packed_fuse8", {.kind = LANEMAP_SEGMENT_KIND_PACKED, .filter = LANEMAP_FILTER_FUSE8}},
        {"packed_xor8", {.kind = LANEMAP_SEGMENT_KIND_PACKED, .filter = LANEMAP_FILTER_XOR8}},
        {"recsplit_fuse8", {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .filter = LANEMAP_FILTER_FUSE8}},
        {"recsplit_xor8", {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .filter = LANEMAP_FILTER_XOR8}},
        {"bbhash_fuse8",
         {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512, .filter = LANEMAP_FILTER_FUSE8}},
        {"bbhash_xor8",
         {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512, .filter = LANEMAP_FILTER_XOR8}},
};

/* ---- by two threads ---- */

/* The second thread comes for each round and goes. */
struct helper {
        struct lanemap_executor executor; /* first */
        void (*task)(void *arg, uint32_t i, uint32_t thread);
        void *arg;
        uint32_t n;
        uint32_t next; /* atomic */
};

static void *helper_work(void *arg)
{
        struct helper *helper = arg;
        uint32_t i;

        while ((i = __atomic_fetch_add(&helper->next, 1, __ATOMIC_RELAXED)) < helper->n)
                helper->task(helper->arg, i, 1);
        return NULL;
}

static void helper_run(struct lanemap_executor *executor,
                       void (*task)(void *arg, uint32_t i, uint32_t thread), void *arg, uint32_t n)
{
        struct helper *helper = (struct helper *)executor;
        pthread_t thread;
        uint32_t i;

        helper->task = task;
        helper->arg = arg;
        helper->n = n;
        helper->next = 0;
        if (pthread_create(&thread, NULL, helper_work, helper) != 0)
                perf_die("a thread", -EAGAIN);
        while ((i = __atomic_fetch_add(&helper->next, 1, __ATOMIC_RELAXED)) < n)
                task(arg, i, 0);
        pthread_join(thread, NULL);
}

/* ---- building ---- */

/* All keys, by one thread, or by two that may run anywhere. */
static void section_make(const struct segments_run *run, const struct variant *variant,
                         struct lanemap_cursor *cursor, int n_threads,
                         struct perf_section *ret_section)
{
        struct helper helper = {.executor = {.run = helper_run, .n_threads = 2}};
        struct lanemap_segment_build_options options = variant->options;
        struct perf_hash_cursor all;

        if (!cursor) {
                perf_hash_cursor_init(&all, run->hashes, run->n_keys);
                cursor = &all.cursor;
        }
        if (n_threads == 2) {
                options.executor = &helper.executor;
                (void)perf_pin_working(getpid(), 1);
        }
        perf_section_make(variant->name, &options, cursor, ret_section);
        if (n_threads == 2)
                (void)perf_pin_measuring();
}

/* `made` is what the same entries have given before. It is freed. */
static void section_compare(const struct perf_section *expected, struct perf_section *made,
                            const char *what)
{
        if (made->n_bytes != expected->n_bytes ||
            memcmp(made->bytes, expected->bytes, made->n_bytes) != 0)
                perf_die(what, 0);
        perf_section_free(made);
}

/* Is there time for another one of what took that long? */
static bool again(const double *ns, size_t n, uint64_t n_keys)
{
        double sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += ns[i] * (double)n_keys;
        return n < REPEATS_MAX && sum < REPEATS_NS;
}

static void build_measure(struct segments_run *run, const struct variant *variant,
                          struct perf_section *ret_section)
{
        double ns[REPEATS_MAX];
        size_t n = 1;

        section_make(run, variant, NULL, 1, ret_section);
        ns[0] = ret_section->cpu_ns;
        while (again(ns, n, run->n_keys)) {
                struct perf_section section;

                section_make(run, variant, NULL, 1, &section);
                ns[n++] = section.cpu_ns;
                section_compare(ret_section, &section, "a build gives other bytes than the first");
        }
        segments_row(run, variant->name, "build", perf_median(ns, n), "ns/key");
}

/* Wall time, alone and by two, side by side: who else uses the machine is in both. Of a large
 * section the build that was just measured is the one alone. */
static void threads_measure(struct segments_run *run, const struct variant *variant,
                            const struct perf_section *built)
{
        size_t n_rounds = run->n_keys > LARGE_KEYS ? 1 : THREADS_ROUNDS;
        double alone[THREADS_ROUNDS] = {built->wall_ns}, ratios[THREADS_ROUNDS];

        for (size_t i = 0; i < n_rounds; i++) {
                struct perf_section section;

                if (n_rounds > 1) {
                        section_make(run, variant, NULL, 1, &section);
                        alone[i] = section.wall_ns;
                        perf_section_free(&section);
                }
                section_make(run, variant, NULL, 2, &section);
                ratios[i] = alone[i] / section.wall_ns;
                section_compare(built, &section, "two threads build other bytes than one");
        }
        segments_row(run, variant->name, "build_wall", perf_median(alone, n_rounds), "ns/key");
        segments_row(run, variant->name, "build_2_threads_speedup", perf_median(ratios, n_rounds),
                     "ratio");
}

/* ---- merging ---- */

/* Every MERGE_PART-th key is in part 1, the others are in part 0. */
static bool part_has(const struct perf_hash_cursor *cursor, uint64_t at)
{
        return (at % MERGE_PART == 0) == cursor->part;
}

static double merge_run(const struct segments_run *run, const struct variant *variant,
                        const struct perf_section inputs[2], const struct perf_section *expected)
{
        struct lanemap_segment_cursor cursors[2];
        struct lanemap_cursor *both[2];
        struct lanemap_segment_merge merge;
        struct perf_section merged;
        void *scratch[2];
        uint32_t ids[2];
        int r;

        for (int i = 0; i < 2; i++) {
                scratch[i] =
                        perf_allocate(lanemap_segment_cursor_scratch_bytes(&inputs[i].segment));
                r = lanemap_segment_cursor_init(&cursors[i], &inputs[i].segment, NULL, &ids[i], 1,
                                                scratch[i]);
                if (r < 0)
                        perf_die(variant->name, r);
                both[i] = &cursors[i].cursor;
        }
        r = lanemap_segment_merge_init(&merge, both, 2, NULL);
        if (r < 0)
                perf_die(variant->name, r);
        section_make(run, variant, &merge.cursor, 1, &merged);
        for (int i = 0; i < 2; i++)
                free(scratch[i]);

        section_compare(expected, &merged, "a merge gives other bytes than a build");
        return merged.cpu_ns;
}

/* Two sections of this kind, one with a tenth of the other's keys, into a third. The result must be
 * what building from all entries gives. */
static void merge_measure(struct segments_run *run, const struct variant *variant,
                          const struct perf_section *expected)
{
        struct perf_section inputs[2];
        double ns[REPEATS_MAX];
        size_t n = 0;

        for (uint32_t part = 0; part < 2; part++) {
                struct perf_hash_cursor cursor;

                perf_hash_cursor_init(&cursor, run->hashes, run->n_keys);
                cursor.wanted = part_has;
                cursor.part = part;
                section_make(run, variant, &cursor.cursor, perf_n_cpus() > 1 ? 2 : 1,
                             &inputs[part]);
        }
        do
                ns[n++] = merge_run(run, variant, inputs, expected);
        while (again(ns, n, run->n_keys));
        for (int i = 0; i < 2; i++)
                perf_section_free(&inputs[i]);
        segments_row(run, variant->name, "merge", perf_median(ns, n), "ns/key");
}

/* ---- lookups ---- */

static double singles_run(const void *structure, const uint64_t *hashes, size_t n, bool hit)
{
        const struct lanemap_segment *segment = structure;
        uint64_t mask = segments_zero, carry = 0, from = perf_thread_ns();

        for (size_t i = 0; i < n; i++) {
                struct lanemap_segment_posting posting = {0};
                struct lanemap_fingerprint fp = {.hash = hashes[i] ^ carry};
                int r = lanemap_segment_find(segment, fp, lanemap_slot_of(fp.hash), &posting);

                if (r < 0)
                        perf_die("a lookup", r);
                segments_answer_check(r == 0, posting.id, hashes[i], hit);
                carry = ((uint64_t)posting.id + (uint64_t)r) & mask;
        }

        return (double)(perf_thread_ns() - from) / (double)n;
}

static double batches_run(const void *structure, const uint64_t *hashes, size_t n, bool hit)
{
        const struct lanemap_segment *segment = structure;
        uint64_t from = perf_thread_ns();

        for (size_t i = 0; i + SEGMENTS_BATCH_KEYS <= n; i += SEGMENTS_BATCH_KEYS) {
                struct lanemap_fingerprint fps[SEGMENTS_BATCH_KEYS] = {0};

                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++) {
                        fps[k].hash = hashes[i + k];
                        lanemap_segment_prefetch_directory(segment, fps[k],
                                                           lanemap_slot_of(fps[k].hash));
                }
                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++)
                        lanemap_segment_prefetch_entry(segment, fps[k],
                                                       lanemap_slot_of(fps[k].hash));
                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++)
                        lanemap_segment_prefetch_value(segment, fps[k],
                                                       lanemap_slot_of(fps[k].hash));
                for (size_t k = 0; k < SEGMENTS_BATCH_KEYS; k++) {
                        struct lanemap_segment_posting posting = {0};
                        int r = lanemap_segment_find(segment, fps[k], lanemap_slot_of(fps[k].hash),
                                                     &posting);

                        if (r < 0)
                                perf_die("a lookup", r);
                        segments_answer_check(r == 0, posting.id, fps[k].hash, hit);
                }
        }

        return (double)(perf_thread_ns() - from) /
               (double)(n / SEGMENTS_BATCH_KEYS * SEGMENTS_BATCH_KEYS);
}

/* ---- one kind ---- */

static void variant_measure(struct segments_run *run, const struct variant *variant)
{
        bool is_packed = variant->options.kind == LANEMAP_SEGMENT_KIND_PACKED;
        struct segments_subject subject = {
                .name = variant->name, .singles = singles_run, .batches = batches_run};
        struct lanemap_segment_section_file header;
        struct perf_section section;

        build_measure(run, variant, &section);
        if (!is_packed && !variant->options.filter && perf_n_cpus() > 1)
                threads_measure(run, variant, &section);
        merge_measure(run, variant, &section);
        memcpy(&header, section.bytes, sizeof(header));
        subject.structure = &section.segment;
        subject.n_bytes = section.n_bytes;
        subject.index_bytes = is_packed ? (double)section.segment.packed.n_groups * 8
                                        : (double)le64toh(header.index_bytes);
        segments_subject_measure(run, &subject);
        perf_section_free(&section);
}

void segments_lanemap_measure(struct segments_run *run)
{
        size_t n_left_out = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(variants); i++) {
                if (!segments_wanted(run, variants[i].name))
                        continue;
                if (!variants[i].large && run->n_keys > LARGE_KEYS && !run->all) {
                        n_left_out++;
                        continue;
                }
                variant_measure(run, &variants[i]);
        }
        if (n_left_out > 0)
                perf_table_note(&run->table,
                                "%zu rows (recsplit, filters) left out above %d "
                                "million keys: --all measures them",
                                n_left_out, LARGE_KEYS / 1000000);
}
