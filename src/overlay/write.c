/* The table of an overlay. See write.h. */
#include "overlay/write.h"

#include <string.h>

#include "common/check.h"

LANEMAP_ALWAYS_INLINE uint64_t table_n_cells(const struct lanemap_overlay_table *table)
{
        return UINT64_C(1) << table->log2_cells;
}

static uint64_t table_bytes(const struct lanemap_overlay_table *table)
{
        return (uint64_t)table->cell_bytes << table->log2_cells;
}

LANEMAP_ALWAYS_INLINE struct lanemap_overlay_wide_cell_shm *
table_cell(const struct lanemap_arena *arena, const struct lanemap_overlay_table *table,
           uint64_t index)
{
        return lanemap_arena_at(arena, table->off + index * table->cell_bytes);
}

LANEMAP_ALWAYS_INLINE struct lanemap_fingerprint
cell_fingerprint(const struct lanemap_overlay_table *table,
                 const struct lanemap_overlay_wide_cell_shm *cell)
{
        return (struct lanemap_fingerprint){
                .hash = cell->hash,
                .ext = table->cell_bytes == sizeof(*cell) ? cell->ext : 0,
        };
}

int lanemap_overlay_init(struct lanemap_overlay *overlay, struct lanemap_arena *arena,
                         uint32_t log2_cells, uint32_t cell_bytes)
{
        struct lanemap_overlay_table table = {.log2_cells = log2_cells, .cell_bytes = cell_bytes};
        uint64_t *words;
        int r;

        r = arena->alloc(arena, table_bytes(&table), &table.off);
        if (r < 0)
                return r;

        /* The block may be one that a late reader of its former life still looks at. */
        words = lanemap_arena_at(arena, table.off);
        for (uint64_t i = 0; i < table_bytes(&table) / sizeof(*words); i++)
                lanemap_store_relaxed(&words[i], 0);

        *overlay = (struct lanemap_overlay){.arena = arena, .table = table};
        return 0;
}

void lanemap_overlay_retire(struct lanemap_overlay *overlay)
{
        for (uint64_t i = 0; i < table_n_cells(&overlay->table); i++)
                lanemap_posting_retire(overlay->arena,
                                       table_cell(overlay->arena, &overlay->table, i)->value);
        lanemap_overlay_retire_table(overlay);
}

void lanemap_overlay_retire_table(struct lanemap_overlay *overlay)
{
        overlay->arena->retire(overlay->arena, overlay->table.off, table_bytes(&overlay->table));
}

void lanemap_overlay_free(struct lanemap_overlay *overlay)
{
        overlay->arena->free(overlay->arena, overlay->table.off, table_bytes(&overlay->table));
}

/* Eleven sixteenths: a miss then probes about five cells of which four share a line. */
#define CELLS_USED_MAX(n_cells) ((n_cells)*11 / 16)

bool lanemap_overlay_is_full(const struct lanemap_overlay *overlay, uint64_t n_more)
{
        return overlay->n_used + n_more > CELLS_USED_MAX(table_n_cells(&overlay->table));
}

uint32_t lanemap_overlay_log2_cells_for(uint64_t n_keys)
{
        uint32_t log2_cells = LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        while (CELLS_USED_MAX(UINT64_C(1) << log2_cells) < n_keys)
                log2_cells++;

        return log2_cells;
}

struct lanemap_overlay_cell_shm *lanemap_overlay_cell(const struct lanemap_overlay *overlay,
                                                      struct lanemap_fingerprint fp,
                                                      uint64_t *ret_value)
{
        uint64_t mask = table_n_cells(&overlay->table) - 1;

        for (uint64_t at = fp.hash & mask;; at = (at + 1) & mask) {
                struct lanemap_overlay_wide_cell_shm *cell =
                        table_cell(overlay->arena, &overlay->table, at);

                if (cell->value == 0 ||
                    lanemap_fingerprint_equal(cell_fingerprint(&overlay->table, cell), fp)) {
                        *ret_value = cell->value;
                        return (struct lanemap_overlay_cell_shm *)cell;
                }
        }
}

