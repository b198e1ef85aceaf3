/*
 * perf/postings: encodings of a posting list side by side, in one run. perf/README.md says how to
 * read it.
 *
 * Lists of n ids: dense (each id 1 to 4 above the one before) and sparse (anywhere in 32 bits). As
 * many of them as have 100,000 ids together, so that short lists are not always the same one. Every
 * answer is compared with what it must be.
 */
#include "postings/private.h"

#include <errno.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"
#include "support/command.h"
#include "support/keys.h"
#include "support/output.h"
#include "support/pin.h"
#include "support/recorder.h"
#include "support/timer.h"

#define IDS_TOGETHER 100000
#define ROUNDS_MAX   9
#define DENSE_GAP    4

struct run {
        uint32_t n_ids; /* of a list */
        uint32_t n_lists;
        uint32_t n_rounds;
        uint32_t *ids;       /* of all lists, one behind the other */
        uint32_t *questions; /* one per list: in it, or not, by turns */
        uint32_t *scratch;
        uint32_t *united;
        struct perf_table table;
};

static void *allocate(size_t bytes)
{
        void *block = aligned_alloc(64, LANEMAP_ALIGN_UP(bytes + 64, 64));

        if (!block)
                perf_die("memory", -ENOMEM);
        memset(block, 0, LANEMAP_ALIGN_UP(bytes + 64, 64));
        return block;
}

static int id_order(const void *a, const void *b)
{
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return (left > right) - (left < right);
}

static void list_make(uint32_t *ids, uint32_t n, bool dense, uint64_t seed)
{
        uint32_t n_distinct = 0;

        if (dense) {
                ids[0] = (uint32_t)(perf_mix64(seed) >> 33);
                for (uint32_t i = 1; i < n; i++)
                        ids[i] = ids[i - 1] + 1 +
                                 (uint32_t)(perf_mix64(seed ^ (uint64_t)i << 32) % DENSE_GAP);
                return;
        }

        for (uint64_t k = 0; n_distinct < n; k++) {
                uint32_t n_more = n - n_distinct, before = n_distinct;

                for (uint32_t i = 0; i < n_more; i++)
                        ids[before + i] =
                                (uint32_t)(perf_mix64(seed ^ ((k << 40) + i)) % LANEMAP_ID_MAX);
                qsort(ids, n, sizeof(*ids), id_order);
                n_distinct = 1;
                for (uint32_t i = 1; i < n; i++)
                        if (ids[i] != ids[n_distinct - 1])
                                ids[n_distinct++] = ids[i];
        }
}

static void run_init(struct run *run, uint32_t n_ids, bool quick)
{
        size_t n;

        *run = (struct run){
                .n_ids = n_ids,
                .n_lists = LANEMAP_MAX(2, IDS_TOGETHER / (quick ? 10 : 1) / n_ids),
                .n_rounds = quick ? 3 : ROUNDS_MAX,
        };
        n = (size_t)run->n_lists * n_ids;
        run->ids = allocate(n * sizeof(*run->ids));
        run->questions = allocate(run->n_lists * sizeof(*run->questions));
        run->scratch = allocate(2 * (size_t)n_ids * sizeof(*run->scratch));
        run->united = allocate(2 * (size_t)n_ids * sizeof(*run->united));
}

static void run_fill(struct run *run, bool dense)
{
        for (uint32_t i = 0; i < run->n_lists; i++) {
                uint32_t *ids = run->ids + (size_t)i * run->n_ids;
                uint64_t pick = perf_mix64(i + 99);

                list_make(ids, run->n_ids, dense, i * UINT64_C(0x9e3779b97f4a7c15) + dense);
                run->questions[i] = ids[pick % run->n_ids] + (uint32_t)(pick >> 63);
        }
}

static void run_deinit(struct run *run)
{
        free(run->ids);
        free(run->questions);
        free(run->scratch);
        free(run->united);
}

/* Each list in a block of its own. Return: bytes of all. */
static uint64_t lists_encode(const struct run *run, const struct postings_format *format,
                             struct postings_list *lists)
{
        size_t room = 16 * (size_t)run->n_ids + 256;
        unsigned char *bytes = allocate(room);
        uint64_t n_bytes = 0;

        for (uint32_t i = 0; i < run->n_lists; i++) {
                const uint32_t *ids = run->ids + (size_t)i * run->n_ids;
                unsigned char *copy;

                memset(bytes, 0, room);
                lists[i].n_bytes = format->encode(ids, run->n_ids, bytes);
                lists[i].n_ids = run->n_ids;
                copy = allocate(lists[i].n_bytes);
                memcpy(copy, bytes, lists[i].n_bytes);
                lists[i].bytes = copy;
                n_bytes += lists[i].n_bytes;
        }

        free(bytes);
        return n_bytes;
}

static void lists_free(struct postings_list *lists, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                free((unsigned char *)(uintptr_t)lists[i].bytes);
        free(lists);
}

static bool array_has(const uint32_t *ids, uint32_t n, uint32_t id)
{
        return bsearch(&id, ids, n, sizeof(*ids), id_order) != NULL;
}

