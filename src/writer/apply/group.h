/*
 * Operations that are applied together: all of them, or none (GR1).
 *
 * GR1. A group changes nothing until everything that can fail has been done: postings are prepared
 *     in blocks that nobody sees, tables have room for the new keys, a clear has its new overlays.
 * GR2. A key's posting is read once and published once per group, whatever the number of its
 *     operations: readers see it as it was before the group, or as it is after. Each operation's
 *     own answer is as if it had been applied alone.
 * GR3. Keys are published in the order of their first operations. With a clear in a group, readers
 *     see the index empty, then its keys.
 *
 * Thread: under the engine's lock.
 */
#ifndef LANEMAP_WRITER_APPLY_GROUP_H
#define LANEMAP_WRITER_APPLY_GROUP_H

#include "writer/core/engine.h"

/*
 * Applies a group.
 *
 * ret_results  one per operation. Owner: the engine; until the next group
 *
 * Return: 0. Errors: -ENOSPC, -ENOMEM, -EBADMSG: nothing changed.
 */
int lanemap_engine_group_apply(struct lanemap_writer *writer, const struct lanemap_log_op *ops,
                               size_t n_ops, uint64_t position,
                               const struct lanemap_op_result **ret_results)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* Return: true if two of the operations name one key. */
bool lanemap_engine_group_has_repeats(struct lanemap_writer *writer,
                                      const struct lanemap_log_op *ops, size_t n_ops)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* The memory that groups have taken, when a huge one is over; all of it at the end. */
void lanemap_engine_group_trim(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_group_free(struct writer_group *group);

#endif
