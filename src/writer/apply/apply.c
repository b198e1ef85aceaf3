/*
 * Applying operations: the calls that change the index, and the replay of a log.
 *
 * One apply is one record of the log and one batch of protocol P0. The record's room is reserved
 * first, so that nothing is published that could not be logged; the record is appended last, when
 * it is known how many operations there were room for in shared memory.
 */
#include "writer/core/engine.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/lock.h"

/* Operations whose cache lines are requested together. */
#define APPLY_PREFETCH 16

/* Active overlays may outgrow the flush threshold this many times before applies wait for the
 * flush. */
#define STALL_RATIO     4
#define STALL_BYTES_MIN (UINT64_C(1) << 20)

#define REPLAY_BYTES_MIN (UINT64_C(1) << 20)

/* What an operation takes of shared memory, in the usual case and rounded up: a cell in a table that
 * may be about to double, and a short posting. */
#define APPLY_BYTES_PER_OP 128

/* A log that is at a write or a sync may hang, and allocating room would wait for the same disk: whoever
 * may not wait goes on meanwhile only while so much is allocated. */
#define HANG_ROOM_BYTES (UINT32_C(32) << 10)
#define READY_WAIT_NS   (UINT64_C(10) * 1000 * 1000)

/* How long one apply waits for room before it answers -ENOSPC. */
#define STALL_NS_MAX (UINT64_C(1) * 1000 * 1000 * 1000)

static_assert(LANEMAP_APPLY_OPS_MAX <= LANEMAP_LOG_OPS_MAX, "one apply is one record");
static_assert(LANEMAP_APPLY_BYTES_MAX <= LANEMAP_LOG_RECORD_BYTES_MAX - LANEMAP_LOG_EMPTY_BYTES,
              "with its head and tail");

static int op_check(const struct lanemap_op *op)
{
        switch (op->code) {
        case LANEMAP_OP_ADD:
        case LANEMAP_OP_REMOVE:
                if (op->id > LANEMAP_ID_MAX)
                        return -EINVAL;
                /* fall through */
        case LANEMAP_OP_DELETE:
                return op->key && op->key_bytes >= 1 && op->key_bytes <= LANEMAP_KEY_BYTES_MAX
                               ? 0
                               : -EINVAL;
        case LANEMAP_OP_CLEAR:
                return 0;
        case LANEMAP_OP_MARK:
                return op->key_bytes <= LANEMAP_MARK_BYTES_MAX && (op->key || op->key_bytes == 0)
                               ? 0
                               : -EINVAL;
        default:
                return -EINVAL;
        }
}

/* Fills log_ops[i] for every operation: keys have become fingerprints. */
static int ops_encode(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops)
{
        if (n_ops > writer->log_ops_capacity) {
                struct lanemap_log_op *log_ops =
                        lanemap_realloc(writer->log_ops, n_ops * sizeof(*log_ops));

                if (!log_ops)
                        return -ENOMEM;
                writer->log_ops = log_ops;
                writer->log_ops_capacity = n_ops;
        }

        for (size_t i = 0; i < n_ops; i++) {
                struct lanemap_log_op *to = &writer->log_ops[i];

                *to = (struct lanemap_log_op){.code = ops[i].code};
                switch (ops[i].code) {
                case LANEMAP_OP_ADD:
                case LANEMAP_OP_REMOVE:
                        to->id = ops[i].id;
                        /* fall through */
                case LANEMAP_OP_DELETE:
                        to->fingerprint = lanemap_fingerprint_of(&writer->hash_key, ops[i].key,
                                                                 ops[i].key_bytes);
                        break;
                case LANEMAP_OP_MARK:
                        to->mark = ops[i].key;
                        to->mark_bytes = ops[i].key_bytes;
                        break;
                default:
                        break;
                }
        }

        return 0;
}

static bool op_has_key(uint32_t code)
{
        return code == LANEMAP_OP_ADD || code == LANEMAP_OP_REMOVE || code == LANEMAP_OP_DELETE;
}

static int op_apply(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                    uint64_t position, struct lanemap_op_result *result, bool *changed)
{
        uint32_t n_changed = 0;
        int r;

        switch (op->code) {
        case LANEMAP_OP_CLEAR:
                r = lanemap_engine_clear(writer, position, &n_changed);
                *changed = r == 0;
                *result = (struct lanemap_op_result){.n_changed = n_changed};
                return r;
        case LANEMAP_OP_MARK:
                lanemap_store_release(&writer->position, position);
                memcpy(writer->mark.bytes, op->mark, op->mark_bytes);
                writer->mark.n_bytes = (uint32_t)op->mark_bytes;
                writer->mark.position = position;
                *changed = true;
                *result = (struct lanemap_op_result){0};
                return 0;
        default:
                r = lanemap_engine_lane_op(writer, op->code, op->fingerprint, op->id, position,
                                           result, changed);
                /* Nothing happened. It may be a copy that cannot be read. */
                if (LANEMAP_UNLIKELY(r == -EBADMSG) && lanemap_engine_copies_give_up(writer))
                        r = lanemap_engine_lane_op(writer, op->code, op->fingerprint, op->id,
                                                   position, result, changed);
                return r;
        }
}

