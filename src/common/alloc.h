/*
 * The one door to private memory on the write side: mimalloc, or libc's allocator in sanitizer
 * builds (an overflow inside a mimalloc block goes unseen by ASan). A heap is destroyed whole,
 * which is how a flush or a merge frees everything it took.
 *
 * Owner: whoever allocated; a block of a heap dies with it. Thread: a heap allocates on the thread
 * that made it; the plain calls on any. Errors: NULL, and nothing else happened.
 *
 * Tests can make the n-th allocation of this process fail: lanemap_alloc_fail_after().
 */
#ifndef LANEMAP_COMMON_ALLOC_H
#define LANEMAP_COMMON_ALLOC_H

#include "common/base.h"

void *lanemap_alloc(size_t bytes);
void *lanemap_alloc_zero(size_t bytes);
void *lanemap_realloc(void *block, size_t bytes);
/*
 * Room for n elements in an array, which grows to one and a half times what it was at least, so
 * that adding one by one costs O(1) each. *array and *capacity (in elements) are NULL and 0 at
 * first. Return: 0. Errors: -ENOMEM: nothing happened.
 */
int lanemap_array_fit(void **array, size_t *capacity, size_t n, size_t element_bytes);
char *lanemap_strdup(const char *text);
void lanemap_free(void *block);

/*
 * Large blocks that one thread takes and another frees, or that stay: zeros straight from the
 * system, whole pages. An allocator keeps such a block until the first thread comes by again, which
 * may be never, and has book-keeping of its own for it.
 */
void *lanemap_alloc_pages(size_t bytes);
void lanemap_free_pages(void *block, size_t bytes); /* bytes as they were asked for */

struct lanemap_heap;

struct lanemap_heap *lanemap_heap_new(void);
void *lanemap_heap_alloc(struct lanemap_heap *heap, size_t bytes);
void lanemap_heap_free(struct lanemap_heap *heap); /* with every block in it; NULL is fine */

/*
 * Gives the memory that this thread's allocator keeps for later back to the system: after a job
 * that took much and freed it, since nothing does so by itself in a thread that then sleeps.
 *
 * Cost: system calls, and a page fault for every page that is needed again.
 */
void lanemap_alloc_give_back(void);

/* Calls fn with pieces of the allocator's own report of what it has. */
void lanemap_alloc_report(void (*fn)(const char *text, void *arg), void *arg);

/*
 * Runs fn(arg) in a thread of its own and waits for it: for work that allocates many small blocks
 * and frees most of them, of which an allocator would keep pages here and there for ever. What it
 * keeps for a thread goes with the thread, and the few blocks that stay are adopted by the next one
 * of these threads. Within such a thread, or where no thread can be had, fn is just called.
 *
 * Return: what fn returned. Cost: about 100 us.
 */
int lanemap_alloc_in_thread(int (*fn)(void *arg), void *arg);

/* Bytes in use through this door; approximate under concurrent use. */
uint64_t lanemap_alloc_bytes(void);

/* n > 0: the n-th allocation from now fails, once. 0: off. For tests. */
void lanemap_alloc_fail_after(uint64_t n);

#endif
