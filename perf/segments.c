/*
 * perf/segments: the kinds of segments side by side, in one run. perf/README.md says how to read
 * it.
 *
 * One section with all slots, n random fingerprints of 64 bits, one random 32-bit id each: the most
 * expensive id. Every answer is compared with what it must be; a wrong one ends the run.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <lanemap/lanemap.h>

#include "segment/segment_build.h"
#include "segment/segment_merge.h"
#include "segment/segment_read.h"
#include "support/chase.h"
#include "support/keys.h"
#include "support/pin.h"
#include "support/recorder.h"
#include "support/table.h"
#include "support/timer.h"

#define KEYS_LIST_MAX 8
#define BATCH_KEYS    32
#define ROUNDS_MAX    21
#define MERGE_PART    11 /* one key in so many is in the newer of the two that are merged */

static const char usage[] =
        "usage: segments [--keys N[,N...]] [--csv FILE|-] [--quick] [--all]\n"
        "\n"
        "  --keys N[,N...]   sizes of a section (default 100000,1000000; with --quick 20000)\n"
        "  --csv FILE        also one row per measure: name,value,unit (-: on stdout, and only "
        "that)\n"
        "  --quick           seconds instead of minutes; numbers of no value\n"
        "  --all             also the slow kinds at more than 20 million keys\n";

/* A kind with its parameters. */
struct variant {
        const char *name;
        struct lanemap_segment_build_options options;
        bool slow; /* to build */
};

static const struct variant variants[] = {
        {"packed", {.kind = LANEMAP_SEGMENT_KIND_PACKED}, false},
        {"recsplit", {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT}, true},
        {"recsplit_leaf5",
         {.kind = LANEMAP_SEGMENT_KIND_RECSPLIT, .leaf_entries = 5, .bucket_entries = 32},
         false},
        {"bbhash_gamma1", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 256}, false},
        {"bbhash_gamma2", {.kind = LANEMAP_SEGMENT_KIND_BBHASH, .gamma = 512}, false},
};

static const struct perf_goal goals[] = {
        {"packed.bytes_per_limit", false, 1.06},
        {"packed.merge", false, 60},
        {"packed.hit_per_chase", false, 2},
        {"packed.miss_per_chase", false, 1.5},
        {"packed.batch_speedup", true, 3},
        {"recsplit.index_bits_per_key", false, 1.85},
        {"bbhash_gamma1.index_bits_per_key", false, 3.2},
        {"bbhash_gamma2.build", false, 150},
};

struct run {
        uint64_t n_keys;
        uint32_t n_rounds;
        size_t n_lookups; /* of a window */
        uint64_t *hashes; /* sorted, distinct */
        uint64_t slots[LANEMAP_SLOT_WORDS];
        uint64_t *hits; /* n_lookups, of those that are there */
        uint64_t *misses;
        struct perf_table table;
};

/* A section in memory of its own, in pages of 4 KiB like the page cache of a file. */
struct section {
        unsigned char *bytes;
        size_t n_bytes;
        struct lanemap_segment segment;
};

static void die(const char *what, int r)
{
        fprintf(stderr, "segments: %s%s%s\n", what, r ? ": " : "",
                r ? strerror(r < 0 ? -r : r) : "");
        exit(1);
}

static void *allocate(size_t bytes)
{
        void *block = malloc(bytes ? bytes : 1);

        if (!block)
                die("memory", -ENOMEM);
        return block;
}

static uint32_t id_of(uint64_t hash)
{
        uint32_t id = (uint32_t)perf_mix64(hash);

        return id > LANEMAP_ID_MAX ? 0 : id;
}

/* ---- entries ---- */

/* Every MERGE_PART-th hash (newer), the others (older), or all of them. */
enum part { PART_ALL, PART_NEWER, PART_OLDER };