static void op_count(struct lanemap_writer *writer, uint32_t code, bool changed)
{
        writer->stats.n_adds += code == LANEMAP_OP_ADD;
        writer->stats.n_removes += code == LANEMAP_OP_REMOVE;
        writer->stats.n_deletes += code == LANEMAP_OP_DELETE;
        writer->stats.n_changed += changed;
}

/*
 * Applies log_ops in order until one fails. What changed something is moved to the front of
 * log_ops: the record. *ret_n_applied of the operations were applied.
 */
static int ops_apply(struct lanemap_writer *writer, size_t n_ops, uint64_t position,
                     struct lanemap_op_result *results, size_t *ret_n_applied, size_t *ret_n_logged)
{
        struct lanemap_log_op *ops = writer->log_ops;
        size_t n_logged = 0, i;
        int r = 0;

        for (i = 0; i < n_ops; i++) {
                struct lanemap_op_result result;
                bool changed;

                if (i % APPLY_PREFETCH == 0)
                        for (size_t p = i; p < LANEMAP_MIN(i + APPLY_PREFETCH, n_ops); p++)
                                if (op_has_key(ops[p].code))
                                        lanemap_engine_lane_prefetch(writer, ops[p].fingerprint);

                r = op_apply(writer, &ops[i], position, &result, &changed);
                if (r < 0)
                        break;

                op_count(writer, ops[i].code, changed);
                if (results)
                        results[i] = result;
                if (changed)
                        ops[n_logged++] = ops[i];
        }

        *ret_n_applied = i;
        *ret_n_logged = n_logged;
        return r;
}

static void flush_start(struct lanemap_writer *writer)
{
        writer->flush_wanted = true;
        lanemap_engine_flusher_signal(writer);
}

/* So that the next doubling of the tables still fits where memory is short: a quarter of the room. */
static bool overlays_are_too_large(const struct lanemap_writer *writer)
{
        uint64_t bytes = LANEMAP_MAX(lanemap_engine_flush_threshold(writer), STALL_BYTES_MIN);
        uint64_t empty_bytes = (uint64_t)writer->n_lanes * writer->cell_bytes
                               << LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        bytes = LANEMAP_MIN(bytes, LANEMAP_MAX(writer->memory_room / 4 / STALL_RATIO, empty_bytes));
        return lanemap_engine_overlays_exceed(writer, bytes, STALL_RATIO);
}

/* Whether applies wait for a flush. */
static bool flush_is_behind(struct lanemap_writer *writer)
{
        if (LANEMAP_LIKELY(!overlays_are_too_large(writer))) {
                writer->stall_since_ns = 0;
                return false;
        }

        return true;
}

/* A flush that gets on is waited for, however slow the disk is. One that does not is waited for once:
 * the applies after the one that gave up are refused at once, until it gets on. */
static bool flush_is_hopeless(struct lanemap_writer *writer, uint64_t now_ns)
{
        uint64_t progress = lanemap_load_relaxed(&writer->n_sections_built);

        if (writer->stall_since_ns == 0 || progress != writer->stall_progress)
                writer->stall_since_ns = now_ns;
        writer->stall_progress = progress;
        return writer->flush_failing || now_ns - writer->stall_since_ns > 10 * STALL_NS_MAX;
}

/* Back-pressure: while a flush is far behind, applies wait for it; when it cannot get through, they
 * are refused. */
static int flush_wait(struct lanemap_writer *writer)
{
        uint64_t began_ns = 0, now_ns;
        int r = 0;

        while (LANEMAP_UNLIKELY(flush_is_behind(writer))) {
                now_ns = lanemap_now_ns(writer->clock);
                if (began_ns == 0) {
                        began_ns = now_ns;
                        writer->stats.n_write_stalls++;
                }
                if (flush_is_hopeless(writer, now_ns)) {
                        r = -ENOSPC;
                        break;
                }

                flush_start(writer);
                lanemap_engine_cond_wait_ns(&writer->stall_wake, &writer->lock, STALL_NS_MAX / 10);
        }

        if (LANEMAP_UNLIKELY(began_ns > 0))
                writer->stats.write_stall_ns += lanemap_now_ns(writer->clock) - began_ns;
        return r;
}

/* One apply that waits for shared memory. */
struct room_wait {
        uint64_t since_ns;
        uint64_t n_flushes; /* as it began */
};

