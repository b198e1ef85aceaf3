/* See loop/gate.h. The queue is an array that is moved to its begin when it is full. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/loop/gate.h"

void lanemap_gate_deinit(struct lanemap_gate *gate)
{
        lanemap_free(gate->marks);
        memset(gate, 0, sizeof(*gate));
}

static int gate_room(struct lanemap_gate *gate)
{
        if (gate->head + gate->n_marks < gate->capacity)
                return 0;
        if (gate->head > gate->capacity / 2) {
                memmove(gate->marks, gate->marks + gate->head,
                        gate->n_marks * sizeof(*gate->marks));
                gate->head = 0;
                return 0;
        }
        return lanemap_array_fit((void **)&gate->marks, &gate->capacity, gate->capacity + 1,
                                 sizeof(*gate->marks));
}

int lanemap_gate_push(struct lanemap_gate *gate, uint64_t through, uint64_t position,
                      uint64_t acknowledged)
{
        struct lanemap_gate_mark *last;
        int r;

        if (gate->n_marks == 0 && position <= acknowledged) {
                gate->released = through;
                return 0;
        }
        last = gate->n_marks ? &gate->marks[gate->head + gate->n_marks - 1] : NULL;
        if (last && last->position >= position) {
                last->through = through;
                last->n_replies++;
                return 0;
        }
        r = gate_room(gate);
        if (r < 0)
                return r;
        gate->marks[gate->head + gate->n_marks++] = (struct lanemap_gate_mark){
                .through = through, .position = position, .n_replies = 1};
        return 0;
}

void lanemap_gate_release(struct lanemap_gate *gate, uint64_t acknowledged)
{
        while (gate->n_marks > 0 && gate->marks[gate->head].position <= acknowledged) {
                gate->released = gate->marks[gate->head].through;
                gate->head++;
                gate->n_marks--;
        }
        if (gate->n_marks == 0)
                gate->head = 0;
}

uint64_t lanemap_gate_drop(struct lanemap_gate *gate)
{
        uint64_t n_replies = 0;

        for (size_t i = 0; i < gate->n_marks; i++)
                n_replies += gate->marks[gate->head + i].n_replies;
        gate->head = 0;
        gate->n_marks = 0;
        return n_replies;
}
