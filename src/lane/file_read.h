/*
 * A segment file in a process: mapped, parsed, its pages made present. One way of doing it for
 * readers and for the writer.
 *
 * Making pages present reads the disk if it must, and takes as long as that takes: it is for
 * threads that nobody waits for, never for a lookup. Huge pages are asked for where a file is
 * served from a tmpfs: the mapping begins at a multiple of their size, and what the kernel does not
 * know or does not want to do is as harmless as not asking.
 *
 * Thread: any; nothing is shared.
 */
#ifndef LANEMAP_LANE_FILE_READ_H
#define LANEMAP_LANE_FILE_READ_H

#include <sys/mman.h>

#include "lane/read.h"
#include "segment/file_read.h"

/* Since Linux 5.14 and 6.1; the C library may be older than the kernel. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define LANEMAP_LANE_HUGE_PAGE_BYTES (UINT64_C(2) << 20)

/*
 * Maps the whole of an open file, read-only and shared; nothing is read yet.
 *
 * huge     begin at a multiple of a huge page, where the file has at least one
 *
 * Return: 0. Errors: -EBADMSG not a regular file, or empty; errno of mmap(2). Owner: the caller,
 * munmap().
 */
int lanemap_lane_file_map(int fd, bool huge, void **ret_bytes, uint64_t *ret_n_bytes);

/*
 * Reads, without a mapping, what lanemap_lane_file_parse() will read of one: header, table and the
 * sections' headers. Bytes that the disk does not give up are an error here, and a signal there.
 *
 * Return: 0, also where the bytes are none of ours. Errors: errno of pread(2). Cost: a system call
 * for each section.
 */
int lanemap_lane_file_probe(int fd);

/* Makes a range of a mapping present. Return: 0, or -EFAULT: not all of it can be read. */
int lanemap_lane_file_populate(const void *bytes, uint64_t n_bytes);

/* Puts a file of a tmpfs into huge pages, for this mapping and every other. Return: 0, or a
 * negative errno that changes nothing: the kernel does not know this, or has no such page now. */
int lanemap_lane_file_collapse(const void *bytes, uint64_t n_bytes);

/* Return: the bytes that lanemap_lane_file_parse() fills. */
LANEMAP_ALWAYS_INLINE size_t lanemap_lane_file_bytes(const struct lanemap_segment_file *header)
{
        return sizeof(struct lanemap_lane_file) +
               header->n_sections * sizeof(struct lanemap_segment);
}

/*
 * Opens every section of a file whose header is valid.
 *
 * ret_file   lanemap_lane_file_bytes(), the caller's
 *
 * Return: 0. Errors: -EBADMSG, -EPROTONOSUPPORT.
 */
int lanemap_lane_file_parse(const struct lanemap_segment_file *header, uint32_t fingerprint_bits,
                            struct lanemap_lane_file *ret_file);

#endif
