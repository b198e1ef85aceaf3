/*
 * See merge.h.
 *
 * Inputs are read in batches. An answer ends where the first of these does: what was given out of a
 * batch is valid until its input is read again, which happens only when the next answer is asked
 * for.
 */
#include "segment/merge.h"

#include <errno.h>

static bool merge_wants(const struct lanemap_segment_merge *merge,
                        const struct lanemap_entry *entry)
{
        const uint64_t *mask = merge->options.slot_mask;
        uint32_t slot = lanemap_slot_of(entry->fingerprint.hash);

        if (entry->n_ids == 0 && merge->options.drop_tombstones)
                return false;

        return !mask || mask[slot >> 6] >> (slot & 63) & 1;
}

static bool input_ascends(const struct lanemap_segment_merge_input *input, bool first)
{
        struct lanemap_fingerprint last = first ? input->entries[0].fingerprint : input->last;

        for (uint32_t i = first; i < input->n; i++) {
                if (lanemap_fingerprint_compare(last, input->entries[i].fingerprint) >= 0)
                        return false;
                last = input->entries[i].fingerprint;
        }

        return true;
}

/* The next batch of an input. Return: 0, LANEMAP_CURSOR_END or a negative errno. */
static int input_read(struct lanemap_segment_merge_input *input, bool first)
{
        uint32_t n = 0;
        int r;

        if (input->n > 0)
                input->last = input->entries[input->n - 1].fingerprint;
        r = lanemap_cursor_next_batch(input->cursor, input->entries, &n);
        if (r != 0)
                return r;

        input->at = 0;
        input->n = n;
        return input_ascends(input, first) ? 0 : -EINVAL;
}

/* Reads on where a batch is used up, and forgets inputs that have ended. */
static int merge_read(struct lanemap_segment_merge *merge)
{
        uint32_t n_live = 0;

        for (uint32_t i = 0; i < merge->n_live; i++) {
                struct lanemap_segment_merge_input *input = &merge->inputs[merge->live[i]];
                int r = 0;

                if (input->at == input->n)
                        r = input_read(input, !merge->is_begun);
                if (r < 0)
                        return r;
                if (r == 0)
                        merge->live[n_live++] = merge->live[i];
        }

        merge->n_live = n_live;
        merge->is_begun = true;
        return 0;
}

/* One input: what it has. */
static uint32_t merge_one(struct lanemap_segment_merge *merge, struct lanemap_entry *entries,
                          uint32_t n_max)
{
        struct lanemap_segment_merge_input *input = &merge->inputs[merge->live[0]];
        uint32_t n = 0;

        for (; n < n_max && input->at < input->n; input->at++) {
                entries[n] = input->entries[input->at];
                n += merge_wants(merge, &entries[n]);
        }

        return n;
}

/*
 * Two inputs, the newer first: nearly all merges. Which of them is next cannot be predicted, so it
 * is data here, not a branch.
 */
static uint32_t merge_two(struct lanemap_segment_merge *merge, struct lanemap_entry *entries,
                          uint32_t n_max)
{
        struct lanemap_segment_merge_input *newer = &merge->inputs[merge->live[0]];
        struct lanemap_segment_merge_input *older = &merge->inputs[merge->live[1]];
        uint32_t a = newer->at, b = older->at, n = 0;

        while (n < n_max && a < newer->n && b < older->n) {
                const struct lanemap_entry *left = &newer->entries[a], *right = &older->entries[b];
                const struct lanemap_entry *next;
                bool less = left->fingerprint.hash < right->fingerprint.hash;
                bool equal = left->fingerprint.hash == right->fingerprint.hash;

                less |= equal & (left->fingerprint.ext < right->fingerprint.ext);
                equal &= left->fingerprint.ext == right->fingerprint.ext;
                next = (less | equal) ? left : right;
                entries[n] = *next;
                n += merge_wants(merge, next);
                a += less | equal;
                b += !less;
        }

        newer->at = a;
        older->at = b;
        return n;
}

/* The least head, the newest of equals. Its equals are passed over. */
static const struct lanemap_entry *merge_choose(struct lanemap_segment_merge *merge)
{
        struct lanemap_segment_merge_input *input = &merge->inputs[merge->live[0]];
        const struct lanemap_entry *least = &input->entries[input->at];
        uint32_t due = 1;

        for (uint32_t i = 1; i < merge->n_live; i++) {
                const struct lanemap_entry *head;
                int order;

                input = &merge->inputs[merge->live[i]];
                head = &input->entries[input->at];
                order = lanemap_fingerprint_compare(head->fingerprint, least->fingerprint);
                least = order < 0 ? head : least;
                due = order < 0 ? 1u << i : due | (order == 0 ? 1u << i : 0);
        }

        for (; due; due &= due - 1)
                merge->inputs[merge->live[__builtin_ctz(due)]].at++;
        return least;
}

static bool merge_has_all_heads(const struct lanemap_segment_merge *merge)
{
        for (uint32_t i = 0; i < merge->n_live; i++)
                if (merge->inputs[merge->live[i]].at == merge->inputs[merge->live[i]].n)
                        return false;

        return true;
}

static uint32_t merge_many(struct lanemap_segment_merge *merge, struct lanemap_entry *entries,
                           uint32_t n_max)
{
        uint32_t n = 0;

        while (n < n_max && merge_has_all_heads(merge)) {
                entries[n] = *merge_choose(merge);
                n += merge_wants(merge, &entries[n]);
        }

        return n;
}

static int merge_next_batch(struct lanemap_cursor *base, struct lanemap_entry *entries,
                            uint32_t n_max, uint32_t *ret_n)
{
        struct lanemap_segment_merge *merge =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_merge, cursor);
        uint32_t n = 0;

        while (n == 0) {
                int r = merge_read(merge);

                if (r < 0)
                        return r;
                if (merge->n_live == 0)
                        return LANEMAP_CURSOR_END;

                if (merge->n_live == 1)
                        n = merge_one(merge, entries, n_max);
                else if (merge->n_live == 2)
                        n = merge_two(merge, entries, n_max);
                else
                        n = merge_many(merge, entries, n_max);
        }

        *ret_n = n;
        return 0;
}

static int merge_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        uint32_t n;

        return merge_next_batch(base, ret_entry, 1, &n);
}

static int merge_rewind(struct lanemap_cursor *base)
{
        struct lanemap_segment_merge *merge =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_merge, cursor);

        merge->n_live = 0;
        merge->is_begun = false;
        for (uint32_t i = 0; i < merge->n_inputs; i++) {
                int r = merge->inputs[i].cursor->rewind(merge->inputs[i].cursor);

                if (r < 0)
                        return r;

                merge->inputs[i].at = merge->inputs[i].n = 0;
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

        merge->cursor = (struct lanemap_cursor){
                .next = merge_next, .rewind = merge_rewind, .next_batch = merge_next_batch};
        merge->options = options ? *options : (struct lanemap_segment_merge_options){0};
        merge->n_inputs = n_inputs;
        for (uint32_t i = 0; i < n_inputs; i++)
                merge->inputs[i].cursor = inputs[i];

        return merge_rewind(&merge->cursor);
}
