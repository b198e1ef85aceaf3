/*
 * The ways in which a reader could come by new segments, without an index around them: threads that
 * look up (three dependent loads in one of 64 live segments), and one that replaces segments at a
 * steady rate.
 *
 *   still    nothing is replaced
 *   map      a mapping per segment: mmap, populate, publish, wait for lookups, munmap
 *   bare     the same without populating: lookups fault
 *   range    one reserved range of addresses: MAP_FIXED into a free part of it, populate, publish;
 *            what is old is unmapped 64 at a time, by one call
 *   arena    one file mapped once: the segment's bytes are copied into a free part, publish; nothing
 *            is ever mapped or unmapped
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/rcu.h"
#include "lane/file_read.h"
#include "serving/private.h"
#include "support/keys.h"

#define N_LIVE  64
#define N_FILES 96           /* that take turns as the next segment */
#define N_PARTS (4 * N_LIVE) /* of the range, of the arena */

enum { WAY_STILL, WAY_MAP, WAY_BARE, WAY_RANGE, WAY_ARENA, N_WAYS };
static const char *const way_names[N_WAYS] = {"still", "map", "bare", "range", "arena"};

struct world {
        const struct serving_options *options;
        uint64_t n_bytes; /* of a segment: a multiple of a page */
        int fds[N_FILES];
        int arena_fd;
        unsigned char *buffer;
        unsigned char *live[N_LIVE]; /* RCU */
        unsigned char *parts;        /* of the range or the arena */
        unsigned char *old[N_LIVE];  /* range: not yet unmapped */
        uint32_t n_old;
        uint64_t n_replaced;
        int way;
        bool stop;
};

static void *map_at(void *at, int fd, uint64_t n_bytes)
{
        void *bytes = mmap(at, n_bytes, PROT_READ, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);

        if (bytes == MAP_FAILED)
                perf_die("mmap", -errno);
        return bytes;
}

static void world_init(struct world *world, const struct serving_options *options)
{
        *world = (struct world){.options = options, .n_bytes = options->segment_bytes};
        world->buffer = malloc(world->n_bytes);
        if (!world->buffer)
                perf_die("memory", -ENOMEM);
        for (uint64_t i = 0; i < world->n_bytes / 8; i++)
                ((uint64_t *)(void *)world->buffer)[i] = perf_mix64(i);
        for (int i = 0; i < N_FILES; i++) {
                world->fds[i] = serving_tmpfs_file(options->tmpfs, world->n_bytes);
                if (pwrite(world->fds[i], world->buffer, world->n_bytes, 0) !=
                    (ssize_t)world->n_bytes)
                        perf_die("pwrite", -errno);
        }
        world->arena_fd = serving_tmpfs_file(options->tmpfs, N_PARTS * world->n_bytes);
        for (int i = 0; i < N_PARTS; i++)
                if (pwrite(world->arena_fd, world->buffer, world->n_bytes,
                           (off_t)((uint64_t)i * world->n_bytes)) != (ssize_t)world->n_bytes)
                        perf_die("pwrite", -errno);
}

static void world_deinit(struct world *world)
{
        for (int i = 0; i < N_FILES; i++)
                close(world->fds[i]);
        close(world->arena_fd);
        free(world->buffer);
}

/* ---- one way, from its beginning to its end ---- */

