/*
 * One log file on its way to the disk. Inside the room only.
 *
 *         begin -> (put)* -> head or finish -> (put, sync)*      or abandon, at any time
 *
 * Until head the file has no header, so a crash leaves something that recovery passes over. From
 * the moment head is called the header may be on the disk, whatever head answers. The first sync
 * after it syncs the directory entry too.
 */
#ifndef LANEMAP_STORE_LOG_OUTPUT_H
#define LANEMAP_STORE_LOG_OUTPUT_H

#include "common/file.h"
#include "store/log_scan.h"

struct lanemap_log_output {
        const struct lanemap_files *files;
        int dir_fd;
        int fd; /* -1: none */
        struct lanemap_log_header header;
        uint64_t seed;
        uint64_t end;       /* after the last record written */
        uint64_t allocated; /* bytes that the disk has allocated: writes up to here have room */
        bool is_listed;     /* its header and its directory entry are synced */
};

/*
 * Create a file with room for room_bytes of records. header->number is the first number to try;
 * those in use are passed over. header->file_uuid is made here.
 */
int lanemap_log_output_begin(const struct lanemap_files *files, int dir_fd,
                             const struct lanemap_log_header *header, uint64_t room_bytes,
                             struct lanemap_log_output *ret_output);

/* Make sure that there is room up to `end`, in steps that double up to 4 MiB. */
int lanemap_log_output_allocate(struct lanemap_log_output *output, uint64_t end);

/* Write sealed records at output->end, which the caller then advances, under its lock. */
int lanemap_log_output_put(struct lanemap_log_output *output, const void *records, size_t bytes);

/* Write both headers; sync nothing. */
int lanemap_log_output_head(struct lanemap_log_output *output);

/* Sync the records, then head, then sync all: for records that may be durable elsewhere, where the
 * header makes them void. Sets is_listed. */
int lanemap_log_output_finish(struct lanemap_log_output *output);

/* Sync what was written, and a file that is not listed yet in its directory, too. The caller sets
 * is_listed of what it keeps. */
int lanemap_log_output_sync(const struct lanemap_log_output *output);

void lanemap_log_output_close(struct lanemap_log_output *output);

/* Close and unlink, as far as that goes. */
void lanemap_log_output_abandon(struct lanemap_log_output *output);

#endif
