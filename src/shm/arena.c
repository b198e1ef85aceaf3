/* See arena.h. */
#include "shm/arena.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/order.h"
#include "common/probes.h"

#define PAGE_BYTES     LANEMAP_SHM_PAGE_BYTES
#define NO_PAGE        UINT32_MAX
#define N_CLASSES      27
#define SMALL_MAX      2048
#define GROW_BYTES_MIN (UINT64_C(16) << 10)
#define GROW_BYTES_MAX (UINT64_C(32) << 20)

/* Every 16 bytes up to 256, then four to a doubling: at most a fifth of a block is lost to
 * rounding. */
static const uint16_t class_bytes[N_CLASSES] = {
        16,  32,  48,  64,  80,  96,  112, 128, 144, 160, 176,  192,  208,  224,
        240, 256, 320, 384, 448, 512, 576, 640, 768, 816, 1024, 1360, 2048,
};

/* A page of small blocks. Pages of runs and free pages use only `class_index`. */
struct page {
        uint64_t free_bits[4]; /* of the blocks; 1: free */
        uint32_t previous;     /* in the list of its class's pages that have a free block */
        uint32_t next;
        uint16_t n_free;
        uint8_t class_index;
};

struct quarantined {
        uint64_t off;
        uint64_t bytes;
        uint64_t epoch; /* 0: pending, not stamped yet */
        uint64_t since_ns;
};

struct lanemap_shm_arena {
        struct lanemap_arena arena;
        struct lanemap_shm_arena_config config;
        uint8_t class_of[SMALL_MAX / 16 + 1]; /* by rounded-up size in 16-byte units */

        struct page *pages;
        uint64_t *page_used; /* a bit per page */
        uint64_t n_pages;
        uint64_t n_pages_free;
        uint64_t n_pages_capacity; /* of both */
        uint64_t run_hint;
        uint32_t partial[N_CLASSES]; /* heads of the lists */

        struct quarantined *queue; /* a ring */
        size_t queue_capacity;
        size_t queue_first;
        size_t queue_n;
        size_t queue_n_pending; /* the last ones */

        uint64_t used_bytes;
        uint64_t n_pages_peak; /* in use or reserved at once, since it was asked for */
        uint64_t quarantine_bytes;
        uint64_t leaked_bytes;
};

/* ---- pages ---- */

static bool page_is_used(const struct lanemap_shm_arena *arena, uint64_t page)
{
        return arena->page_used[page >> 6] >> (page & 63) & 1;
}

/* n_more pages are about to be taken, or were. */
static void pages_peak(struct lanemap_shm_arena *arena, uint64_t n_more)
{
        arena->n_pages_peak =
                LANEMAP_MAX(arena->n_pages_peak, arena->n_pages - arena->n_pages_free + n_more);
}

static void pages_mark(struct lanemap_shm_arena *arena, uint64_t first, uint64_t n, bool used)
{
        for (uint64_t page = first; page < first + n; page++) {
                if (used)
                        arena->page_used[page >> 6] |= UINT64_C(1) << (page & 63);
                else
                        arena->page_used[page >> 6] &= ~(UINT64_C(1) << (page & 63));
        }

        if (used)
                arena->n_pages_free -= n;
        else
                arena->n_pages_free += n;
        pages_peak(arena, 0);
}

/* Room for the book-keeping of so many pages. */
static int pages_reserve(struct lanemap_shm_arena *arena, uint64_t n_pages)
{
        uint64_t capacity = LANEMAP_MAX(LANEMAP_ALIGN_UP(n_pages, UINT64_C(64)), UINT64_C(64));
        struct page *pages;
        uint64_t *used;

        if (n_pages >= NO_PAGE)
                return -ENOSPC;
        if (capacity <= arena->n_pages_capacity)
                return 0;

        capacity = LANEMAP_MAX(capacity,
                               LANEMAP_ALIGN_UP(arena->n_pages_capacity * 5 / 4, UINT64_C(64)));
        used = lanemap_realloc(arena->page_used, capacity / 8);
        if (!used)
                return -ENOMEM;
        arena->page_used = used;

        /* Only those of small blocks are ever touched. */
        pages = lanemap_alloc_pages(capacity * sizeof(*pages));
        if (!pages)
                return -ENOMEM;
        if (arena->pages)
                memcpy(pages, arena->pages, arena->n_pages * sizeof(*pages));
        lanemap_free_pages(arena->pages, arena->n_pages_capacity * sizeof(*pages));
        arena->pages = pages;

        memset(used + arena->n_pages_capacity / 64, 0, (capacity - arena->n_pages_capacity) / 8);
        arena->n_pages_capacity = capacity;
        return 0;
}

