/* See net.h. */
#include "writer/apply/net.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"

/* Below so many the sort is by insertion. */
#define SORT_SMALL 32

#define RADIX_BITS 11
#define RADIX_N    (1U << RADIX_BITS)

void lanemap_engine_net_deinit(struct writer_net *net)
{
        lanemap_free(net->steps);
        lanemap_free(net->ids);
        lanemap_free(net->was);
        lanemap_free(net->order[0]);
        lanemap_free(net->order[1]);
        lanemap_free(net->id_of);
        lanemap_free(net->round);
        lanemap_free(net->is);
        *net = (struct writer_net){0};
}

int lanemap_engine_net_fit(struct writer_net *net, size_t n_steps)
{
        size_t capacity = LANEMAP_MAX(n_steps, (size_t)64);

        if (n_steps <= net->capacity)
                return 0;

        lanemap_engine_net_deinit(net);
        net->steps = lanemap_alloc(capacity * sizeof(*net->steps));
        net->ids = lanemap_alloc(capacity * sizeof(*net->ids));
        net->was = lanemap_alloc(capacity * sizeof(*net->was));
        net->order[0] = lanemap_alloc(capacity * sizeof(*net->order[0]));
        net->order[1] = lanemap_alloc(capacity * sizeof(*net->order[1]));
        net->id_of = lanemap_alloc(capacity * sizeof(*net->id_of));
        net->round = lanemap_alloc(capacity * sizeof(*net->round));
        net->is = lanemap_alloc(capacity * sizeof(*net->is));
        if (!net->steps || !net->ids || !net->was || !net->order[0] || !net->order[1] ||
            !net->id_of || !net->round || !net->is) {
                lanemap_engine_net_deinit(net);
                return -ENOMEM;
        }

        net->capacity = capacity;
        return 0;
}

static bool step_has_id(const struct writer_net_step *step)
{
        return step->code == LANEMAP_OP_ADD || step->code == LANEMAP_OP_REMOVE;
}

/* ---- the distinct ids ---- */

static void order_insert(uint64_t *order, size_t n)
{
        for (size_t i = 1; i < n; i++) {
                uint64_t word = order[i];
                size_t at = i;

                for (; at > 0 && order[at - 1] > word; at--)
                        order[at] = order[at - 1];
                order[at] = word;
        }
}

/* Stable, by the id in the upper half; three passes. The result is in the other array. */
static void order_radix(uint64_t *from, uint64_t *to, size_t n)
{
        for (uint32_t shift = 32; shift < 64; shift += RADIX_BITS) {
                size_t starts[RADIX_N] = {0}, sum = 0;
                uint64_t *other = from;

                for (size_t i = 0; i < n; i++)
                        starts[from[i] >> shift & (RADIX_N - 1)]++;
                for (uint32_t digit = 0; digit < RADIX_N; digit++) {
                        size_t count = starts[digit];

                        starts[digit] = sum;
                        sum += count;
                }
                for (size_t i = 0; i < n; i++)
                        to[starts[from[i] >> shift & (RADIX_N - 1)]++] = from[i];
                from = to;
                to = other;
        }
}

/* Return: the sorted array, one of the two. */
static const uint64_t *order_sort(struct writer_net *net, size_t n)
{
        size_t n_ascending = 1;

        while (n_ascending < n && net->order[0][n_ascending - 1] < net->order[0][n_ascending])
                n_ascending++;
        if (n_ascending >= n)
                return net->order[0];
        if (n <= SORT_SMALL) {
                order_insert(net->order[0], n);
                return net->order[0];
        }

        order_radix(net->order[0], net->order[1], n);
        return net->order[1];
}

void lanemap_engine_net_sort(struct writer_net *net)
{
        const uint64_t *order;
        size_t n = 0, n_ids = 0;

        for (size_t i = 0; i < net->n_steps; i++)
                if (step_has_id(&net->steps[i]))
                        net->order[0][n++] = (uint64_t)net->steps[i].id << 32 | i;

        order = order_sort(net, n);
        for (size_t i = 0; i < n; i++) {
                uint32_t id = (uint32_t)(order[i] >> 32);

                if (n_ids == 0 || net->ids[n_ids - 1] != id)
                        net->ids[n_ids++] = id;
                net->id_of[(uint32_t)order[i]] = (uint32_t)n_ids - 1;
        }
        net->n_ids = n_ids;
}

/* ---- the steps ---- */

/* One ADD or REMOVE. Return: whether it changed anything. */
static bool step_id_run(struct writer_net *net, size_t i, uint32_t round)
{
        uint32_t at = net->id_of[i];
        bool adds = net->steps[i].code == LANEMAP_OP_ADD;
        bool is = net->round[at] == round && net->is[at];

        net->round[at] = round;
        net->is[at] = adds;
        return is != adds;
}

/* Return: how often all ids were removed. */
static uint32_t steps_run(struct writer_net *net, uint64_t n)
{
        uint32_t round = 0;

        for (size_t i = 0; i < net->n_steps; i++) {
                struct writer_net_step *step = &net->steps[i];
                uint64_t n_changed;

                if (step_has_id(step)) {
                        n_changed = step_id_run(net, i, round);
                        n += step->code == LANEMAP_OP_ADD ? n_changed : -n_changed;
                } else {
                        n_changed = n;
                        /* A clear also where there is nothing: what follows is all of it. */
                        round += n > 0 || step->code == LANEMAP_OP_CLEAR;
                        n = 0;
                }
                step->result = (struct lanemap_op_result){.n_changed = (uint32_t)n_changed,
                                                          .n_ids = (uint32_t)n};
        }

        net->n_after = n;
        return round;
}

void lanemap_engine_net_run(struct writer_net *net, uint64_t n_before)
{
        uint32_t round;

        memset(net->round, 0, net->n_ids * sizeof(*net->round));
        memcpy(net->is, net->was, net->n_ids * sizeof(*net->is));
        round = steps_run(net, n_before);

        /* The order is known: its memory is free. */
        net->added = (uint32_t *)(void *)net->order[0];
        net->removed = (uint32_t *)(void *)net->order[1];
        net->n_added = net->n_removed = 0;
        net->is_whole = round > 0;
        for (size_t at = 0; at < net->n_ids; at++) {
                bool is = net->round[at] == round && net->is[at];
                bool was = net->was[at] && !net->is_whole;

                if (is && !was)
                        net->added[net->n_added++] = net->ids[at];
                else if (was && !is)
                        net->removed[net->n_removed++] = net->ids[at];
        }
        lanemap_check(net->is_whole ? net->n_after == net->n_added
                                    : net->n_after == n_before + net->n_added - net->n_removed);
}

size_t lanemap_engine_net_merge(const struct writer_net *net, uint32_t *ids, size_t n_ids)
{
        size_t n = 0, removed = 0, added = net->n_added, to;

        for (size_t i = 0; i < n_ids; i++) {
                if (removed < net->n_removed && ids[i] == net->removed[removed])
                        removed++;
                else
                        ids[n++] = ids[i];
        }

        /* From the end, where the room is. */
        to = n + added;
        n_ids = to;
        while (added > 0) {
                if (n > 0 && ids[n - 1] > net->added[added - 1])
                        ids[--to] = ids[--n];
                else
                        ids[--to] = net->added[--added];
        }

        return n_ids;
}
