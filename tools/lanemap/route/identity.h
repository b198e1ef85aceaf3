/*
 * Which tables do not send whole old rows.
 *
 * Without REPLICA IDENTITY FULL an update brings no old row, or only its key columns: routes of
 * the old values are missed, and so are values that the update left unchanged in TOAST. A stream
 * does not say how a table is set, so it is seen by comparing an identity with the columns of new
 * rows. (A table with neither a primary key nor an identity sends no updates and deletes at all;
 * PostgreSQL warns about that itself, the stream cannot.)
 */
#ifndef LANEMAP_TOOLS_IDENTITY_H
#define LANEMAP_TOOLS_IDENTITY_H

#include "route/wal2json.h"

struct lanemap_identity_table {
        struct lanemap_text key; /* canonical table key */
        size_t n_columns;        /* of the last new row that was seen whole; 0: none yet */
        bool told;
};

/* All zero is an empty one. */
struct lanemap_identity {
        struct lanemap_identity_table *tables;
        size_t n_tables;
        struct lanemap_text key; /* room */
        size_t last;             /* the table of the change before */
};

/*
 * Look at one change (any action).
 *
 * Return: 1 when it is the first one of its table that lacks old values, 0 otherwise.
 */
int lanemap_identity_see(struct lanemap_identity *identity,
                         const struct lanemap_wal2json_change *change);
void lanemap_identity_deinit(struct lanemap_identity *identity);

#endif
