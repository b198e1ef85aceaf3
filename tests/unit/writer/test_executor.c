/* The worker pool as an executor: parts are done once each, also by workers; nobody is waited
 * for. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "support/engine_fixture.h"
#include "writer/core/engine.h"

TestSuite(writer_executor, .timeout = 60);

#define N_PARTS 200

struct work {
        uint32_t n_done[N_PARTS];
        uint32_t n_inside; /* at this moment, and at most */
        uint32_t n_inside_max;
        uint32_t wanted; /* a part waits for so many to be inside, ten seconds at most */
        uint32_t busy[8];
        uint32_t n_clashes;
};

static void part_run(void *arg, uint32_t i, uint32_t thread)
{
        struct work *work = arg;
        uint32_t n = __atomic_add_fetch(&work->n_inside, 1, __ATOMIC_SEQ_CST);

        if (thread >= 8 || __atomic_add_fetch(&work->busy[thread & 7], 1, __ATOMIC_SEQ_CST) != 1)
                __atomic_add_fetch(&work->n_clashes, 1, __ATOMIC_SEQ_CST);
        if (n > lanemap_load_relaxed(&work->n_inside_max))
                lanemap_store_relaxed(&work->n_inside_max, n);
        for (int ms = 0; ms < 10000; ms++) {
                if (lanemap_load_relaxed(&work->n_inside_max) >= work->wanted)
                        break;
                (void)usleep(1000);
        }
        __atomic_add_fetch(&work->n_done[i], 1, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&work->busy[thread & 7], 1, __ATOMIC_SEQ_CST);
        __atomic_sub_fetch(&work->n_inside, 1, __ATOMIC_SEQ_CST);
}

static void work_check(const struct work *work, uint32_t n)
{
        for (uint32_t i = 0; i < N_PARTS; i++)
                cr_assert_eq(work->n_done[i], i < n, "part %u", i);
        cr_expect_eq(work->n_clashes, 0);
}

static void workers_start(struct fixture *fixture, uint32_t n_workers)
{
        fixture_init(fixture, "executor");
        fixture->options.n_workers = n_workers;
        fixture_open(fixture);
}

/* The caller and both workers are inside at the same time, or the parts would wait in vain. */
Test(writer_executor, idle_workers_help)
{
        struct work work = {.wanted = 3};
        struct fixture fixture;

        workers_start(&fixture, 2);
        lanemap_executor_run(&fixture.writer->workers.executor, part_run, &work, N_PARTS);
        work_check(&work, N_PARTS);
        cr_expect_eq(work.n_inside_max, 3);
        fixture_deinit(&fixture);
}

Test(writer_executor, none_and_one_part_are_the_callers)
{
        struct work work = {.wanted = 1};
        struct fixture fixture;

        workers_start(&fixture, 2);
        lanemap_executor_run(&fixture.writer->workers.executor, part_run, &work, 0);
        work_check(&work, 0);
        lanemap_executor_run(&fixture.writer->workers.executor, part_run, &work, 1);
        work_check(&work, 1);
        cr_expect_eq(work.n_inside_max, 1);
        fixture_deinit(&fixture);
}

struct caller {
        struct fixture *fixture;
        struct work work;
};

static void *caller_main(void *arg)
{
        struct caller *caller = arg;

        lanemap_executor_run(&caller->fixture->writer->workers.executor, part_run, &caller->work,
                             N_PARTS);
        return NULL;
}

/* Jobs of several threads at once: each has all of its parts done when its run ends. */
Test(writer_executor, several_jobs_at_once)
{
        static struct caller callers[4];
        pthread_t threads[4];
        struct fixture fixture;

        workers_start(&fixture, 2);
        for (int i = 0; i < 4; i++) {
                callers[i].fixture = &fixture;
                callers[i].work.wanted = 1;
                cr_assert_eq(pthread_create(&threads[i], NULL, caller_main, &callers[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
                pthread_join(threads[i], NULL);
                work_check(&callers[i].work, N_PARTS);
        }
        cr_expect_null(fixture.writer->workers.jobs);
        fixture_deinit(&fixture);
}
