/* See alloc.h. Every block is counted by its usable size, so that `heap_bytes` is what the process
 * really holds. */
#include "common/alloc.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef LANEMAP_HAVE_MIMALLOC
#include <mimalloc.h>
#endif

#include "common/alloc_pool.h"
#include "common/check.h"
#include "common/order.h"
#include "common/signals.h"

static uint64_t alloc_n_bytes;
static uint64_t alloc_fail_countdown;

/* A heap is a list of its blocks where the allocator underneath has no heaps. */
struct lanemap_heap {
#ifdef LANEMAP_HAVE_MIMALLOC
        mi_heap_t *heap;
        uint64_t n_bytes;
        struct large_block *large;
#else
        struct heap_block *blocks;
#endif
};

/* Straight from the system, so that nothing of it stays when the heap is gone. */
#define LARGE_BYTES_MIN (64u << 10)

struct large_block {
        struct large_block *next;
        size_t n_bytes;
        max_align_t data[];
};

struct heap_block {
        struct heap_block *next;
        max_align_t data[];
};

#ifdef LANEMAP_HAVE_MIMALLOC
static void *raw_malloc(size_t bytes)
{
        void *block = bytes <= LANEMAP_ALLOC_POOL_BYTES_MAX ? lanemap_alloc_pool_take(bytes) : NULL;

        return block ? block : mi_malloc(bytes);
}

static size_t raw_usable_size(const void *block)
{
        return lanemap_alloc_pool_owns(block) ? lanemap_alloc_pool_usable(block)
                                              : mi_usable_size(block);
}

static void raw_free(void *block)
{
        if (lanemap_alloc_pool_owns(block))
                lanemap_alloc_pool_give(block);
        else
                mi_free(block);
}

static void *raw_realloc(void *block, size_t bytes)
{
        size_t usable;
        void *moved;

        if (!block)
                return raw_malloc(bytes);
        if (!lanemap_alloc_pool_owns(block))
                return mi_realloc(block, bytes);

        usable = lanemap_alloc_pool_usable(block);
        if (bytes <= usable)
                return block;

        moved = raw_malloc(bytes);
        if (moved) {
                memcpy(moved, block, usable);
                lanemap_alloc_pool_give(block);
        }
        return moved;
}
#else
#define raw_malloc      malloc
#define raw_realloc     realloc
#define raw_free        free
#define raw_usable_size malloc_usable_size
#endif

static bool alloc_should_fail(void)
{
        uint64_t left = lanemap_load_relaxed(&alloc_fail_countdown);

        if (LANEMAP_LIKELY(left == 0))
                return false;

        return __atomic_sub_fetch(&alloc_fail_countdown, 1, __ATOMIC_RELAXED) == 0;
}

void *lanemap_alloc(size_t bytes)
{
        void *block;

        if (alloc_should_fail())
                return NULL;

        block = raw_malloc(bytes);
        if (block)
                lanemap_add_relaxed(&alloc_n_bytes, raw_usable_size(block));

        return block;
}

void *lanemap_alloc_zero(size_t bytes)
{
        void *block = lanemap_alloc(bytes);

        if (block)
                memset(block, 0, bytes);

        return block;
}

void *lanemap_realloc(void *block, size_t bytes)
{
        size_t before = block ? raw_usable_size(block) : 0;
        void *grown;

        if (alloc_should_fail())
                return NULL;

        grown = raw_realloc(block, bytes);
        if (grown)
                lanemap_add_relaxed(&alloc_n_bytes, raw_usable_size(grown) - before);

        return grown;
}

int lanemap_array_fit(void **array, size_t *capacity, size_t n, size_t element_bytes)
{
        size_t wanted = LANEMAP_MAX(LANEMAP_MAX(n, *capacity + *capacity / 2), (size_t)4);
        void *grown;

        if (n <= *capacity)
                return 0;

        grown = lanemap_realloc(*array, wanted * element_bytes);
        if (!grown)
                return -ENOMEM;

        *array = grown;
        *capacity = wanted;
        return 0;
}

char *lanemap_strdup(const char *text)
{
        size_t bytes = strlen(text) + 1;
        char *copy = lanemap_alloc(bytes);

        return copy ? memcpy(copy, text, bytes) : NULL;
}

void lanemap_free(void *block)
{
        if (!block)
                return;

        lanemap_add_relaxed(&alloc_n_bytes, -(uint64_t)raw_usable_size(block));
        raw_free(block);
}

void *lanemap_alloc_pages(size_t bytes)
{
        void *block;

        if (alloc_should_fail())
                return NULL;

        block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED)
                return NULL;

        lanemap_add_relaxed(&alloc_n_bytes, bytes);
        return block;
}

void lanemap_free_pages(void *block, size_t bytes)
{
        if (!block)
                return;

        lanemap_add_relaxed(&alloc_n_bytes, -(uint64_t)bytes);
        (void)munmap(block, bytes);
}

#ifdef LANEMAP_HAVE_MIMALLOC
/* Memory goes back when it is freed: by default mimalloc waits 25 ms, and then for a thread to come
 * by, which a sleeping one never does. MIMALLOC_DECOMMIT_DELAY in the environment has the last
 * word. */
