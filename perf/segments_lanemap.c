/*
 * See segments_private.h: one section of each of lanemap's kinds.
 *
 * All 4,096 slots are in the section, so a slot is its own rank, and known before the lookup, as it
 * is in an index.
 */
#include "segments_private.h"

#include <errno.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segment/segment_build.h"
#include "segment/segment_merge.h"
#include "segment/segment_read.h"
#include "support/pin.h"
#include "support/recorder.h"
#include "support/timer.h"

#define THREADS_ROUNDS 3
#define MERGE_PART     11       /* one key in so many is in the newer of the two that are merged */
#define SLOW_KEYS_MAX  20000000 /* kinds that are slow to build end here, but for --all */

/* A kind with its parameters. */
struct variant {
        const char *name;
        struct lanemap_segment_build_options options;
        bool slow;          /* to build */
        uint32_t tag_match; /* LANEMAP_TAG_MATCH_*; 0: what is chosen */
};

static const struct variant variants[] = {
        {"packed", {.kind = LANEMAP_SEGMENT_KIND_PACKED}, false},
        {"packed_plain", {.kind = LANEMAP_SEGMENT_KIND_PACKED}, false, LANEMAP_TAG_MATCH_PLAIN},
        {"packed_avx2", {.kind = LANEMAP_SEGMENT_KIND_PACKED}, false, LANEMAP_TAG_MATCH_AVX2},
        {"recsplit", {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT}, true},
        {"recsplit_leaf5",
         {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .leaf_entries = 5, .bucket_entries = 32},
         true},
        {"bbhash_gamma1", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 256}, false},
        {"bbhash_gamma2", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512}, false},
        {"packed_fuse8",
         {.kind = LANEMAP_SEGMENT_KIND_PACKED, .filter = LANEMAP_FILTER_FUSE8},
         false},
        {"packed_xor8",
         {.kind = LANEMAP_SEGMENT_KIND_PACKED, .filter = LANEMAP_FILTER_XOR8},
         false},
        {"recsplit_fuse8",
         {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .filter = LANEMAP_FILTER_FUSE8},
         true},
        {"recsplit_xor8",
         {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .filter = LANEMAP_FILTER_XOR8},
         true},
        {"bbhash_fuse8",
         {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512, .filter = LANEMAP_FILTER_FUSE8},
         false},
        {"bbhash_xor8",
         {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512, .filter = LANEMAP_FILTER_XOR8},
         false},
};

struct section {
        unsigned char *bytes;
        size_t n_bytes;
        struct lanemap_segment segment;
};

/* ---- entries ---- */

/* Every MERGE_PART-th hash (newer), the others (older), or all of them. */
enum part { PART_ALL, PART_NEWER, PART_OLDER };

struct source {
        struct lanemap_cursor cursor; /* first */
        const struct segments_run *run;
        enum part part;
        uint64_t at;
        uint32_t id;
};

static int source_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct source *source = (struct source *)cursor;

        while (source->at < source->run->n_keys && source->part != PART_ALL &&
               (source->at % MERGE_PART == 0) != (source->part == PART_NEWER))
                source->at++;
        if (source->at == source->run->n_keys)
                return LANEMAP_CURSOR_END;

        ret_entry->fingerprint =
                (struct lanemap_fingerprint){.hash = source->run->hashes[source->at++]};
        source->id = segments_id_of(ret_entry->fingerprint.hash);
        ret_entry->n_ids = 1;
        ret_entry->ids = &source->id;
        return 0;
}

static int source_rewind(struct lanemap_cursor *cursor)
{
        ((struct source *)cursor)->at = 0;
        return 0;
}

/* ---- building ---- */

static struct source source_of(const struct segments_run *run, enum part part)
{
        return (struct source){.cursor = {source_next, source_rewind}, .run = run, .part = part};
}

/* Return: nanoseconds per key. */
static double section_make(const struct segments_run *run, const struct variant *variant,
                           struct lanemap_cursor *cursor, struct section *ret_section)
{
        struct lanemap_segment_build_options options = variant->options;
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        double from, seconds;
        int r;

        if (!heap)
                segments_die("memory", -ENOMEM);
        options.fingerprint_bits = 64;
        options.slot_bitmap = run->slots;
        from = segments_processor_seconds();
        r = lanemap_segment_build(heap, &options, cursor, &built);
        seconds = segments_processor_seconds() - from;
        if (r < 0)
                segments_die(variant->name, r);

        ret_section->n_bytes = built.n_bytes;
        ret_section->bytes = segments_map(built.n_bytes);
        memcpy(ret_section->bytes, built.bytes, built.n_bytes);
        lanemap_heap_free(heap);
        r = lanemap_segment_open(&ret_section->segment, ret_section->bytes, ret_section->n_bytes,
                                 64);
        if (r < 0)
                segments_die(variant->name, r);

        return seconds * 1e9 / (double)built.n_keys;
}

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
                segments_die("a thread", -EAGAIN);
        while ((i = __atomic_fetch_add(&helper->next, 1, __ATOMIC_RELAXED)) < n)
                task(arg, i, 0);
        pthread_join(thread, NULL);
}

static double build_wall(const struct segments_run *run, const struct variant *variant,
                         struct lanemap_executor *executor)
{
        struct lanemap_segment_build_options options = variant->options;
        struct source source = source_of(run, PART_ALL);
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        double from = perf_now();
        int r;

