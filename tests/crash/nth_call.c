/*
 * The n-th call fails, for every n until the operation gets by without meeting it (W5, R5).
 *
 *         nth_call [--only WHAT] [--stride N] [--seed S] [--log]
 *
 * One operation at a time, over each: memory, open, read, write, sync, space, mappings, names,
 * descriptors, threads (failing_calls.h); once with that call failing, once with every later one of
 * its kind failing too until the operation has ended (a full disk stays full).
 *
 * Nothing lies: what the operation did not refuse is there, what it refused is not; every lookup
 * goes on answering right; and the operation succeeds when it is tried again. Nothing leaks:
 * descriptors, mappings, bytes of the writer's allocator, blocks of the reader's, shared objects,
 * files that nothing names.
 *
 * Each n has an index of its own. --stride N takes every N-th of them, from a random one on.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "failing_calls.h"
#include "nth_scenarios.h"

#define CALLS_MAX    4000
#define HANG_SECONDS 60

static uint64_t n_tried, n_refused;
static struct rng rng;

static void on_alarm(int number)
{
        (void)number;
        wrong("it hangs", NULL);
}

/* Whatever the operation has left of writer and reader: both are there, and right. */
static void world_settle(struct world *world)
{
        if (!world->writer)
                must(writer_open_try(world) == 0);
        if (!world->reader)
                must(reader_attach_try(world) == 0);
        world_compare(world, "it is not what it should be");
}

static void scenario_retry(struct world *world, const struct scenario *scenario)
{
        int r;

        in_hand.failed_before = failing_calls_failed();
        failing_calls_arm(0, false);
        r = scenario->act(world);
        if (r < 0)
                wrong("tried again, it fails", strerror(-r));
        if (scenario->after)
                scenario->after(world, r);
}

/* The n-th call. Return: whether there was one. */
static bool scenario_try(const struct scenario *scenario, uint64_t n, bool all_later)
{
        struct possessions before = possessions_count();
        struct world world;
        uint64_t n_calls;
        int r;

        in_hand.n = n;
        in_hand.all_later = all_later;
        (void)alarm(HANG_SECONDS);
        world_init(&world);
        if (scenario->prepare)
                scenario->prepare(&world);

        failing_calls_arm(n, all_later);
        r = scenario->act(&world);
        n_calls = failing_calls_disarm();

        if (r < 0 && !failing_calls_failed())
                wrong("nothing failed, and it fails", strerror(-r));
        if (scenario->after)
                scenario->after(&world, r);
        if (r < 0) {
                /* Reads of an index that is there go on before anything is tried again. */
                if (world.writer && world.reader)
                        world_compare(&world, "refused, and it is not what it was");
                scenario_retry(&world, scenario);
        }
        n_refused += r < 0;
        n_tried++;
        world_settle(&world);
        world_deinit(&world);
        possessions_compare(&before);
        return n_calls >= n;
}

static void scenario_run(const struct scenario *scenario, uint64_t stride)
{
        uint64_t n = 1 + rng_below(&rng, stride), tried_before = n_tried,
                 refused_before = n_refused, start_ns = now_ns();

        in_hand.scenario = scenario->name;
        while (scenario_try(scenario, n, false) && n < CALLS_MAX)
                n += stride;
        for (uint64_t m = 1; m < n; m += 1 + stride * m / 8)
                (void)scenario_try(scenario, m, true);
        printf("%-36s %4" PRIu64 " calls, %4" PRIu64 " tried, %4" PRIu64 " refused, %.1f s\n",
               scenario->name, n - 1, n_tried - tried_before, n_refused - refused_before,
               (double)(now_ns() - start_ns) / 1e9);
        fflush(stdout);
}

int main(int argc, char **argv)
{
        uint64_t stride = argument_u64(argc, argv, "--stride", 1);
        const char *only = NULL;

        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], "--only") == 0)
                        only = argv[i + 1];
        rng_init(&rng, argument_seed(argc, argv));
        in_hand.with_log = argument_flag(argc, argv, "--log");
        (void)setenv("TMPDIR", "/dev/shm", 0);
        signal(SIGALRM, on_alarm);

        /* What libraries set up once and keep is not a leak. */
        in_hand.scenario = scenarios[0].name;
        for (int i = 0; i < 2; i++) {
                struct world world;

                world_init(&world);
                world_deinit(&world);
        }
        for (size_t i = 0; i < n_scenarios; i++)
                if (!only || strstr(scenarios[i].name, only))
                        scenario_run(&scenarios[i], stride > 0 ? stride : 1);

        if (!only || strstr(unreadable_name, only)) {
                unreadable_try(); /* a merge is refused */
                n_tried++;
                n_refused++;
        }

        printf("%" PRIu64 " tried, %" PRIu64 " refused, 0 wrong\n", n_tried, n_refused);
        return n_refused == 0;
}
