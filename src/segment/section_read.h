/*
 * Opening and walking a section of any kind: fields of its header, its arrays, its
 * slots. Inside the room: read.c and the kinds use it.
 */
#ifndef LANEMAP_SEGMENT_SECTION_READ_H
#define LANEMAP_SEGMENT_SECTION_READ_H

#include "segment/read.h"

/* A field of the header at `bytes`, in this machine's byte order. */
#define LANEMAP_SECTION8(bytes, member) \
        ((bytes)[offsetof(struct lanemap_segment_section_file, member)])
#define LANEMAP_SECTION16(bytes, member)                                  \
        ((bytes)[offsetof(struct lanemap_segment_section_file, member)] | \
         (uint32_t)(bytes)[offsetof(struct lanemap_segment_section_file, member) + 1] << 8)
#define LANEMAP_SECTION32(bytes, member) \
        lanemap_load_le32((bytes) + offsetof(struct lanemap_segment_section_file, member))
#define LANEMAP_SECTION64(bytes, member) \
        lanemap_load_le64((bytes) + offsetof(struct lanemap_segment_section_file, member))

/*
 * An array of n_bytes and the zeros after it lie between the header and the section's end.
 *
 * Return: 0. Errors: -EBADMSG they do not, or an empty array has an offset.
 */
int lanemap_segment_array_place(const struct lanemap_segment *segment, uint64_t offset,
                                uint64_t n_bytes, const unsigned char **ret_array);

/* The slot of a rank, by the ranks that the header gives for every 64 slots. Return: 0. Errors:
 * -EBADMSG. */
int lanemap_segment_slot_of_rank(const struct lanemap_segment *segment, uint32_t rank,
                                 uint32_t *ret_slot);

#endif
