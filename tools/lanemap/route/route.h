/*
 * Routing: a change in, the ids that it touches out.
 *
 * What is looked up for a change of schema.table (see canonical.h for keys):
 *
 *   insert    the table key, and the key of each column of the new row
 *   delete    the table key, and the key of each column of the old row
 *   update    the table key, and the keys of both rows
 *   truncate  the table key; it touches every route of the table, which only the caller can list
 *
 *   RT1  The answer is a superset of the truth: a lookup that fails ends the stream, it never
 *        counts as "no route".
 *   RT2  NULL is looked up nowhere. A value whose key would be longer than LANEMAP_KEY_BYTES_MAX
 *        cannot have been loaded and is not looked up either.
 *   RT3  An unchanged column of an update is looked up once.
 */
#ifndef LANEMAP_TOOLS_ROUTE_H
#define LANEMAP_TOOLS_ROUTE_H

#include <lanemap/lanemap.h>

#include "common/histogram.h"
#include "route/wal2json.h"

/* Of one route object, since it was made. */
struct lanemap_route_stats {
        uint64_t n_changes; /* I, U, D, T */
        uint64_t n_touching;
        uint64_t n_lookups;                 /* keys */
        uint64_t n_hits;                    /* keys that had ids */
        uint64_t n_ids;                     /* in all answers */
        uint64_t n_unkeyable;               /* values whose key would be too long */
        struct lanemap_histogram change_ns; /* one batch: all keys of a change */
        struct lanemap_histogram lookup_ns; /* a batch's time spread over its keys */
};

struct lanemap_route;

struct lanemap_route *lanemap_route_new(struct lanemap_reader *reader);
void lanemap_route_free(struct lanemap_route *route);
const struct lanemap_route_stats *lanemap_route_stats(const struct lanemap_route *route);

/*
 * Look up what a change (action I, U, D or T) touches.
 *
 * ret_ids    ascending, distinct; owned by the route, until the next call
 *
 * Return: 0. Errors: as lanemap_reader_lookup_batch().
 */
int lanemap_route_change(struct lanemap_route *route, const struct lanemap_wal2json_change *change,
                         const uint32_t **ret_ids, size_t *ret_n_ids);

/* Only the keys, in the order of their lookups: fn once for each. For tests. */
void lanemap_route_keys(struct lanemap_route *route, const struct lanemap_wal2json_change *change,
                        void (*fn)(void *arg, struct lanemap_slice key), void *arg);

#endif
