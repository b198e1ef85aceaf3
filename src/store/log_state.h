/*
 * The log's private state, shared by log_write.c (appending) and log_sync.c (writing). Inside the
 * room only.
 *
 * Records wait in a chain of blocks until they are durable. A block is filled from the front:
 *
 *         | durable | being synced | written | sealed in the write turn | being appended |
 *         0         n_durable      n_syncing n_written                  n_bytes          capacity
 *
 * The apply thread writes after n_bytes, the holder of the write turn between n_written and n_bytes
 * (or, when records go to another file, between n_durable and n_bytes): never the same bytes. The
 * marks themselves change under `mutex`. Only the holder of the sync turn frees blocks.
 *
 * The write turn seals records and writes them to the current file. The sync turn syncs that file,
 * and replaces it: for that it takes the write turn too, for as long as it copies what is not
 * durable from memory. So a sync, or a file that is being made, holds up nobody who writes.
 */
#ifndef LANEMAP_STORE_LOG_STATE_H
#define LANEMAP_STORE_LOG_STATE_H

#include <pthread.h>

#include "store/log_output.h"
#include "store/log_write.h"

struct lanemap_log_block {
        struct lanemap_log_block *next;
        size_t capacity;
        size_t n_bytes;
        size_t n_written;
        size_t n_syncing; /* the sync turn's: written when the sync began */
        size_t n_again;   /* both turns': written to the successor */
        size_t n_durable;
        _Alignas(8) unsigned char bytes[];
};

struct lanemap_log {
        const struct lanemap_files *files_layer;
        const struct lanemap_clock *clock;
        struct lanemap_log_header header; /* what is the same for all files */
        int dir_fd;
        uint64_t file_bytes;
        uint64_t buffer_bytes;

        pthread_mutex_t sync_mutex;  /* the sync turn; taken first */
        pthread_mutex_t write_mutex; /* the write turn; taken next */
        pthread_mutex_t drop_mutex;  /* taken first: one thread drops */
        pthread_mutex_t mutex;       /* taken last, held over no I/O but an fallocate */

        /* under mutex */
        struct lanemap_log_block *head;
        struct lanemap_log_block *tail;
        struct lanemap_log_block *spare;
        uint64_t n_buffered;  /* bytes appended and not durable */
        uint64_t n_unwritten; /* bytes appended and not in the current file */
        uint64_t n_reserved;
        struct lanemap_log_output current;    /* replaced with both turns held */
        struct lanemap_log_output *successor; /* while one is being made: it needs room too */
        struct lanemap_log_file *files;       /* the current one last */
        size_t n_files;
        size_t files_capacity;
        struct lanemap_log_stats stats;

        bool given_up;      /* the current file: it is never written again */
        uint64_t claimed;   /* the largest synced_through in records that were written */
        uint64_t rotate_at; /* the current file is full here */
        uint64_t taken;     /* the last number that the sync under way, or the last one, covers */
        uint64_t write_ns;  /* when the last write began: what is not written is younger */

        /* written under mutex, read by anyone */
        uint64_t last;
        uint64_t last_op; /* the last number of a record with operations */
        uint64_t written;
        uint64_t durable;
        uint64_t proven;
        uint64_t pending_since_ns;   /* since when something appended has not been taken */
        uint64_t undurable_since_ns; /* since when something taken is not durable */
        uint64_t error_since_ns;
        uint64_t sync_since_ns;  /* by the monotonic clock: since when the sync turn is at one */
        uint64_t write_since_ns; /* step, and the write turn; 0: at none */
        uint64_t wrote_ns;       /* when the last write ended */
        bool wrote_slowly;       /* it took long */
        bool is_full;            /* the current file is */
        uint64_t number;
        uint64_t next_number;
        int error;
};

/* The applying thread takes blocks, the sync thread frees them. NULL is fine. */
void lanemap_log_block_free(struct lanemap_log_block *block);

/* Under mutex. Room for `bytes` more, contiguous, in memory and on the disk. */
int lanemap_log_ensure_room(struct lanemap_log *log, size_t bytes);

/* Under mutex, with room for `bytes`, the size of the record. Return: the sequence number. */
uint64_t lanemap_log_append_locked(struct lanemap_log *log, const struct lanemap_log_op *ops,
                                   size_t n_ops, size_t bytes);

/* Under mutex. The file that was just finished becomes the current one. Cannot fail: there is
 * always a free place on the list of files (lanemap_log_files_reserve()). */
void lanemap_log_adopt(struct lanemap_log *log, const struct lanemap_log_output *output);

/* With the sync turn, or before there are other threads. Return: 0: the log has its first file, and
 * is not failing. Errors: as lanemap_log_open(); nothing has changed, and it can be tried again. */
int lanemap_log_first_file(struct lanemap_log *log);

/* Under mutex. The current file's header and directory entry are synced. */
void lanemap_log_note_listed(struct lanemap_log *log);

/* Under mutex. Room for one more file on the list. Return: 0, -ENOMEM. */
int lanemap_log_files_reserve(struct lanemap_log *log);

#endif
