/*
 * Guards (U1 to U4): what a guard may look at is not released, what none looks at is; the horizon
 * waits for nobody; places are given back; a forked child has its own guards and no others.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/guard.h"

TestSuite(guard, .timeout = 60);

Test(guard, what_is_looked_at_is_kept)
{
        struct lanemap_guard *outer, *inner;
        uint64_t before, during, after;

        lanemap_guard_init();
        before = lanemap_guard_stamp();
        cr_expect_geq(lanemap_guard_horizon(), before, "nobody looks");

        outer = lanemap_guard_enter();
        cr_expect_geq(lanemap_guard_horizon(), before, "unlinked before it was entered");
        during = lanemap_guard_stamp();
        cr_expect_lt(lanemap_guard_horizon(), during);
        inner = lanemap_guard_enter();
        cr_expect_eq(inner, outer, "one place for a thread");
        lanemap_guard_leave(inner);
        cr_expect_lt(lanemap_guard_horizon(), during, "the outer one is open still");
        lanemap_guard_leave(outer);
        cr_expect_geq(lanemap_guard_horizon(), during);

        /* One that was entered later is as old as its own clock, not as the place's. */
        outer = lanemap_guard_enter();
        cr_expect_geq(lanemap_guard_horizon(), during);
        after = lanemap_guard_stamp();
        cr_expect_lt(lanemap_guard_horizon(), after);
        lanemap_guard_leave(outer);
}

/* Stamped behind the look at the guards: no horizon of before covers it. */
Test(guard, a_horizon_covers_nothing_later)
{
        uint64_t horizon;

        lanemap_guard_init();
        horizon = lanemap_guard_horizon();
        cr_expect_lt(horizon, lanemap_guard_stamp());
}

/* ---- threads ---- */

struct party {
        sem_t is_inside;
        sem_t may_leave;
};

static void *guest_main(void *arg)
{
        struct party *party = arg;
        struct lanemap_guard *guard = lanemap_guard_enter();

        sem_post(&party->is_inside);
        while (sem_wait(&party->may_leave) != 0)
                ;
        lanemap_guard_leave(guard);
        return NULL;
}

static void guests_start(struct party *party, pthread_t *threads, int n)
{
        pthread_attr_t attributes;

        sem_init(&party->is_inside, 0, 0);
        sem_init(&party->may_leave, 0, 0);
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 64 << 10);
        for (int i = 0; i < n; i++)
                cr_assert_eq(pthread_create(&threads[i], &attributes, guest_main, party), 0);
        for (int i = 0; i < n; i++)
                while (sem_wait(&party->is_inside) != 0)
                        ;
        pthread_attr_destroy(&attributes);
}

#define N_GUESTS 1500

/* More threads than the first block has places: each has one of its own, and each is waited for. */
Test(guard, every_thread_counts)
{
        static pthread_t threads[N_GUESTS];
        struct party party;
        uint64_t stamp;

        lanemap_guard_init();
        for (int round = 0; round < 2; round++) {
                guests_start(&party, threads, N_GUESTS);
                stamp = lanemap_guard_stamp();
                for (int i = 0; i < N_GUESTS; i++) {
                        cr_assert_lt(lanemap_guard_horizon(), stamp, "%d are inside", N_GUESTS - i);
                        sem_post(&party.may_leave);
                }
                for (int i = 0; i < N_GUESTS; i++)
                        cr_assert_eq(pthread_join(threads[i], NULL), 0);
                cr_assert_geq(lanemap_guard_horizon(), stamp);
        }
}

static void *place_main(void *arg)
{
        struct lanemap_guard *guard = lanemap_guard_enter();

        lanemap_guard_leave(guard);
        *(struct lanemap_guard **)arg = guard;
        return NULL;
}

Test(guard, a_thread_that_ends_gives_its_place_back)
{
        struct lanemap_guard *guard = NULL;
        pthread_t thread;

        lanemap_guard_init();
        cr_assert_eq(pthread_create(&thread, NULL, place_main, &guard), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_assert_not_null(guard);
        cr_expect_eq(guard->thread, 0);
}

/* Also one that ends inside: it looks at nothing any more. */
static void *deserter_main(void *arg)
{
        (void)lanemap_guard_enter();
        return arg;
}

Test(guard, a_thread_that_ends_inside_holds_nothing)
{
        pthread_t thread;
        uint64_t stamp;

        lanemap_guard_init();
        cr_assert_eq(pthread_create(&thread, NULL, deserter_main, NULL), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        stamp = lanemap_guard_stamp();
        cr_expect_geq(lanemap_guard_horizon(), stamp);
}

/* ---- fork ---- */

/* In the child: the other thread's guard is gone, this thread's own is open. Return: 0, or what was
 * wrong. */
static int child_main(struct lanemap_guard *own, uint64_t stamp)
{
        uint64_t later;

        alarm(20);
        lanemap_guard_fork_child();
        if (lanemap_guard_horizon() >= stamp)
                return 1;
        lanemap_guard_leave(own);
        if (lanemap_guard_horizon() < stamp)
                return 2;

        own = lanemap_guard_enter();
        later = lanemap_guard_stamp();
        if (lanemap_guard_horizon() >= later)
                return 3;
        lanemap_guard_leave(own);
        return lanemap_guard_horizon() < later ? 4 : 0;
}

Test(guard, a_child_has_the_guards_of_its_thread)
{
        struct lanemap_guard *own;
        struct party party;
        pthread_t thread;
        uint64_t stamp;
        int status;
        pid_t pid;

        lanemap_guard_init();
        guests_start(&party, &thread, 1);
        own = lanemap_guard_enter();
        stamp = lanemap_guard_stamp();
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0)
                _exit(child_main(own, stamp));

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
        lanemap_guard_leave(own);
        cr_expect_lt(lanemap_guard_horizon(), stamp, "the parent's other thread is inside still");
        sem_post(&party.may_leave);
        cr_assert_eq(pthread_join(thread, NULL), 0);
}

/* ---- without membarrier: every guard executes a fence; the answers are the same ---- */

Test(guard, fences_will_do)
{
        struct lanemap_guard *guard;
        uint64_t stamp;

        lanemap_guard_init();
        lanemap_store_relaxed(&lanemap_guards.is_fenced, true);
        guard = lanemap_guard_enter();
        stamp = lanemap_guard_stamp();
        cr_expect_lt(lanemap_guard_horizon(), stamp);
        lanemap_guard_leave(guard);
        cr_expect_geq(lanemap_guard_horizon(), stamp);
}
