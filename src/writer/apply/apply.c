/*
 * Applying operations: the calls that change the index, and the replay of a log.
 *
 * One apply is one record of the log and one batch of protocol P0. The record's room is reserved
 * first, so that nothing is published that could not be logged; the record is appended last, when
 * it is known how many operations there were room for in shared memory.
 *
 * Operations are applied in groups (LANEMAP_OP_WITH_NEXT): a group of one by itself, a larger one
 * whole or not at all (apply/group.h). When a key comes more than once, all operations are tried as
 * one group first, so that its posting is changed once; when that fails, each group by itself, up
 * to the first that fails.
 */
#include "writer/apply/apply.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/lock.h"
#include "common/probes.h"
#include "writer/apply/group.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

/* Operations whose cache lines are requested together. */
#define APPLY_PREFETCH 16

static_assert(LANEMAP_APPLY_OPS_MAX <= LANEMAP_LOG_OPS_MAX, "one apply is one record");
static_assert(LANEMAP_APPLY_BYTES_MAX <= LANEMAP_LOG_RECORD_BYTES_MAX - LANEMAP_LOG_EMPTY_BYTES,
              "with its head and tail");

static uint32_t op_code(const struct lanemap_op *op)
{
        return op->code & ~LANEMAP_OP_WITH_NEXT;
}

