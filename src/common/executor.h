/*
 * Work in equal parts, done by whoever has time: what a room asks that knows nothing of threads.
 *
 * run() calls task(arg, i, thread) once for each i below n and returns when all calls have
 * returned; what they did is seen by the caller then. The calls come in any order, at the same time
 * on several threads. `thread` is below n_threads, and no two calls that run at the same time have
 * the same one: it names memory that a call may use alone. The calling thread takes part, so run()
 * always ends, whether anybody helps or not.
 */
#ifndef LANEMAP_COMMON_EXECUTOR_H
#define LANEMAP_COMMON_EXECUTOR_H

#include "common/base.h"

struct lanemap_executor {
        void (*run)(struct lanemap_executor *executor,
                    void (*task)(void *arg, uint32_t i, uint32_t thread), void *arg, uint32_t n);
        uint32_t n_threads; /* 1 or more */
};

/* NULL: the calling thread alone. */
LANEMAP_ALWAYS_INLINE void
lanemap_executor_run(struct lanemap_executor *executor,
                     void (*task)(void *arg, uint32_t i, uint32_t thread), void *arg, uint32_t n)
{
        if (executor) {
                executor->run(executor, task, arg, n);
                return;
        }

        for (uint32_t i = 0; i < n; i++)
                task(arg, i, 0);
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_executor_n_threads(const struct lanemap_executor *executor)
{
        return executor ? executor->n_threads : 1;
}

#endif
