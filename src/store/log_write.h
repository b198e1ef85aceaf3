/*
 * Writing the log. Records are appended to memory by whoever applies them, written by the same
 * thread or another one, and synced by a third, in groups.
 *
 *         apply thread, under the engine's lock        any thread         sync thread
 *         reserve -> (apply) -> append -> publish      write              write_and_sync
 *                                                      written advances   durable advances
 *
 * There are two turns: one thread at a time writes, one syncs. Writes go on during a sync.
 *
 * A writer only ever starts new files. After a short write or a failed sync the file is given up
 * for good, since what the kernel still holds of it proves nothing: everything that is not durable
 * is written again into a new file, from memory, where it is kept until it is durable.
 *
 *   E1  A record is durable only after the sync of its file, of that file's header and of its
 *       directory entry.
 *   E2  After a successful reserve, append cannot fail, and there is room on the disk for it.
 *   E3  While the log cannot be written, reserve refuses: nothing is applied that cannot be logged.
 *   E4  The header of a new file names an `after` that is durable, and is written when the file has
 *       all records above `after` that were written to the one before: who kills the process then
 *       finds them in the page cache. The first file of a writer takes over records of which
 *       some may be durable: they are synced before its header is written.
 *   E5  As soon as the header of a new file may have reached the disk, no older file is written.
 *   E6  A write waits for no sync, and for no new file but while it takes over what is not durable.
 *
 * Thread: calls may be made from any thread at any time (one mutex inside for what is shared, two
 * for the turns), with two exceptions: a reserve and the append that uses it must not be
 * interleaved with another such pair (the engine's lock does that), and close comes last.
 */
#ifndef LANEMAP_STORE_LOG_WRITE_H
#define LANEMAP_STORE_LOG_WRITE_H

#include "common/clock.h"
#include "common/file.h"
#include "store/log_record.h"
#include "store/log_recover.h"

#define LANEMAP_LOG_FILE_BYTES_DEFAULT   (UINT64_C(64) << 20)
#define LANEMAP_LOG_BUFFER_BYTES_DEFAULT (UINT64_C(64) << 20)

/* A sync that takes longer is counted as slow. */
#define LANEMAP_LOG_SLOW_NS (UINT64_C(1) * 1000 * 1000 * 1000)

struct lanemap_log_config {
        const struct lanemap_files *files; /* kept; outlives the log */
        const struct lanemap_clock *clock; /* kept; outlives the log */
        int dir_fd;                        /* kept; not closed */
        uint32_t fingerprint_bits;
        unsigned char index_uuid[16];
        bool may_be_full;      /* a full disk is no error: see lanemap_log_open() */
        uint64_t number;       /* lanemap_log_number() until there is a file */
        uint64_t next_number;  /* of the first file; numbers already in use are passed over */
        uint64_t after;        /* the highest position that the manifest names; 0: a new index */
        uint64_t file_bytes;   /* a larger file is followed by a new one; 0: the default */
        uint64_t buffer_bytes; /* most bytes not yet durable; 0: the default */
        const struct lanemap_log_recovery *recovery; /* what the old files hold; NULL: none exist.
                                                        Not kept. */
};

struct lanemap_log;

/*
 * Start the log with a new file. With a recovery, every record above what is proven is first
 * copied, under its own number, from the old files into the new one, and synced (a predecessor's
 * page cache proves nothing); the old files stay until lanemap_log_drop(). The next record is
 * numbered 1 + the largest of config->after, recovery->proven and recovery->last_seq; everything
 * before it is durable when this returns.
 *
 * With config->may_be_full a disk without room for that file is no error. The log is failing then
 * (E3) with -ENOSPC or -EDQUOT, and lanemap_log_write_and_sync() tries again. Durable is then what
 * is proven, or all of it where the file system can say what is on the disk (O_DIRECT).
 *
 * Return: 0. Errors: -ENOSPC, -EIO, -ENOMEM, errno of the file layer; then a file without records
 * that count may be left, which the next recovery passes over.
 */
int lanemap_log_open(const struct lanemap_log_config *config, struct lanemap_log **ret_log);

/* Frees; writes nothing, so write_and_sync and settle come before it. NULL is fine. */
void lanemap_log_close(struct lanemap_log *log);

/*
 * Make sure that a record of that size can be appended: room in memory and on the disk, in a log
 * that can be written. Replaces an earlier reservation that was not used.
 *
 * bytes          lanemap_log_record_bytes() of the operations, or an upper bound; at most
 *                LANEMAP_LOG_RECORD_BYTES_MAX, for at most LANEMAP_LOG_OPS_MAX operations
 *
 * Return: 0. Errors, and then nothing may be applied: -ENOSPC the disk is full; -EIO the log is
 * failing, and the sync thread is at it; -EAGAIN buffer_bytes of records are not durable yet, so
 * the sync thread has to write first: wait for lanemap_log_durable() to move, and try again;
 * -ENOMEM; -EINVAL too large. Cost: nothing most times; an fallocate of 64 KiB to 4 MiB at a time.
 */
int lanemap_log_reserve(struct lanemap_log *log, size_t bytes);

/*
 * Append one record, in memory. Needs a reservation, and uses it up.
 *
 * ret_seq        its sequence number
 *
 * Cost: an uncontended mutex and a copy of 12 to 20 bytes per operation.
 */
void lanemap_log_append(struct lanemap_log *log, const struct lanemap_log_op *ops, size_t n_ops,
                        uint64_t *ret_seq);

/*
 * Write everything that is appended and not yet written, into the current file even if it is full.
 * Waits for another thread's write, never for a sync or a new file.
 *
 * Return: 0. Errors: errno of the file layer; -EIO the file was given up: the next
 * lanemap_log_write_and_sync() starts another.
 */