/* Before anything is timed. */
static void answers_check(struct run *run, const struct postings_format *format,
                          const struct postings_list *lists)
{
        for (uint32_t i = 0; i + 1 < run->n_lists; i++) {
                const uint32_t *ids = run->ids + (size_t)i * run->n_ids;
                uint32_t n, n_expected = run->n_ids;

                format->decode(&lists[i], run->scratch);
                if (memcmp(run->scratch, ids, run->n_ids * sizeof(*ids)) != 0)
                        perf_die("a list is decoded wrongly", 0);
                if (format->contains(&lists[i], run->questions[i]) !=
                    array_has(ids, run->n_ids, run->questions[i]))
                        perf_die("contains() is wrong", 0);

                for (uint32_t k = 0; k < run->n_ids; k++)
                        n_expected += !array_has(ids, run->n_ids, ids[run->n_ids + k]);
                n = format->unite(&lists[i], &lists[i + 1], run->scratch, run->united);
                if (n != n_expected)
                        perf_die("a union is wrong", 0);
                for (uint32_t k = 1; k < n; k++)
                        if (run->united[k] <= run->united[k - 1])
                                perf_die("a union is not in order", 0);
        }
}

static double decode_run(struct run *run, const struct postings_format *format,
                         const struct postings_list *lists)
{
        uint64_t from = perf_thread_ns();

        for (uint32_t i = 0; i < run->n_lists; i++)
                format->decode(&lists[i], run->scratch);
        return (double)(perf_thread_ns() - from) / ((double)run->n_lists * run->n_ids);
}

static double contains_run(struct run *run, const struct postings_format *format,
                           const struct postings_list *lists)
{
        uint32_t n = LANEMAP_MAX(run->n_lists, 2000);
        volatile uint32_t n_found = 0;
        uint64_t from = perf_thread_ns();

        for (uint32_t i = 0; i < n; i++) {
                uint32_t list = i % run->n_lists;
                uint32_t id = run->ids[(size_t)list * run->n_ids + perf_mix64(i) % run->n_ids];

                n_found += format->contains(&lists[list], id + (i & 1));
        }
        (void)n_found; /* only has to be computed */
        return (double)(perf_thread_ns() - from) / n;
}

static double unite_run(struct run *run, const struct postings_format *format,
                        const struct postings_list *lists)
{
        uint64_t from = perf_thread_ns();

        for (uint32_t i = 0; i + 1 < run->n_lists; i++)
                (void)format->unite(&lists[i], &lists[i + 1], run->scratch, run->united);
        return (double)(perf_thread_ns() - from) / ((double)(run->n_lists - 1) * 2 * run->n_ids);
}

static void row(struct run *run, bool dense, const struct postings_format *format, const char *what,
                double value, const char *unit)
{
        char name[56];

        snprintf(name, sizeof(name), "%s.%s.%s", dense ? "dense" : "sparse", format->name, what);
        perf_table_add(&run->table, name, value, unit);
}

static void format_measure(struct run *run, bool dense, const struct postings_format *format)
{
        struct postings_list *lists = calloc(run->n_lists, sizeof(*lists));
        double decode[ROUNDS_MAX], contains[ROUNDS_MAX], unite[ROUNDS_MAX], n_bytes;

        if (!lists)
                perf_die("memory", -ENOMEM);
        n_bytes = (double)lists_encode(run, format, lists);
        answers_check(run, format, lists);
        for (uint32_t i = 0; i < run->n_rounds; i++) {
                decode[i] = decode_run(run, format, lists);
                contains[i] = contains_run(run, format, lists);
                unite[i] = unite_run(run, format, lists);
        }

        row(run, dense, format, "bytes_per_id", n_bytes / ((double)run->n_lists * run->n_ids),
            "bytes");
        row(run, dense, format, "decode", perf_median(decode, run->n_rounds), "ns/id");
        row(run, dense, format, "contains", perf_median(contains, run->n_rounds), "ns");
        row(run, dense, format, "union", perf_median(unite, run->n_rounds), "ns/id");
        lists_free(lists, run->n_lists);
}

static void size_measure(uint32_t n_ids, bool quick, struct perf_output *output)
{
        static struct run run;
        char title[64];

        run_init(&run, n_ids, quick);
        perf_table_circumstances(&run.table);
        for (int dense = 1; dense >= 0; dense--) {
                run_fill(&run, dense);
                for (const struct postings_format *format = postings_formats; format->name;
                     format++)
                        format_measure(&run, dense, format);
        }

        snprintf(title, sizeof(title), "lists of %u ids", n_ids);
        perf_output_table(output, &run.table, title, n_ids);
        run_deinit(&run);
}

int main(int argc, char **argv)
{
        struct perf_sizes sizes = {5, {2, 10, 50, 1000, 100000}};
        struct perf_output output;
        const char *csv = NULL;
        bool quick = false;
        const struct perf_option all[] = {
                {"ids", PERF_OPTION_SIZES, &sizes, NULL,
                 "ids of a list (default 2,10,50,1000,100000)", 2, 10000000},
                PERF_OPTION_CSV(&csv),
                PERF_OPTION_QUICK(&quick),
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), argc, argv);
        perf_output_open(&output, csv, NULL, 0);
        (void)perf_pin_measuring();
        for (size_t i = 0; i < sizes.n; i++)
                size_measure((uint32_t)sizes.values[i], quick, &output);
        perf_output_close(&output);
        return 0;
}
