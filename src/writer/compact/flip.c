/*
 * Data objects: the first one of a writer, and the flip to a new one, by which shared memory is
 * given back (an object is never shrunk, punched or sparse).
 *
 * A flip flushes first, so that there is little to copy; then, with applies waiting, the overlays
 * are copied, views made, and one store publishes the new generation. The old object is unlinked
 * and never written again: a lookup in progress ends with an answer that was true, the next one
 * sees the new word. Stopped readers may hold the old one, so a flip is refused while two such are
 * held, or as many bytes as one object may have (FL1): no reader makes memory grow without bound.
 * The writer keeps a descriptor of each to ask if it is held, and closes it within a second of the
 * last reader.
 */
#include "writer/compact/compact.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/probes.h"
#include "common/rcu.h"
#include "writer/apply/apply.h"
#include "writer/core/core.h"

/* Retired objects that readers may hold before flips are refused. */
#define HELD_MAX 2

/* The times for which freed shared memory is not reused, unless the options say: the first always,
 * the second while no more than so many bytes wait. */
#define QUARANTINE_NS (UINT64_C(5) * 1000 * 1000)
#define LINGER_NS     (UINT64_C(250) * 1000 * 1000)
#define LINGER_BYTES  (UINT64_C(8) << 20)
#define LINGER_SHARE  64 /* of what /dev/shm can hold, no more */

/* A replay may grow to this, however small the limit of shared memory is. */
#define PRIVATE_BYTES_MAX_LEAST (UINT64_C(1) << 30)

/* The bytes that a flip must save to be worth it. */
#define WORTH_BYTES (UINT64_C(256) << 10)

/* A try again costs a reader one lookup more, so memory comes first: waiting long is for as long as
 * little waits. */
static struct lanemap_shm_quarantine quarantine_of(const struct lanemap_writer *writer)
{
        const struct lanemap_writer_options *options = &writer->options;
        uint64_t linger_bytes = LINGER_BYTES;
        struct statvfs fs;

        if (options->immediate_reuse)
                return (struct lanemap_shm_quarantine){.ns = LANEMAP_SHM_QUARANTINE_NONE};
        if (options->quarantine_ns)
                return (struct lanemap_shm_quarantine){.ns = options->quarantine_ns};

        if (fstatvfs(writer->place.shm_dir_fd, &fs) == 0 && fs.f_blocks > 0)
                linger_bytes = LANEMAP_MIN(linger_bytes,
                                           (uint64_t)fs.f_blocks * fs.f_frsize / LINGER_SHARE);
        return (struct lanemap_shm_quarantine){
                .ns = QUARANTINE_NS,
                .linger_ns = LINGER_NS,
                .linger_bytes = linger_bytes,
        };
}

/* S5 in shm/write.h. While a log is replayed there is no spare: it is what is replayed into. */
static int growth_prepare(void *arg)
{
        struct lanemap_writer *writer = arg;

        return writer->lanes.recovering ? 0 : lanemap_engine_spare_ensure(writer);
}

static struct lanemap_shm_data_options object_options(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        return (struct lanemap_shm_data_options){
                .name = writer->identity.name,
                .mode = writer->options.shared_mode ? writer->options.shared_mode : 0640,
                .bytes_min = lanemap_engine_spare_bytes(writer),
                .bytes_max = writer->options.shared_bytes_max,
                .uuid = writer->identity.uuid,
                .hash_key = writer->identity.hash_key_bytes,
                .fingerprint_bits = writer->identity.hash_key.fingerprint_bits,
                .n_lanes = writer->identity.n_lanes,
                .slots = writer->identity.slots,
                .directory = writer->identity.directory,
                .copy_directory = writer->serve.copy_directory,
                .clock = writer->clock,
                .quarantine = quarantine_of(writer),
                .from_spare = writer->lanes.recovering,
        };
}

/* Larger than a shared one may get: a posting that was made id by id can be denser than one that is
 * built anew. */