/* The object has so many pages now, for which there is room; the new ones are free. */
static void pages_add(struct lanemap_shm_arena *arena, uint64_t n_pages)
{
        arena->n_pages_free += n_pages - arena->n_pages;
        arena->n_pages = n_pages;
}

static int arena_grow(struct lanemap_shm_arena *arena, uint64_t n_pages_more)
{
        uint64_t need = arena->config.bytes + n_pages_more * PAGE_BYTES;
        uint64_t step =
                LANEMAP_MIN(LANEMAP_MAX(arena->config.bytes / 8, GROW_BYTES_MIN), GROW_BYTES_MAX);
        uint64_t bytes = LANEMAP_MAX(need, arena->config.bytes + step);
        int r;

        if (need > arena->config.bytes_max)
                return -ENOSPC;

        bytes = LANEMAP_ALIGN_UP(LANEMAP_MIN(bytes, arena->config.bytes_max), (uint64_t)PAGE_BYTES);
        r = pages_reserve(arena, bytes / PAGE_BYTES);
        if (r < 0)
                return r;

        r = arena->config.grow(arena->config.grow_arg, bytes);
        if (r == -ENOSPC && bytes > need) {
                bytes = need;
                r = arena->config.grow(arena->config.grow_arg, bytes);
        }
        if (r < 0)
                return r;

        pages_add(arena, bytes / PAGE_BYTES);
        arena->config.bytes = bytes;
        return 0;
}

/* First fit from the hint, then from the start. */
static bool run_find(const struct lanemap_shm_arena *arena, uint64_t from, uint64_t n,
                     uint64_t *ret_first)
{
        uint64_t length = 0;

        for (uint64_t page = from; page < arena->n_pages; page++) {
                if ((page & 63) == 0 && arena->page_used[page >> 6] == UINT64_MAX) {
                        length = 0;
                        page += 63;
                        continue;
                }

                length = page_is_used(arena, page) ? 0 : length + 1;
                if (length == n) {
                        *ret_first = page + 1 - n;
                        return true;
                }
        }

        return false;
}

static void quarantine_release(struct lanemap_shm_arena *arena, uint64_t older_than_ns,
                               uint64_t keep_bytes);

static int run_alloc(struct lanemap_shm_arena *arena, uint64_t n, uint64_t *ret_first)
{
        bool found = arena->n_pages_free >= n && (run_find(arena, arena->run_hint, n, ret_first) ||
                                                  run_find(arena, 0, n, ret_first));
        int r;

        if (!found) {
                r = arena_grow(arena, n);
                if (r < 0) {
                        /* Memory is short: what waits only so that readers need not retry is given
                         * back now. */
                        quarantine_release(arena, UINT64_MAX, 0);
                        if (!run_find(arena, 0, n, ret_first))
                                return r;
                } else if (!run_find(arena, 0, n, ret_first)) {
                        return -ENOSPC;
                }
        }

        pages_mark(arena, *ret_first, n, true);
        arena->run_hint = *ret_first + n;
        return 0;
}

static void run_free(struct lanemap_shm_arena *arena, uint64_t first, uint64_t n)
{
        pages_mark(arena, first, n, false);
        if (first < arena->run_hint)
                arena->run_hint = first;
}

/* ---- small blocks ---- */

static void partial_push(struct lanemap_shm_arena *arena, uint32_t page)
{
        uint32_t *head = &arena->partial[arena->pages[page].class_index];

        arena->pages[page].previous = NO_PAGE;
        arena->pages[page].next = *head;
        if (*head != NO_PAGE)
                arena->pages[*head].previous = page;
        *head = page;
}

static void partial_remove(struct lanemap_shm_arena *arena, uint32_t page)
{
        struct page *p = &arena->pages[page];

        if (p->previous != NO_PAGE)
                arena->pages[p->previous].next = p->next;
        else
                arena->partial[p->class_index] = p->next;
        if (p->next != NO_PAGE)
                arena->pages[p->next].previous = p->previous;
}

