/* A mutex that is waited for no longer than the caller wants. Thread: any. */
#ifndef LANEMAP_COMMON_LOCK_H
#define LANEMAP_COMMON_LOCK_H

#include <pthread.h>

#include "common/base.h"

#define LANEMAP_LOCK_FOR_EVER UINT64_MAX

/* Return: true if the lock is taken. Cost: a trylock when it is free; looks again every
 * millisecond. */
bool lanemap_lock_within(pthread_mutex_t *mutex, uint64_t wait_ns);

#endif