int lanemap_engine_object_create_private(struct lanemap_writer *writer,
                                         struct lanemap_shm_data_object **ret_object)
        LANEMAP_NO_OTHER_THREAD
{
        struct lanemap_shm_data_options options = object_options(writer);
        struct lanemap_shm_data_object *object = lanemap_alloc_zero(sizeof(*object));
        int r;

        if (!object)
                return -ENOMEM;

        options.is_private = true;
        options.from_spare = false;
        options.bytes_max = LANEMAP_MAX(2 * options.bytes_max, PRIVATE_BYTES_MAX_LEAST);
        options.quarantine.ns = LANEMAP_SHM_QUARANTINE_NONE;
        r = lanemap_shm_data_create(-1, writer->shm.private_control, &options, object);
        if (r == -ENOMEM && options.bytes_max > 2 * writer->options.shared_bytes_max) {
                options.bytes_max = 2 * writer->options.shared_bytes_max;
                r = lanemap_shm_data_create(-1, writer->shm.private_control, &options, object);
        }
        if (r < 0) {
                lanemap_free(object);
                return r;
        }

        *ret_object = object;
        return 0;
}

void lanemap_engine_object_free(struct lanemap_shm_data_object *object)
{
        if (!object)
                return;

        lanemap_shm_data_close(object);
        lanemap_free(object);
}

static int object_create(struct lanemap_writer *writer, struct lanemap_shm_data_object **ret_object,
                         struct lanemap_shm_region **ret_region)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_shm_data_options options = object_options(writer);
        struct lanemap_shm_arena_stats arena;
        struct lanemap_shm_data_object *object = lanemap_alloc_zero(sizeof(*object));
        struct lanemap_shm_region *region = lanemap_alloc_zero(sizeof(*region));
        int r = -ENOMEM;

        if (object && region)
                r = lanemap_shm_data_create(writer->place.shm_dir_fd, writer->shm.control, &options,
                                            object);
        if (r < 0) {
                lanemap_free(object);
                lanemap_free(region);
                return r;
        }

        region->control = writer->shm.control;
        region->generation = object->generation;
        region->files = writer->segments.table;
        object->known_bytes = &region->bytes;
        object->spare_ensure = growth_prepare;
        object->spare_arg = writer;
        lanemap_shm_arena_get_stats(object->arena, &arena);
        r = lanemap_shm_region_init(region, object->base, arena.bytes);
        lanemap_check(r == 0); /* the object that was just made is valid for lookups */
        *ret_object = object;
        *ret_region = region;
        return 0;
}

/* Unlinks and frees an object that was never published. */
static void object_discard(struct lanemap_writer *writer, struct lanemap_shm_data_object *object,
                           struct lanemap_shm_region *region)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

        lanemap_shm_data_name(writer->identity.name, object->generation, name);
        (void)unlinkat(writer->place.shm_dir_fd, name, 0);
        lanemap_engine_object_free(object);
        lanemap_free(region);
}

/* ---- who still holds what was retired ---- */

/* A write lease is granted only while nobody else has the object open; a mapping counts. */
static bool object_is_held(int fd)
{
        if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
                return errno == EAGAIN;

        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
        return false;
}

/* Closes what nobody holds any more: its memory goes with that. *ret_bytes: of what is held.
 * Return: how many are. */
static uint32_t retired_objects_check(struct lanemap_writer *writer, uint64_t *ret_bytes)
{
        uint32_t n_held = 0;

        *ret_bytes = 0;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->shm.retired_object_fds); i++) {
                int *fd = &writer->shm.retired_object_fds[i];
                struct stat st;

                if (*fd < 0)
                        continue;
                if (object_is_held(*fd) && fstat(*fd, &st) == 0) {
                        n_held++;
                        *ret_bytes += (uint64_t)st.st_size;
                        continue;
                }
                close(*fd);
                *fd = -1;
        }

        return n_held;
}

void lanemap_engine_retired_objects_drop(struct lanemap_writer *writer)
{
        uint64_t held_bytes;

        lanemap_mutex_lock(&writer->commit.lock);
        (void)retired_objects_check(writer, &held_bytes);
        lanemap_mutex_unlock(&writer->commit.lock);
}

static void retired_objects_add(struct lanemap_writer *writer, uint64_t generation)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

        lanemap_shm_data_name(writer->identity.name, generation, name);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->shm.retired_object_fds); i++) {
                if (writer->shm.retired_object_fds[i] >= 0)
                        continue;

                writer->shm.retired_object_fds[i] =
                        openat(writer->place.shm_dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
                break;
        }
        (void)unlinkat(writer->place.shm_dir_fd, name, 0);
}

/* ---- the flip ---- */

static size_t copy_bytes(const struct lanemap_writer *writer)
{
        return writer->identity.n_lanes *
               (2 * sizeof(struct lanemap_overlay) + sizeof(struct lanemap_lane_view_block));
}

