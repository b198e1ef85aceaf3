/*
 * Reading the log back after a crash, or after a clean stop: the same.
 *
 * Nothing is modified. Two passes: the first reads everything, and finds which records count and
 * what is proven; only when that is in order does the second apply. A log that is refused has
 * therefore applied nothing.
 *
 * Which records count. Files are ordered by number. A record counts when it is valid and its
 * sequence number is not above the `after` of any newer finished file. So each number counts in one
 * file at most.
 *
 * Proof. A sequence number is proven durable when it is at or below: the synced_through of
 * any valid record (also one after damage), the `after` of any finished file, or the highest
 * position in the manifest. A position that was acknowledged is proven, but for the last moments: a
 * later record says so, an idle log's empty record at the latest.
 *
 *   L1  Every record above lowest_position, up to the last one, is applied once and in order.
 *   L2  A proven number above lowest_position with no record that counts is corruption: -EBADMSG,
 *       with file and offset. Nothing proven is ever dropped silently.
 *       So is a page that cannot be read where the next record may have been.
 *   L3  The first number that is not there and not proven ends the log; the bytes after it are a
 *   torn tail that was never acknowledged, and is reported as n_torn_bytes. L4  A file without a
 *   valid header was never finished, and is passed over, unless it is the one
 *       that the manifest requires or L2 misses something.
 */
#ifndef LANEMAP_STORE_LOG_RECOVER_H
#define LANEMAP_STORE_LOG_RECOVER_H

#include "common/file.h"
#include "store/log_record.h"

struct lanemap_log_recover_config {
        const struct lanemap_files *files;
        int dir_fd;
        uint32_t fingerprint_bits;
        unsigned char index_uuid[16];
        uint64_t lowest_position;  /* of all lanes (and the mark): smaller numbers are not needed */
        uint64_t highest_position; /* any that the manifest names: the log was synced through it */
        uint64_t required_number;  /* the file that was current when the manifest was written: it
                                      must be there; 0: none */
        bool salvage; /* corruption is no error: what comes before it is recovered, and the recovery
                         describes the damage. For verify and repair; a writer never sets it */
};

/* The first corruption that a salvaging recovery met. */
struct lanemap_log_damage {
        uint64_t number;           /* of the file; 0: none, or it is a record that no file has */
        uint64_t offset;           /* in it */
        struct lanemap_error text; /* in words; "": there is no damage */
};

/* A log file. One that was never finished, or has no record that counts: last_seq < first_seq. */
struct lanemap_log_file {
        uint64_t number;
        uint64_t first_seq; /* after + 1 */
        uint64_t last_seq;
        uint64_t bytes;    /* as stat says */
        uint32_t finished; /* 1: it has a valid header */
};

struct lanemap_log_recovery {
        uint64_t last_seq;        /* the largest number applied; lowest_position when none was */
        uint64_t proven;          /* the largest number that is proven durable */
        uint64_t next_number;     /* above the number of every log file there is */
        uint64_t n_records;       /* applied, empty ones included */
        uint64_t n_ops;           /* applied */
        uint64_t n_torn_bytes;    /* after the last record that counts, up to the last that is not
                                     zero */
        uint64_t n_damaged_bytes; /* damage found in what is no longer needed */
        struct lanemap_log_file *files; /* ascending by number */
        size_t n_files;
        struct lanemap_log_damage damage; /* with config->salvage only */
};

/*
 * Called once per record; n_ops is 0 for an empty one. ops and marks are valid during the call
 * only. Anything but 0 stops, and is returned.
 */
typedef int (*lanemap_log_apply)(void *arg, uint64_t seq, const struct lanemap_log_op *ops,
                                 size_t n_ops);

/*
 * Find the log files of a directory, check them, and apply what they hold above lowest_position.
 *
 * apply          NULL: only check
 * ret_recovery   give it back with lanemap_log_recovery_deinit()
 * error          may be NULL; a sentence or two
 *
 * A writer that comes up calls this without apply, then lanemap_log_open() (which makes durable
 * what is not proven to be), then lanemap_log_replay(): whatever it replays may then be flushed and
 * named by a manifest at once.
 *
 * Return: 0, also when there is no log file. Errors: -EBADMSG corruption; -EINVAL a log of another
 * index; -EPROTONOSUPPORT a newer format; -ENOMEM; errno of open and read.
 * Thread: any; nobody may be writing (the directory lock is held). Cost: reads every log file
 * twice, in buffers of 256 KiB, or of one record where that is larger.
 */
int lanemap_log_recover(const struct lanemap_log_recover_config *config, lanemap_log_apply apply,
                        void *arg, struct lanemap_log_recovery *ret_recovery,
                        struct lanemap_error *error);

/*
 * Apply what a recovery found, from its files, which must still be there.
 *
 * ret_n_ops      how many operations; may be NULL
 *
 * Return: 0, or what apply answered. Errors: -EBADMSG, -EIO the files have changed; -ENOMEM; errno
 * of open and read.
 */
int lanemap_log_replay(const struct lanemap_log_recover_config *config,
                       const struct lanemap_log_recovery *recovery, lanemap_log_apply apply,
                       void *arg, uint64_t *ret_n_ops, struct lanemap_error *error);

void lanemap_log_recovery_deinit(struct lanemap_log_recovery *recovery);

/*
 * Visit the records that count and are numbered lowest + 1 .. last, in order, as they are in the
 * files of a recovery (scan->at is the end of the record). Inside the room: lanemap_log_open()
 * copies with it.
 *
 * Return: 0, or what visit answered. Errors: -EIO a number is missing; -ENOMEM; errno of open and
 * read.
 */
struct lanemap_log_scan;
typedef int (*lanemap_log_visit)(void *arg, const struct lanemap_log_scan *scan,
                                 const struct lanemap_log_record *record,
                                 const unsigned char *bytes);
int lanemap_log_walk(const struct lanemap_files *files_layer, int dir_fd,
                     const struct lanemap_log_file *files, size_t n_files, uint64_t lowest,
                     uint64_t last, lanemap_log_visit visit, void *arg);

#endif