static void way_begin(struct world *world, int way)
{
        world->way = way;
        world->n_old = 0;
        world->n_replaced = 0;
        world->stop = false;
        world->parts = NULL;
        if (way == WAY_ARENA)
                world->parts = map_at(NULL, world->arena_fd, N_PARTS * world->n_bytes);
        if (way == WAY_RANGE)
                world->parts = mmap(NULL, N_PARTS * world->n_bytes, PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (world->parts == MAP_FAILED)
                perf_die("mmap", -errno);
        for (uint32_t i = 0; i < N_LIVE; i++) {
                unsigned char *part = world->parts ? world->parts + i * world->n_bytes : NULL;

                world->live[i] =
                        way == WAY_ARENA ? part : map_at(part, world->fds[i], world->n_bytes);
                (void)lanemap_lane_file_populate(world->live[i], world->n_bytes);
        }
}

static void way_end(struct world *world)
{
        lanemap_rcu_synchronize();
        for (uint32_t i = 0; i < N_LIVE && !world->parts; i++)
                munmap(world->live[i], world->n_bytes);
        if (world->parts)
                munmap(world->parts, N_PARTS * world->n_bytes);
}

/* The range goes round: by the time that a part comes again, it was given back. */
static void range_give_back(struct world *world, unsigned char *old)
{
        unsigned char *first = old;

        world->old[world->n_old++] = old;
        if (world->n_old < N_LIVE)
                return;

        lanemap_rcu_synchronize();
        for (uint32_t i = 0; i < world->n_old; i++)
                first = world->old[i] < first ? world->old[i] : first;
        /* They were put there one behind the other. */
        if (mmap(first, N_LIVE * world->n_bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
                perf_die("mmap", -errno);
        world->n_old = 0;
}

static void segment_replace(struct world *world)
{
        uint32_t slot = (uint32_t)(world->n_replaced % N_LIVE);
        uint64_t part = (N_LIVE + world->n_replaced) % N_PARTS;
        int fd = world->fds[(N_LIVE + world->n_replaced) % N_FILES];
        unsigned char *old = world->live[slot], *new;

        world->n_replaced++;
        if (world->way == WAY_ARENA) {
                new = world->parts + part * world->n_bytes;
                if (pwrite(world->arena_fd, world->buffer, world->n_bytes,
                           (off_t)(part * world->n_bytes)) != (ssize_t)world->n_bytes)
                        perf_die("pwrite", -errno);
        } else {
                new = map_at(world->parts ? world->parts + part * world->n_bytes : NULL, fd,
                             world->n_bytes);
                if (world->way != WAY_BARE)
                        (void)lanemap_lane_file_populate(new, world->n_bytes);
        }
        lanemap_store_release(&world->live[slot], new);
        if (world->way == WAY_RANGE) {
                range_give_back(world, old);
        } else if (world->way != WAY_ARENA) {
                lanemap_rcu_synchronize();
                munmap(old, world->n_bytes);
        }
}

/* ---- threads ---- */

struct looker {
        pthread_t thread;
        struct world *world;
        uint64_t seed;
        struct serving_histogram histogram;
};

static void *looker_main(void *arg)
{
        struct looker *looker = arg;
        struct world *world = looker->world;
        uint64_t state = looker->seed, mask = world->n_bytes / 8 - 1;

        while (!lanemap_load_relaxed(&world->stop)) {
                uint64_t at = perf_mix64(state++), ticks = perf_ticks_begin();
                const uint64_t *words;

                lanemap_rcu_read_lock();
                words = (const void *)lanemap_load_acquire(&world->live[at >> 32 & (N_LIVE - 1)]);
                for (int i = 0; i < 3; i++)
                        at = lanemap_load_relaxed(&words[at & mask]) + state;
                lanemap_rcu_read_unlock();
                __asm__ volatile("" ::"r"(at));
                serving_histogram_add(&looker->histogram, perf_ticks_end() - ticks);
        }

        return NULL;
}

static void *replacer_main(void *arg)
{
        struct world *world = arg;
        uint64_t due = perf_now_ns();

        while (!lanemap_load_relaxed(&world->stop)) {
                uint64_t now = perf_now_ns();

                if (now < due)
                        perf_sleep_ns(due - now);
                segment_replace(world);
                due += (uint64_t)(1e9 / world->options->rate);
        }

        return NULL;
}

static void window_run(struct world *world, uint32_t n_threads, int way,
                       struct serving_series *series)
{
        static struct looker lookers[SERVING_THREADS_MAX];
        static struct serving_histogram sum;
        static uint64_t seed;
        pthread_t replacer;

        memset(&sum, 0, sizeof(sum));
        way_begin(world, way);
        for (uint32_t i = 0; i < n_threads; i++) {
                lookers[i] = (struct looker){.world = world, .seed = perf_mix64(++seed)};
                if (pthread_create(&lookers[i].thread, NULL, looker_main, &lookers[i]) != 0)
                        perf_die("pthread_create", -errno);
        }
        if (way != WAY_STILL && pthread_create(&replacer, NULL, replacer_main, world) != 0)
                perf_die("pthread_create", -errno);
        perf_sleep_ns((uint64_t)(world->options->seconds * 1e9));
        lanemap_store_relaxed(&world->stop, true);
        for (uint32_t i = 0; i < n_threads; i++) {
                pthread_join(lookers[i].thread, NULL);
                serving_histogram_merge(&sum, &lookers[i].histogram);
        }
        if (way != WAY_STILL)
                pthread_join(replacer, NULL);
        way_end(world);
        serving_series_add(series, &sum);
}

void serving_measure_maps(const struct serving_options *options, struct perf_table *table)
{
        static struct serving_series series[N_WAYS];
        struct world world;
        char prefix[40];

        world_init(&world, options);
        for (size_t t = 0; t < options->n_threads; t++) {
                memset(series, 0, sizeof(series));
                for (uint32_t round = 0; round < options->n_rounds; round++)
                        for (int i = 0; i < N_WAYS; i++) {
                                int way = (int)((round + (uint32_t)i) % N_WAYS);

                                window_run(&world, options->threads[t], way, &series[way]);
                        }
                for (int way = 0; way < N_WAYS; way++) {
                        snprintf(prefix, sizeof(prefix), "maps_t%u_%s", options->threads[t],
                                 way_names[way]);
                        serving_series_report(&series[way], prefix, table);
                }
        }
        world_deinit(&world);
}