static int lanes_copy_init(struct lanemap_writer *writer, struct writer_lanes_copy *copy)
{
        copy->actives = lanemap_alloc_pages(copy_bytes(writer));
        if (!copy->actives)
                return -ENOMEM;

        copy->frozens = copy->actives + writer->identity.n_lanes;
        copy->views = (struct lanemap_lane_view_block *)(copy->frozens + writer->identity.n_lanes);
        return 0;
}

static void lanes_copy_deinit(struct lanemap_writer *writer, struct writer_lanes_copy *copy)
{
        lanemap_free_pages(copy->actives, copy_bytes(writer));
}

/* Views of one size fill their pages: as many as the spare is made for. */
int lanemap_engine_lanes_copy(struct lanemap_writer *writer, struct lanemap_shm_data_object *object,
                              struct writer_lanes_copy *copy)
{
        struct lanemap_arena *arena = lanemap_shm_arena_base(object->arena);
        uint32_t n_segments = writer->pressure.n_segments_deepest;
        int r;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                const struct writer_lane *lane = &writer->lanes.items[i];

                r = lanemap_overlay_copy(&lane->active, arena, &copy->actives[i]);
                if (r == 0 && lane->has_frozen)
                        r = lanemap_overlay_copy(&lane->frozen, arena, &copy->frozens[i]);
                if (r == 0)
                        r = lanemap_lane_view_alloc(arena, n_segments, &copy->views[i]);
                if (r < 0)
                        return r;
        }

        return 0;
}

static void lanes_move(struct lanemap_writer *writer, struct lanemap_shm_data_object *object,
                       const struct writer_lanes_copy *copy) LANEMAP_REQUIRES(writer->lanes.lock)
{
        writer->shm.object = object;
        lanemap_engine_reserves_forget(writer);
        writer->lanes.n_orphans = 0;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];

                lane->active = copy->actives[i];
                if (lane->has_frozen)
                        lane->frozen = copy->frozens[i];
                lanemap_engine_lane_publish(writer, i, &copy->views[i]);
        }
        lanemap_engine_active_count(writer);
        lanemap_engine_reserves_fill(writer);
        lanemap_engine_counts_check(writer);
        lanemap_engine_counts_publish(writer);
}

int lanemap_engine_lanes_rehouse(struct lanemap_writer *writer, writer_lanes_copy_fn *copy,
                                 struct lanemap_shm_region **ret_region)
{
        struct lanemap_shm_data_object *object;
        struct lanemap_shm_region *region;
        struct writer_lanes_copy lanes;
        int r;

        r = lanes_copy_init(writer, &lanes);
        if (r < 0)
                return r;

        r = object_create(writer, &object, &region);
        if (r == 0) {
                r = copy(writer, object, &lanes);
                if (r == 0) {
                        lanes_move(writer, object, &lanes);
                        *ret_region = region;
                } else {
                        object_discard(writer, object, region);
                }
        }

        lanes_copy_deinit(writer, &lanes);
        return r;
}

static int flip_locked(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t old_generation = writer->shm.object->generation;
        uint64_t start_ns = lanemap_now_ns(writer->clock);
        struct lanemap_shm_arena_stats stats;
        struct lanemap_shm_region *region;
        int r;

        r = lanemap_engine_lanes_rehouse(writer, lanemap_engine_lanes_copy, &region);
        if (r < 0)
                return r;

        lanemap_shm_publish(writer->shm.control, writer->shm.object->generation);
        lanemap_store_release(&writer->shm.region, region);
        retired_objects_add(writer, old_generation);
        writer->lanes.stats.n_generation_flips++;
        lanemap_shm_arena_get_stats(writer->shm.object->arena, &stats);
        LANEMAP_PROBE(flip, writer->shm.object->generation, stats.bytes,
                      lanemap_now_ns(writer->clock) - start_ns);
        return 0;
}

uint64_t lanemap_engine_slack_limit(const struct lanemap_writer *writer, uint64_t needed_bytes)
{
        uint64_t bytes = LANEMAP_MAX(lanemap_engine_spare_bytes(writer), needed_bytes);

        return bytes + bytes / 2;
}

static bool flip_is_worth_it(struct lanemap_writer *writer, enum writer_flip why)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_shm_arena_stats stats;
        uint64_t needed;

        lanemap_shm_arena_get_stats(writer->shm.object->arena, &stats);
        needed = stats.used_bytes - stats.quarantine_bytes;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                needed -= lanemap_overlay_slack_bytes(&writer->lanes.items[i].active);

        if (why == WRITER_FLIP_SLACK)
                return stats.bytes > lanemap_engine_slack_limit(writer, needed);
        return why == WRITER_FLIP_ASKED || stats.bytes > 2 * needed + WORTH_BYTES;
}

