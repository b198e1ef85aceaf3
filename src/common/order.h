/*
 * The few atomic orderings in use, each with a name. C11's memory model, through the compiler's
 * builtins so that they work on plain fixed-width members of mapped structs, for a const mapping
 * too.
 *
 * Bytes that a writer may overwrite while a reader looks are read with lanemap_load_relaxed() or an
 * acquire load, never with a plain access: the value may be garbage, but it is one value.
 *
 * ThreadSanitizer does not understand fences. Under LANEMAP_TSAN the two fences become operations
 * on one annotated atomic, which gives the tool the same ordering that the hardware fence gives.
 *
 * No full fence, and nothing that compiles to one, is ever used on the lookup path (R2).
 */
#ifndef LANEMAP_COMMON_ORDER_H
#define LANEMAP_COMMON_ORDER_H

#include "common/base.h"

#define lanemap_load_relaxed(p)         __atomic_load_n((p), __ATOMIC_RELAXED)
#define lanemap_load_acquire(p)         __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define lanemap_store_relaxed(p, value) __atomic_store_n((p), (value), __ATOMIC_RELAXED)
#define lanemap_store_release(p, value) __atomic_store_n((p), (value), __ATOMIC_RELEASE)
#define lanemap_add_relaxed(p, value)   __atomic_fetch_add((p), (value), __ATOMIC_RELAXED)

#ifdef LANEMAP_TSAN
extern unsigned lanemap_order_tsan_fence;
#define lanemap_fence_acquire() \
        ((void)__atomic_fetch_add(&lanemap_order_tsan_fence, 0, __ATOMIC_ACQ_REL))
#define lanemap_fence_release() \
        ((void)__atomic_fetch_add(&lanemap_order_tsan_fence, 0, __ATOMIC_ACQ_REL))
#define lanemap_fence_full() \
        ((void)__atomic_fetch_add(&lanemap_order_tsan_fence, 0, __ATOMIC_SEQ_CST))
#else
/* Nothing is moved past it in either direction. Never on the lookup path. */
#define lanemap_fence_full()    __atomic_thread_fence(__ATOMIC_SEQ_CST)
/* Loads before it are not moved past loads and stores after it. Compiles to nothing on x86-64. */
#define lanemap_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
/* Loads and stores before it are not moved past stores after it. Compiles to nothing on x86-64. */
#define lanemap_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
#endif

#endif