/* Shared memory is full: a flush gives back what the overlays hold, if they hold anything. Return:
 * whether they do. */
static bool flush_for_room(struct lanemap_writer *writer)
{
        bool has_work = writer->has_frozen_set;

        for (uint32_t i = 0; i < writer->n_lanes && !has_work; i++)
                has_work = writer->lanes[i].active.n_used > 0;
        if (has_work && !writer->flush_wanted)
                flush_start(writer);
        return has_work;
}

/* Waits a moment for a flush. Return: false: that did not help, and will not. */
static bool room_wait(struct lanemap_writer *writer, struct room_wait *wait)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);

        if (wait->since_ns == 0)
                *wait = (struct room_wait){now_ns, writer->stats.n_flushes};
        if (writer->flush_failing || now_ns - wait->since_ns > STALL_NS_MAX ||
            writer->stats.n_flushes > wait->n_flushes + 1 || !flush_for_room(writer))
                return false;

        lanemap_engine_memory_room_update(writer);
        lanemap_engine_cond_wait_ns(&writer->stall_wake, &writer->lock, STALL_NS_MAX / 100);
        return true;
}

/* Shared memory is full, or will be within this batch: what the overlays hold of it comes back by a
 * flush. When that does not help in time, the operations are tried all the same, and say so. */
static void memory_wait(struct lanemap_writer *writer, size_t n_ops, struct room_wait *wait)
{
        while (LANEMAP_UNLIKELY(
                lanemap_shm_arena_reserve(writer->object->arena, n_ops * APPLY_BYTES_PER_OP) < 0))
                if (!room_wait(writer, wait))
                        return;
}

/*
 * Encodes the operations and takes room for their record. While the sync thread is behind, it is
 * waited for; the lock is free meanwhile, so everything is encoded again.
 */
static int record_reserve(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops)
{
        uint64_t since_ns = 0, now_ns;
        int r;

        for (;;) {
                r = ops_encode(writer, ops, n_ops);
                if (r < 0)
                        return r;

                r = lanemap_log_reserve(writer->log,
                                        lanemap_log_record_bytes(writer->hash_key.fingerprint_bits,
                                                                 writer->log_ops, n_ops));
                if (r != -EAGAIN)
                        return r;

                now_ns = lanemap_now_ns(writer->clock);
                since_ns = since_ns ? since_ns : now_ns;
                if (now_ns - since_ns > STALL_NS_MAX)
                        return -EIO;

                lanemap_engine_sync_signal(writer);
                lanemap_engine_cond_wait_ns(&writer->stall_wake, &writer->lock, 1000 * 1000);
        }
}

static void flush_trigger(struct lanemap_writer *writer)
{
        if (!writer->flush_wanted && lanemap_engine_flush_is_due(writer))
                flush_start(writer);
}

static bool ops_clear(const struct lanemap_op *ops, size_t n_ops)
{
        for (size_t i = 0; i < n_ops; i++)
                if (ops[i].code == LANEMAP_OP_CLEAR)
                        return true;
        return false;
}

int lanemap_writer_apply_is_ready(struct lanemap_writer *writer, size_t log_bytes)
{
        bool hangs = lanemap_engine_log_age_ns(writer) > 0;
        bool ready;

        if (!lanemap_log_is_ready(writer->log, log_bytes, hangs ? HANG_ROOM_BYTES : 0))
                return 0;
        if (!lanemap_lock_within(&writer->lock, READY_WAIT_NS))
                return 0;

        ready = !flush_is_behind(writer) ||
                flush_is_hopeless(writer, lanemap_now_ns(writer->clock));
        if (!ready)
                flush_start(writer);
        pthread_mutex_unlock(&writer->lock);
        return ready;
}

static int apply_locked(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                        struct lanemap_op_result *results, size_t *ret_n_applied)
{
        bool clears = ops_clear(ops, n_ops);
        struct room_wait wait = {0};
        size_t n_logged = 0;
        uint64_t seq, appended;
        int r;

        r = lanemap_load_relaxed(&writer->refused);
        if (r < 0)
                return r;
        /* A clear makes room: it does not wait for any. */
        if (!clears) {
                r = flush_wait(writer);
                if (r < 0)
                        return r;
                memory_wait(writer, n_ops, &wait);
        }

        /* The first operation may need room for the copy of a long posting, which nobody has asked
         * for: while nothing is applied, a flush can be waited for. */
        do {
                r = record_reserve(writer, ops, n_ops);
                if (r < 0)
                        return r;

                seq = lanemap_log_last(writer->log) + 1;
                r = ops_apply(writer, n_ops, seq, results, ret_n_applied, &n_logged);
        } while (r == -ENOSPC && *ret_n_applied == 0 && !clears && room_wait(writer, &wait));
        if (r == -ENOSPC) {
                lanemap_engine_memory_room_update(writer);
                (void)flush_for_room(writer);
        }
        if (n_logged > 0) {
                lanemap_log_append(writer->log, writer->log_ops, n_logged, &appended);
                lanemap_check(appended == seq);
                lanemap_engine_counts_publish(writer);
                flush_trigger(writer);
        }
        lanemap_shm_arena_end_batch(writer->object->arena);
        return r;
}

