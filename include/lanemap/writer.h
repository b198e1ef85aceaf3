/*
 * lanemap's write side: the engine without a process around it.
 *
 * lanemapd is a thin edge on this; a program that wants the writer inside itself links
 * liblanemap-writer.a. One writer owns one directory and one published name; both are locked by the
 * kernel for as long as the process lives.
 *
 * Durability: an operation is published to readers when apply returns, and durable once
 * lanemap_writer_durable() has reached the position that apply gave. Whoever acknowledges
 * operations to somebody else waits for that. Positions are the numbers of log records: they rise,
 * and go on over restarts.
 *
 * All calls may be made from any thread; applies are serialised by the engine. An
 * engine lives in the process that opened it: a forked child calls nothing of it.
 *
 * The engine uses liburcu's bullet-proof flavour for its own lookups, and makes none of its fork
 * calls: a program that uses that flavour itself makes them, as liburcu asks, and one that does not
 * needs none. Flushes wait for read-side sections of that flavour, the program's own included: keep
 * these short. They do not wait for views (lanemap.h).
 */
#ifndef LANEMAP_WRITER_H
#define LANEMAP_WRITER_H

#ifndef LANEMAP_DECLARATIONS_ONLY /* as in lanemap.h */
#include <lanemap/lanemap.h>
#ifdef __cplusplus
extern "C" {
#endif
#endif /* LANEMAP_DECLARATIONS_ONLY */

#define LANEMAP_MARK_BYTES_MAX 255

/* One apply is one log record: at most so many operations, and so many bytes at 20 an operation and 4 more for
 * each mark, besides the mark itself. */
#define LANEMAP_APPLY_OPS_MAX   524288U
#define LANEMAP_APPLY_BYTES_MAX 16777152U

enum lanemap_appendfsync {
        LANEMAP_APPENDFSYNC_ALWAYS =
                0, /* durable positions advance by fdatasync, as fast as it goes */
        LANEMAP_APPENDFSYNC_EVERYSEC = 1, /* fdatasync once a second; acknowledge at once unless
                                             that is late: see lanemap_writer_acknowledgeable() */
        LANEMAP_APPENDFSYNC_NO = 2        /* the kernel decides */
};

/* How a segment finds its keys. perf/segments measures them side by side. */
enum lanemap_segment_kind {
        LANEMAP_SEGMENT_PACKED = 1, /* sorted fingerprints: smallest, fastest to build and merge */
        LANEMAP_SEGMENT_RECSPLIT = 2, /* RecSplit, 1.8 bits a key of index: slow to build */
        LANEMAP_SEGMENT_BBHASH = 3    /* BBHash with gamma 2, 3.5 bits a key of index */
};

/* Which segments get a filter (binary fuse, 9 bits a key) in front, so that absent keys cost less. */
enum lanemap_filter_policy {
        LANEMAP_FILTER_NEVER = 1, /* none */
        LANEMAP_FILTER_AUTO = 2,  /* where it was measured to pay: perfect hashes */
        LANEMAP_FILTER_ALWAYS = 3 /* all */
};

struct lanemap_writer_hooks; /* the outside passed in, for tests: files and clock (src/writer/) */

/* All members but name and directory may be 0: the defaults. Set `size` first. */
struct lanemap_writer_options {
        size_t size;
        const char *name;      /* what readers attach to */
        const char *directory; /* segments, manifest, log; created (0750) if it does not exist */

        /* At creation only; an existing index keeps its own, and a different value is -EINVAL. */
        uint32_t n_lanes;          /* 1 .. 1024; 0: 64 */
        uint32_t fingerprint_bits; /* 64, 80 or 96; 0: 64 */

        uint32_t appendfsync; /* enum lanemap_appendfsync */
        uint32_t n_workers;   /* compaction threads; 0: 1 */

        uint64_t flush_bytes; /* overlays of all lanes together are flushed at this size; 0: adapts
                               */
        uint64_t log_file_bytes;   /* a log file is followed by a new one at this size; 0: 64 MiB */
        uint64_t shared_bytes_max; /* the data object never grows past this; 0: 64 GiB; where the
                                      address space is limited (RLIMIT_AS), at most an eighth of it */
        uint64_t quarantine_ns;    /* freed shared memory is not reused earlier; 0: 5 ms, or 250 ms
                                      while that takes no more than 8 MiB
                                      and a 64th of /dev/shm */
        uint32_t immediate_reuse;  /* 1: no quarantine at all (tests: validation must then save
                                      readers) */
        uint32_t shared_mode;      /* permission bits of the shared objects; 0: 0640 */
        uint64_t outcome_limit_ns; /* how long a failing log may keep an operation undecided before
                                      lanemap_writer_durable() answers its error; 0: 5 s */
        uint64_t scrub_bytes_per_second; /* how fast segment files are read again in the background
                                            and checked; 0: 8 MiB/s; UINT64_MAX: not at all */

        /* For segments made from now on; an index holds any mix. What is given here is kept in the
         * manifest; 0: what was given last, else the default. */
        uint32_t segment_kind_young;  /* enum lanemap_segment_kind; packed */
        uint32_t segment_kind_bottom; /* of the lowest level, where most keys are; packed */
        uint32_t filter;              /* enum lanemap_filter_policy; auto */

        /* An existing directory on a tmpfs: copies of the segment files are served from a directory
         * of the index's own in it; NULL: the originals are served. */
        const char *serve_from;
        uint64_t lock_bytes; /* of what is served, so much is kept in memory, newest levels first */

        uint64_t compaction_bytes_per_second; /* how fast merges may write, those that are asked for
                                                 too; flushes are never slowed; 0: no limit */

        /* Called from any engine thread, one line without newline; priority as in syslog(3). */
        void (*log)(void *arg, int priority, const char *line);
        void *log_arg;

        const struct lanemap_writer_hooks *hooks; /* NULL: the real world */
        struct lanemap_error *error;              /* filled when open fails; may be NULL */
};

enum lanemap_op_code {
        LANEMAP_OP_ADD = 1,    /* add the pair (key, id) */
        LANEMAP_OP_REMOVE = 2, /* remove the pair (key, id) */
        LANEMAP_OP_DELETE = 3, /* remove all pairs of key; id unused */
        LANEMAP_OP_CLEAR = 4,  /* remove everything; key and id unused */
        LANEMAP_OP_MARK =
                5 /* remember key[0..key_bytes), 0 .. LANEMAP_MARK_BYTES_MAX, as the mark */
};

struct lanemap_op {
        uint32_t code; /* enum lanemap_op_code */
        uint32_t id;
        const void *key;
        size_t key_bytes;
};

struct lanemap_op_result {
        uint32_t
                n_changed; /* pairs added or removed by this operation: 0 or 1 for ADD and REMOVE */
        uint32_t n_ids;    /* how many ids the key has now */
};

struct lanemap_writer;

/*
 * Open or create the index in options->directory, recover it, and publish it as options->name.
 *
 * Return: 0. Errors, each explained in options->error: -EBUSY another writer holds the directory or
 * the name; -EINVAL; -EBADMSG a manifest, log or segment fails validation; -EPROTONOSUPPORT a newer
 * format; -ENOSPC no room on the disk or in shared memory; any other errno of the file system.
 * Nothing is deleted or changed when open fails, and
 * a name that had no shared objects before has none but its lock. Cost: reads the log that no segment covers yet.
 */
int lanemap_writer_open(const struct lanemap_writer_options *options,
                        struct lanemap_writer **ret_writer);

/* Flushes, syncs, says CLOSED to the readers (who go on answering), gives the locks up. NULL is
 * fine. */
void lanemap_writer_close(struct lanemap_writer *writer);

/*
 * Apply operations in order, as one record of the log: after a crash all of them are there, or
 * none.
 *
 * ret_results    one per operation; may be NULL
 * ret_n_applied  how many operations of the prefix were applied; equals n_ops on success; may be
 * NULL ret_position   the position that must become durable before any of this is acknowledged,
 * also when nothing changed; may be NULL. Set whenever *ret_n_applied > 0 or the return value is 0.
 *
 * Return: 0. Errors: operations from *ret_n_applied on have not been applied and never will be:
 * -EINVAL bad key, id or code; -ENOSPC the disk or the shared memory is full, or RLIMIT_FSIZE is
 * reached (a program with such a limit ignores SIGXFSZ); -EIO the log cannot be written now;
 * -ENOENT the data directory was moved or deleted. Writing resumes by itself when the cause is gone:
 * try again. -ESTALE it does not: lanemap_writer_get_health() says fatal; close the writer. Cost: per
 * operation one lookup, and amortised constant work; O(log n) in a long posting.
 */
int lanemap_writer_apply(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                         struct lanemap_op_result *ret_results, size_t *ret_n_applied,
                         uint64_t *ret_position);

/*
 * As the reader's calls of the same name, on the writer's own state. ret_position: the last
 * position applied when the answer was computed; what is told to somebody else waits for it. May be
 * NULL.
 */
int lanemap_writer_lookup(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                          uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids,
                          uint64_t *ret_position);
int lanemap_writer_contains(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                            uint32_t id, uint64_t *ret_position);

/* The last position applied. */
uint64_t lanemap_writer_position(struct lanemap_writer *writer);

/*
 * Through which position a crash can undo nothing.
 *
 * ret_error      0, or the negative errno that has kept the log from getting durable for longer
 * than options->outcome_limit_ns: whoever waits for a later position gets "outcome unknown". The
 *                engine goes on trying, in a new file. May be NULL.
 */
uint64_t lanemap_writer_durable(struct lanemap_writer *writer, int *ret_error);

/*
 * Through which position replies may leave under the fsync policy in force: under ALWAYS what is
 * durable; under EVERYSEC what was handed to the kernel, unless the oldest record not yet durable is a
 * second old, then what is durable; under NO what was handed to the kernel. ret_error as above.
 */
uint64_t lanemap_writer_acknowledgeable(struct lanemap_writer *writer, int *ret_error);

/* Blocks until `position` is durable. Return: 0 or the error of lanemap_writer_durable(). */
int lanemap_writer_sync(struct lanemap_writer *writer, uint64_t position);

/* Changes the fsync policy. Return: 0, -EINVAL. */
int lanemap_writer_set_appendfsync(struct lanemap_writer *writer, uint32_t appendfsync);
uint32_t lanemap_writer_get_appendfsync(struct lanemap_writer *writer);

/*
 * A file descriptor (an eventfd, level-triggered until read) that becomes readable when the durable
 * position has advanced, a request has ended, or an error began or ended. Owner: the engine; do not
 * close.
 */
int lanemap_writer_event_fd(struct lanemap_writer *writer);

enum lanemap_request {
        LANEMAP_REQUEST_FLUSH = 1, /* everything applied so far reaches segments and the manifest */
        LANEMAP_REQUEST_COMPACT =
                2, /* flush, then one segment per lane, tombstones gone, memory given back */
        LANEMAP_REQUEST_FLIP = 3 /* flush, then copy into a fresh data object (a new generation) */
};
#define LANEMAP_PENDING 1

/* Start one; *ret_ticket names it. Return: 0, -EINVAL, -ENOMEM. Does not block. */
int lanemap_writer_request(struct lanemap_writer *writer, uint32_t request, uint64_t *ret_ticket);

/* Return: LANEMAP_PENDING, 0 when it is done, or the negative errno that ended it. */
int lanemap_writer_request_state(struct lanemap_writer *writer, uint64_t ticket);

/* Blocks until it has ended. Return: 0 or the negative errno. */
int lanemap_writer_request_wait(struct lanemap_writer *writer, uint64_t ticket);

/*
 * The last mark applied, and the position of its record. After open that is the last durable one: a
 * feed resumes from there.
 *
 * mark           room for LANEMAP_MARK_BYTES_MAX bytes
 * ret_bytes      0 when no mark was ever set
 */
void lanemap_writer_mark(struct lanemap_writer *writer, void *mark, size_t *ret_bytes,
                         uint64_t *ret_position);

/*
 * All distinct ids, ascending, in an array that the caller frees with lanemap_writer_ids_free(). An
 * id that is live during the whole call is there; one that is live at no moment of it is not.
 *
 * Return: 0, -ENOMEM, -EBADMSG. Cost: reads the whole index, a lane at a time; run it off the event
 * loop.
 */
int lanemap_writer_ids(struct lanemap_writer *writer, uint32_t **ret_ids, size_t *ret_n_ids);
void lanemap_writer_ids_free(uint32_t *ids);

/*
 * For a program's SIGBUS handler: a page of a mapped file cannot be read (media error, a file that
 * was cut short, failing memory). The engine installs no handler; without one such a page ends the
 * process.
 *
 *     static void bus_error(int number, siginfo_t *info, void *context)
 *     {
 *             if (!lanemap_writer_bus_error(info->si_addr))
 *                     ... not the engine's: end the process as it would end otherwise
 *     }
 *
 * address   siginfo_t.si_addr
 *
 * Return: 1: it lies in a segment file that an engine of this process has mapped. The page reads as
 * zeros from here on, and nothing that was computed from it is believed: lookups and operations that
 * need its section answer -EBADMSG, the file is found damaged (stats.degraded, one line in the log),
 * everything else goes on. Return from the handler. 0: not the engine's, nothing was touched.
 * Thread: any; async-signal-safe. Cost: one mmap(2) for a section of a file.
 */
int lanemap_writer_bus_error(const void *address);

static const uint64_t LANEMAP_FINDING_NO_OFFSET = 18446744073709551615UL; /* UINT64_MAX */
#define LANEMAP_FINDING_NO_LANE 4294967295U

/* Something in the data directory that is not what was written. */
struct lanemap_finding {
        char file[64];   /* name in the data directory */
        uint64_t offset; /* in the file; LANEMAP_FINDING_NO_OFFSET: no one place */
        uint32_t lane;   /* LANEMAP_FINDING_NO_LANE: it concerns none, or several */
        uint64_t n_keys; /* entries that can be wrong or gone because of it, at most */
        char what[192];  /* in words */
};

/*
 * Check everything that the manifest in force names, at full speed: manifest, segment files (bytes,
 * order, counts), live keys and pairs of every lane, log. What is found is logged once, and
 * stats.degraded stays set while a damaged file is named, or until all of it can be read again: a
 * file that was found damaged earlier, and is sound now, is believed again.
 *
 * ret_findings   one block that the caller frees with lanemap_writer_findings_free(); NULL when
 *                everything is sound
 *
 * Return: 0: everything was looked at. Errors: -EAGAIN the index changed too fast to be looked at;
 * -ENOMEM; errno of the file system. Cost: reads every file, 1 ns a byte and 40 ns an entry; run it
 * off the event loop. No lock is held meanwhile.
 */
int lanemap_writer_verify(struct lanemap_writer *writer, struct lanemap_finding **ret_findings,
                          size_t *ret_n_findings);
void lanemap_writer_findings_free(struct lanemap_finding *findings);

/*
 * Make a directory that holds the index as of some moment of the call: segment files and a manifest
 * that needs no log. On the same file system the segment files are hard links: they cost nothing,
 * and share the disk's blocks with the index. It can be opened as it is, or lanemap restore copies
 * it.
 *
 * destination    an absolute path; made if it does not exist, else it must be empty
 * error          may be NULL
 *
 * Return: 0: it is there, durably. Errors, and then what is there is not a backup: -EINVAL not
 * absolute; -ENOTEMPTY; -EBADMSG the index is degraded: repair it first; -ENOSPC; errno of the file
 * system. Blocks: run it off the event loop.
 */
int lanemap_writer_backup(struct lanemap_writer *writer, const char *destination,
                          struct lanemap_error *error);

/*
 * The same into an open directory, which may be one that this process has no path to.
 *
 * dir_fd         empty; this process may make files in it. Owner: the caller
 * name           what it is called in the error
 *
 * Return: 0. Errors: as above, and -ENOTDIR.
 */
int lanemap_writer_backup_at(struct lanemap_writer *writer, int dir_fd, const char *name,
                             struct lanemap_error *error);

/*
 * What keeps the writer from its work. Set `size` first.
 *
 * fatal       0; or why the index cannot be published any longer (its shared memory was removed, and
 *             the name has been taken, or there is no room): close the writer
 * refused     0; -ENOENT the data directory was moved or deleted, and writes are refused
 * hung_ns     how long the part that has been at one step for longest has been at it: a write, a
 *             sync, a section of a flush or merge. A part without work does not count.
 * part        "log", "flush", "merge", "serve" or "scrub"; NULL: none has work
 * text        what is the matter, for people; "": nothing
 */
struct lanemap_writer_health {
        size_t size;
        int fatal;
        int refused;
        uint64_t hung_ns;
        const char *part;
        char text[192];
};

/* Return: 0; -EINVAL size is unknown. Thread: any. Cost: no lock, no system call but the clock: it
 * answers although every other thread hangs. */
int lanemap_writer_get_health(struct lanemap_writer *writer,
                              struct lanemap_writer_health *ret_health);

/*
 * Return: whether an apply now, of a record of so many bytes, would be answered at once, with success or a
 * refusal: it would wait for no flush and no sync. For an event loop, which has others to answer.
 *
 * Return: 1 it would; 0 it would wait: ask again a little later. Thread: any. Cost: two uncontended
 * mutexes; at most 10 ms when one is held.
 */
int lanemap_writer_apply_is_ready(struct lanemap_writer *writer, size_t log_bytes);

/*
 * The statistics of a writer; set `size` first. A new one is a member in a line of its own, with
 * "kind, unit: meaning" beside it: INFO, LANEMAP.STATS and `lanemap stat --json --socket` read that.
 *
 * counter   since open, only rises
 * gauge     as of now, or as of the last time
 * flag      0 or 1
 * segment kind, filter: enum lanemap_segment_kind, enum lanemap_filter_policy; in force
 *
 * Write amplification is (user_bytes_in + segment_bytes_written) / user_bytes_in; per entry,
 * (flush_entries_written + merge_entries_written) / n_changed.
 */
/* clang-format off */
struct lanemap_writer_stats {
        size_t size;
        unsigned char uuid[16];
        uint64_t generation;
        uint64_t manifest_generation;      /* gauge: of the manifest in force */
        uint32_t n_lanes;                  /* gauge, lanes */
        uint32_t fingerprint_bits;         /* gauge, bits: of a key's fingerprint */
        uint32_t n_segments_max;           /* gauge, segments: in one lane, at most */
        uint32_t degraded;                 /* flag: a segment file that is in use was found to
                                              be damaged */
        uint64_t n_keys;                   /* gauge, keys: live, exact */
        uint64_t n_pairs;                  /* gauge, pairs: live, exact */
        uint64_t position;                 /* gauge, records: number of the last log record
                                              applied */
        uint64_t durable;                  /* gauge, records: number of the last log record
                                              that a crash cannot undo */
        uint64_t n_segments;               /* gauge, segments: in use by lanes */
        uint64_t n_segment_files;          /* gauge, files: that hold them */
        uint64_t segment_bytes;            /* gauge, bytes: of all segment files */
        uint64_t segment_live_bytes;       /* gauge, bytes: of them, in sections that a lane
                                              uses */
        uint64_t segment_young_bytes;      /* gauge, bytes: of these, above the lowest section
                                              of a lane */
        uint64_t probes_per_1000;          /* gauge, segments: that 1000 lookups of absent keys
                                              look into, each key alike: read amplification */
        uint64_t overlay_bytes;            /* gauge, bytes: in use by overlays, active and
                                              frozen */
        uint64_t shared_bytes;             /* gauge, bytes: size of the data object */
        uint64_t shared_used_bytes;        /* gauge, bytes: of it, allocated */
        uint64_t quarantine_bytes;         /* gauge, bytes: of it, freed and not yet reused */
        uint64_t heap_bytes;               /* gauge, bytes: private memory of the engine */
        uint64_t log_bytes;                /* gauge, bytes: of all log files */
        uint64_t n_log_files;              /* gauge, files */
        uint64_t n_adds;                   /* counter, operations */
        uint64_t n_removes;                /* counter, operations */
        uint64_t n_deletes;                /* counter, operations */
        uint64_t n_changed;                /* counter, pairs: added or removed */
        uint64_t n_flushes;                /* counter, flushes */
        uint64_t n_merges;                 /* counter, merges */
        uint64_t n_overlay_growths;        /* counter, growths: of an overlay's table */
        uint64_t n_generation_flips;       /* counter, flips: to another data object */
        uint64_t n_log_syncs;              /* counter, syncs */
        uint64_t user_bytes_in;            /* counter, bytes: of operations, in the log */
        uint64_t segment_bytes_written;    /* counter, bytes: by flushes and merges */
        uint64_t flush_bytes_written;      /* counter, bytes */
        uint64_t merge_bytes_written;      /* counter, bytes */
        uint64_t flush_entries_written;    /* counter, entries */
        uint64_t merge_entries_written;    /* counter, entries */
        uint64_t compaction_paced_ns;      /* counter, ns: that merges waited because of
                                              compaction_bytes_per_second */
        uint64_t recovered_records;        /* gauge, records: replayed at open */
        uint64_t recovery_ns;              /* gauge, ns: that took */
        uint64_t mark_position;            /* gauge, records: number of the log record with the
                                              last mark */
        uint64_t last_flush_ns;            /* gauge, ns: that the last flush took */
        uint64_t n_write_stalls;           /* counter, applies: that waited for a flush,
                                              because overlays were over their budget */
        uint64_t write_stall_ns;           /* counter, ns: that they waited */
        uint64_t n_damaged_files;          /* gauge, files: in use */
        uint64_t scrubbed_files;           /* counter, files: read again and checked in the
                                              background */
        uint64_t scrubbed_bytes;           /* counter, bytes: of these */
        uint32_t segment_kind_young;       /* segment kind: in force, for the upper levels */
        uint32_t segment_kind_bottom;      /* segment kind: in force, for the lowest level */
        uint32_t filter;                   /* filter: in force */
        uint32_t n_filters;                /* gauge, segments: in use that have a filter */
        uint64_t filter_bytes;             /* gauge, bytes: of these filters */
        uint64_t warmed_bytes;             /* gauge, bytes: of the segment files in use, made
                                              present since open */
        uint64_t served_copies;            /* gauge, files: in use that are served from a copy */
        uint64_t served_bytes;             /* gauge, bytes: of these */
        uint32_t serve_no_room;            /* flag: there is no room for a copy: the original
                                              is served */
        uint32_t lock_refused;             /* flag: less is locked than was asked for:
                                              RLIMIT_MEMLOCK */
        uint64_t locked_bytes;             /* gauge, bytes: kept in memory */
};
/* clang-format on */
int lanemap_writer_get_stats(struct lanemap_writer *writer, struct lanemap_writer_stats *ret_stats);
/* The same, and it waits for the engine's locks no longer than that, for each of two. Return: 0;
 * -EAGAIN another thread has one, at a disk that hangs perhaps; -EINVAL. */
int lanemap_writer_try_stats(struct lanemap_writer *writer, uint64_t wait_ns,
                             struct lanemap_writer_stats *ret_stats);

/*
 * Removes the shared objects of a name that no writer holds. Readers that are attached keep what
 * they have. Return: 0, -EBUSY a writer lives, -ENOENT nothing there.
 */
int lanemap_writer_unlink(const char *name, struct lanemap_error *ret_error);

#ifndef LANEMAP_DECLARATIONS_ONLY
#ifdef __cplusplus
}
#endif
#endif /* LANEMAP_DECLARATIONS_ONLY */

#endif
