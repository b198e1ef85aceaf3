/*
 * Pages of mapped segment files that cannot be read: a media error, a file that somebody cut
 * short, memory that fails. The kernel answers an access there with SIGBUS. The program's handler
 * hands the address to lanemap_writer_bus_error() (<lanemap/writer.h>; lanemapd and lanemap do),
 * which puts zeros where the page was and lets the access go on:
 *
 *   access -> SIGBUS -> handler -> the sections of the page are marked -> zeros mapped over them
 *          -> the access reads zeros -> its outcome is checked after the mark: discarded
 *
 *   UM1  Before a byte of a guarded mapping becomes another one, every section that has this byte
 *       is marked `unreadable` (G6 in segment/read.h), and the guard is hit. A mark stays for as
 *       long as the mapping; a file that can be read again is mapped anew.
 *   UM2  What was computed from a section is believed only if the section is not marked
 *       afterwards: a lookup and an operation answer -EBADMSG (N3 in lane/read.h), a job that
 *       builds a file looks whether any guard was hit since it began (lanemap_mapping_n_hits()),
 *       and begins again.
 *   UM3  The handler takes no lock, allocates nothing, keeps errno, and returns to the access: who
 *       was reading goes on holding what it holds, and leaves as always. Nobody jumps.
 *   UM4  An address outside of every guarded mapping is refused, and nothing is touched: what
 *       becomes of the process is the program's decision.
 *   UM5  A file with a guard that was hit is damaged (D1 to D4 in writer/health/damage.h): found,
 *   named
 *       with offset, lane and keys, reported once. A copy that was hit is given up for its
 *       original.
 *   UM6  A thread of the engine leaves SIGBUS unblocked (common/signals.h): one that blocks it
 *       would be killed by it.
 *   UM7  A file that was cut short is found so within about a second, also where nobody meets the
 *       end of it: the kernel makes the rest of its last page zeros without a signal, so within
 *       that second a lookup may miss an entry there. So it is with whatever else somebody writes
 *       into a file in use: the scrub finds that.
 *
 * Zeros are put over the page and over the pages that are the marked sections' alone, so one
 * mapping has no more such places than sections.
 *
 * Thread: any. Owner: a guard is given back before its mapping is undone.
 */
#ifndef LANEMAP_VERIFY_MAPPING_H
#define LANEMAP_VERIFY_MAPPING_H

#include "lane/read.h"

struct lanemap_mapping;

/* Guards a mapping of n_bytes at `bytes`, which begins at a page. Return: 0. Errors: -ENOMEM. */
int lanemap_mapping_new(const void *bytes, uint64_t n_bytes, struct lanemap_mapping **ret_guard);

/* The sections that are to be marked, once they are known. The file is freed after its guard. */
void lanemap_mapping_watch(struct lanemap_mapping *guard, struct lanemap_lane_file *file);

/* NULL is fine. Nobody reads the mapping any more. */
void lanemap_mapping_free(struct lanemap_mapping *guard);

/* Return: true if a page could not be read. ret_offset (may be NULL): of the first one, in
 * bytes. */
bool lanemap_mapping_is_hit(const struct lanemap_mapping *guard, uint64_t *ret_offset);

/* The file has n_left bytes left: every section that had more is marked, as if it had been hit. The
 * rest of the last page reads as zeros, and the kernel sends no signal for it. */
void lanemap_mapping_cut(struct lanemap_mapping *guard, uint64_t n_left);

/* The hits of all guards of this process. A fence comes first, after the loads of the caller:
 * UM2. */
uint64_t lanemap_mapping_n_hits(void);

#endif