static int op_check(const struct lanemap_op *op)
{
        switch (op_code(op)) {
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
        if (n_ops > writer->lanes.log_ops_capacity) {
                struct lanemap_log_op *log_ops =
                        lanemap_realloc(writer->lanes.log_ops, n_ops * sizeof(*log_ops));

                if (!log_ops)
                        return -ENOMEM;
                writer->lanes.log_ops = log_ops;
                writer->lanes.log_ops_capacity = n_ops;
        }

        for (size_t i = 0; i < n_ops; i++) {
                struct lanemap_log_op *to = &writer->lanes.log_ops[i];

                *to = (struct lanemap_log_op){.code = op_code(&ops[i])};
                switch (to->code) {
                case LANEMAP_OP_ADD:
                case LANEMAP_OP_REMOVE:
                        to->id = ops[i].id;
                        /* fall through */
                case LANEMAP_OP_DELETE:
                        /* Many ids of one key come with one pointer. */
                        if (i > 0 && ops[i].key == ops[i - 1].key &&
                            ops[i].key_bytes == ops[i - 1].key_bytes &&
                            lanemap_engine_op_has_key(to[-1].code))
                                to->fingerprint = to[-1].fingerprint;
                        else
                                to->fingerprint = lanemap_fingerprint_of(
                                        &writer->identity.hash_key, ops[i].key, ops[i].key_bytes);
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

int lanemap_engine_op_apply(struct lanemap_writer *writer, const struct lanemap_log_op *op,
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
                lanemap_engine_mark_set(writer, op, position);
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
        writer->lanes.stats.n_adds += code == LANEMAP_OP_ADD;
        writer->lanes.stats.n_removes += code == LANEMAP_OP_REMOVE;
        writer->lanes.stats.n_deletes += code == LANEMAP_OP_DELETE;
        writer->lanes.stats.n_changed += changed;
}

/* ---- groups ---- */

/* One apply. */
struct apply {
        const struct lanemap_op *ops;
        size_t n_ops;
        struct lanemap_op_result *results; /* may be NULL */
        uint64_t position;
        size_t n_applied;
        size_t n_logged; /* of them, that changed something: at the front of log_ops */
        bool may_wait;   /* the caller is not an event loop */
        bool clears;     /* that makes room: it does not wait for any */
        struct writer_room_wait room_wait;
        uint64_t wait_ns; /* -EAGAIN: it is worth trying again then */
};

static size_t group_end(const struct apply *apply, size_t at)
{
        while (at + 1 < apply->n_ops && apply->ops[at].code & LANEMAP_OP_WITH_NEXT)
                at++;
        return at + 1;
}

/* An operation was applied: it becomes part of the record if it changed anything. */
static void op_note(struct lanemap_writer *writer, struct apply *apply,
                    const struct lanemap_op_result *result, bool changed)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_log_op *log_ops = writer->lanes.log_ops;
        size_t i = apply->n_applied++;

        op_count(writer, log_ops[i].code, changed);
        if (apply->results)
                apply->results[i] = *result;
        if (changed)
                log_ops[apply->n_logged++] = log_ops[i];
}

static void ops_prefetch_range(struct lanemap_writer *writer, const struct apply *apply,
                               size_t first, bool entries) LANEMAP_REQUIRES(writer->lanes.lock)
{
        const struct lanemap_log_op *log_ops = writer->lanes.log_ops;

        for (size_t i = first; i < LANEMAP_MIN(first + APPLY_PREFETCH, apply->n_ops); i++) {
                if (!lanemap_engine_op_has_key(log_ops[i].code))
                        continue;
                if (entries)
                        lanemap_engine_lane_prefetch_entries(writer, log_ops[i].fingerprint);
                else
                        lanemap_engine_lane_prefetch(writer, log_ops[i].fingerprint);
        }
}

/* In two stages: the first lines of those after the next ones, and what the first lines of the next
 * ones name, which were requested one stage ago. */
static void ops_prefetch(struct lanemap_writer *writer, const struct apply *apply)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        size_t i = apply->n_applied;

        if (i % APPLY_PREFETCH != 0)
                return;
        if (i == 0)
                ops_prefetch_range(writer, apply, 0, false);
        ops_prefetch_range(writer, apply, i + APPLY_PREFETCH, false);
        ops_prefetch_range(writer, apply, i, true);
}

/* The operations up to `end`, all or none. */
static int group_apply(struct lanemap_writer *writer, struct apply *apply, size_t end)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        size_t first = apply->n_applied;
        const struct lanemap_op_result *results;
        int r;

        r = lanemap_engine_group_apply(writer, writer->lanes.log_ops + first, end - first,
                                       apply->position, &results);
        /* Nothing happened. It may be a copy that cannot be read. */
        if (LANEMAP_UNLIKELY(r == -EBADMSG) && lanemap_engine_copies_give_up(writer))
                r = lanemap_engine_group_apply(writer, writer->lanes.log_ops + first, end - first,
                                               apply->position, &results);
        if (r < 0)
                return r;

        for (size_t i = first; i < end; i++) {
                uint32_t code = writer->lanes.log_ops[i].code;

                op_note(writer, apply, &results[i - first],
                        !lanemap_engine_op_has_key(code) || results[i - first].n_changed > 0);
        }
        return 0;
}

/* Group by group, until one fails. */
static int groups_apply(struct lanemap_writer *writer, struct apply *apply)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        int r = 0;

        while (apply->n_applied < apply->n_ops && r == 0) {
                size_t end = group_end(apply, apply->n_applied);
                struct lanemap_op_result result;
                bool changed;

                if (end > apply->n_applied + 1) {
                        r = group_apply(writer, apply, end);
                        continue;
                }

                ops_prefetch(writer, apply);
                r = lanemap_engine_op_apply(writer, &writer->lanes.log_ops[apply->n_applied],
                                            apply->position, &result, &changed);
                if (r == 0)
                        op_note(writer, apply, &result, changed);
        }

        return r;
}

/* Applies log_ops in order until a group fails. */
static int ops_apply(struct lanemap_writer *writer, struct apply *apply)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        if (group_end(apply, 0) < apply->n_ops &&
            lanemap_engine_group_has_repeats(writer, writer->lanes.log_ops, apply->n_ops) &&
            group_apply(writer, apply, apply->n_ops) == 0)
                return 0;

        return groups_apply(writer, apply);
}

/* Encodes the operations and takes room for their record. Return: -EAGAIN: the log's buffer is
 * full. */
static int record_try_reserve(struct lanemap_writer *writer, const struct lanemap_op *ops,
                              size_t n_ops)
{
        int r = ops_encode(writer, ops, n_ops);

        if (r < 0)
                return r;

        return lanemap_log_reserve(
                writer->log, lanemap_log_record_bytes(writer->identity.hash_key.fingerprint_bits,
                                                      writer->lanes.log_ops, n_ops));
}

