/*
 * Guards: the read-side sections of liblanemap in a process that is somebody else's. A thread is
 * inside a guard while it looks at what other threads of its process may unmap: attachments, tables
 * of mapped files, mappings. Epoch-based reclamation (Fraser 2004) with the fence on the side of
 * whoever reclaims (membarrier(2)). Across processes the grace period is another one
 * (shm/read.h).
 *
 * U1. Nobody waits for a guard. Whoever retires something stamps it; whoever reclaims asks for the
 *     horizon, releases what is stamped no later, and leaves the rest to the next one who asks.
 * U2. No guard looks at memory that is stamped no later than a horizon: it was unlinked before its
 *     stamp, and every guard that was entered earlier than the stamp has been left.
 * U3. A guard may be open across fork(): it needs no lock. In the child the guards of other
 *     threads are gone, and the calling thread's stay open.
 * U4. Entering needs no registration, no thread-local storage of the library's own, no call into
 *     the loader; it executes no full fence where the kernel has membarrier. A thread that ends
 *     gives its place back; the library may be unloaded before that.
 * U5. Each copy of this code in a process (a plugin's, a static one) has its own guards, and knows
 *     nothing of anybody's liburcu.
 *
 * liburcu's bullet-proof flavour cannot be had here: its fork calls lock, and a host that makes
 * them itself (as its manual asks) or a second copy of this library would lock twice; a thread that
 * forks inside a section would wait for whoever waits for the section.
 *
 * A thread finds its word in a table, by its thread pointer: an address that no other live thread
 * has. The word: how deep the thread is inside guards (the low 16 bits), and the clock when it
 * entered the outermost.
 *
 * Thread: any; not from a signal handler.
 */
#ifndef LANEMAP_COMMON_GUARD_H
#define LANEMAP_COMMON_GUARD_H

#include "common/order.h"

#define LANEMAP_GUARD_CLOCK_STEP (UINT64_C(1) << 16)
#define LANEMAP_GUARD_DEPTH_MASK (LANEMAP_GUARD_CLOCK_STEP - 1)

/* A line of its own for each thread. */
struct lanemap_guard {
        uintptr_t thread; /* whose; 0: nobody's. Becomes a thread's by its own hand only */
        uint64_t word;    /* written by that thread only */
        unsigned char padding[LANEMAP_CACHE_LINE_BYTES - sizeof(uintptr_t) - sizeof(uint64_t)];
};

#define LANEMAP_GUARD_FIRST_LOG2 7

/* One address for all that entering needs. */
struct lanemap_guards {
        struct lanemap_guard first[1 << LANEMAP_GUARD_FIRST_LOG2];
        uint64_t clock;   /* a multiple of the step, and 1: a word of depth 1 */
        bool is_fenced;   /* the kernel has no membarrier: entering executes a fence */
        uint64_t n_forks; /* between the first process and this one, at which threads vanished */
};
extern struct lanemap_guards lanemap_guards __attribute__((visibility("hidden")));

LANEMAP_ALWAYS_INLINE uintptr_t lanemap_guard_thread(void)
{
#if defined(__x86_64__)
        uintptr_t thread;

        /* The ABI keeps the thread pointer at its own address; clang 14 has no builtin for it.
         * Volatile: asked for again is cheaper than kept. */
        __asm__ volatile("mov %%fs:0, %0" : "=r"(thread));
        return thread;
#else
        return (uintptr_t)__builtin_thread_pointer();
#endif
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_guard_hash(uintptr_t thread)
{
        return (uint32_t)thread * UINT32_C(2654435769);
}

/* The rest of lanemap_guard_enter(): for a thread that is not where it is looked for first. */
struct lanemap_guard *lanemap_guard_find(uintptr_t thread);
/* For a thread that has no place, since there is no memory: counted together with others. */
void lanemap_guard_enter_counted(void);
void lanemap_guard_leave_counted(void);

/* Return: the guard, which the same thread gives to lanemap_guard_leave(); NULL is valid. */
LANEMAP_ALWAYS_INLINE struct lanemap_guard *lanemap_guard_enter(void)
{
        uintptr_t thread = lanemap_guard_thread();
        struct lanemap_guard *guard =
                &lanemap_guards
                         .first[lanemap_guard_hash(thread) >> (32 - LANEMAP_GUARD_FIRST_LOG2)];
        uint64_t word;

        if (LANEMAP_UNLIKELY(lanemap_load_relaxed(&guard->thread) != thread)) {
                guard = lanemap_guard_find(thread);
                if (!guard) {
                        lanemap_guard_enter_counted();
                        return NULL;
                }
        }

        /* Pairs with the release in lanemap_guard_stamp(): whoever entered at a clock sees what was
         * unlinked before it. Weaker, a guard as young as the horizon could look at what goes. */
        word = lanemap_load_relaxed(&guard->word);
        if (LANEMAP_LIKELY((word & LANEMAP_GUARD_DEPTH_MASK) == 0))
                lanemap_store_relaxed(&guard->word, lanemap_load_acquire(&lanemap_guards.clock));
        else
                lanemap_store_relaxed(&guard->word, word + 1);
        /* The word is seen before anything is looked at: the barrier of lanemap_guard_horizon()
         * makes that so for every thread; else each makes it so. */
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (LANEMAP_UNLIKELY(lanemap_load_relaxed(&lanemap_guards.is_fenced)))
                lanemap_fence_full();
        return guard;
}

LANEMAP_ALWAYS_INLINE void lanemap_guard_leave(struct lanemap_guard *guard)
{
        if (LANEMAP_UNLIKELY(!guard)) {
                lanemap_guard_leave_counted();
                return;
        }

        /* Pairs with the acquire load in lanemap_guard_horizon(): what was looked at inside was
         * looked at before it is released. */
        lanemap_store_release(&guard->word, lanemap_load_relaxed(&guard->word) - 1);
}

/* Before the first guard of the process; again is harmless. */
void lanemap_guard_init(void);

/* The stamp for something that was just unlinked. */
uint64_t lanemap_guard_stamp(void);

/* U2. Everything stamped no later may be released. Cost: one membarrier(2). */
uint64_t lanemap_guard_horizon(void);

/* The forks that lie behind this process: a thread that did something at another number is gone. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_guard_forks(void)
{
        return lanemap_load_relaxed(&lanemap_guards.n_forks);
}

/* U3. In the child of a fork, by its only thread. */
void lanemap_guard_fork_child(void);

#endif
