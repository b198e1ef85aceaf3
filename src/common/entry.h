/*
 * The data that rooms pass when segments are built, merged and read back: entries in the order of
 * their fingerprints. An entry is a key's whole posting, or a tombstone: newer shadows older, per
 * key.
 */
#ifndef LANEMAP_COMMON_ENTRY_H
#define LANEMAP_COMMON_ENTRY_H

#include "common/fingerprint.h"

struct lanemap_entry {
        struct lanemap_fingerprint fingerprint;
        uint32_t n_ids;      /* 0: a tombstone */
        const uint32_t *ids; /* ascending, distinct; valid until the cursor's next call */
};

/*
 * A source of entries in strictly ascending order of fingerprint. Can be read more than once.
 *
 * next: 0 and *ret_entry; LANEMAP_CURSOR_END after the last; or a negative errno (-EBADMSG).
 * rewind: back to the first; 0 or a negative errno.
 * next_batch: the same for 1 to n_max entries at once, all of them valid until the cursor's next
 * call; n_max: 1 .. LANEMAP_CURSOR_BATCH. What follows an error is never given out; what comes
 * before it is. NULL: next() is asked instead.
 */
#define LANEMAP_CURSOR_END   1
#define LANEMAP_CURSOR_BATCH 64

struct lanemap_cursor {
        int (*next)(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry);
        int (*rewind)(struct lanemap_cursor *cursor);
        int (*next_batch)(struct lanemap_cursor *cursor, struct lanemap_entry *entries,
                          uint32_t n_max, uint32_t *ret_n);
};

/* Reads a whole cursor, with one call into it for many entries. */
LANEMAP_ALWAYS_INLINE int lanemap_cursor_next_batch(struct lanemap_cursor *cursor,
                                                    struct lanemap_entry *entries, uint32_t *ret_n)
{
        int r;

        if (LANEMAP_LIKELY(cursor->next_batch != NULL))
                return cursor->next_batch(cursor, entries, LANEMAP_CURSOR_BATCH, ret_n);

        r = cursor->next(cursor, entries);
        if (r == 0)
                *ret_n = 1;
        return r;
}

#endif
