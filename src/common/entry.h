/*
 * What flows between rooms when segments are built, merged and read back: entries in the order of
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
 */
#define LANEMAP_CURSOR_END 1

struct lanemap_cursor {
        int (*next)(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry);
        int (*rewind)(struct lanemap_cursor *cursor);
};

#endif
