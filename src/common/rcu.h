/*
 * The engine's: liburcu's bullet-proof flavour (urcu-bp), inlined: threads need not register. It
 * protects what is private to the writer's process: objects, tables of mapped files, mappings. The
 * library that readers link has guards instead (guard.h says why); across processes the grace
 * period is our own (shm/read.h).
 *
 * Where the kernel has membarrier, entering and leaving a read-side section execute no fence.
 *
 * ThreadSanitizer does not see into liburcu: under LANEMAP_TSAN the same ordering is given by
 * operations on an annotated atomic.
 */
#ifndef LANEMAP_COMMON_RCU_H
#define LANEMAP_COMMON_RCU_H

#include <urcu/urcu-bp.h>

/*
 * Entering and leaving are inline: they are small enough for that, says their header, whatever the
 * caller's licence. The library's own calls are three jumps and a look for the thread each. But
 * liburcu 0.13 gives a thread less alignment than its struct asks for, so where a sanitizer looks
 * on (LANEMAP_RCU_CALLS), and for TSan, it is the calls.
 */
#include <urcu/static/urcu-bp.h>

#include "common/order.h"

LANEMAP_ALWAYS_INLINE void lanemap_rcu_read_lock(void)
{
#ifdef LANEMAP_RCU_CALLS
        urcu_bp_read_lock();
#else
        _urcu_bp_read_lock();
#endif
#ifdef LANEMAP_TSAN
        lanemap_fence_acquire();
#endif
}

LANEMAP_ALWAYS_INLINE void lanemap_rcu_read_unlock(void)
{
#ifdef LANEMAP_TSAN
        lanemap_fence_release();
#endif
#ifdef LANEMAP_RCU_CALLS
        urcu_bp_read_unlock();
#else
        _urcu_bp_read_unlock();
#endif
}

/* Waits until every read-side section that was entered before has been left. Never with a lock
 * held. */
LANEMAP_ALWAYS_INLINE void lanemap_rcu_synchronize(void)
{
        urcu_bp_synchronize_rcu();
#ifdef LANEMAP_TSAN
        lanemap_fence_acquire();
#endif
}

#endif
