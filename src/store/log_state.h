/*
 * The log's private state, shared by log_write.c (appending) and log_sync.c (writing). Inside the
 * room only.
 *
 * Records wait in a chain of blocks until they are durable. A block is filled from the front:
 *
 *         | durable | written | sealed by the sync thread | being appended |
 *         0         n_durable n_written                   n_bytes          capacity
 *
 * The apply thread writes after n_bytes, the sync thread (the holder of sync_mutex) between
 * n_written and n_bytes: never the same bytes. The marks themselves change under `mutex`. Only the
 * sync thread frees blocks.
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

        pthread_mutex_t sync_mutex; /* taken first: one thread writes and syncs */
        pthread_mutex_t drop_mutex; /* taken first: one thread drops */
        pthread_mutex_t mutex;

        /* under mutex */
        struct lanemap_log_block *head;
        struct lanemap_log_block *tail;
        struct lanemap_log_block *spare;
        uint64_t n_buffered;  /* bytes appended and not durable */
        uint64_t n_unwritten; /* bytes appended and not in the current file */
        uint64_t n_reserved;
        struct lanemap_log_output current;
        struct lanemap_log_output *successor; /* while one is being finished: it needs room too */
        struct lanemap_log_file *files;       /* the current one last */
        size_t n_files;
        size_t files_capacity;
        struct lanemap_log_stats stats;

        /* under sync_mutex */
        bool given_up;      /* the current file: it is never written again */
        uint64_t taken;     /* the last number when the writing began */
        uint64_t claimed;   /* the largest synced_through in records that were written */
        uint64_t rotate_at; /* the current file is full here */

        /* written under mutex, read by anyone */
        uint64_t last;
        uint64_t last_op; /* the last number of a record with operations */
        uint64_t written;
        uint64_t durable;
        uint64_t proven;
        uint64_t pending_since_ns;   /* since when something appended has not been taken */
        uint64_t undurable_since_ns; /* since when something taken is not durable */
        uint64_t error_since_ns;
        uint64_t progress_ns; /* by the monotonic clock */
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

/* Under mutex. Room for one more file on the list. Return: 0, -ENOMEM. */
int lanemap_log_files_reserve(struct lanemap_log *log);

#endif
