/*
 * A mutex and a condition that clang's thread-safety analysis knows (-Wthread-safety, an error
 * where clang builds the project). gcc sees plain pthreads.
 *
 * LANEMAP_REQUIRES(lock) on a function: its caller holds the lock. LANEMAP_EXCLUDES(lock): its
 * caller does not. The analysis looks at every call in every function, so a comment is not needed
 * beside it. clang 14 cannot name one member of a C struct in an attribute of another, so what a
 * lock guards is said by the struct that both are in, and checked through the functions.
 */
#ifndef LANEMAP_COMMON_MUTEX_H
#define LANEMAP_COMMON_MUTEX_H

#include <pthread.h>

#include "common/base.h"
#include "common/lock.h"

#ifdef __clang__
#define LANEMAP_CAPABILITY(name)     __attribute__((capability(name)))
#define LANEMAP_REQUIRES(...)        __attribute__((requires_capability(__VA_ARGS__)))
#define LANEMAP_EXCLUDES(...)        __attribute__((locks_excluded(__VA_ARGS__)))
#define LANEMAP_ACQUIRES(...)        __attribute__((acquire_capability(__VA_ARGS__)))
#define LANEMAP_RELEASES(...)        __attribute__((release_capability(__VA_ARGS__)))
#define LANEMAP_TRIES(...)           __attribute__((try_acquire_capability(__VA_ARGS__)))
#define LANEMAP_THREADS_NOT_ANALYSED __attribute__((no_thread_safety_analysis))
#else
#define LANEMAP_CAPABILITY(name)
#define LANEMAP_REQUIRES(...)
#define LANEMAP_EXCLUDES(...)
#define LANEMAP_ACQUIRES(...)
#define LANEMAP_RELEASES(...)
#define LANEMAP_TRIES(...)
#define LANEMAP_THREADS_NOT_ANALYSED
#endif

/* On a function that runs while no other thread of the engine exists: it takes no lock. */
#define LANEMAP_NO_OTHER_THREAD LANEMAP_THREADS_NOT_ANALYSED

struct LANEMAP_CAPABILITY("mutex") lanemap_mutex {
        pthread_mutex_t pthread;
};

LANEMAP_ALWAYS_INLINE void lanemap_mutex_init(struct lanemap_mutex *mutex)
{
        pthread_mutex_init(&mutex->pthread, NULL);
}

LANEMAP_ALWAYS_INLINE void lanemap_mutex_lock(struct lanemap_mutex *mutex)
        LANEMAP_ACQUIRES(*mutex) LANEMAP_THREADS_NOT_ANALYSED
{
        pthread_mutex_lock(&mutex->pthread);
}

LANEMAP_ALWAYS_INLINE void lanemap_mutex_unlock(struct lanemap_mutex *mutex)
        LANEMAP_RELEASES(*mutex) LANEMAP_THREADS_NOT_ANALYSED
{
        pthread_mutex_unlock(&mutex->pthread);
}

/* Return: true if the lock is taken; wait_ns as in lanemap_lock_within(). */
LANEMAP_ALWAYS_INLINE bool lanemap_mutex_lock_within(struct lanemap_mutex *mutex, uint64_t wait_ns)
        LANEMAP_TRIES(true, *mutex) LANEMAP_THREADS_NOT_ANALYSED
{
        return lanemap_lock_within(&mutex->pthread, wait_ns);
}

/* Gives the lock back while it waits, and has it again when it returns; may return early. */
LANEMAP_ALWAYS_INLINE void lanemap_cond_wait(pthread_cond_t *cond, struct lanemap_mutex *mutex)
        LANEMAP_REQUIRES(*mutex)
{
        pthread_cond_wait(cond, &mutex->pthread);
}

#endif
