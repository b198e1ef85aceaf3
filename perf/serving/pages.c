/*
 * What huge pages are worth: loads of which each needs the one before, over a file on a tmpfs, in
 * pages as they come, and after MADV_COLLAPSE; also through a mapping that is made afterwards, as a
 * reader's is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lane/file_read.h"
#include "serving/private.h"
#include "support/keys.h"
#include "support/windows.h"

#define LINE_WORDS 8 /* of 8 bytes */
#define ROUNDS     9

/* A file without a name, with all its pages. */
static int tmpfs_file(const char *tmpfs, uint64_t n_bytes)
{
        int fd = open(tmpfs, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), r;

        if (fd < 0)
                perf_die(tmpfs, -errno);
        r = posix_fallocate(fd, 0, (off_t)n_bytes);
        if (r != 0)
                perf_die(tmpfs, r);
        return fd;
}

/* All lines in one random cycle: each holds the number of the next. */
static void cycle_write(int fd, uint64_t n_bytes)
{
        uint64_t n_lines = n_bytes / 64, *words;
        uint32_t *order = malloc(n_lines * sizeof(*order));

        words = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (!order || words == MAP_FAILED)
                perf_die("memory", -ENOMEM);
        for (uint64_t i = 0; i < n_lines; i++)
                order[i] = (uint32_t)i;
        for (uint64_t i = n_lines - 1; i > 0; i--) {
                uint64_t with = perf_mix64(i) % i;
                uint32_t line = order[i];

                order[i] = order[with];
                order[with] = line;
        }
        for (uint64_t i = 0; i < n_lines; i++)
                words[(uint64_t)order[i] * LINE_WORDS] = order[(i + 1) % n_lines];
        munmap(words, n_bytes);
        free(order);
}

/* Nanoseconds of a step: the median of some windows. */
static double chase(const void *bytes, uint64_t n_bytes, uint64_t n_steps)
{
        const uint64_t *words = bytes;
        double ns[ROUNDS];
        uint64_t at = 0;

        (void)lanemap_lane_file_populate(bytes, n_bytes);
        for (int i = 0; i < ROUNDS; i++) {
                uint64_t from = perf_thread_ns();

                for (uint64_t k = 0; k < n_steps; k++)
                        at = words[at * LINE_WORDS];
                __asm__ volatile("" ::"r"(at));
                ns[i] = (double)(perf_thread_ns() - from) / (double)n_steps;
        }

        return perf_median(ns, ROUNDS);
}

void serving_measure_pages(const struct serving_options *options, struct perf_table *table)
{
        uint64_t n_steps = options->quick ? 100000 : 2000000, n_bytes, from;
        int fd = tmpfs_file(options->tmpfs, options->page_bytes), r, collapsed;
        double small, huge, again;
        void *bytes;

        cycle_write(fd, options->page_bytes);
        r = lanemap_lane_file_map(fd, true, &bytes, &n_bytes);
        if (r < 0)
                perf_die("mmap", r);
        small = chase(bytes, n_bytes, n_steps);
        from = perf_now_ns();
        collapsed = lanemap_lane_file_collapse(bytes, n_bytes);
        perf_table_add(table, "pages_collapse_time", (double)(perf_now_ns() - from) / 1e6, "ms");
        huge = chase(bytes, n_bytes, n_steps);
        munmap(bytes, n_bytes);
        r = lanemap_lane_file_map(fd, true, &bytes, &n_bytes);
        if (r < 0)
                perf_die("mmap", r);
        again = chase(bytes, n_bytes, n_steps);
        munmap(bytes, n_bytes);
        close(fd);

        perf_table_add(table, "pages_small_access", small, "ns");
        perf_table_add(table, "pages_collapsed_access", huge, "ns");
        perf_table_add(table, "pages_collapsed_later_mapping_access", again, "ns");
        perf_table_add(table, "pages_collapsed_per_small", huge / small, "");
        perf_table_add(table, "pages_collapse_refused", collapsed < 0 ? -collapsed : 0, "errno");
}
