/* Applying operations: one lane, all lanes, back-pressure, memory reserved for later. */
#ifndef LANEMAP_WRITER_APPLY_APPLY_H
#define LANEMAP_WRITER_APPLY_APPLY_H

#include "writer/core/engine.h"

/* ---- apply/apply.c ---- */

int lanemap_engine_op_apply(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                            uint64_t position, struct lanemap_op_result *result, bool *changed)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/clear.c ---- */

/* An empty overlay and a block for a view for each lane that is to have them, with smaller tables
 * where memory is short. Return: 0. Errors: -ENOSPC, and there is none of them. */
int lanemap_engine_fresh_alloc(struct lanemap_writer *writer, struct writer_fresh *fresh)
        LANEMAP_REQUIRES(writer->lanes.lock);
int lanemap_engine_clear(struct lanemap_writer *writer, uint64_t position, uint32_t *ret_n_changed)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/lane.c ---- */

/* One lane, under lock */
int lanemap_engine_lanes_init(struct lanemap_writer *writer);
void lanemap_engine_lane_prefetch(struct lanemap_writer *writer, struct lanemap_fingerprint fp)
        LANEMAP_REQUIRES(writer->lanes.lock);
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
/* apply/pressure.c, under lock, which a wait gives back meanwhile */
/* Return: 0. Errors: -ENOSPC, flushes do not get through. */
int lanemap_engine_pressure_wait(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_room_wait(struct lanemap_writer *writer, struct writer_room_wait *wait)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_memory_wait(struct lanemap_writer *writer, size_t n_ops,
                                struct writer_room_wait *wait) LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_flush_trigger(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
bool lanemap_engine_flush_for_room(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- apply/reserve.c ---- */

int lanemap_engine_reserves_init(struct lanemap_writer *writer);
void lanemap_engine_reserves_deinit(struct lanemap_writer *writer);
void lanemap_engine_reserves_fill(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* What they take when they are full. */
/* The number of segments of the lane that has the most. */
uint32_t lanemap_engine_segments_deepest(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
uint64_t lanemap_engine_reserves_bytes(const struct lanemap_writer *writer);
/* Gives the pages to whoever allocates next. Return: whether there were any. */
bool lanemap_engine_reserve_release(struct lanemap_writer *writer, struct writer_reserve *reserve)
        LANEMAP_REQUIRES(writer->lanes.lock);
uint64_t lanemap_engine_spare_bytes(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Any thread, under any lock: the spare object, as large as it has to be, if there is room for it. Two
 * at once make one. */
void lanemap_engine_spare_ensure(struct lanemap_writer *writer);
/* The object that they were of is gone. */
void lanemap_engine_reserves_forget(struct lanemap_writer *writer);

#endif
