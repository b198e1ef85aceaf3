/*
 * Small blocks of all threads, side by side: lanemap_alloc() takes them here for blocks of up to
 * LANEMAP_ALLOC_POOL_BYTES_MAX bytes.
 *
 * mimalloc gives each thread pages of its own, which is what makes it fast where threads allocate
 * without end. The engine's threads do not: one keeps a block or two of a few sizes, and each such
 * thread then costs 44 KiB of mimalloc's book-keeping, and 8 KiB for every size. At a million keys
 * that was half a megabyte for 60 KiB of blocks. Here a page of 4 KiB has blocks of one size,
 * whoever asked for them. What is large, and what a job allocates from its heap, is mimalloc's.
 *
 * Thread: any; one lock, that nothing is done under but a few stores, and now and then one system
 * call. Fork: a child begins with pages of its own, and blocks that it inherited stay as they are.
 */
#ifndef LANEMAP_COMMON_ALLOC_POOL_H
#define LANEMAP_COMMON_ALLOC_POOL_H

#include "common/base.h"

#define LANEMAP_ALLOC_POOL_BYTES_MAX 2016

/* A block aligned to 16 bytes; NULL: the pool is as large as it may be, or there is no memory. */
void *lanemap_alloc_pool_take(size_t bytes);
void lanemap_alloc_pool_give(void *block);

/* Return: true if lanemap_alloc_pool_take() made the block. Cost: a comparison. */
bool lanemap_alloc_pool_owns(const void *block);
/* Return: the usable bytes of the block. */
size_t lanemap_alloc_pool_usable(const void *block);

#endif
