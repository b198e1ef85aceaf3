/*
 * Numbers that more than one part of the engine keeps or asks for, all under the lock: the bytes of
 * the overlays, the room in shared memory, and the counts that readers see.
 */
#include "writer/core/core.h"

#include <sys/statvfs.h>

#include "common/check.h"

void lanemap_engine_degraded_publish(struct lanemap_writer *writer)
{
        lanemap_store_relaxed(
                &writer->shm.object->data->degraded,
                (uint32_t)(writer->segments.n_damaged + writer->segments.n_other_findings > 0));
}

void lanemap_engine_counts_publish(struct lanemap_writer *writer)
{
        /* Pairs with lanemap_writer_n_keys(): a weaker one could be seen before the position that
         * the keys were published under, and a reply that counts them would not wait for it. */
        lanemap_store_release(&writer->lanes.n_keys_applied, writer->lanes.n_keys);
        lanemap_store_relaxed(&writer->shm.object->data->n_keys, writer->lanes.n_keys);
        lanemap_store_relaxed(&writer->shm.object->data->n_pairs, writer->lanes.n_pairs);
        lanemap_engine_degraded_publish(writer);
}

void lanemap_engine_counts_check(const struct lanemap_writer *writer)
{
        uint64_t n_keys = 0, n_pairs = 0;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                n_keys += writer->lanes.items[i].n_keys;
                n_pairs += writer->lanes.items[i].n_pairs;
        }
        lanemap_check(n_keys == writer->lanes.n_keys && n_pairs == writer->lanes.n_pairs);
}

static uint64_t overlay_used_bytes(const struct lanemap_overlay *overlay)
{
        return overlay->n_used * overlay->table.cell_bytes + overlay->posting_bytes;
}

void lanemap_engine_active_count(struct lanemap_writer *writer)
{
        writer->pressure.active_bytes = writer->pressure.active_used_bytes = 0;
        writer->pressure.active_long = (struct lanemap_lane_policy_overlays){0};
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                const struct lanemap_overlay *active = &writer->lanes.items[i].active;

                writer->pressure.active_bytes += lanemap_overlay_bytes(active);
                writer->pressure.active_used_bytes += overlay_used_bytes(active);
                writer->pressure.active_long.long_bytes += active->long_bytes;
                writer->pressure.active_long.n_long_changes += active->n_long_changes;
        }
}

/* The size that the data object can reach: its limit, or less where /dev/shm has less. Updated at
 * each flush and whenever memory was short, since others fill /dev/shm too. A replay is not
 * there. */
void lanemap_engine_memory_room_update(struct lanemap_writer *writer)
{
        struct lanemap_shm_arena_stats arena;
        struct statvfs fs;
        uint64_t room = writer->options.shared_bytes_max;

        lanemap_shm_arena_get_stats(writer->shm.object->arena, &arena);
        if (!writer->lanes.recovering && fstatvfs(writer->shm.object->fd, &fs) == 0)
                room = LANEMAP_MIN(room, arena.bytes + fs.f_bavail * fs.f_frsize);
        writer->shm.room_bytes = room;
}
