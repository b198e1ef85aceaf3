/*
 * Segment files that were found damaged: marking them, the mark's meaning, taking it back. The
 * scrub looks for damage (health/scrub.c); a flush or merge checks the checksum of what it reads,
 * so that damaged bytes never get a new one.
 *
 *   D1  A file that was found damaged is an input of nothing. Its lanes go on: what is newer is
 *       merged above it, lookups go through it, and answer -EBADMSG where they meet bad bytes.
 *   D2  It is logged once, and `degraded` stays up while a lane names the file.
 *   D3  When its last name goes (a clear), the file moves to quarantine/ instead of being unlinked.
 *       A writer that dies between the two leaves it to its successor, which does not know of the
 *       damage and unlinks every file that nothing names: only cleared entries are lost that way.
 *   D4  The mark is taken back when every byte reads as it was written, from the disk, through the
 *       page cache, and in the copy that is served: the disk failed for a while, or somebody put
 *       the file back. A mapping that a page was missing in (verify/mapping.h) is replaced by
 *       another, whose every byte was read. The scrub looks once an hour, a full pass at once.
 *       A merge of the file checks it once more.
 */
#ifndef LANEMAP_WRITER_HEALTH_DAMAGE_H
#define LANEMAP_WRITER_HEALTH_DAMAGE_H

#include "writer/core/engine.h"
#include "verify/verify.h"

/* A damaged file is read again so much later. */
#define LANEMAP_DAMAGE_AGAIN_NS (UINT64_C(3600) * 1000 * 1000 * 1000)

/* D2. Return: true if it was not marked before. */
bool lanemap_engine_file_mark(struct lanemap_writer *writer, uint64_t number);

/* D4: all of the original was read since it had been found damaged n_marked times, and was
 * sound. */
void lanemap_engine_file_unmark(struct lanemap_writer *writer, uint64_t number, uint32_t n_marked);

void lanemap_engine_finding_log(struct lanemap_writer *writer,
                                const struct lanemap_finding *finding);

#endif
