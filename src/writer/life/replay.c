/*
 * The log is replayed into a data object that only this process has. It becomes shared memory when
 * nothing is left to replay: overlays and views are copied into the object that readers will see.
 *
 * So what a replay needs at most, the largest posting that a record touches among it, is not taken
 * from /dev/shm, which may be full; and readers of the predecessor's object, whose epochs are the
 * control object's, see nothing of it. What the predecessor set aside (S4) is for empty overlays,
 * for the views, and for what is kept back beside them (apply/reserve.c). Where the overlays find
 * no room in shared memory, they are flushed: then they are empty.
 *
 * All of this is lanemap_writer_open()'s: there is no other thread, and no lock is taken.
 */
#include "writer/core/engine.h"

#include <errno.h>
#include <unistd.h>

#include "common/alloc.h"

int lanemap_engine_replay_begin(struct lanemap_writer *writer)
{
        int r;

        writer->private_control = lanemap_alloc_zero(sizeof(*writer->private_control));
        if (!writer->private_control)
                return -ENOMEM;

        r = lanemap_engine_object_create_private(writer, &writer->object);
        if (r < 0)
                return r;

        lanemap_engine_memory_room_update(writer);
        return lanemap_engine_lanes_init(writer);
}

/* What a replay has left, where there is room for it beside what is kept back for the next flush. */
static int lanes_copy_beside_reserves(struct lanemap_writer *writer,
                                      struct lanemap_shm_data_object *object,
                                      struct writer_lanes_copy *copy)
{
        int r = lanemap_engine_lanes_copy(writer, object, copy);

        if (r == 0)
                r = lanemap_shm_arena_reserve(object->arena, lanemap_engine_reserves_bytes(writer));
        return r;
}

static int lanes_copy_or_flush(struct lanemap_writer *writer,
                               struct lanemap_shm_data_object *object,
                               struct writer_lanes_copy *copy)
{
        int r = lanes_copy_beside_reserves(writer, object, copy);

        if (r != -ENOSPC)
                return r;

        r = lanemap_engine_flush_run(writer, false);
        if (r == 0)
                r = lanemap_shm_data_reset(object);
        return r < 0 ? r : lanemap_engine_lanes_copy(writer, object, copy);
}

int lanemap_engine_replay_end(struct lanemap_writer *writer)
{
        struct lanemap_shm_data_object *replayed = writer->object, *object;
        struct lanemap_shm_region *region;
        struct writer_lanes_copy copy;
        int r;

        r = lanemap_engine_lanes_copy_init(writer, &copy);
        if (r < 0)
                return r;

        r = lanemap_engine_object_create(writer, &object, &region);
        if (r == 0) {
                r = lanes_copy_or_flush(writer, object, &copy);
                if (r == 0) {
                        lanemap_engine_lanes_move(writer, object, &copy);
                        writer->region = region;
                        lanemap_engine_object_free(replayed);
                        lanemap_free(writer->private_control);
                        writer->private_control = NULL;
                } else {
                        lanemap_engine_object_give_up(writer, object, region);
                }
        }

        lanemap_engine_lanes_copy_deinit(writer, &copy);
        return r;
}