/* Waits while the log's buffer is full; the lock is free meanwhile, so everything is encoded
 * again. */
static int record_reserve(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                          bool may_wait)
{
        uint64_t since_ns = 0, now_ns;
        int r;

        while ((r = record_try_reserve(writer, ops, n_ops)) == -EAGAIN) {
                lanemap_engine_sync_signal(writer);
                if (!may_wait)
                        return r;

                now_ns = lanemap_now_ns(writer->clock);
                since_ns = since_ns ? since_ns : now_ns;
                if (now_ns - since_ns > LANEMAP_ENGINE_STALL_NS)
                        return -EIO;

                lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                            1000 * 1000);
        }

        return r;
}

static bool ops_clear(const struct lanemap_op *ops, size_t n_ops)
{
        for (size_t i = 0; i < n_ops; i++)
                if (op_code(&ops[i]) == LANEMAP_OP_CLEAR)
                        return true;
        return false;
}

/* Shared memory is short. Return: true: try once more; false, and *ret_r: 0 to go on all the same,
 * or -EAGAIN. */
static bool room_wait(struct lanemap_writer *writer, struct apply *apply, int *ret_r)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        if (apply->may_wait)
                return lanemap_engine_room_wait(writer, &apply->room_wait);

        if (lanemap_engine_room_may_come(writer, &writer->pressure.room_wait))
                *ret_r = -EAGAIN;
        return false;
}

/* The shared memory that an operation takes, in the usual case and rounded up: a cell in a table
 * that may be about to double, and a short posting; and one id more of the same posting. */
#define APPLY_BYTES_PER_KEY 128
#define APPLY_BYTES_PER_ID  8

/* Return: what the operations that are a group of their own may need of shared memory. What a
 * larger group needs is known when it is prepared. */
static uint64_t ops_bytes(const struct apply *apply)
{
        const struct lanemap_op *ops = apply->ops;
        uint64_t bytes = 0;

        for (size_t i = 0, end; i < apply->n_ops; i = end) {
                end = group_end(apply, i);
                if (end > i + 1)
                        continue;
                if (i > 0 && lanemap_engine_op_has_key(op_code(&ops[i])) &&
                    lanemap_engine_op_has_key(op_code(&ops[i - 1])) &&
                    ops[i].key_bytes == ops[i - 1].key_bytes &&
                    memcmp(ops[i].key, ops[i - 1].key, ops[i].key_bytes) == 0)
                        bytes += APPLY_BYTES_PER_ID;
                else
                        bytes += APPLY_BYTES_PER_KEY;
        }
        return bytes;
}

/* What an apply waits for before it begins. */
static int apply_admit(struct lanemap_writer *writer, struct apply *apply)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        int r = lanemap_load_relaxed(&writer->health.refused);
        uint64_t bytes;

        if (r < 0 || apply->clears)
                return r;

        if (apply->may_wait)
                r = lanemap_engine_pressure_wait(writer);
        else
                r = lanemap_engine_pressure_look(writer, &apply->wait_ns);
        /* When it does not help in time, the operations are tried all the same, and say so. */
        bytes = ops_bytes(apply);
        while (r == 0 && lanemap_engine_memory_is_short(writer, bytes) &&
               room_wait(writer, apply, &r))
                ;
        return r;
}

