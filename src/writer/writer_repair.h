/*
 * Making a damaged data directory one that a writer opens, and saying what was lost by it.
 *
 *   1. the directory's lock
 *   2. each damaged segment file: what still validates goes into new segment files, synced
 *   3. a log with a hole: what is in front of it goes into a new log file, synced
 *   4. damaged files are linked into quarantine/, synced
 *   5. live keys and pairs are counted again; the new manifest
 *   6. the damaged files' old names are unlinked
 *
 *   Q1  Until 5, the directory is as it was, plus files that nobody names: a crash changes nothing.
 *       After it, files are left that nobody names: the next writer unlinks them.
 *   Q2  No bytes are deleted: what was damaged is in quarantine/.
 *   Q3  A second run finds nothing to do.
 *   Q4  A file whose every byte could be put right again (the 256-bit checksum says so) is no loss.
 */
#ifndef LANEMAP_WRITER_WRITER_REPAIR_H
#define LANEMAP_WRITER_WRITER_REPAIR_H

#include "writer/writer_verify.h"

#define LANEMAP_QUARANTINE_NAME "quarantine"

struct lanemap_repair_options {
        const struct lanemap_files *files;
        const char *directory;
        bool dry_run;         /* say what would be done; no file is changed */
        bool accept_log_loss; /* cut a log at its hole */
        /* Called for each thing that is found, done or lost: one line. */
        void (*say)(void *arg, const char *line);
        void *say_arg;
};

struct lanemap_repair_report {
        uint64_t n_findings;
        uint64_t n_keys_lost;    /* entries that are gone, tombstones among them */
        uint64_t n_keys_suspect; /* entries that were kept, of files whose checksum is wrong */
        uint64_t n_records_lost; /* of the log */
        bool changed;            /* or would be, without dry_run */
        bool lossy;
};

/*
 * Return: 0: the directory is sound now (with dry_run: would be). Errors, and then it is as it was:
 * -EBUSY a writer lives; -EBADMSG it cannot be repaired, error says why and what to do; -ENODATA
 * the log has a hole and accept_log_loss is not set; -ENOENT, -ENOSPC, -ENOMEM, ...
 */
int lanemap_repair_directory(const struct lanemap_repair_options *options,
                             struct lanemap_repair_report *ret_report, struct lanemap_error *error);

#endif
