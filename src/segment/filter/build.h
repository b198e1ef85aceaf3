/*
 * Putting a filter after a finished section. It is made from the section itself, of any kind, so
 * the kinds know nothing of filters but that room is left after their bytes.
 */
#ifndef LANEMAP_SEGMENT_FILTER_BUILD_H
#define LANEMAP_SEGMENT_FILTER_BUILD_H

#include "common/alloc.h"
#include "segment/build.h"

#define LANEMAP_FILTER_E_UNPOPULATED 1

/* Return: the most bytes that a filter of this kind over so many keys adds to a section: a multiple
 * of 64. 0 for no filter, and for no keys. */
uint64_t lanemap_filter_room(uint32_t kind, uint64_t n_keys);

/*
 * bytes        the section, signed, n_bytes long; lanemap_filter_room() bytes of zeros after it
 * ret_n_bytes  its size with the filter
 *
 * Return: 0; LANEMAP_FILTER_E_UNPOPULATED: no seed serves, the section is as it was. Errors:
 * -EINVAL no such kind, or not a section; -ENOMEM. Thread: any. Cost: 40 to 100 ns a key; 18 bytes
 * of memory a key meanwhile (22 with wide fingerprints), in a heap of its own.
 */
int lanemap_filter_append(uint32_t kind, unsigned char *bytes, size_t n_bytes, size_t *ret_n_bytes);

/*
 * The other way, for a section whose filter is damaged: the header says that there is none, and is
 * signed again.
 *
 * bytes        the section as far as its filter, at least
 * ret_n_bytes  what is left of it
 *
 * Return: 0. Errors: -EINVAL there is no filter at its end.
 */
int lanemap_filter_drop(unsigned char *bytes, size_t n_bytes, size_t *ret_n_bytes);

/* The number of seeds that are tried from now on, at most LANEMAP_FILTER_ATTEMPTS. For tests: with
 * 0, no filter is ever populated. */
void lanemap_filter_limit_attempts(uint32_t n_attempts);

#endif
