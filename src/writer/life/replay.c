/*
 * The log is replayed into a data object that only this process has. It becomes shared memory when
 * nothing is left to replay: overlays and views are copied into the object that readers will see.
 *
 * So what a replay needs at most, the largest posting that a record touches among it, is not taken
 * from /dev/shm, which may be full; and readers of the predecessor's object, whose epochs are the
 * control object's, see nothing of it. The predecessor's spare object (S4) has room for empty
 * overlays, views and the reserves (apply/reserve.c). Where the overlays find no room in shared
 * memory, they are flushed: then they are empty.
 *
 * All of this is lanemap_writer_open()'s: there is no other thread, and no lock is taken.
 */
#include "writer/life/life.h"

#include <errno.h>
#include <unistd.h>

#include "common/alloc.h"
#include "writer/apply/apply.h"
#include "writer/apply/group.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"

#define REPLAY_BYTES_MIN (UINT64_C(1) << 20)

static bool lane_covers(const struct lanemap_writer *writer, const struct lanemap_log_op *op,
                        uint64_t seq)
{
        return seq <=
               writer->lanes
                       .items[writer->identity.slots[lanemap_slot_of(op->fingerprint.hash)].lane]
                       .position;
}

/* The operations of one record that segments cover already. Decided before the record's first
 * operation: a clear and a mark move the very positions that are asked for. */
struct replay_cover {
        bool clears;
        bool marks;
        bool cleared; /* a clear of this record was applied: no lane covers what follows it */
};

static bool replay_covers(const struct lanemap_writer *writer, const struct replay_cover *cover,
                          const struct lanemap_log_op *op, uint64_t seq)
{
        switch (op->code) {
        case LANEMAP_OP_CLEAR:
                return cover->clears;
        case LANEMAP_OP_MARK:
                return cover->marks;
        default:
                return !cover->cleared && lane_covers(writer, op, seq);
        }
}

/*
 * In the midst of a record. The flush covers what comes before the record, as the manifest will
 * say, and the mark is as of then: after a crash the whole record is replayed, over a state that
 * has the effects of its first operations already, which changes nothing in how it ends.
 */
static int replay_flush(struct lanemap_writer *writer, uint64_t seq,
                        const struct writer_mark *mark_before) LANEMAP_NO_OTHER_THREAD
{
        struct writer_mark mark = writer->lanes.mark;
        int r;

        writer->lanes.mark = *mark_before;
        lanemap_store_release(&writer->lanes.position, seq - 1);
        lanemap_engine_memory_room_update(writer);
        r = lanemap_engine_flush_run(writer, false);
        writer->lanes.mark = mark;
        return r;
}

static struct replay_cover cover_of(const struct lanemap_writer *writer,
                                    uint64_t seq) LANEMAP_NO_OTHER_THREAD
{
        return (struct replay_cover){
                .clears = seq <= writer->lanes.clear_position,
                .marks = seq <= writer->lanes.mark.position,
        };
}

/*
 * A record that names a key more than once is replayed as it was applied, as one group: a posting
 * is changed once, so its memory is not that of each of its operations.
 *
 * Return: 0. Errors, after which nothing changed: -ENOSPC, -ENOMEM, -EBADMSG.
 */
static int replay_group(struct lanemap_writer *writer, uint64_t seq,
                        const struct lanemap_log_op *ops, size_t n_ops) LANEMAP_NO_OTHER_THREAD
{
        struct lanemap_log_op *left = lanemap_alloc(n_ops * sizeof(*left));
        struct replay_cover cover = cover_of(writer, seq);
        const struct lanemap_op_result *results;
        size_t n_left = 0;
        int r;

        if (!left)
                return -ENOMEM;

        for (size_t i = 0; i < n_ops; i++) {
                if (replay_covers(writer, &cover, &ops[i], seq))
                        continue;
                left[n_left++] = ops[i];
                cover.cleared |= ops[i].code == LANEMAP_OP_CLEAR;
        }

        r = lanemap_engine_group_apply(writer, left, n_left, seq, &results);
        lanemap_engine_group_trim(writer);
        lanemap_free(left);
        return r;
}