/* FL1. The bytes of retired objects that readers hold stay below the limit of one object, the one
 * that this flip retires included. With nothing held that is always so. */
static bool flip_is_bounded(struct lanemap_writer *writer)
{
        struct lanemap_shm_arena_stats stats;
        uint64_t held_bytes;
        uint32_t n_held = retired_objects_check(writer, &held_bytes);

        lanemap_shm_arena_get_stats(writer->shm.object->arena, &stats);
        return n_held == 0 ||
               (n_held < HELD_MAX && held_bytes + stats.bytes <= writer->options.shared_bytes_max);
}

/* No lock is held. */
static void old_release(struct lanemap_writer *writer, struct lanemap_shm_data_object *object,
                        struct lanemap_shm_region *region)
{
        lanemap_rcu_synchronize();
        lanemap_engine_object_free(object);
        lanemap_free(region);
        lanemap_engine_retired_objects_drop(writer);
}

int lanemap_engine_flip_run(struct lanemap_writer *writer, enum writer_flip why)
{
        struct lanemap_shm_data_object *old_object;
        struct lanemap_shm_region *old_region;
        int r = 0;

        /* No flush may be reading the frozen overlays of the object that goes, and no commit may
         * hold blocks of it. */
        lanemap_mutex_lock(&writer->commit.flush_lock);
        lanemap_mutex_lock(&writer->commit.lock);
        lanemap_mutex_lock(&writer->lanes.lock);
        old_object = writer->shm.object;
        old_region = writer->shm.region;
        if (!flip_is_worth_it(writer, why))
                r = 1;
        else if (!flip_is_bounded(writer))
                r = -EBUSY;
        else
                r = flip_locked(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_mutex_unlock(&writer->commit.lock);
        lanemap_mutex_unlock(&writer->commit.flush_lock);

        if (r == 0)
                old_release(writer, old_object, old_region);
        if (r == -EBUSY && why == WRITER_FLIP_WORTH_IT) {
                lanemap_engine_log(
                        writer, LOG_NOTICE,
                        "%s: shared memory is not given back now: readers still hold older "
                        "generations of it (stopped processes?)",
                        writer->identity.name);
                r = 0;
        }

        return r < 0 ? r : 0;
}

/* Under lanes.lock. Epoch and watermark go on where they are (E and W rise for ever). */
static void control_replace(struct lanemap_writer *writer, struct lanemap_shm_control *control)
{
        const struct lanemap_shm_control *old = writer->shm.control;

        lanemap_store_relaxed(&control->epoch, old->epoch);
        lanemap_store_relaxed(&control->watermark, old->watermark);
        lanemap_store_relaxed(&control->state, old->state);
        lanemap_mutex_lock(&writer->heart.lock);
        lanemap_store_relaxed(&control->heartbeat, old->heartbeat + 1);
        writer->shm.control = control;
        lanemap_mutex_unlock(&writer->heart.lock);
}

static void control_put_back(struct lanemap_writer *writer, struct lanemap_shm_control *old)
{
        lanemap_mutex_lock(&writer->heart.lock);
        writer->shm.control = old;
        lanemap_mutex_unlock(&writer->heart.lock);
}

int lanemap_engine_flip_unconditional(struct lanemap_writer *writer,
                                      struct lanemap_shm_control *control)
{
        struct lanemap_shm_control *old_control;
        struct lanemap_shm_data_object *old_object;
        struct lanemap_shm_region *old_region;
        int r;

        lanemap_mutex_lock(&writer->commit.flush_lock);
        lanemap_mutex_lock(&writer->commit.lock);
        lanemap_mutex_lock(&writer->lanes.lock);
        old_control = writer->shm.control;
        old_object = writer->shm.object;
        old_region = writer->shm.region;
        if (control)
                control_replace(writer, control);
        r = flip_locked(writer);
        /* A reader that is attached to the old one follows at its next lookup. */
        if (r == 0 && control)
                lanemap_shm_publish(old_control, writer->shm.object->generation);
        else if (control)
                control_put_back(writer, old_control);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_mutex_unlock(&writer->commit.lock);
        lanemap_mutex_unlock(&writer->commit.flush_lock);

        if (r < 0)
                return r;
        old_release(writer, old_object, old_region);
        if (control)
                lanemap_shm_control_close(old_control);
        return 0;
}