static int small_page_new(struct lanemap_shm_arena *arena, uint8_t class_index)
{
        uint32_t n_blocks = PAGE_BYTES / class_bytes[class_index];
        uint64_t first;
        struct page *page;
        int r;

        r = run_alloc(arena, 1, &first);
        if (r < 0)
                return r;

        page = &arena->pages[first];
        *page = (struct page){.class_index = class_index, .n_free = (uint16_t)n_blocks};
        for (uint32_t i = 0; i < n_blocks; i++)
                page->free_bits[i >> 6] |= UINT64_C(1) << (i & 63);
        partial_push(arena, (uint32_t)first);
        return 0;
}

static int small_alloc(struct lanemap_shm_arena *arena, uint8_t class_index, uint64_t *ret_off)
{
        uint32_t index, word = 0, bit;
        struct page *page;
        int r;

        if (arena->partial[class_index] == NO_PAGE) {
                r = small_page_new(arena, class_index);
                if (r < 0 && arena->partial[class_index] == NO_PAGE)
                        return r;
        }

        index = arena->partial[class_index];
        page = &arena->pages[index];
        while (page->free_bits[word] == 0)
                word++;
        bit = (uint32_t)__builtin_ctzll(page->free_bits[word]);
        page->free_bits[word] &= page->free_bits[word] - 1;
        if (--page->n_free == 0)
                partial_remove(arena, index);

        *ret_off = (uint64_t)index * PAGE_BYTES + (word * 64 + bit) * class_bytes[class_index];
        return 0;
}

static void small_free(struct lanemap_shm_arena *arena, uint64_t off)
{
        uint32_t index = (uint32_t)(off / PAGE_BYTES);
        struct page *page = &arena->pages[index];
        uint32_t size = class_bytes[page->class_index];
        uint32_t block = (uint32_t)(off % PAGE_BYTES) / size;

        lanemap_check(!(page->free_bits[block >> 6] >> (block & 63) & 1));
        page->free_bits[block >> 6] |= UINT64_C(1) << (block & 63);
        if (++page->n_free == 1)
                partial_push(arena, index);
        if (page->n_free == PAGE_BYTES / size) {
                partial_remove(arena, index);
                run_free(arena, index, 1);
        }
}