static void free_at_once(void)
{
        mi_option_set_default(mi_option_decommit_delay, 0);
        mi_option_set_default(mi_option_segment_decommit_delay, 0);
}
#endif

struct lanemap_heap *lanemap_heap_new(void)
{
        struct lanemap_heap *heap = lanemap_alloc_zero(sizeof(*heap));

        if (!heap)
                return NULL;

#ifdef LANEMAP_HAVE_MIMALLOC
        free_at_once();
        heap->heap = mi_heap_new();
        if (!heap->heap) {
                lanemap_free(heap);
                return NULL;
        }
#endif
        return heap;
}

#ifdef LANEMAP_HAVE_MIMALLOC
static void *heap_alloc_large(struct lanemap_heap *heap, size_t bytes)
{
        size_t n_bytes = sizeof(struct large_block) + bytes;
        struct large_block *block = lanemap_alloc_pages(n_bytes);

        if (!block)
                return NULL;

        block->next = heap->large;
        block->n_bytes = n_bytes;
        heap->large = block;
        return block->data;
}
#endif

void *lanemap_heap_alloc(struct lanemap_heap *heap, size_t bytes)
{
#ifdef LANEMAP_HAVE_MIMALLOC
        void *block;

        if (bytes >= LARGE_BYTES_MIN)
                return heap_alloc_large(heap, bytes);
        if (alloc_should_fail())
                return NULL;

        block = mi_heap_malloc(heap->heap, bytes);
        if (!block)
                return NULL;

        heap->n_bytes += mi_usable_size(block);
        lanemap_add_relaxed(&alloc_n_bytes, mi_usable_size(block));
        return block;
#else
        struct heap_block *block = lanemap_alloc(sizeof(*block) + bytes);

        if (!block)
                return NULL;

        block->next = heap->blocks;
        heap->blocks = block;
        return block->data;
#endif
}

void lanemap_heap_free(struct lanemap_heap *heap)
{
        if (!heap)
                return;

#ifdef LANEMAP_HAVE_MIMALLOC
        while (heap->large) {
                struct large_block *next = heap->large->next;

                lanemap_free_pages(heap->large, heap->large->n_bytes);
                heap->large = next;
        }
        lanemap_add_relaxed(&alloc_n_bytes, -heap->n_bytes);
        mi_heap_destroy(heap->heap);
#else
        while (heap->blocks) {
                struct heap_block *next = heap->blocks->next;

                lanemap_free(heap->blocks);
                heap->blocks = next;
        }
#endif
        lanemap_free(heap);
}

void lanemap_alloc_give_back(void)
{
#ifdef LANEMAP_HAVE_MIMALLOC
        free_at_once();
        mi_collect(true);
#endif
}

void lanemap_alloc_report(void (*fn)(const char *text, void *arg), void *arg)
{
#ifdef LANEMAP_HAVE_MIMALLOC
        mi_stats_print_out(fn, arg);
#else
        char *text = NULL;
        size_t n_text;
        FILE *file = open_memstream(&text, &n_text);

        if (!file)
                return;
        malloc_info(0, file);
        if (fclose(file) == 0)
                fn(text, arg);
        free(text);
#endif
}

#define STACK_BYTES       (UINT64_C(8) << 20)
#define STACK_GUARD_BYTES (UINT64_C(64) << 10) /* any page size divides it */

struct job {
        int (*fn)(void *arg);
        void *arg;
        int result;
};

static _Thread_local bool is_job_thread;

static void *job_main(void *arg)
{
        struct job *job = arg;

        is_job_thread = true;
        job->result = job->fn(job->arg);
        return NULL;
}

/* A stack of its own: libc keeps those that it makes, with the pages that were touched. */
static int job_start(struct job *job, void *stack, pthread_t *ret_thread)
{
        pthread_attr_t attributes;
        sigset_t before;
        int r;

        if (mprotect(stack, STACK_GUARD_BYTES, PROT_NONE) < 0)
                return errno;
        r = pthread_attr_init(&attributes);
        if (r != 0)
                return r;

        r = pthread_attr_setstack(&attributes, stack, STACK_BYTES);
        if (r == 0) {
                /* Signals are the caller's business. */
                lanemap_signals_block(&before);
                r = pthread_create(ret_thread, &attributes, job_main, job);
                pthread_sigmask(SIG_SETMASK, &before, NULL);
        }
        pthread_attr_destroy(&attributes);
        return r;
}

int lanemap_alloc_in_thread(int (*fn)(void *arg), void *arg)
{
        struct job job = {.fn = fn, .arg = arg};
        pthread_t thread;
        void *stack;
        int r;

        if (is_job_thread)
                return fn(arg);

        stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (stack == MAP_FAILED)
                return fn(arg);

        r = job_start(&job, stack, &thread);
        if (r == 0)
                (void)pthread_join(thread, NULL);
        else
                job.result = fn(arg);
        (void)munmap(stack, STACK_BYTES);
        return job.result;
}

uint64_t lanemap_alloc_bytes(void)
{
        return lanemap_load_relaxed(&alloc_n_bytes);
}

void lanemap_alloc_fail_after(uint64_t n)
{
        lanemap_store_relaxed(&alloc_fail_countdown, n);
}