int lanemap_writer_apply(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                         struct lanemap_op_result *ret_results, size_t *ret_n_applied,
                         uint64_t *ret_position)
{
        size_t n_applied = 0;
        int r = 0, bad = 0;

        if (n_ops > LANEMAP_APPLY_OPS_MAX)
                return -EINVAL;

        /* A bad operation ends the batch before it: what came first is applied. */
        for (size_t i = 0; i < n_ops && bad == 0; i++) {
                bad = op_check(&ops[i]);
                if (bad < 0)
                        n_ops = i;
        }

        pthread_mutex_lock(&writer->lock);
        if (n_ops > 0)
                r = apply_locked(writer, ops, n_ops, ret_results, &n_applied);
        if (ret_position)
                *ret_position = lanemap_load_relaxed(&writer->position);
        pthread_mutex_unlock(&writer->lock);

        lanemap_engine_hits_take(writer);
        lanemap_engine_sync_signal(writer);
        if (ret_n_applied)
                *ret_n_applied = n_applied;
        return r < 0 ? r : bad;
}

/* ---- recovery ---- */

static bool lane_covers(const struct lanemap_writer *writer, const struct lanemap_log_op *op,
                        uint64_t seq)
{
        return seq <=
               writer->lanes[writer->slots[lanemap_slot_of(op->fingerprint.hash)].lane].position;
}

/* What of one record is in the segments already. Decided before the record's first operation: a
 * clear and a mark move the very positions that are asked for. */
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
 * In the midst of a record. The flush covers what comes before the record, as the manifest will say,
 * and the mark is as of then: after a crash the whole record is replayed, over a state that has the
 * effects of its first operations already, which changes nothing in how it ends.
 */
static int replay_flush(struct lanemap_writer *writer, uint64_t seq,
                        const struct writer_mark *mark_before)
{
        struct writer_mark mark = writer->mark;
        int r;

        writer->mark = *mark_before;
        lanemap_store_release(&writer->position, seq - 1);
        lanemap_engine_memory_room_update(writer);
        r = lanemap_engine_flush_run(writer, false);
        writer->mark = mark;
        return r;
}

static int replay_ops(struct lanemap_writer *writer, uint64_t seq, const struct lanemap_log_op *ops,
                      size_t n_ops)
{
        struct replay_cover cover = {
                .clears = seq <= writer->clear_position,
                .marks = seq <= writer->mark.position,
        };
        struct writer_mark mark_before = writer->mark;
        struct lanemap_op_result result;
        bool changed;
        int r = 0;

        for (size_t i = 0; i < n_ops && r == 0; i++) {
                if (replay_covers(writer, &cover, &ops[i], seq))
                        continue;

                r = op_apply(writer, &ops[i], seq, &result, &changed);
                if (r == -ENOSPC) {
                        r = replay_flush(writer, seq, &mark_before);
                        if (r == 0)
                                r = op_apply(writer, &ops[i], seq, &result, &changed);
                }
                cover.cleared |= ops[i].code == LANEMAP_OP_CLEAR;
        }

        return r;
}

/* A flush is two files and four syncs, and a start waits for it: so not for less than this, unless
 * the options say so. The flusher's first flush comes as soon as it is there. */
static bool replay_flush_is_due(const struct lanemap_writer *writer)
{
        uint64_t bytes = lanemap_engine_flush_threshold(writer);

        return lanemap_engine_flush_is_due(writer) &&
               (writer->options.flush_bytes ||
                lanemap_engine_overlays_exceed(writer, LANEMAP_MAX(bytes, REPLAY_BYTES_MIN), 1));
}

/* Overlays are flushed on the way when they are due, and whenever there is no room: a log of any
 * length, and a record of any number of operations, can be replayed (W12). */
int lanemap_engine_replay(void *arg, uint64_t seq, const struct lanemap_log_op *ops, size_t n_ops)
{
        struct lanemap_writer *writer = arg;
        int r;

        r = replay_ops(writer, seq, ops, n_ops);
        if (r < 0)
                return r;

        lanemap_store_release(&writer->position, seq);
        writer->stats.recovered_records++;
        lanemap_shm_arena_end_batch(writer->object->arena);
        if (replay_flush_is_due(writer))
                return lanemap_engine_flush_run(writer, false);

        return 0;
}
