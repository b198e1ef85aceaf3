/*
 * What only the writer knows of an index: the counters of LANEMAP.STATS, asked for on its socket,
 * and what follows from them. The shared memory has none of this: readers do not need it.
 */
#ifndef LANEMAP_TOOLS_STAT_WRITER_H
#define LANEMAP_TOOLS_STAT_WRITER_H

#include <jansson.h>

/*
 * All counters of the writer that listens at `path`, and beside them write_amplification,
 * entries_written_per_change and read_amplification, null where nothing was written or changed yet.
 *
 * uuid           in text: of the index that is meant; a writer of another one is an error
 * ret_counters   a JSON object. Owner: the caller
 *
 * Return: 0, or a negative errno after saying what is wrong.
 */
int lanemap_stat_writer_read(const char *path, const char *uuid, json_t **ret_counters);

/* The lines of the table. */
void lanemap_stat_writer_print(const json_t *counters);

#endif
