/*
 * The places of threads. A block of places is never given back; a place is: its thread clears it
 * when it ends. A thread looks at GUARD_PROBES places of each block, from where its hash points, so
 * that a place that becomes free hides nobody's. Claiming is one compare-and-swap: no lock, nothing
 * for fork() to take.
 */
#include "common/guard.h"

#include <linux/membarrier.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GUARD_PROBES UINT32_C(8)

struct guard_block {
        struct guard_block *next;
        uint32_t log2;
        struct lanemap_guard *guards;
};

struct lanemap_guards lanemap_guards __attribute__((aligned(LANEMAP_CACHE_LINE_BYTES))) = {
        .clock = LANEMAP_GUARD_CLOCK_STEP + 1,
        .is_fenced = true,
};

static struct guard_block first_block = {
        .log2 = LANEMAP_GUARD_FIRST_LOG2,
        .guards = lanemap_guards.first,
};
static pthread_once_t init_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static bool has_exit_key;
static uint64_t n_counted;      /* open guards of threads without a place */
static bool barrier_is_refused; /* it worked once: who entered without a fence cannot be known */

static long barrier(int command)
{
        return syscall(SYS_membarrier, command, 0, 0);
}

static bool barrier_register(void)
{
        return barrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 &&
               barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

/* A thread that ends inside a guard looks at nothing any more. */
static void place_give_back(void *arg)
{
        struct lanemap_guard *guard = arg;

        lanemap_store_release(&guard->word, 0);
        lanemap_store_release(&guard->thread, 0);
}

static void guards_init(void)
{
        has_exit_key = pthread_key_create(&exit_key, place_give_back) == 0;
        lanemap_store_relaxed(&lanemap_guards.is_fenced, !barrier_register());
}

void lanemap_guard_init(void)
{
        (void)pthread_once(&init_once, guards_init);
}

/* Where this code is unloaded: no thread calls it at its end. */
__attribute__((destructor)) static void guards_deinit(void)
{
        if (has_exit_key)
                (void)pthread_key_delete(exit_key);
        has_exit_key = false;
}

static struct lanemap_guard *block_probe(struct guard_block *block, uintptr_t thread, uint32_t i)
{
        uint32_t at = lanemap_guard_hash(thread) >> (32 - block->log2);

        return &block->guards[(at + i) & ((UINT32_C(1) << block->log2) - 1)];
}

static struct lanemap_guard *place_claim(struct guard_block *block, uintptr_t thread)
{
        for (uint32_t i = 0; i < GUARD_PROBES; i++) {
                struct lanemap_guard *guard = block_probe(block, thread, i);
                uintptr_t nobody = 0;

                if (lanemap_load_relaxed(&guard->thread) != 0 ||
                    !__atomic_compare_exchange_n(&guard->thread, &nobody, thread, false,
                                                 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                        continue;

                /* Without a key, or without memory for it, the place is the next thread's that has
                 * the same address. */
                if (has_exit_key)
                        (void)pthread_setspecific(exit_key, guard);
                return guard;
        }

        return NULL;
}

/* Return: the next block; NULL without memory. */
static struct guard_block *block_next(struct guard_block *block)
{
        struct guard_block *next = lanemap_load_acquire(&block->next), *nobody = NULL;
        uint32_t log2 = block->log2 + 2 < 20 ? block->log2 + 2 : 20;
        void *guards;

        if (next)
                return next;

        next = calloc(1, sizeof(*next));
        if (!next)
                return NULL;
        guards = NULL;
        if (posix_memalign(&guards, LANEMAP_CACHE_LINE_BYTES,
                           sizeof(struct lanemap_guard) << log2) != 0) {
                free(next);
                return NULL;
        }

        next->log2 = log2;
        next->guards = guards;
        for (uint32_t i = 0; i < UINT32_C(1) << log2; i++)
                next->guards[i] = (struct lanemap_guard){0};
        /* Pairs with the acquire loads of whoever walks the blocks: its places are empty ones. */
        if (__atomic_compare_exchange_n(&block->next, &nobody, next, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
                return next;

        free(next->guards);
        free(next);
        return nobody;
}

struct lanemap_guard *lanemap_guard_find(uintptr_t thread)
{
        struct guard_block *block = &first_block;
        struct lanemap_guard *guard;

        for (; block; block = lanemap_load_acquire(&block->next)) {
                for (uint32_t i = 0; i < GUARD_PROBES; i++) {
                        guard = block_probe(block, thread, i);
                        if (lanemap_load_relaxed(&guard->thread) == thread)
                                return guard;
                }
        }

        for (block = &first_block; block; block = block_next(block)) {
                guard = place_claim(block, thread);
                if (guard)
                        return guard;
        }

        return NULL;
}

void lanemap_guard_enter_counted(void)
{
        __atomic_fetch_add(&n_counted, 1, __ATOMIC_SEQ_CST);
        lanemap_fence_full();
}

void lanemap_guard_leave_counted(void)
{
        __atomic_fetch_sub(&n_counted, 1, __ATOMIC_SEQ_CST);
}

uint64_t lanemap_guard_stamp(void)
{
        return __atomic_add_fetch(&lanemap_guards.clock, LANEMAP_GUARD_CLOCK_STEP,
                                  __ATOMIC_ACQ_REL);
}

/* Every thread that enters from here on sees what was unlinked before; the word of every thread
 * that has entered is seen. Return: true if that is so. */
static bool threads_order(void)
{
        if (lanemap_load_relaxed(&lanemap_guards.is_fenced)) {
                lanemap_fence_full();
                return !lanemap_load_relaxed(&barrier_is_refused);
        }
        if (barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
                return true;

        /* A filter that was put on later. Nothing is released any more before detach, which asks
         * for no horizon. */
        lanemap_store_relaxed(&barrier_is_refused, true);
        lanemap_store_relaxed(&lanemap_guards.is_fenced, true);
        return false;
}

uint64_t lanemap_guard_horizon(void)
{
        /* Before the barrier: what is stamped later was perhaps unlinked later. */
        uint64_t horizon = lanemap_load_acquire(&lanemap_guards.clock);
        struct guard_block *block;

        if (!threads_order() || __atomic_load_n(&n_counted, __ATOMIC_SEQ_CST) > 0)
                return 0;

        for (block = &first_block; block; block = lanemap_load_acquire(&block->next)) {
                for (uint32_t i = 0; i < UINT32_C(1) << block->log2; i++) {
                        uint64_t word = lanemap_load_acquire(&block->guards[i].word);

                        if (word & LANEMAP_GUARD_DEPTH_MASK)
                                horizon = LANEMAP_MIN(horizon, word | LANEMAP_GUARD_DEPTH_MASK);
                }
        }

        return horizon;
}

void lanemap_guard_fork_child(void)
{
        uintptr_t thread = lanemap_guard_thread();
        struct guard_block *block;

        lanemap_store_relaxed(&lanemap_guards.n_forks, lanemap_guards.n_forks + 1);
        for (block = &first_block; block; block = block->next) {
                for (uint32_t i = 0; i < UINT32_C(1) << block->log2; i++) {
                        struct lanemap_guard *guard = &block->guards[i];

                        if (guard->thread != 0 && guard->thread != thread)
                                place_give_back(guard);
                }
        }
        /* The counted ones stay: some may be this thread's. fork() was a barrier for it. */
        barrier_is_refused = false;
        if (!lanemap_guards.is_fenced)
                lanemap_guards.is_fenced = !barrier_register();
}
