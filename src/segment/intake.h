/*
 * What building a section is made of, whatever its kind: taking entries in (checked and counted),
 * counting what their values need, writing values and lists, and the header.
 *
 * Every kind reads its cursor twice: the first pass counts, the second writes. Invariant of the
 * second pass: it writes nothing that the first has not counted, even if the cursor does not give
 * the same entries again.
 */
#ifndef LANEMAP_SEGMENT_INTAKE_H
#define LANEMAP_SEGMENT_INTAKE_H

#include <errno.h>

#include "segment/build.h"
#include "segment/layout.h"
#include "segment/posting/build.h"

/* State of both passes: the slots, and the check of each entry. */
struct lanemap_build_intake {
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        uint16_t slot_ranks[LANEMAP_SLOT_WORDS];
        uint32_t n_slots;
        uint32_t fingerprint_bits;
        uint32_t slot; /* of the last entry, and its rank */
        uint32_t rank;
        struct lanemap_fingerprint last;
        uint64_t n_keys;
        uint64_t n_pairs;
        uint64_t n_tombstones;
};

/* Room that the values of all entries need, and, in the second pass, how much is written. */
struct lanemap_build_values {
        uint64_t n_lists;
        uint64_t postings_bytes;
        uint64_t last_list_off;
        uint32_t inline_max;
        uint32_t ids_max;
        uint32_t value_bits; /* without the flag */
        uint32_t flagged;
        uint64_t postings_at;    /* where the next list goes */
        unsigned char *postings; /* postings_bytes */
};

/* Return: 0. Errors: -EINVAL a bad option. */
int lanemap_build_intake_init(struct lanemap_build_intake *intake,
                              const struct lanemap_segment_build_options *options);

/* Before the second pass. */
void lanemap_build_intake_restart(struct lanemap_build_intake *intake);

/* Return: true if both passes saw the same. */
bool lanemap_build_intake_agrees(const struct lanemap_build_intake *a,
                                 const struct lanemap_build_intake *b);

int lanemap_build_intake_enter_slot(struct lanemap_build_intake *intake, uint32_t slot);

/* Checks one entry and counts it. Return: 0. Errors: -EINVAL, -EFBIG. */
LANEMAP_ALWAYS_INLINE int lanemap_build_intake_take(struct lanemap_build_intake *intake,
                                                    const struct lanemap_entry *entry,
                                                    uint64_t *ret_dense)
{
        struct lanemap_fingerprint fp = entry->fingerprint;
        uint32_t slot = lanemap_slot_of(fp.hash);
        int r;

        if (intake->n_keys > 0 && lanemap_fingerprint_compare(intake->last, fp) >= 0)
                return -EINVAL;
        if (slot != intake->slot) {
                r = lanemap_build_intake_enter_slot(intake, slot);
                if (r < 0)
                        return r;
        }
        if ((uint64_t)fp.ext >> lanemap_fingerprint_ext_bits(intake->fingerprint_bits) != 0 ||
            !lanemap_segment_ids_valid(entry->ids, entry->n_ids))
                return -EINVAL;
        if (intake->n_keys == UINT32_MAX || entry->n_ids > LANEMAP_SEGMENT_IDS_MAX)
                return -EFBIG;

        *ret_dense = lanemap_dense_hash(fp.hash, intake->rank);
        intake->last = fp;
        intake->n_keys++;
        intake->n_pairs += entry->n_ids;
        intake->n_tombstones += entry->n_ids == 0;
        return 0;
}

/*
 * One pass over the cursor, from its beginning to its end: each entry is checked, counted and
 * handed to fn, which is known where this is compiled. intake->n_keys counts the entry at hand
 * already.
 *
 * Return: 0. Errors: those of the intake, of the cursor and of fn.
 */
LANEMAP_ALWAYS_INLINE int
lanemap_build_intake_pass(struct lanemap_build_intake *intake, struct lanemap_cursor *cursor,
                          int (*fn)(void *arg, uint64_t dense, const struct lanemap_entry *entry),
                          void *arg)
{
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
        uint64_t dense;
        uint32_t n;
        int r;

        r = cursor->rewind(cursor);
        if (r < 0)
                return r;

        while ((r = lanemap_cursor_next_batch(cursor, entries, &n)) == 0) {
                for (uint32_t i = 0; i < n; i++) {
                        r = lanemap_build_intake_take(intake, &entries[i], &dense);
                        if (LANEMAP_UNLIKELY(r < 0))
                                return r;

                        r = fn(arg, dense, &entries[i]);
                        if (LANEMAP_UNLIKELY(r < 0))
                                return r;
                }
        }

        return r == LANEMAP_CURSOR_END ? 0 : r;
}

LANEMAP_ALWAYS_INLINE void lanemap_build_values_count(struct lanemap_build_values *values,
                                                      const struct lanemap_entry *entry)
{
        values->ids_max = LANEMAP_MAX(values->ids_max, entry->n_ids);
        if (entry->n_ids == 1) {
                values->inline_max = LANEMAP_MAX(values->inline_max, entry->ids[0]);
        } else if (entry->n_ids > 1) {
                values->n_lists++;
                values->last_list_off = values->postings_bytes;
                values->postings_bytes += lanemap_segment_posting_size(entry->ids, entry->n_ids);
        }
}

/* After the first pass: the widths. Return: 0. Errors: -EFBIG. */
int lanemap_build_values_settle(struct lanemap_build_values *values, uint64_t n_tombstones);

/* The value of an entry of several ids, whose list is written. Return: 0. Errors: -EINVAL. */
int lanemap_build_values_put_list(struct lanemap_build_values *values,
                                  const struct lanemap_entry *entry, uint64_t *ret_value);

/* The value field of an entry. Return: 0. Errors: -EINVAL it was not counted. */
LANEMAP_ALWAYS_INLINE int lanemap_build_values_put(struct lanemap_build_values *values,
                                                   const struct lanemap_entry *entry,
                                                   uint64_t *ret_value)
{
        uint64_t flag = UINT64_C(1) << values->value_bits;

        if (LANEMAP_LIKELY(entry->n_ids == 1)) {
                *ret_value = entry->ids[0];
                return entry->ids[0] <= values->inline_max ? 0 : -EINVAL;
        }
        if (!values->flagged)
                return -EINVAL;
        if (entry->n_ids == 0) {
                *ret_value = flag | (flag - 1);
                return 0;
        }

        return lanemap_build_values_put_list(values, entry, ret_value);
}

/* What all kinds have in their header; `kind`'s own fields are set by it before. Writes the header
 * to `bytes`, signed. */
void lanemap_build_header_put(unsigned char *bytes, struct lanemap_segment_section_file *header,
                              const struct lanemap_build_intake *intake,
                              const struct lanemap_build_values *values,
                              const struct lanemap_segment_layout *layout);

/* Bytes that grow; zeros where nothing was written. */
struct lanemap_build_buffer {
        unsigned char *bytes;
        uint64_t n_bytes;
        uint64_t capacity;
};

/* Makes it n_more bytes longer. Return: 0. Errors: -ENOMEM. */
int lanemap_build_buffer_extend(struct lanemap_build_buffer *buffer, uint64_t n_more);

/* The block that a section is written to: zeros, with room after it for the filter that the options
 * ask for. NULL: no memory. */
unsigned char *lanemap_build_block(struct lanemap_heap *heap,
                                   const struct lanemap_segment_build_options *options,
                                   uint64_t section_bytes, uint64_t n_keys);

#endif
