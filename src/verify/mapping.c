/*
 * See verify/mapping.h. The table of guards is what a signal handler looks at: blocks of it are
 * taken as they are needed and never given back, and an entry is changed under a version, so that
 * a handler that walks by sees it whole or passes over it. The entry that a handler is called for
 * does not change: its mapping is being read.
 */
#include "verify/mapping.h"

#include <errno.h>
#include <lanemap/writer.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/order.h"

#define BLOCK_GUARDS 64

struct lanemap_mapping {
        uint64_t version; /* odd: being changed */
        uintptr_t start;
        uintptr_t end; /* 0: free */
        struct lanemap_lane_file *file;
        uint64_t first_off; /* of the first page that could not be read; UINT64_MAX: none */
};

struct block {
        struct lanemap_mapping guards[BLOCK_GUARDS];
        struct block *next;
};

static struct block first_block;
static uint64_t n_hits;
static uint64_t page_bytes; /* before the first guard */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the table, under table_lock ---- */

static struct lanemap_mapping *guard_take(void)
{
        for (struct block *block = &first_block;; block = block->next) {
                for (size_t i = 0; i < BLOCK_GUARDS; i++)
                        if (block->guards[i].end == 0)
                                return &block->guards[i];
                if (!block->next) {
                        struct block *next = lanemap_alloc_pages(sizeof(*next));

                        if (!next)
                                return NULL;
                        /* Pairs with the acquire load in guard_find(): zeros, before the link. */
                        lanemap_store_release(&block->next, next);
                }
        }
}

static void guard_set(struct lanemap_mapping *guard, uintptr_t start, uintptr_t end)
{
        lanemap_store_relaxed(&guard->version, guard->version + 1);
        lanemap_fence_release();
        lanemap_store_relaxed(&guard->start, start);
        lanemap_store_relaxed(&guard->end, end);
        lanemap_store_relaxed(&guard->file, NULL);
        lanemap_store_relaxed(&guard->first_off, UINT64_MAX);
        lanemap_store_release(&guard->version, guard->version + 1);
}

int lanemap_mapping_new(const void *bytes, uint64_t n_bytes, struct lanemap_mapping **ret_guard)
{
        struct lanemap_mapping *guard;

        pthread_mutex_lock(&table_lock);
        page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
        guard = guard_take();
        if (guard)
                guard_set(guard, (uintptr_t)bytes,
                          LANEMAP_ALIGN_UP((uintptr_t)bytes + n_bytes, (uintptr_t)page_bytes));
        pthread_mutex_unlock(&table_lock);
        if (!guard)
                return -ENOMEM;

        *ret_guard = guard;
        return 0;
}

void lanemap_mapping_watch(struct lanemap_mapping *guard, struct lanemap_lane_file *file)
{
        /* Pairs with the acquire load in the handler: it sees the sections. */
        lanemap_store_release(&guard->file, file);
}

void lanemap_mapping_free(struct lanemap_mapping *guard)
{
        if (!guard)
                return;

        pthread_mutex_lock(&table_lock);
        guard_set(guard, 0, 0);
        pthread_mutex_unlock(&table_lock);
}

bool lanemap_mapping_is_hit(const struct lanemap_mapping *guard, uint64_t *ret_offset)
{
        uint64_t offset;

        lanemap_fence_acquire(); /* after the loads of the caller: UM2 */
        offset = lanemap_load_acquire(&guard->first_off);
        if (offset == UINT64_MAX)
                return false;

        if (ret_offset)
                *ret_offset = offset;
        return true;
}

void lanemap_mapping_cut(struct lanemap_mapping *guard, uint64_t n_left)
{
        struct lanemap_lane_file *file = lanemap_load_acquire(&guard->file);
        uint64_t none = UINT64_MAX;

        for (uint32_t i = 0; file && i < file->n_sections; i++) {
                struct lanemap_segment *section = &file->sections[i];

                if ((uint64_t)(section->section - file->bytes) + section->section_bytes > n_left &&
                    !lanemap_load_relaxed(&section->unreadable))
                        lanemap_store_release(&section->unreadable, (uint8_t)1);
        }
        __atomic_compare_exchange_n(&guard->first_off, &none, n_left, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
        (void)__atomic_fetch_add(&n_hits, 1, __ATOMIC_RELEASE);
}

uint64_t lanemap_mapping_n_hits(void)
{
        lanemap_fence_acquire();
        return lanemap_load_acquire(&n_hits);
}

/* ---- in a signal handler: atomics and mmap(2), nothing else ---- */

/* The guard of an address. One that is being read does not change, so what is torn is another. */
static struct lanemap_mapping *guard_find(uintptr_t address)
{
        for (struct block *block = &first_block; block; block = lanemap_load_acquire(&block->next))
                for (size_t i = 0; i < BLOCK_GUARDS; i++) {
                        struct lanemap_mapping *guard = &block->guards[i];
                        uint64_t version = lanemap_load_acquire(&guard->version);
                        uintptr_t start = lanemap_load_relaxed(&guard->start);
                        uintptr_t end = lanemap_load_relaxed(&guard->end);

                        lanemap_fence_acquire();
                        if (version % 2 == 0 && address >= start && address < end &&
                            lanemap_load_relaxed(&guard->version) == version)
                                return guard;
                }

        return NULL;
}

struct range {
        uintptr_t from;
        uintptr_t to;
};

/* Marks the sections that have a byte of the range; with `grow`, it gets the pages that they alone
 * have: nobody believes them any more. */
static void sections_mark(struct lanemap_lane_file *file, struct range *range, bool grow)
{
        uintptr_t page_mask = (uintptr_t)page_bytes - 1;
        struct range grown = *range;

        for (uint32_t i = 0; file && i < file->n_sections; i++) {
                struct lanemap_segment *section = &file->sections[i];
                uintptr_t from = (uintptr_t)section->section;
                uintptr_t to = from + section->section_bytes;

                if (from >= range->to || to <= range->from)
                        continue;
                /* Pairs with the acquire fence of G6. */
                lanemap_store_release(&section->unreadable, (uint8_t)1);
                from = (from + page_mask) & ~page_mask;
                to &= ~page_mask;
                if (grow && from < to) {
                        grown.from = LANEMAP_MIN(grown.from, from);
                        grown.to = LANEMAP_MAX(grown.to, to);
                }
        }
        *range = grown;
}

static bool zeros_put(const struct range *range)
{
        return mmap((void *)range->from, range->to - range->from, PROT_READ,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* UM1: marks and counts first. */
static bool guard_hit(struct lanemap_mapping *guard, uintptr_t page)
{
        struct lanemap_lane_file *file = lanemap_load_acquire(&guard->file);
        struct range range = {page, page + page_bytes}, whole = {guard->start, guard->end};
        uint64_t none = UINT64_MAX;

        __atomic_compare_exchange_n(&guard->first_off, &none, page - guard->start, false,
                                    __ATOMIC_RELEASE, __ATOMIC_RELAXED);
        (void)__atomic_fetch_add(&n_hits, 1, __ATOMIC_RELEASE);
        sections_mark(file, &range, true);
        if (zeros_put(&range))
                return true;

        /* Too many mappings: one in place of many. */
        sections_mark(file, &whole, false);
        return zeros_put(&whole);
}

int lanemap_writer_bus_error(const void *address)
{
        struct lanemap_mapping *guard = guard_find((uintptr_t)address);
        int before = errno;
        bool done;

        if (!guard)
                return 0;

        done = guard_hit(guard, (uintptr_t)address & ~((uintptr_t)page_bytes - 1));
        errno = before;
        return done;
}
