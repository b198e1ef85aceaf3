/*
 * perf/instructions: one loop of lookups in one section, for count.py, which runs it under
 * callgrind and counts the instructions of counted_singles(), counted_batches() or
 * counted_cursor(). Alone it only says whether the answers are right.
 *
 * Usage: instructions KIND FILTER WHAT, by the numbers and words of count.py
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/die.h"
#include "support/hashes.h"
#include "support/memory.h"
#include "support/section.h"

#define N_KEYS     20000
#define N_LOOKUPS  1984 /* whole batches */
#define BATCH_KEYS 32

static uint64_t n_found; /* kept, so that no lookup is left out */

/* Prototypes, since they are not static: callgrind has to find them by name. */
void counted_singles(const struct lanemap_segment *segment, const uint64_t *hashes, size_t n);
void counted_batches(const struct lanemap_segment *segment, const uint64_t *hashes, size_t n);
void counted_cursor(struct lanemap_segment_cursor *cursor);

__attribute__((noinline)) void counted_singles(const struct lanemap_segment *segment,
                                               const uint64_t *hashes, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                struct lanemap_fingerprint fp = {.hash = hashes[i]};
                struct lanemap_segment_posting posting;

                n_found +=
                        lanemap_segment_find(segment, fp, lanemap_slot_of(fp.hash), &posting) == 0;
        }
}

__attribute__((noinline)) void counted_batches(const struct lanemap_segment *segment,
                                               const uint64_t *hashes, size_t n)
{
        for (size_t at = 0; at < n; at += BATCH_KEYS) {
                struct lanemap_fingerprint fps[BATCH_KEYS] = {0};

                for (size_t i = 0; i < BATCH_KEYS; i++) {
                        fps[i].hash = hashes[at + i];
                        lanemap_segment_prefetch_directory(segment, fps[i],
                                                           lanemap_slot_of(fps[i].hash));
                }
                for (size_t i = 0; i < BATCH_KEYS; i++)
                        lanemap_segment_prefetch_entry(segment, fps[i],
                                                       lanemap_slot_of(fps[i].hash));
                for (size_t i = 0; i < BATCH_KEYS; i++)
                        lanemap_segment_prefetch_value(segment, fps[i],
                                                       lanemap_slot_of(fps[i].hash));
                for (size_t i = 0; i < BATCH_KEYS; i++) {
                        struct lanemap_segment_posting posting;

                        n_found +=
                                lanemap_segment_find(segment, fps[i], lanemap_slot_of(fps[i].hash),
                                                     &posting) == 0;
                }
        }
}

__attribute__((noinline)) void counted_cursor(struct lanemap_segment_cursor *cursor)
{
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
        uint32_t n;

        while (lanemap_cursor_next_batch(&cursor->cursor, entries, &n) == 0)
                n_found += n;
}

/* Return: how many lookups, or entries. */
static uint64_t what_run(const struct lanemap_segment *segment, const uint64_t *all,
                         const char *what)
{
        static struct lanemap_segment_cursor cursor;
        bool hit = strstr(what, "hit") != NULL;
        uint64_t hashes[N_LOOKUPS], n_expected = hit ? N_LOOKUPS : 0, n = N_LOOKUPS;
        uint32_t id;

        for (size_t i = 0; i < N_LOOKUPS; i++)
                hashes[i] =
                        hit ? all[perf_mix64(i + 77) % N_KEYS] : perf_mix64(PERF_KEYS_ABSENT + i);
        if (strcmp(what, "cursor") == 0) {
                void *scratch = perf_allocate(lanemap_segment_cursor_scratch_bytes(segment) + 1);

                if (lanemap_segment_cursor_init(&cursor, segment, NULL, &id, 1, scratch) < 0)
                        perf_die("a cursor", 0);
                counted_cursor(&cursor);
                free(scratch);
                n = n_expected = N_KEYS;
        } else if (strncmp(what, "batch", 5) == 0) {
                counted_batches(segment, hashes, N_LOOKUPS);
        } else {
                counted_singles(segment, hashes, N_LOOKUPS);
        }
        if (n_found != n_expected)
                perf_die("a wrong answer", 0);
        return n;
}

int main(int argc, char **argv)
{
        struct lanemap_segment_build_options options = {0};
        struct perf_hash_cursor cursor;
        struct perf_section section;
        uint64_t *all;

        if (argc != 4) {
                fputs("instructions: run perf/instructions/count.py\n", stderr);
                return 2;
        }

        options.kind = (uint32_t)atoi(argv[1]);
        options.filter = (uint32_t)atoi(argv[2]);
        all = perf_hashes_sorted(N_KEYS);
        perf_hash_cursor_init(&cursor, all, N_KEYS);
        perf_section_make(argv[1], &options, &cursor.cursor, &section);
        printf("%llu\n", (unsigned long long)what_run(&section.segment, all, argv[3]));
        perf_section_free(&section);
        free(all);
        return 0;
}