struct source {
        struct lanemap_cursor cursor; /* first */
        const struct run *run;
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
        source->id = id_of(ret_entry->fingerprint.hash);
        ret_entry->n_ids = 1;
        ret_entry->ids = &source->id;
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

static void run_init(struct run *run)
{
        run->hashes = allocate(run->n_keys * sizeof(*run->hashes));
        run->hits = allocate(run->n_lookups * sizeof(*run->hits));
        run->misses = allocate(run->n_lookups * sizeof(*run->misses));
        memset(run->slots, 0xff, sizeof(run->slots));

        /* A bijection of different numbers: no hash comes twice, and misses are never hits. */
        for (uint64_t i = 0; i < run->n_keys; i++)
                run->hashes[i] = perf_mix64(i);
        qsort(run->hashes, run->n_keys, sizeof(*run->hashes), hash_order);
        for (size_t i = 0; i < run->n_lookups; i++) {
                run->hits[i] = perf_mix64(perf_mix64(i + 77) % run->n_keys);
                run->misses[i] = perf_mix64(PERF_KEYS_ABSENT + i);
        }
}

static void run_deinit(struct run *run)
{
        free(run->hashes);
        free(run->hits);
        free(run->misses);
}

/* ---- building ---- */

/* Builds take longer than a busy machine leaves a program alone: their time is the processor's. */
static double processor_seconds(void)
{
        struct timespec now;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Return: nanoseconds per key. */
static double section_make(const struct run *run, const struct variant *variant,
                           struct lanemap_cursor *cursor, struct section *ret_section)
{
        struct lanemap_segment_build_options options = variant->options;
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        double from, seconds;
        int r;

        if (!heap)
                die("memory", -ENOMEM);
        options.fingerprint_bits = 64;
        options.slot_bitmap = run->slots;
        from = processor_seconds();
        r = lanemap_segment_build(heap, &options, cursor, &built);
        seconds = processor_seconds() - from;
        if (r < 0)
                die(variant->name, r);

        ret_section->n_bytes = built.n_bytes;
        ret_section->bytes = mmap(NULL, built.n_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (ret_section->bytes == MAP_FAILED)
                die("memory", -errno);
        (void)madvise(ret_section->bytes, built.n_bytes, MADV_NOHUGEPAGE);
        memcpy(ret_section->bytes, built.bytes, built.n_bytes);
        lanemap_heap_free(heap);
        r = lanemap_segment_open(&ret_section->segment, ret_section->bytes, ret_section->n_bytes,
                                 64);
        if (r < 0)
                die(variant->name, r);

        return seconds * 1e9 / (double)built.n_keys;
}

static void section_free(struct section *section)
{
        munmap(section->bytes, section->n_bytes);
}

static struct source source_of(const struct run *run, enum part part)
{
        return (struct source){.cursor = {source_next, source_rewind}, .run = run, .part = part};
}

/* Two sections of this kind, one with a tenth of the other's keys, into a third. The result must be
 * what building from all entries gives. */
static double merge_measure(const struct run *run, const struct variant *variant,
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
                scratch[i] = allocate(lanemap_segment_cursor_scratch_bytes(&inputs[i].segment));
                r = lanemap_segment_cursor_init(&cursors[i], &inputs[i].segment, NULL, &ids[i], 1,
                                                scratch[i]);
                if (r < 0)
                        die(variant->name, r);
                both[i] = &cursors[i].cursor;
        }

        r = lanemap_segment_merge_init(&merge, both, 2, NULL);
        if (r < 0)
                die(variant->name, r);
        ns = section_make(run, variant, &merge.cursor, &merged);
        if (merged.n_bytes != expected->n_bytes ||
            memcmp(merged.bytes, expected->bytes, merged.n_bytes) != 0)
                die("a merge gives other bytes than a build", 0);

        section_free(&merged);
        for (int i = 0; i < 2; i++) {
                section_free(&inputs[i]);
                free(scratch[i]);
        }

        return ns;
}

/* ---- lookups ---- */

static volatile uint64_t zero; /* what the compiler cannot know */

/* All slots are in the section, so a slot is its own rank, and known as it is in an index. */

static void answer_check(int r, const struct lanemap_segment_posting *posting, uint64_t hash,
                         bool hit)
{
        if (hit ? r != 0 || posting->n_ids != 1 || posting->id != id_of(hash)
                : r != LANEMAP_SEGMENT_E_ABSENT)
                die("a wrong answer", r < 0 ? r : 0);
}

/* Each lookup needs the answer of the one before: latency. Return: nanoseconds per lookup. */
static double singles_run(const struct section *section, const uint64_t *hashes, size_t n, bool hit)
{
        uint64_t mask = zero, carry = 0, from = perf_now_ns();

        for (size_t i = 0; i < n; i++) {
                struct lanemap_segment_posting posting = {0};
                struct lanemap_fingerprint fp = {.hash = hashes[i] ^ carry};
                int r = lanemap_segment_find(&section->segment, fp, lanemap_slot_of(fp.hash),
                                             &posting);

                answer_check(r, &posting, hashes[i], hit);
                carry = ((uint64_t)posting.id + (uint64_t)r) & mask;
        }

        return (double)(perf_now_ns() - from) / (double)n;
}

static double batches_run(const struct section *section, const uint64_t *hashes, size_t n, bool hit)
{
        const struct lanemap_segment *segment = &section->segment;
        uint64_t from = perf_now_ns();

        for (size_t i = 0; i + BATCH_KEYS <= n; i += BATCH_KEYS) {
                struct lanemap_fingerprint fps[BATCH_KEYS] = {0};

                for (size_t k = 0; k < BATCH_KEYS; k++) {
                        fps[k].hash = hashes[i + k];
                        lanemap_segment_prefetch_directory(segment, fps[k],
                                                           lanemap_slot_of(fps[k].hash));
                }
                for (size_t k = 0; k < BATCH_KEYS; k++)
                        lanemap_segment_prefetch_entry(segment, fps[k],
                                                       lanemap_slot_of(fps[k].hash));
                for (size_t k = 0; k < BATCH_KEYS; k++) {
                        struct lanemap_segment_posting posting = {0};
                        int r = lanemap_segment_find(segment, fps[k], lanemap_slot_of(fps[k].hash),
                                                     &posting);

                        answer_check(r, &posting, fps[k].hash, hit);
                }
        }

        return (double)(perf_now_ns() - from) / (double)(n / BATCH_KEYS * BATCH_KEYS);
}

static void row(struct run *run, const struct variant *variant, const char *what, double value,
                const char *unit)
{
        char name[56];

        snprintf(name, sizeof(name), "%s.%s", variant->name, what);
        perf_table_add(&run->table, name, value, unit);
}

/* Windows of each kind beside windows of the chase: ratios are taken within a round. */
static void lookups_measure(struct run *run, const struct variant *variant,
                            const struct section *section)
{
        static const char *const names[] = {"hit", "miss", "hit_batch32", "miss_batch32"};
        double ns[4][ROUNDS_MAX], ratios[4][ROUNDS_MAX], speedups[ROUNDS_MAX], chases[ROUNDS_MAX];
        struct perf_chase chase;
        size_t n = run->n_lookups;

        if (perf_chase_init(&chase, section->n_bytes, 3) < 0)
                die("memory", -ENOMEM);
        for (uint32_t i = 0; i < run->n_rounds; i++) {
                chases[i] = perf_chase_run(&chase, n);
                ns[0][i] = singles_run(section, run->hits, n, true);
                ns[1][i] = singles_run(section, run->misses, n, false);
                ns[2][i] = batches_run(section, run->hits, n, true);
                ns[3][i] = batches_run(section, run->misses, n, false);
                for (int k = 0; k < 4; k++)
                        ratios[k][i] = ns[k][i] / chases[i];
                speedups[i] = ns[0][i] / ns[2][i];
        }
        perf_chase_deinit(&chase);

        row(run, variant, "chase", perf_median(chases, run->n_rounds), "ns");
        row(run, variant, "chase_min", perf_minimum(chases, run->n_rounds), "ns");
        for (int k = 0; k < 4; k++) {
                char name[40], name_min[40];

                snprintf(name, sizeof(name), "%s_per_chase", names[k]);
                snprintf(name_min, sizeof(name_min), "%s_min", names[k]);
                row(run, variant, names[k], perf_median(ns[k], run->n_rounds), "ns");
                row(run, variant, name_min, perf_minimum(ns[k], run->n_rounds), "ns");
                row(run, variant, name, perf_median(ratios[k], run->n_rounds), "ratio");
        }
        row(run, variant, "batch_speedup", perf_median(speedups, run->n_rounds), "ratio");
}

/* ---- one kind ---- */

static void variant_measure(struct run *run, const struct variant *variant)
{
        double n = (double)run->n_keys, limit = (64 - log2(n) + 1.4427 + 32) / 8, build;
        struct source source = source_of(run, PART_ALL);
        struct lanemap_segment_section_file header;
        struct section section;
        double index_bytes;

        build = section_make(run, variant, &source.cursor, &section);
        memcpy(&header, section.bytes, sizeof(header));
        index_bytes = variant->options.kind == LANEMAP_SEGMENT_KIND_PACKED
                              ? (double)section.segment.packed.n_groups * 8
                              : (double)le64toh(header.index_bytes);
        row(run, variant, "bytes_per_key", (double)section.n_bytes / n, "bytes");
        row(run, variant, "bytes_per_limit", (double)section.n_bytes / n / limit, "ratio");
        row(run, variant, "index_bits_per_key", index_bytes * 8 / n, "bits");
        row(run, variant, "build", build, "ns/key");
        row(run, variant, "merge", merge_measure(run, variant, &section), "ns/key");
        lookups_measure(run, variant, &section);
        section_free(&section);
}

/* ---- options ---- */

struct options {
        uint64_t keys[KEYS_LIST_MAX];
        uint32_t n_keys;
        const char *csv;
        bool quick;
        bool all;
};

static void options_keys(struct options *options, const char *text)
{
        char *end;

        options->n_keys = 0;
        do {
                uint64_t n = strtoull(text, &end, 10);

                if (end == text || n < 1000 || n > UINT32_MAX || options->n_keys == KEYS_LIST_MAX)
                        die("--keys: up to 8 numbers from 1000 to 4294967295", 0);
                options->keys[options->n_keys++] = n;
                text = end + 1;
        } while (*end == ',');
        if (*end)
                die("--keys: up to 8 numbers from 1000 to 4294967295", 0);
}

static void options_parse(struct options *options, int argc, char **argv)
{
        static const struct option longs[] = {
                {"keys", required_argument, NULL, 'k'}, {"csv", required_argument, NULL, 'c'},
                {"quick", no_argument, NULL, 'q'},      {"all", no_argument, NULL, 'a'},
                {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
        };
        int option;

        while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (option) {
                case 'k':
                        options_keys(options, optarg);
                        break;
                case 'c':
                        options->csv = optarg;
                        break;
                case 'q':
                        options->quick = true;
                        break;
                case 'a':
                        options->all = true;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        fputs(usage, stderr);
                        exit(2);
                }
        }
        if (optind < argc) {
                fputs(usage, stderr);
                exit(2);
        }
        if (options->n_keys == 0)
                options_keys(options, options->quick ? "20000" : "100000,1000000");
}

static void size_measure(const struct options *options, uint64_t n_keys, FILE *csv)
{
        static struct run run;
        char title[64];

        run = (struct run){
                .n_keys = n_keys,
                .n_rounds = options->quick ? 3 : ROUNDS_MAX,
                .n_lookups = options->quick ? 5000 : 40000,
        };
        run_init(&run);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(variants); i++) {
                if (variants[i].slow && n_keys > 20000000 && !options->all)
                        perf_table_note(&run.table, "%s: passed over (--all)", variants[i].name);
                else
                        variant_measure(&run, &variants[i]);
        }

        snprintf(title, sizeof(title), "segments of %" PRIu64 " keys", n_keys);
        if (csv != stdout)
                perf_table_print(&run.table, title, goals, LANEMAP_N_ELEMENTS(goals), stdout);
        if (csv)
                perf_table_csv(&run.table, n_keys, csv);
        run_deinit(&run);
}

int main(int argc, char **argv)
{
        struct options options = {0};
        FILE *csv = NULL;

        options_parse(&options, argc, argv);
        if (options.csv) {
                csv = strcmp(options.csv, "-") == 0 ? stdout : fopen(options.csv, "w");
                if (!csv)
                        die(options.csv, -errno);
                fprintf(csv, "name,value,unit\n");
        }

        (void)perf_pin_measuring();
        for (uint32_t i = 0; i < options.n_keys; i++)
                size_measure(&options, options.keys[i], csv);
        if (csv && fclose(csv) != 0)
                die(options.csv, -errno);

        return 0;
}
