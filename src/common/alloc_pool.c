/*
 * See alloc_pool.h. One range of addresses, taken once and readable page by page; a page begins
 * with a head and is cut into blocks of one class as they are needed:
 *
 *      head | block | block | ... | never used yet
 *
 * A page whose last block was freed is empty. The first few such keep their memory, and are used
 * again first; that of the others goes back to the system at once.
 */
#include "common/alloc_pool.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"
#include "common/order.h"

#define PAGE_BYTES   4096
#define RANGE_BYTES  (UINT64_C(64) << 20)
#define COMMIT_BYTES (UINT64_C(256) << 10) /* made readable at a time */
#define N_PAGES_MAX  (RANGE_BYTES / PAGE_BYTES)
#define N_KEPT_MAX   4

#define N_CLASSES 18

/* As many of a size as fit into a page behind its head; a third of a block is lost at most. */
static const uint16_t class_bytes[N_CLASSES] = {
        16, 32, 48, 64, 80, 96, 128, 160, 208, 256, 320, 400, 496, 656, 800, 1008, 1344, 2016,
};

struct free_block {
        struct free_block *next;
};

struct pool_page {
        struct pool_page *next; /* of those of its class that have a free block */
        struct pool_page *previous;
        struct free_block *free;
        uint16_t n_used;
        uint16_t n_cut; /* blocks that have been used at some time */
        uint16_t n_blocks;
        uint16_t block_bytes;
        uint8_t class_index;
        _Alignas(16) unsigned char blocks[];
};
static_assert(sizeof(struct pool_page) == 48, "two blocks of 2016 bytes fit behind it");
static_assert(sizeof(struct pool_page) + 2 * 2016 <= PAGE_BYTES, "the largest class");
static_assert(2016 == LANEMAP_ALLOC_POOL_BYTES_MAX, "the largest class");

static struct {
        pthread_mutex_t lock;
        unsigned char *base;      /* atomic: loaded without the lock */
        uint64_t committed_bytes; /* from the base on, readable */
        uint64_t begun_bytes;     /* of them, pages that have been used */
        uint64_t inherited_bytes; /* of these, the parent's */
        struct pool_page *partial[N_CLASSES];
        struct pool_page *kept[N_KEPT_MAX]; /* empty */
        uint32_t n_kept;
        uint32_t n_given_back;                      /* empty, without memory */
        uint64_t given_back_bits[N_PAGES_MAX / 64]; /* which those are */
        bool is_refused;                            /* there is no range to be had */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* In the child of a fork: the parent may have been anywhere. */
static void fork_child(void)
{
        pthread_mutex_init(&pool.lock, NULL);
        for (uint32_t i = 0; i < N_CLASSES; i++)
                pool.partial[i] = NULL;
        pool.n_kept = pool.n_given_back = 0;
        memset(pool.given_back_bits, 0, sizeof(pool.given_back_bits));
        pool.begun_bytes = pool.inherited_bytes =
                LANEMAP_MIN(pool.begun_bytes + PAGE_BYTES, pool.committed_bytes);
}

/* Under lock. */
static bool range_take(void)
{
        unsigned char *base;

        if (pool.is_refused)
                return false;

        base = mmap(NULL, RANGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                    0);
        if (base == MAP_FAILED || pthread_atfork(NULL, NULL, fork_child) != 0) {
                pool.is_refused = true;
                return false;
        }

        lanemap_store_release(&pool.base, base);
        return true;
}

/* A page that was never used. Under lock. */
static struct pool_page *page_begin(void)
{
        if (!pool.base && !range_take())
                return NULL;

        if (pool.begun_bytes == pool.committed_bytes) {
                if (pool.committed_bytes == RANGE_BYTES ||
                    mprotect(pool.base + pool.committed_bytes, COMMIT_BYTES,
                             PROT_READ | PROT_WRITE) < 0)
                        return NULL;
                pool.committed_bytes += COMMIT_BYTES;
        }

