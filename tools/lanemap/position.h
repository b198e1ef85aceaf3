/*
 * Where a stream stands, for `lanemap route --after`.
 *
 * A begin record's lsn is the position of the transaction's commit, and transactions come in that
 * order. Two things break it, and both are met here: a receiver that was killed gets again what it
 * had not confirmed, so the order goes back to a begin record that was there before; and what it
 * wrote last may be cut off, so a begin record may come where a commit was due.
 *
 *   PO1  A transaction is printed when its commit is there, all of it or nothing.
 *   PO2  One that is not after `after`, or not after the last that was printed, is skipped.
 *   PO3  A transaction of which something may be missing is an error, never passed over.
 */
#ifndef LANEMAP_TOOLS_POSITION_H
#define LANEMAP_TOOLS_POSITION_H

#include "text.h"

enum { LANEMAP_POSITION_E_SKIP = 1 };

struct lanemap_position {
        uint64_t after; /* printed through this one */
        uint64_t begun; /* of the transaction that is open */
        bool is_open;
        bool skips;
        bool is_damaged; /* a line of it was malformed */
};

/* "16/B374D848", as PostgreSQL prints it. Return: whether it is one. */
bool lanemap_lsn_parse(struct lanemap_slice text, uint64_t *ret_lsn);

/* A begin record; one that is still open was cut off. Return: 0. Errors: -EINVAL, with
 * *ret_error. */
int lanemap_position_begin(struct lanemap_position *position, struct lanemap_slice lsn,
                           const char **ret_error);
/* Return: 0 it is to be printed; LANEMAP_POSITION_E_SKIP it was. Errors: -EINVAL, with
 * *ret_error. */
int lanemap_position_change(const struct lanemap_position *position, const char **ret_error);
/* Likewise, of all of them: print, or forget. */
int lanemap_position_commit(struct lanemap_position *position, struct lanemap_slice lsn,
                            const char **ret_error);

#endif
