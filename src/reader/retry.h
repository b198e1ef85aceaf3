/*
 * The one retry loop of the read side's calls.
 *
 *   enter a guard -> ask -> 0: leave it, done
 *                       \-> anything else: leave it, refresh the attachment, ask again
 *
 * Always inlined with its question: the steady state of a lookup makes no indirect call (R2).
 */
#ifndef LANEMAP_READER_RETRY_H
#define LANEMAP_READER_RETRY_H

#include <errno.h>

#include "common/guard.h"
#include "reader/private.h"

/* One try in the region of one attachment, inside its guard. Return: 0, LANEMAP_SHM_E_*, or a
 * negative errno. */
typedef int reader_question(const struct lanemap_shm_region *region, void *arg);

/*
 * Asks until there is an answer, at most READER_REFRESH_TRIES_MAX times.
 *
 * ret_guard   NULL: the guard is left after the answer. Otherwise it stays open, and the caller
 *             leaves it; *ret_attachment is the attachment that it protects.
 *
 * Return: 0, or a negative errno outside any guard; -EAGAIN when the tries ran out.
 */
LANEMAP_ALWAYS_INLINE int reader_retry_in_guard(struct lanemap_reader *reader,
                                                reader_question *question, void *arg,
                                                struct lanemap_guard **ret_guard,
                                                const struct reader_attachment **ret_attachment)
{
        for (int i = 0; i < READER_REFRESH_TRIES_MAX; i++) {
                const struct reader_attachment *attachment;
                struct lanemap_guard *guard;
                struct reader_snapshot seen;
                int r;

                guard = lanemap_guard_enter();
                attachment = reader_attachment_get(reader);
                seen = reader_snapshot_of(attachment);
                r = question(&attachment->region, arg);
                if (LANEMAP_LIKELY(r == 0) && ret_guard) {
                        *ret_guard = guard;
                        *ret_attachment = attachment;
                        return 0;
                }

                lanemap_guard_leave(guard);
                if (LANEMAP_LIKELY(r == 0))
                        return 0;

                r = lanemap_reader_refresh(reader, r, &seen);
                if (r < 0)
                        return r;
        }

        return -EAGAIN;
}

/* The same for an answer that is complete when the question returns. */
LANEMAP_ALWAYS_INLINE int reader_retry(struct lanemap_reader *reader, reader_question *question,
                                       void *arg)
{
        return reader_retry_in_guard(reader, question, arg, NULL, NULL);
}

#endif