void lanemap_overlay_store(struct lanemap_overlay *overlay, struct lanemap_overlay_cell_shm *cell,
                           struct lanemap_fingerprint fp, uint64_t value)
{
        struct lanemap_overlay_wide_cell_shm *wide = (void *)cell;

        lanemap_check(value != 0);
        if (cell->value == 0) {
                lanemap_check(overlay->n_used + 1 < table_n_cells(&overlay->table));
                lanemap_store_relaxed(&cell->hash, fp.hash);
                if (overlay->table.cell_bytes == sizeof(*wide))
                        lanemap_store_relaxed(&wide->ext, fp.ext);
                overlay->n_used++;
        }

        /* Pairs with the acquire load in lanemap_overlay_find(): weaker, a reader could see the
         * word before the hash or before the posting's bytes. */
        lanemap_store_release(&cell->value, value);
}

/* Of a value that is not a long posting: no more than a look at it. */
static uint64_t short_value_bytes(const struct lanemap_overlay *overlay, uint64_t value)
{
        return lanemap_overlay_value_is_long(value) ? 0
                                                    : lanemap_posting_bytes(overlay->arena, value);
}

int64_t lanemap_overlay_commit(struct lanemap_overlay *overlay,
                               struct lanemap_posting_change *change)
{
        int64_t old_bytes = (int64_t)short_value_bytes(overlay, change->old_value);
        int64_t grown = lanemap_posting_commit(overlay->arena, change);

        overlay->posting_bytes += (uint64_t)grown;
        if (lanemap_overlay_value_is_long(change->value) ||
            lanemap_overlay_value_is_long(change->old_value)) {
                int64_t new_bytes = (int64_t)short_value_bytes(overlay, change->value);

                overlay->long_bytes += (uint64_t)(grown + old_bytes - new_bytes);
                overlay->n_long_changes++;
        }
        return grown;
}

static uint64_t table_n_live(const struct lanemap_overlay *overlay)
{
        uint64_t n_live = 0;

        for (uint64_t i = 0; i < table_n_cells(&overlay->table); i++) {
                uint64_t value = table_cell(overlay->arena, &overlay->table, i)->value;

                n_live += lanemap_overlay_value_is_kept(value);
        }

        return n_live;
}

/* Twice the cells, unless so many of them are fresh tombstones that the same number leaves room;
 * more where that is not enough for those to come. */
static uint32_t grown_log2_cells(const struct lanemap_overlay *overlay, uint64_t n_more)
{
        uint64_t n_live = table_n_live(overlay);
        uint32_t log2_cells =
                overlay->table.log2_cells + (n_live > table_n_cells(&overlay->table) * 3 / 8);

        return LANEMAP_MAX(log2_cells, lanemap_overlay_log2_cells_for(n_live + n_more));
}

int lanemap_overlay_grow(const struct lanemap_overlay *overlay, uint64_t n_more,
                         struct lanemap_overlay *ret_grown)
{
        uint32_t log2_cells = grown_log2_cells(overlay, n_more);
        struct lanemap_overlay grown;
        int r;

        if (log2_cells > LANEMAP_OVERLAY_LOG2_CELLS_MAX)
                return -ENOSPC;

        r = lanemap_overlay_init(&grown, overlay->arena, log2_cells, overlay->table.cell_bytes);
        if (r < 0)
                return r;

        for (uint64_t i = 0; i < table_n_cells(&overlay->table); i++) {
                const struct lanemap_overlay_wide_cell_shm *from =
                        table_cell(overlay->arena, &overlay->table, i);
                struct lanemap_fingerprint fp;
                uint64_t value;

                if (!lanemap_overlay_value_is_kept(from->value))
                        continue;

                fp = cell_fingerprint(&overlay->table, from);
                lanemap_overlay_store(&grown, lanemap_overlay_cell(&grown, fp, &value), fp,
                                      from->value);
        }

