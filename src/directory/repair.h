/*
 * Making a damaged data directory one that a writer opens, and saying what was lost by it.
 *
 *   1. the directory's lock; everything is verified
 *   2. the entries of each damaged segment file that can be recovered (directory/salvage.h), and
 *      the log before its hole: in memory
 *   3. the new log file, then new segment files: written, synced, renamed, directory synced
 *   4. damaged files linked into quarantine/ under their names, synced
 *   5. live keys and pairs counted again; the new manifest
 *   6. the old names of damaged files unlinked
 *
 *   Q1  A crash before 5 leaves the damage as it was, and files that no manifest names; a crash
 *       after it, old names that nobody needs. Either way repair can be run again.
 *   Q2  No bytes are deleted: damaged files are in quarantine/.
 *   Q3  After it, verify finds nothing; a second run does nothing.
 *   Q4  A file whose every byte could be put right (the 256-bit checksum says so) is no loss.
 */
#ifndef LANEMAP_DIRECTORY_REPAIR_H
#define LANEMAP_DIRECTORY_REPAIR_H

#include "verify/verify.h"

struct lanemap_repair_options {
        const struct lanemap_files *files;
        const char *directory;
        bool dry_run;         /* say what would be done; nothing is changed */
        bool accept_log_loss; /* cut a log at its hole */
        /* Called for each thing that is found, done or lost: one line. */
        void (*say)(void *arg, const char *line);
        void *say_arg;
};

struct lanemap_repair_report {
        uint64_t n_findings;
        uint64_t n_keys_lost;    /* entries that are gone, tombstones among them */
        uint64_t n_keys_suspect; /* kept, of files some byte of which is wrong */
        uint64_t n_records_lost; /* of the log, as far as is known */
        bool lossy;
};

/*
 * Return: 0: the directory is sound now (with dry_run: would be). Errors, and then nothing that is
 * in use was changed: -EBUSY a writer lives; -ENODATA the log has lost records, and accept_log_loss
 * is not set; -EBADMSG it cannot be repaired; error says why and what to do; -ENOENT, -ENOSPC,
 * -ENOMEM, ...
 */
int lanemap_repair_directory(const struct lanemap_repair_options *options,
                             struct lanemap_repair_report *ret_report, struct lanemap_error *error);

#endif