        if (!heap)
                segments_die("memory", -ENOMEM);
        options.fingerprint_bits = 64;
        options.slot_bitmap = run->slots;
        options.executor = executor;
        r = lanemap_segment_build(heap, &options, &source.cursor, &built);
        if (r < 0)
                segments_die(variant->name, r);
        lanemap_heap_free(heap);
        return (perf_now() - from) * 1e9 / (double)run->n_keys;
}

/* Wall time, alone and by two, side by side: who else uses the machine is in both. */
static void threads_measure(struct segments_run *run, const struct variant *variant)
{
        int n_rounds = run->n_keys > SLOW_KEYS_MAX ? 1 : THREADS_ROUNDS;
        double alone[THREADS_ROUNDS], ratios[THREADS_ROUNDS];

        (void)perf_pin_working(getpid(), 1);
        for (int i = 0; i < n_rounds; i++) {
                struct helper helper = {.executor = {.run = helper_run, .n_threads = 2}};

                alone[i] = build_wall(run, variant, NULL);
                ratios[i] = alone[i] / build_wall(run, variant, &helper.executor);
        }
        (void)perf_pin_measuring();
        segments_row(run, variant->name, "build_wall", perf_median(alone, (size_t)n_rounds),
                     "ns/key");
        segments_row(run, variant->name, "build_2_threads_speedup",
                     perf_median(ratios, (size_t)n_rounds), "ratio");
}

static void section_free(struct section *section)
{
        segments_unmap(section->bytes, section->n_bytes);
}

/* Two sections of this kind, one with a tenth of the other's keys, into a third. The result must be
 * what building from all entries gives. */
static double merge_measure(const struct segments_run *run, const struct variant *variant,
                            const struct section *expected)
{
        struct section inputs[2], merged;
        struct lanemap_segment_cursor cursors[2];
        struct lanemap_cursor *both[2];
        struct lanemap_segment_merge merge;
        void *scratch[2];
        uint32_t ids[2];
        double ns;
        int r = 0;

        for (int i = 0; i < 2; i++) {
                struct source source = source_of(run, i == 0 ? PART_NEWER : PART_OLDER);

                (void)section_make(run, variant, &source.cursor, &inputs[i]);
                scratch[i] =
                        segments_allocate(lanemap_segment_cursor_scratch_bytes(&inputs[i].segment));
                r = lanemap_segment_cursor_init(&cursors[i], &inputs[i].segment, NULL, &ids[i], 1,
                                                scratch[i]);
                if (r < 0)
                        segments_die(variant->name, r);
                both[i] = &cursors[i].cursor;
        }

        r = lanemap_segment_merge_init(&merge, both, 2, NULL);
        if (r < 0)
                segments_die(variant->name, r);
        ns = section_make(run, variant, &merge.cursor, &merged);
        if (merged.n_bytes != expected->n_bytes ||
            memcmp(merged.bytes, expected->bytes, merged.n_bytes) != 0)
                segments_die("a merge gives other bytes than a build", 0);

        section_free(&merged);
        for (int i = 0; i < 2; i++) {
                section_free(&inputs[i]);
                free(scratch[i]);
        }

        return ns;
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
                        segments_die("a lookup", r);
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
                                segments_die("a lookup", r);
                        segments_answer_check(r == 0, posting.id, fps[k].hash, hit);
                }
        }

        return (double)(perf_thread_ns() - from) /
               (double)(n / SEGMENTS_BATCH_KEYS * SEGMENTS_BATCH_KEYS);
}

/* ---- one kind ---- */

static void variant_measure(struct segments_run *run, const struct variant *variant)
{
        struct source source = source_of(run, PART_ALL);
        struct segments_subject subject = {
                .name = variant->name, .singles = singles_run, .batches = batches_run};
        struct lanemap_segment_section_file header;
        struct section section;

        segments_row(run, variant->name, "build",
                     section_make(run, variant, &source.cursor, &section), "ns/key");
        segments_row(run, variant->name, "merge", merge_measure(run, variant, &section), "ns/key");
        if (variant->options.kind != LANEMAP_SEGMENT_KIND_PACKED && !variant->options.filter &&
            perf_n_cpus() > 1)
                threads_measure(run, variant);
        memcpy(&header, section.bytes, sizeof(header));
        subject.structure = &section.segment;
        subject.n_bytes = section.n_bytes;
        subject.index_bytes = variant->options.kind == LANEMAP_SEGMENT_KIND_PACKED
                                      ? (double)section.segment.packed.n_groups * 8
                                      : (double)le64toh(header.index_bytes);
        segments_subject_measure(run, &subject);
        section_free(&section);
}

void segments_lanemap_measure(struct segments_run *run)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(variants); i++) {
                if (!segments_wanted(run, variants[i].name))
                        continue;
                if (lanemap_tag_match_force(variants[i].tag_match) < 0)
                        continue; /* not this processor's */
                if (variants[i].slow && run->n_keys > SLOW_KEYS_MAX && !run->all)
                        perf_table_note(&run->table, "%s: left out above %d keys (--all)",
                                        variants[i].name, SLOW_KEYS_MAX);
                else
                        variant_measure(run, &variants[i]);
                lanemap_tag_match_force(0);
        }
}