        grown.posting_bytes = overlay->posting_bytes;
        grown.long_bytes = overlay->long_bytes;
        grown.n_long_changes = overlay->n_long_changes;
        *ret_grown = grown;
        return 0;
}

/* Half full at most, so that a copy has room before it grows. */
static uint32_t fitting_log2_cells(uint64_t n_live)
{
        uint32_t log2_cells = LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        while (UINT64_C(1) << log2_cells < 2 * n_live)
                log2_cells++;

        return log2_cells;
}

uint64_t lanemap_overlay_slack_bytes(const struct lanemap_overlay *overlay)
{
        struct lanemap_overlay_table fitting = overlay->table;

        fitting.log2_cells =
                LANEMAP_MIN(overlay->table.log2_cells, fitting_log2_cells(overlay->n_used));
        return table_bytes(&overlay->table) - table_bytes(&fitting);
}

/* Ids on their way from one arena to another. */
struct ids_room {
        uint32_t *ids;
        size_t capacity;
};

static int ids_room_extend(struct ids_room *room, uint64_t n_ids)
{
        uint32_t *ids;

        if (n_ids <= room->capacity)
                return 0;

        ids = lanemap_realloc(room->ids, n_ids * sizeof(*ids));
        if (!ids)
                return -ENOMEM;

        room->ids = ids;
        room->capacity = n_ids;
        return 0;
}

/* One key of an overlay, and its posting, into the copy. */
static int cell_copy(const struct lanemap_overlay *overlay,
                     const struct lanemap_overlay_wide_cell_shm *from, struct ids_room *room,
                     struct lanemap_overlay *copy)
{
        struct lanemap_window window = {.base = overlay->arena->base, .bytes = UINT64_MAX};
        struct lanemap_fingerprint fp = cell_fingerprint(&overlay->table, from);
        struct lanemap_posting_change change;
        uint64_t n, value;
        size_t n_ids;
        int r;

        r = lanemap_overlay_posting_count(&window, from->value, &n);
        if (r == 0)
                r = ids_room_extend(room, n);
        if (r == 0)
                r = lanemap_overlay_posting_copy(&window, from->value, room->ids, room->capacity,
                                                 &n_ids);
        if (r == 0)
                r = lanemap_posting_prepare_build(copy->arena, 0, room->ids, n_ids,
                                                  from->value & LANEMAP_OVERLAY_TAG_FRESH, &change);
        if (r < 0)
                return r;

        lanemap_overlay_store(copy, lanemap_overlay_cell(copy, fp, &value), fp, change.value);
        (void)lanemap_overlay_commit(copy, &change);
        return 0;
}

int lanemap_overlay_copy(const struct lanemap_overlay *overlay, struct lanemap_arena *arena,
                         struct lanemap_overlay *ret_copy)
{
        struct ids_room room = {0};
        struct lanemap_overlay copy;
        int r;

        r = lanemap_overlay_init(&copy, arena, fitting_log2_cells(table_n_live(overlay)),
                                 overlay->table.cell_bytes);
        for (uint64_t i = 0; r == 0 && i < table_n_cells(&overlay->table); i++) {
                const struct lanemap_overlay_wide_cell_shm *from =
                        table_cell(overlay->arena, &overlay->table, i);

                if (lanemap_overlay_value_is_kept(from->value))
                        r = cell_copy(overlay, from, &room, &copy);
        }

        lanemap_free(room.ids);
        if (r < 0)
                return r;

        copy.n_long_changes = overlay->n_long_changes;
        *ret_copy = copy;
        return 0;
}

uint64_t lanemap_overlay_bytes(const struct lanemap_overlay *overlay)
{
        return table_bytes(&overlay->table) + overlay->posting_bytes;
}