        pool.begun_bytes += PAGE_BYTES;
        return (struct pool_page *)(void *)(pool.base + pool.begun_bytes - PAGE_BYTES);
}

static void page_link(struct pool_page *page)
{
        struct pool_page **head = &pool.partial[page->class_index];

        page->previous = NULL;
        page->next = *head;
        if (*head)
                (*head)->previous = page;
        *head = page;
}

static void page_unlink(struct pool_page *page)
{
        if (page->previous)
                page->previous->next = page->next;
        else
                pool.partial[page->class_index] = page->next;
        if (page->next)
                page->next->previous = page->previous;
}

static struct pool_page *page_again(void)
{
        uint32_t word = 0, bit;

        while (pool.given_back_bits[word] == 0)
                word++;
        bit = (uint32_t)__builtin_ctzll(pool.given_back_bits[word]);
        pool.given_back_bits[word] &= pool.given_back_bits[word] - 1;
        pool.n_given_back--;
        return (void *)(pool.base + (uint64_t)(word * 64 + bit) * PAGE_BYTES);
}

static struct pool_page *page_new(uint8_t class_index)
{
        struct pool_page *page = pool.n_kept > 0         ? pool.kept[--pool.n_kept]
                                 : pool.n_given_back > 0 ? page_again()
                                                         : page_begin();

        if (!page)
                return NULL;

        *page = (struct pool_page){
                .n_blocks = (uint16_t)((PAGE_BYTES - sizeof(*page)) / class_bytes[class_index]),
                .block_bytes = class_bytes[class_index],
                .class_index = class_index,
        };
        page_link(page);
        return page;
}

static uint8_t class_of(size_t bytes)
{
        uint8_t class_index = 0;

        while (class_bytes[class_index] < bytes)
                class_index++;
        return class_index;
}

static struct pool_page *page_of(const void *block)
{
        return (struct pool_page *)((uintptr_t)block & ~(uintptr_t)(PAGE_BYTES - 1));
}

static void *page_take(struct pool_page *page)
{
        struct free_block *block = page->free;

        if (block)
                page->free = block->next;
        else
                block = (void *)(page->blocks + (size_t)page->n_cut++ * page->block_bytes);
        if (++page->n_used == page->n_blocks)
                page_unlink(page);
        return block;
}

void *lanemap_alloc_pool_take(size_t bytes)
{
        uint8_t class_index = class_of(bytes);
        struct pool_page *page;
        void *block = NULL;

        pthread_mutex_lock(&pool.lock);
        page = pool.partial[class_index];
        if (!page)
                page = page_new(class_index);
        if (page)
                block = page_take(page);
        pthread_mutex_unlock(&pool.lock);

        return block;
}

static void page_empty(struct pool_page *page)
{
        uint64_t index = (uint64_t)((unsigned char *)page - pool.base) / PAGE_BYTES;

        if (pool.n_kept < N_KEPT_MAX) {
                pool.kept[pool.n_kept++] = page;
                return;
        }

        (void)madvise(page, PAGE_BYTES, MADV_DONTNEED);
        pool.given_back_bits[index >> 6] |= UINT64_C(1) << (index & 63);
        pool.n_given_back++;
}

void lanemap_alloc_pool_give(void *block)
{
        struct pool_page *page = page_of(block);
        struct free_block *freed = block;

        pthread_mutex_lock(&pool.lock);
        if ((uint64_t)((unsigned char *)block - pool.base) >= pool.inherited_bytes) {
                lanemap_check(page->n_used > 0);
                freed->next = page->free;
                page->free = freed;
                if (page->n_used-- == page->n_blocks)
                        page_link(page);
                if (page->n_used == 0) {
                        page_unlink(page);
                        page_empty(page);
                }
        }
        pthread_mutex_unlock(&pool.lock);
}

bool lanemap_alloc_pool_owns(const void *block)
{
        const unsigned char *base = lanemap_load_acquire(&pool.base);

        return base && (uintptr_t)block - (uintptr_t)base < RANGE_BYTES;
}

size_t lanemap_alloc_pool_usable(const void *block)
{
        return page_of(block)->block_bytes;
}
