/*
 * The net effect of several operations on one key: what each of them answers, and by which ids the
 * key's posting differs in the end. Plain memory and no engine.
 *
 *      steps_fit, steps filled in -> sort -> was[] filled in -> run
 */
#ifndef LANEMAP_WRITER_APPLY_NET_H
#define LANEMAP_WRITER_APPLY_NET_H

#include <lanemap/writer.h>

#include "common/base.h"

struct writer_net_step {
        uint32_t code; /* LANEMAP_OP_ADD, REMOVE, DELETE; CLEAR: its result is not set */
        uint32_t id;
        struct lanemap_op_result result;
};

struct writer_net {
        size_t capacity; /* steps that there is room for */
        size_t n_steps;
        struct writer_net_step *steps;

        /* The distinct ids of the steps, ascending. */
        size_t n_ids;
        uint32_t *ids;
        bool *was; /* the key has it before the first step: the caller's to fill in */

        /* The outcome. */
        uint64_t n_after;
        bool is_whole;   /* `added` is the whole posting; otherwise */
        uint32_t *added; /* ascending: what it has more, */
        size_t n_added;
        uint32_t *removed; /* and less */
        size_t n_removed;

        /* Scratch. */
        uint64_t *order[2];
        uint32_t *id_of; /* of a step: which of the distinct ids */
        uint32_t *round; /* of a distinct id: the deletions before it was last touched */
        bool *is;        /* and what it was after that */
};

/* Room for so many steps. Return: 0, -ENOMEM. */
int lanemap_engine_net_fit(struct writer_net *net, size_t n_steps);
/* What a huge one took is given back. NULL arrays are fine. */
void lanemap_engine_net_deinit(struct writer_net *net);

/* Finds the distinct ids of the steps. */
void lanemap_engine_net_sort(struct writer_net *net);
/* n_before: ids of the key before the first step. */
void lanemap_engine_net_run(struct writer_net *net, uint64_t n_before);

/* The ids of an ascending array with the outcome applied, which is not whole; there is room.
 * Return: how many they are. */
size_t lanemap_engine_net_merge(const struct writer_net *net, uint32_t *ids, size_t n_ids);

#endif