static int apply_locked(struct lanemap_writer *writer, struct apply *apply)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t appended;
        int r;

        r = apply_admit(writer, apply);
        if (r < 0)
                return r;

        /* The first group may need room, for the copy of a long posting among others, which nobody
         * has asked for: while nothing is applied, a flush can be waited for. */
        do {
                r = record_reserve(writer, apply->ops, apply->n_ops, apply->may_wait);
                if (r < 0)
                        return r;

                apply->position = lanemap_log_last(writer->log) + 1;
                /* The position that readers of this process are given never moves back. */
                lanemap_check(apply->position > lanemap_load_relaxed(&writer->lanes.position));
                r = ops_apply(writer, apply);
        } while (r == -ENOSPC && apply->n_applied == 0 && !apply->clears &&
                 room_wait(writer, apply, &r));
        if (r == 0 || r == -ENOSPC)
                writer->pressure.room_wait = (struct writer_room_wait){0};
        if (r == -ENOSPC) {
                lanemap_engine_memory_room_update(writer);
                (void)lanemap_engine_flush_for_room(writer);
        }
        if (apply->n_logged > 0) {
                lanemap_log_append(writer->log, writer->lanes.log_ops, apply->n_logged, &appended);
                /* Its operations are published under this number. */
                lanemap_check(appended == apply->position);
                /* Also when the operations of a group cancel out: the record is there. */
                lanemap_store_release(&writer->lanes.position, apply->position);
                lanemap_engine_counts_publish(writer);
                lanemap_engine_flush_trigger(writer);
                lanemap_engine_pressure_charge(writer, apply->n_logged);
        }
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
        lanemap_engine_group_trim(writer);
        return r;
}

/* Return: the first operation of the group that has a bad one; *ret_bad says why. n_ops: none. */
static size_t ops_check(const struct lanemap_op *ops, size_t n_ops, int *ret_bad)
{
        size_t first = 0;

        *ret_bad = 0;
        for (size_t i = 0; i < n_ops; i++) {
                *ret_bad = op_check(&ops[i]);
                if (*ret_bad < 0)
                        return first;
                if (!(ops[i].code & LANEMAP_OP_WITH_NEXT))
                        first = i + 1;
        }
        return n_ops;
}

static int apply_run(struct lanemap_writer *writer, struct apply *apply, uint64_t *ret_position)
{
        int r = 0, bad;

        /* A bad operation ends the batch before its group: what came first is applied. */
        apply->n_ops = ops_check(apply->ops, apply->n_ops, &bad);
        apply->clears = ops_clear(apply->ops, apply->n_ops);
        apply->wait_ns = LANEMAP_ENGINE_TRY_NS;

        LANEMAP_PROBE(apply__start, apply->n_ops);
        if (!lanemap_mutex_lock_within(&writer->lanes.lock,
                                       apply->may_wait ? LANEMAP_LOCK_FOR_EVER : 0)) {
                LANEMAP_PROBE(apply__done, UINT64_C(0), apply->n_applied, apply->n_ops, -EAGAIN);
                return -EAGAIN;
        }
        if (apply->n_ops > 0)
                r = apply_locked(writer, apply);
        if (ret_position)
                *ret_position = lanemap_load_relaxed(&writer->lanes.position);
        LANEMAP_PROBE(apply__done, lanemap_load_relaxed(&writer->lanes.position), apply->n_applied,
                      apply->n_ops, r);
        lanemap_mutex_unlock(&writer->lanes.lock);

        lanemap_engine_hits_take(writer);
        lanemap_engine_log_write(writer);
        return r < 0 ? r : bad;
}

int lanemap_writer_apply(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                         struct lanemap_op_result *ret_results, size_t *ret_n_applied,
                         uint64_t *ret_position)
{
        struct apply apply = {.ops = ops, .n_ops = n_ops, .results = ret_results, .may_wait = true};
        int r;

        if (n_ops > LANEMAP_APPLY_OPS_MAX)
                return -EINVAL;

        r = apply_run(writer, &apply, ret_position);
        if (ret_n_applied)
                *ret_n_applied = apply.n_applied;
        return r;
}

int lanemap_writer_try_apply(struct lanemap_writer *writer, const struct lanemap_op *ops,
                             size_t n_ops, struct lanemap_op_result *ret_results,
                             size_t *ret_n_applied, uint64_t *ret_position, uint64_t *ret_wait_ns)
{
        struct apply apply = {.ops = ops, .n_ops = n_ops, .results = ret_results};
        int r;

        if (n_ops > LANEMAP_APPLY_OPS_MAX)
                return -EINVAL;

        r = apply_run(writer, &apply, ret_position);
        if (ret_n_applied)
                *ret_n_applied = apply.n_applied;
        if (ret_wait_ns)
                *ret_wait_ns = r == -EAGAIN ? LANEMAP_MAX(apply.wait_ns, LANEMAP_ENGINE_TRY_NS) : 0;
        return r;
}
