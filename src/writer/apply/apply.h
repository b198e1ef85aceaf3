/*
 * Applying operations: to one key of a lane, and a clear of all lanes; the waits of applies for
 * flushes and memory; the reserves with which a full object can still be flushed.
 */
#ifndef LANEMAP_WRITER_APPLY_APPLY_H
#define LANEMAP_WRITER_APPLY_APPLY_H

#include "writer/core/engine.h"

LANEMAP_ALWAYS_INLINE bool lanemap_engine_op_has_key(uint32_t code)
{
        return code == LANEMAP_OP_ADD || code == LANEMAP_OP_REMOVE || code == LANEMAP_OP_DELETE;
}

/* ---- apply/apply.c ---- */

/* One operation of any code; also of a replay. Return and errors: as lanemap_engine_lane_op(). */
int lanemap_engine_op_apply(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                            uint64_t position, struct lanemap_op_result *result, bool *changed)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/clear.c ---- */

/* Allocates an empty overlay and a block for a view for each lane whose log2_cells is set; with
 * smaller tables where memory is short. Return: 0. Errors: -ENOSPC: nothing is allocated. */
int lanemap_engine_lane_starts_alloc(struct lanemap_writer *writer,
                                     struct writer_lane_start *starts)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Everything is gone, and each lane begins anew with what was allocated for it. */
void lanemap_engine_clear_publish(struct lanemap_writer *writer,
                                  const struct writer_lane_start *starts, uint64_t position)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: 0, and the pairs removed (UINT32_MAX: at least so many). Errors: -ENOSPC, -ENOMEM:
 * nothing changed. */
int lanemap_engine_clear(struct lanemap_writer *writer, uint64_t position, uint32_t *ret_n_changed)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/lane.c ---- */

/* Gives every lane an empty overlay and its first view. Return: 0. Errors: -ENOSPC, -ENOMEM. */
int lanemap_engine_lanes_init(struct lanemap_writer *writer);
/* Requests the first line of each level that an operation on the key reads; and, a while later, the
 * lines of segments that these name. */
void lanemap_engine_lane_prefetch(struct lanemap_writer *writer, struct lanemap_fingerprint fp)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_lane_prefetch_entries(struct lanemap_writer *writer,
                                          struct lanemap_fingerprint fp)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* A MARK is in force as of the record at `position`. */
void lanemap_engine_mark_set(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                             uint64_t position) LANEMAP_REQUIRES(writer->lanes.lock);
/* Makes the lane's table so large that n_more new keys fit. Return: 0. Errors: -ENOSPC, -ENOMEM. */
int lanemap_engine_lane_fit(struct lanemap_writer *writer, uint32_t lane_index, uint64_t n_more)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: 0. Errors: -EBADMSG. */
int lanemap_engine_key_find(struct lanemap_writer *writer, struct lanemap_fingerprint fp,
                            struct writer_key *ret_key) LANEMAP_REQUIRES(writer->lanes.lock);
int lanemap_engine_key_contains(const struct lanemap_writer *writer, const struct writer_key *key,
                                uint32_t id, bool *ret_contains)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Copies the ids of the key into the scratch, where n_more more have room. Return: 0. Errors:
 * -ENOMEM, -EBADMSG. */
int lanemap_engine_key_copy(struct lanemap_writer *writer, const struct writer_key *key,
                            uint64_t n_more) LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: true if a posting may not grow to so many ids, for want of room for a copy of it. */
bool lanemap_engine_posting_is_too_long(const struct lanemap_writer *writer, uint64_t n_before,
                                        uint64_t n_after) LANEMAP_REQUIRES(writer->lanes.lock);
/* What an operation on the key answers. Return: 0: it changes nothing; 1: it does, and the change
 * is prepared, to be published or aborted. Errors: -ENOSPC, -ENOMEM, -EBADMSG. */
int lanemap_engine_key_op(struct lanemap_writer *writer, struct writer_key *key, uint32_t code,
                          uint32_t id, struct lanemap_op_result *ret_result,
                          struct lanemap_posting_change *ret_change)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Nothing can fail from here on: the table has room. n_after: ids that the key has then. */
void lanemap_engine_key_publish(struct lanemap_writer *writer, const struct writer_key *key,
                                struct lanemap_posting_change *change, uint64_t n_after,
                                uint64_t position) LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: 0, and *ret_changed if readers see a change. Errors, after which nothing changed:
 * -ENOSPC, -ENOMEM, -EBADMSG. */
int lanemap_engine_lane_op(struct lanemap_writer *writer, uint32_t code,
                           struct lanemap_fingerprint fp, uint32_t id, uint64_t position,
                           struct lanemap_op_result *ret_result, bool *ret_changed)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/pressure.c ---- */

uint64_t lanemap_engine_flush_threshold(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_flush_is_due(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_overlays_exceed(const struct lanemap_writer *writer, uint64_t bytes_max,
                                    uint32_t times) LANEMAP_REQUIRES(writer->lanes.lock);
/* So soon a caller that found a lock taken may look again. */
#define LANEMAP_ENGINE_TRY_NS (UINT64_C(1) * 1000 * 1000)

/* An apply waits so long for room before it answers -ENOSPC. */
#define LANEMAP_ENGINE_STALL_NS (UINT64_C(1) * 1000 * 1000 * 1000)

/* The waits release the lock meanwhile. Return: 0. Errors: -ENOSPC: flushes fail. */
int lanemap_engine_pressure_wait(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* The same without waiting. Errors: -EAGAIN, and *ret_wait_ns: look again then; -ENOSPC. */
int lanemap_engine_pressure_look(struct lanemap_writer *writer, uint64_t *ret_wait_ns)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* So many operations were applied: the next apply is delayed, if there is debt. */
void lanemap_engine_pressure_charge(struct lanemap_writer *writer, size_t n_ops)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Starts a flush, which gives room back. Return: false: that did not help, and will not. */
bool lanemap_engine_room_may_come(struct lanemap_writer *writer, struct writer_room_wait *wait)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: true if shared memory is full, or will be when so many bytes more are taken: a flush
 * gives back what the overlays hold of it. */
bool lanemap_engine_memory_is_short(struct lanemap_writer *writer, uint64_t bytes)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_room_wait(struct lanemap_writer *writer, struct writer_room_wait *wait)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_flush_trigger(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_flush_for_room(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/reserve.c ---- */

int lanemap_engine_reserves_init(struct lanemap_writer *writer);
void lanemap_engine_reserves_deinit(struct lanemap_writer *writer);
void lanemap_engine_reserves_fill(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Counts pressure.n_segments_deepest anew: lanes have other segments than before. */
void lanemap_engine_segments_count(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* The bytes of full reserves. */
uint64_t lanemap_engine_reserves_bytes(const struct lanemap_writer *writer);
/* Frees the reserved pages, for the allocations that follow. Return: true if there were any. */
bool lanemap_engine_reserve_release(struct lanemap_writer *writer, struct writer_reserve *reserve)
        LANEMAP_REQUIRES(writer->lanes.lock);
uint64_t lanemap_engine_spare_bytes(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Makes the spare object, or enlarges it, if there is room. Thread: any, with any lock held; two at
 * once make one. */
int lanemap_engine_spare_ensure(struct lanemap_writer *writer);
/* Forgets the reserved pages: their object is gone. */
void lanemap_engine_reserves_forget(struct lanemap_writer *writer);

#endif
