/*
 * The durability gate: which bytes of a client's replies may leave.
 *
 * A reply was computed when some position of the log was the last one applied. It may tell of
 * anything up to there, so it leaves only when the log can be acknowledged through that position.
 * Positions only rise, and replies leave in order, so a queue of marks is enough:
 *
 *         replies     [ released | mark 0: through byte 120, position 7, 3 replies | mark 1: ... )
 *
 * GT1  A byte behind a mark whose position has not been acknowledged is never released.
 * GT2  Each reply belongs to exactly one mark or was released, so that those that are dropped (the
 *     log cannot be written) are replaced one for one.
 */
#ifndef LANEMAP_DAEMON_LOOP_GATE_H
#define LANEMAP_DAEMON_LOOP_GATE_H

#include "common/base.h"

struct lanemap_gate_mark {
        uint64_t through; /* byte of the stream behind the last reply of this mark */
        uint64_t position;
        uint64_t n_replies;
};

struct lanemap_gate {
        struct lanemap_gate_mark *marks;
        size_t head;
        size_t n_marks;
        size_t capacity;
        uint64_t released; /* bytes of the stream before this one may leave */
};

void lanemap_gate_deinit(struct lanemap_gate *gate);

LANEMAP_ALWAYS_INLINE bool lanemap_gate_is_open(const struct lanemap_gate *gate)
{
        return gate->n_marks == 0;
}

/*
 * A reply ended before byte `through` of the stream; it waits for `position`. `acknowledged` is
 * what is known to have been acknowledged. Return: 0, -ENOMEM (nothing is released then).
 */
int lanemap_gate_push(struct lanemap_gate *gate, uint64_t through, uint64_t position,
                      uint64_t acknowledged);

/* The log can be acknowledged through `acknowledged`. */
void lanemap_gate_release(struct lanemap_gate *gate, uint64_t acknowledged);

/*
 * Forget every reply that waits. Return: how many there were; the caller cuts the stream at
 * gate->released and writes as many errors.
 */
uint64_t lanemap_gate_drop(struct lanemap_gate *gate);

#endif