static int replay_ops(struct lanemap_writer *writer, uint64_t seq, const struct lanemap_log_op *ops,
                      size_t n_ops) LANEMAP_NO_OTHER_THREAD
{
        struct replay_cover cover = cover_of(writer, seq);
        struct writer_mark mark_before = writer->lanes.mark;
        struct lanemap_op_result result;
        bool changed;
        int r = 0;

        if (n_ops > 1 && lanemap_engine_group_has_repeats(writer, ops, n_ops) &&
            replay_group(writer, seq, ops, n_ops) == 0)
                return 0;

        /* One by one, with a flush wherever there is no room. */
        for (size_t i = 0; i < n_ops && r == 0; i++) {
                if (replay_covers(writer, &cover, &ops[i], seq))
                        continue;

                r = lanemap_engine_op_apply(writer, &ops[i], seq, &result, &changed);
                if (r == -ENOSPC) {
                        r = replay_flush(writer, seq, &mark_before);
                        if (r == 0)
                                r = lanemap_engine_op_apply(writer, &ops[i], seq, &result,
                                                            &changed);
                }
                cover.cleared |= ops[i].code == LANEMAP_OP_CLEAR;
        }

        return r;
}

/* A flush is two files and four syncs, and a start waits for it: so not for less than this, unless
 * the options say so. The flusher's first flush comes as soon as it is there. */
static bool replay_flush_is_due(const struct lanemap_writer *writer) LANEMAP_NO_OTHER_THREAD
{
        uint64_t bytes = lanemap_engine_flush_threshold(writer);

        return lanemap_engine_flush_is_due(writer) &&
               (writer->options.flush_bytes ||
                lanemap_engine_overlays_exceed(writer, LANEMAP_MAX(bytes, REPLAY_BYTES_MIN), 1));
}

/* Overlays are flushed on the way when they are due, and whenever there is no room: a log of any
 * length, and a record of any number of operations, can be replayed (W12). */
int lanemap_engine_replay(void *arg, uint64_t seq, const struct lanemap_log_op *ops,
                          size_t n_ops) LANEMAP_NO_OTHER_THREAD
{
        struct lanemap_writer *writer = arg;
        int r;

        r = replay_ops(writer, seq, ops, n_ops);
        if (r < 0)
                return r;

        lanemap_store_release(&writer->lanes.position, seq);
        writer->lanes.stats.recovered_records++;
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
        if (replay_flush_is_due(writer))
                return lanemap_engine_flush_run(writer, false);

        return 0;
}

/* ---- into shared memory ---- */

int lanemap_engine_replay_begin(struct lanemap_writer *writer) LANEMAP_NO_OTHER_THREAD
{
        int r;

        writer->shm.private_control = lanemap_alloc_zero(sizeof(*writer->shm.private_control));
        if (!writer->shm.private_control)
                return -ENOMEM;

        r = lanemap_engine_object_create_private(writer, &writer->shm.object);
        if (r < 0)
                return r;

        lanemap_engine_memory_room_update(writer);
        return lanemap_engine_lanes_init(writer);
}

/* Copies the overlays that a replay has left, if the reserves of the next flush have room too. */
static int lanes_copy_and_reserve(struct lanemap_writer *writer,
                                  struct lanemap_shm_data_object *object,
                                  struct writer_lanes_copy *copy) LANEMAP_NO_OTHER_THREAD
{
        int r = lanemap_engine_lanes_copy(writer, object, copy);

        if (r == 0)
                r = lanemap_shm_arena_reserve(object->arena, lanemap_engine_reserves_bytes(writer));
        return r;
}

static int lanes_copy_or_flush(struct lanemap_writer *writer,
                               struct lanemap_shm_data_object *object,
                               struct writer_lanes_copy *copy) LANEMAP_NO_OTHER_THREAD
{
        int r = lanes_copy_and_reserve(writer, object, copy);

        if (r != -ENOSPC)
                return r;

        r = lanemap_engine_flush_run(writer, false);
        if (r == 0)
                r = lanemap_shm_data_reset(object);
        return r < 0 ? r : lanemap_engine_lanes_copy(writer, object, copy);
}

int lanemap_engine_replay_end(struct lanemap_writer *writer) LANEMAP_NO_OTHER_THREAD
{
        struct lanemap_shm_data_object *replayed = writer->shm.object;
        int r;

        r = lanemap_engine_lanes_rehouse(writer, lanes_copy_or_flush, &writer->shm.region);
        if (r < 0)
                return r;

        lanemap_engine_object_free(replayed);
        lanemap_free(writer->shm.private_control);
        writer->shm.private_control = NULL;
        return 0;
}