int lanemap_log_write(struct lanemap_log *log);

/*
 * The same for a thread that must not wait: writes only while no other thread writes or syncs, and
 * the last write was quick and has just been, so that the disk is known to get on.
 *
 * Return: 0; 1 nothing was written, or not all of it: lanemap_log_write() has to. Errors: as
 * lanemap_log_write(). Cost: a pwrite.
 */
int lanemap_log_try_write(struct lanemap_log *log);

/*
 * Write everything that is appended and not yet written; with want_sync also sync it, after which
 * all that was appended before the call is durable. Goes on to a new file where one is full, or
 * has failed. While lanemap_log_error() says something it is called although nothing new has been
 * appended: that is how the log recovers by itself.
 *
 * Return: 0, also when there was nothing to do. Errors: errno of the file layer; it is remembered
 * (lanemap_log_error()), and the next call tries again, with a new file. The caller leaves some
 * time (100 ms, say) between failing calls.
 */
int lanemap_log_write_and_sync(struct lanemap_log *log, bool want_sync);

/*
 * For a log that has been idle for a while (and before closing): when everything appended is
 * durable but no record on the disk says so, write and sync an empty record that does. Does nothing
 * otherwise, so it can be called again and again.
 *
 * Return: 0. Errors: as lanemap_log_reserve() and lanemap_log_write_and_sync().
 */
int lanemap_log_settle(struct lanemap_log *log);

/*
 * Only the append of that record, for a sync thread whose next round syncs it. It takes a sequence
 * number, so it must not come between a reserve and the append that uses it.
 *
 * Return: 1 appended, 0 there was no need. Errors: as lanemap_log_reserve().
 */
int lanemap_log_settle_append(struct lanemap_log *log);

/* The last sequence number: appended; handed to the kernel; durable; proven durable on disk. */
uint64_t lanemap_log_last(const struct lanemap_log *log);
uint64_t lanemap_log_written(const struct lanemap_log *log);
uint64_t lanemap_log_durable(const struct lanemap_log *log);
uint64_t lanemap_log_proven(const struct lanemap_log *log);

/* When the oldest record that is not durable was appended, or a little earlier; 0: all are. */
uint64_t lanemap_log_oldest_unsynced_ns(const struct lanemap_log *log);

/* Since when a sync, or the making of a new file, has been at its present step; 0: none is. By the
 * monotonic clock. */
uint64_t lanemap_log_sync_since_ns(const struct lanemap_log *log);

/* The same of a sync or a write, whichever has been at it longer. */
uint64_t lanemap_log_busy_since_ns(const struct lanemap_log *log);

/* Return: true if the current file is full: the next lanemap_log_write_and_sync() starts one. */
bool lanemap_log_is_full(const struct lanemap_log *log);

/* Return: true if what is not durable takes half of the memory that it may, or so much that a large
 * record has no room: it is time for a sync. Cost: a load. */
bool lanemap_log_is_filling(const struct lanemap_log *log);

/*
 * Return: true if a reserve would return at once: there is room in memory for `bytes`, and
 * `allocated_bytes` of what is allocated on the disk are not used. Waits for nothing, so it can be
 * wrong in the safe direction: false while another thread is in the log. While the log is failing:
 * true, a reserve refuses at once.
 */
bool lanemap_log_is_ready(struct lanemap_log *log, size_t bytes, size_t allocated_bytes);

/* 0, or the negative errno of the last failed attempt, and when the failing began. */
int lanemap_log_error(const struct lanemap_log *log, uint64_t *ret_since_ns);

/* The number of the current file: the manifest keeps it as the one that must exist. */
uint64_t lanemap_log_number(const struct lanemap_log *log);

/* The manifest's next_log_number: above every number in use. */
uint64_t lanemap_log_next_number(const struct lanemap_log *log);

/*
 * Unlink the files all of whose records are at or below through_seq, once a durable manifest covers
 * them; never the current one, nor one numbered keep_number or above (the log_number of that
 * manifest).
 *
 * Return: the number of files unlinked. Errors: the first errno of the file layer; the files whose
 * unlinking failed are kept on the list and tried again next time.
 */
int lanemap_log_drop(struct lanemap_log *log, uint64_t through_seq, uint64_t keep_number);

struct lanemap_log_stats {
        uint64_t n_files;
        uint64_t bytes;          /* of all files, space taken ahead included */
        uint64_t buffered_bytes; /* of records not yet durable, in memory */
        uint64_t n_records;      /* appended */
        uint64_t op_bytes;       /* appended, as records */
        uint64_t n_syncs;        /* fdatasyncs of records */
        uint64_t n_rotations;
        uint64_t n_restarts;   /* files given up after a failure */
        uint64_t n_slow_syncs; /* that took longer than LANEMAP_LOG_SLOW_NS */
        uint64_t sync_max_ns;  /* the longest */
};
void lanemap_log_get_stats(struct lanemap_log *log, struct lanemap_log_stats *ret_stats);
/* Return: 0; -EAGAIN another thread, at a disk that hangs perhaps, has been in the log for
 * wait_ns. */
int lanemap_log_try_stats(struct lanemap_log *log, uint64_t wait_ns,
                          struct lanemap_log_stats *ret_stats);

/*
 * The files, ascending by number, the current one last: which seqs pin which bytes.
 * Return: how many there are; no more than `capacity` are written.
 */
size_t lanemap_log_get_files(struct lanemap_log *log, struct lanemap_log_file *ret_files,
                             size_t capacity);

#endif