static uint64_t run_pages(uint64_t bytes)
{
        return (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
}

static void block_free(struct lanemap_shm_arena *arena, uint64_t off, uint64_t bytes)
{
        if (bytes <= SMALL_MAX)
                small_free(arena, off);
        else
                run_free(arena, off / PAGE_BYTES, run_pages(bytes));
        arena->used_bytes -= bytes;
}

/* ---- quarantine ---- */

static struct quarantined *queue_at(struct lanemap_shm_arena *arena, size_t i)
{
        return &arena->queue[(arena->queue_first + i) & (arena->queue_capacity - 1)];
}

static bool queue_push(struct lanemap_shm_arena *arena, struct quarantined entry)
{
        if (arena->queue_n == arena->queue_capacity) {
                size_t capacity = arena->queue_capacity ? arena->queue_capacity * 2 : 128;
                struct quarantined *queue = lanemap_alloc_pages(capacity * sizeof(*queue));

                if (!queue)
                        return false;
                for (size_t i = 0; i < arena->queue_n; i++)
                        queue[i] = *queue_at(arena, i);
                lanemap_free_pages(arena->queue, arena->queue_capacity * sizeof(*queue));
                arena->queue = queue;
                arena->queue_capacity = capacity;
                arena->queue_first = 0;
        }

        *queue_at(arena, arena->queue_n++) = entry;
        return true;
}

/* A long queue was one flush's; its memory goes back when it has run empty. */
static void queue_trim(struct lanemap_shm_arena *arena)
{
        if (arena->queue_n > 0 || arena->queue_capacity <= 1024)
                return;

        lanemap_free_pages(arena->queue, arena->queue_capacity * sizeof(*arena->queue));
        arena->queue = NULL;
        arena->queue_capacity = 0;
        arena->queue_first = 0;
}

/* Frees the blocks that were stamped before older_than_ns, oldest first (A2), until those that are
 * left are keep_bytes or less. */
static void quarantine_release(struct lanemap_shm_arena *arena, uint64_t older_than_ns,
                               uint64_t keep_bytes)
{
        struct lanemap_shm_control *control = arena->config.control;
        size_t n = 0, n_stamped = arena->queue_n - arena->queue_n_pending;
        uint64_t held_bytes = arena->quarantine_bytes, left = held_bytes;

        while (n < n_stamped && left > keep_bytes && queue_at(arena, n)->since_ns < older_than_ns)
                left -= queue_at(arena, n++)->bytes;
        if (n == 0)
                return;

        /* A watermark that passes the epoch sends every lookup back (P2). */
        lanemap_check(queue_at(arena, n - 1)->epoch <= control->epoch);
        if (queue_at(arena, n - 1)->epoch > control->watermark)
                lanemap_store_relaxed(&control->watermark, queue_at(arena, n - 1)->epoch);
        /* Pairs with the acquire fence at the end of a lookup (P2): whoever sees bytes of a reused
         * block sees the watermark. */
        lanemap_fence_release();

        for (size_t i = 0; i < n; i++) {
                struct quarantined *entry = queue_at(arena, i);

                block_free(arena, entry->off, entry->bytes);
                arena->quarantine_bytes -= entry->bytes;
        }
        LANEMAP_PROBE(reclaim, n, held_bytes - arena->quarantine_bytes, control->watermark);
        arena->queue_first = (arena->queue_first + n) & (arena->queue_capacity - 1);
        arena->queue_n -= n;
        queue_trim(arena);
}

/* Lets go whatever has waited long enough (A3). */
static void quarantine_pass(struct lanemap_shm_arena *arena, uint64_t now_ns)
{
        const struct lanemap_shm_quarantine *quarantine = &arena->config.quarantine;

        if (quarantine->ns == LANEMAP_SHM_QUARANTINE_NONE) {
                quarantine_release(arena, UINT64_MAX, 0);
                return;
        }

        if (now_ns > quarantine->ns)
                quarantine_release(arena, now_ns - quarantine->ns, quarantine->linger_bytes);
        if (now_ns > LANEMAP_MAX(quarantine->ns, quarantine->linger_ns))
                quarantine_release(arena,
                                   now_ns - LANEMAP_MAX(quarantine->ns, quarantine->linger_ns), 0);
}

void lanemap_shm_arena_end_batch(struct lanemap_shm_arena *arena)
{
        struct lanemap_shm_control *control = arena->config.control;
        uint64_t now_ns, epoch;

        if (arena->queue_n == 0)
                return;

        now_ns = lanemap_now_ns(arena->config.clock);
        if (arena->queue_n_pending > 0) {
                epoch = control->epoch + 1;
                for (size_t i = arena->queue_n - arena->queue_n_pending; i < arena->queue_n; i++) {
                        queue_at(arena, i)->epoch = epoch;
                        queue_at(arena, i)->since_ns = now_ns;
                }
                arena->queue_n_pending = 0;
                /* Pairs with the acquire load at the start of a lookup (P1): everything unlinked in
                 * this batch is unlinked for whoever sees this epoch. */
                lanemap_store_release(&control->epoch, epoch);
        }

        quarantine_pass(arena, now_ns);
}

/* ---- the interface of common/arena.h ---- */

static int shm_alloc(struct lanemap_arena *base, uint64_t bytes, uint64_t *ret_off)
{
        struct lanemap_shm_arena *arena =
                LANEMAP_CONTAINER_OF(base, struct lanemap_shm_arena, arena);
        uint64_t off, first;
        int r;

        lanemap_check(bytes > 0);
        if (bytes > arena->config.bytes_max)
                return -ENOSPC;

        if (bytes <= SMALL_MAX) {
                r = small_alloc(arena, arena->class_of[(bytes + 15) / 16], &off);
                if (r < 0)
                        return r;
        } else {
                r = run_alloc(arena, run_pages(bytes), &first);
                if (r < 0)
                        return r;
                off = first * PAGE_BYTES;
        }

        /* The watermark may have been raised by another thread, under the same lock: the fence has
         * to be in the thread that overwrites. */
        lanemap_fence_release();
        arena->used_bytes += bytes;
        *ret_off = off;
        return 0;
}

static void shm_free(struct lanemap_arena *base, uint64_t off, uint64_t bytes)
{
        block_free(LANEMAP_CONTAINER_OF(base, struct lanemap_shm_arena, arena), off, bytes);
}

static void shm_retire(struct lanemap_arena *base, uint64_t off, uint64_t bytes)
{
        struct lanemap_shm_arena *arena =
                LANEMAP_CONTAINER_OF(base, struct lanemap_shm_arena, arena);

        if (!queue_push(arena, (struct quarantined){.off = off, .bytes = bytes})) {
                arena->leaked_bytes += bytes;
                return;
        }

        arena->queue_n_pending++;
        arena->quarantine_bytes += bytes;
}

int lanemap_shm_arena_reserve(struct lanemap_shm_arena *arena, uint64_t bytes)
{
        uint64_t n_pages = run_pages(bytes);
        int r;

        pages_peak(arena, n_pages);
        if (LANEMAP_LIKELY(arena->n_pages_free >= n_pages))
                return 0;

        r = arena_grow(arena, n_pages - arena->n_pages_free);
        if (r == 0)
                return 0;

        /* What waits only so that readers need not retry is given back now. */
        quarantine_release(arena, UINT64_MAX, 0);
        return arena->n_pages_free >= n_pages ? 0 : r;
}

uint32_t lanemap_shm_arena_blocks_per_page(uint64_t bytes)
{
        uint32_t class_index = 0;

        lanemap_check(bytes <= SMALL_MAX);
        while (class_bytes[class_index] < bytes)
                class_index++;
        return PAGE_BYTES / class_bytes[class_index];
}

struct lanemap_arena *lanemap_shm_arena_base(struct lanemap_shm_arena *arena)
{
        return &arena->arena;
}

uint64_t lanemap_shm_arena_take_peak(struct lanemap_shm_arena *arena)
{
        uint64_t n_pages = arena->n_pages_peak;

        arena->n_pages_peak = arena->n_pages - arena->n_pages_free;
        return n_pages * PAGE_BYTES;
}

void lanemap_shm_arena_get_stats(const struct lanemap_shm_arena *arena,
                                 struct lanemap_shm_arena_stats *ret_stats)
{
        *ret_stats = (struct lanemap_shm_arena_stats){
                .bytes = arena->config.bytes,
                .used_bytes = arena->used_bytes,
                .quarantine_bytes = arena->quarantine_bytes,
                .leaked_bytes = arena->leaked_bytes,
        };
}

int lanemap_shm_arena_new(const struct lanemap_shm_arena_config *config,
                          struct lanemap_shm_arena **ret_arena)
{
        struct lanemap_shm_arena *arena = lanemap_alloc_zero(sizeof(*arena));
        uint8_t class_index = 0;
        int r;

        if (!arena)
                return -ENOMEM;

        arena->config = *config;
        arena->arena = (struct lanemap_arena){
                .base = config->base,
                .alloc = shm_alloc,
                .free = shm_free,
                .retire = shm_retire,
        };
        for (uint32_t units = 0; units <= SMALL_MAX / 16; units++) {
                if (units * 16 > class_bytes[class_index])
                        class_index++;
                arena->class_of[units] = class_index;
        }
        for (uint32_t i = 0; i < N_CLASSES; i++)
                arena->partial[i] = NO_PAGE;

        r = pages_reserve(arena, config->bytes / PAGE_BYTES);
        if (r < 0) {
                lanemap_shm_arena_free(arena);
                return r;
        }

        pages_add(arena, config->bytes / PAGE_BYTES);
        pages_mark(arena, 0, run_pages(config->first_off), true);
        *ret_arena = arena;
        return 0;
}

int lanemap_shm_arena_renew(const struct lanemap_shm_arena *arena,
                            struct lanemap_shm_arena **ret_arena)
{
        return lanemap_shm_arena_new(&arena->config, ret_arena);
}

void lanemap_shm_arena_free(struct lanemap_shm_arena *arena)
{
        if (!arena)
                return;

        lanemap_free_pages(arena->pages, arena->n_pages_capacity * sizeof(*arena->pages));
        lanemap_free(arena->page_used);
        lanemap_free_pages(arena->queue, arena->queue_capacity * sizeof(*arena->queue));
        lanemap_free(arena);
}
