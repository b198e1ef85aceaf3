/*
 * See segment_merge.h.
 *
 * Every live input has one entry in hand, its head. An input whose head was given out, or shadowed
 * by a newer one, moves on only when the next entry is asked for, because what an entry points to
 * is valid until then.
 */
#include "segment/segment_merge.h"

#include <errno.h>

static bool merge_wants_slot(const struct lanemap_segment_merge *merge, uint64_t hash)
{
        uint32_t slot = lanemap_slot_of(hash);

        return !merge->options.slot_mask || merge->options.slot_mask[slot >> 6] >> (slot & 63) & 1;
}

/* Moves an input to its next entry. Return: 0, LANEMAP_CURSOR_END or a negative errno. */
static int merge_pull(struct lanemap_segment_merge *merge, uint32_t input, bool first)
{
        struct lanemap_fingerprint last = merge->heads[input].fingerprint;
        int r;

        r = merge->inputs[input]->next(merge->inputs[input], &merge->heads[input]);
        if (r != 0)
                return r;
        if (!first && lanemap_fingerprint_compare(last, merge->heads[input].fingerprint) >= 0)
                return -EINVAL;

        return 0;
}

/* An input has ended: it leaves the list of the living. */
static void merge_drop(struct lanemap_segment_merge *merge, uint32_t input)
{
        uint32_t n_live = 0;

        for (uint32_t i = 0; i < merge->n_live; i++)
                if (merge->live[i] != input)
                        merge->live[n_live++] = merge->live[i];

        merge->n_live = n_live;
}

/* Moves the inputs on whose heads are used up. Which one is due cannot be predicted, so it is data
 * here, not a branch. */
static int merge_advance(struct lanemap_segment_merge *merge)
{
        for (; merge->due; merge->due &= merge->due - 1) {
                uint32_t input = (uint32_t)__builtin_ctz(merge->due);
                int r = merge_pull(merge, input, false);

                if (LANEMAP_UNLIKELY(r < 0))
                        return r;
                if (LANEMAP_UNLIKELY(r == LANEMAP_CURSOR_END))
                        merge_drop(merge, input);
        }

        return 0;
}

/* The least head, the newest of equals; marks it and its equals as used up. Without branches on
 * what the heads hold, for the same reason. */
static uint32_t merge_choose(struct lanemap_segment_merge *merge)
{
        uint32_t chosen = merge->live[0], due = 1u << chosen;
        struct lanemap_fingerprint least = merge->heads[chosen].fingerprint;

        for (uint32_t i = 1; i < merge->n_live; i++) {
                uint32_t input = merge->live[i], bit = 1u << input;
                struct lanemap_fingerprint fp = merge->heads[input].fingerprint;
                bool equal = fp.hash == least.hash, less = fp.hash < least.hash;

                less |= equal & (fp.ext < least.ext);
                equal &= fp.ext == least.ext;
                chosen = less ? input : chosen;
                due = less ? bit : due | (equal ? bit : 0);
                least.hash = less ? fp.hash : least.hash;
                least.ext = less ? fp.ext : least.ext;
        }

        merge->due = due;
        return chosen;
}

static int merge_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        struct lanemap_segment_merge *merge =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_merge, cursor);

        for (;;) {
                const struct lanemap_entry *head;
                int r;

                r = merge_advance(merge);
                if (r < 0)
                        return r;
                if (merge->n_live == 0)
                        return LANEMAP_CURSOR_END;

                head = &merge->heads[merge_choose(merge)];
                if ((head->n_ids == 0 && merge->options.drop_tombstones) ||
                    !merge_wants_slot(merge, head->fingerprint.hash))
                        continue;

                *ret_entry = *head;
                return 0;
        }
}

static int merge_rewind(struct lanemap_cursor *base)
{
        struct lanemap_segment_merge *merge =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_merge, cursor);

        merge->n_live = 0;
        merge->due = 0;
        for (uint32_t i = 0; i < merge->n_inputs; i++) {
                int r = merge->inputs[i]->rewind(merge->inputs[i]);

                if (r < 0)
                        return r;

                r = merge_pull(merge, i, true);
                if (r < 0)
                        return r;
                if (r == 0)
                        merge->live[merge->n_live++] = (uint8_t)i;
        }

        return 0;
}

int lanemap_segment_merge_init(struct lanemap_segment_merge *merge,
                               struct lanemap_cursor *const *inputs, uint32_t n_inputs,
                               const struct lanemap_segment_merge_options *options)
{
        if (n_inputs > LANEMAP_SEGMENT_MERGE_INPUTS_MAX)
                return -EINVAL;

        *merge = (struct lanemap_segment_merge){
                .cursor = {.next = merge_next, .rewind = merge_rewind},
                .n_inputs = n_inputs,
        };
        if (options)
                merge->options = *options;
        for (uint32_t i = 0; i < n_inputs; i++)
                merge->inputs[i] = inputs[i];

        return merge_rewind(&merge->cursor);
}
