/*
 * lanemap's write side: the engine without a process around it.
 *
 * lanemapd is a thin edge on this; a program that wants the writer inside itself links
 * liblanemap-writer.a. One writer owns one directory and one published name; both are locked by the
 * kernel for as long as the process lives.
 *
 * Durability: an operation is published to readers when apply returns, and durable once
 * lanemap_writer_durable() has reached the position that apply gave. A program that acknowledges
 * operations to a client waits for that. Positions are the numbers of log records: they rise, and
 * go on over restarts.
 *
 * Thread: every call but lanemap_writer_close() may be made from any thread, at the same time as
 * any other; applies are serialised by the engine. An engine lives in the process that opened it: a
 * forked child calls nothing of it.
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

/* The limits of one apply, which is one log record. Bytes: 20 for each operation, and for each mark
 * 4 more and its own. */
#define LANEMAP_APPLY_OPS_MAX   524288U
#define LANEMAP_APPLY_BYTES_MAX 16777152U

enum lanemap_appendfsync {
        LANEMAP_APPENDFSYNC_ALWAYS =
                0, /* durable positions advance by fdatasync, as fast as it goes */
        LANEMAP_APPENDFSYNC_EVERYSEC = 1, /* fdatasync once a second; acknowledge at once unless
                                             that is late: see lanemap_writer_acknowledgeable() */
        LANEMAP_APPENDFSYNC_NO = 2 /* the kernel decides; synced for a flush, and when the log's
                                             memory is half full */
};

/* The structures by which a segment finds its keys. perf/segments measures them side by side. */
enum lanemap_segment_kind {
        LANEMAP_SEGMENT_PACKED = 1, /* sorted fingerprints: smallest, fastest to build and merge */
        LANEMAP_SEGMENT_RECSPLIT = 2, /* RecSplit, 1.8 bits a key of index: slow to build */
        LANEMAP_SEGMENT_BBHASH = 3    /* BBHash with gamma 2, 3.5 bits a key of index */
};

/* The segments that get a filter (binary fuse, 9 bits a key), so that absent keys cost less. */
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
        uint64_t shared_bytes_max; /* the data object never grows past this; 0: 64 GiB; at most
                                      an eighth of the address space where that is limited
                                      (RLIMIT_AS) */
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

/*
 * Added to the code of an operation: it is applied together with the next one, both or neither. So
 * a run of operations with it, and the one after the run, are a group: all of it is applied or
 * nothing, which is decided before its first change. On the last operation it means nothing.
 */
#define LANEMAP_OP_WITH_NEXT 256U

struct lanemap_op {
        uint32_t code; /* enum lanemap_op_code, and LANEMAP_OP_WITH_NEXT */
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
 * options        not kept; what log_arg and the members of hooks point to has to live as long as
 *                the engine, error as long as this call
 *
 * Return: 0. Errors, each explained in options->error: -EBUSY another writer holds the directory or
 * the name; -EEXIST the name belongs to another index; -EINVAL a bad option; -EBADMSG a manifest,
 * log or segment fails validation; -EPROTONOSUPPORT a newer format; -ENOSPC no room on the disk or
 * in shared memory; -ENOMEM; any other errno of the file system. Nothing is deleted or changed when
 * open fails, and a name that had no shared objects before has none but its lock.
 *
 * Owner: the caller, until lanemap_writer_close(). Cost: reads the log that no segment covers yet.
 */
int lanemap_writer_open(const struct lanemap_writer_options *options,
                        struct lanemap_writer **ret_writer);

/*
 * Flush, sync, set the state that readers see to CLOSED (they go on answering), release the locks
 * and free the engine. A flush or sync that fails is logged; the next open replays the log.
 *
 * writer         NULL is fine
 *
 * Thread: one, after every other call on this writer has returned. Cost: blocks for as long as a
 * flush takes.
 */
void lanemap_writer_close(struct lanemap_writer *writer);

/*
 * Apply operations in order, as one record of the log: after a crash all of them are there, or
 * none. When one cannot be applied, those before it are; to have all or nothing, join them with
 * LANEMAP_OP_WITH_NEXT.
 *
 * Readers see a key change once, from what it was before to what it is after the group that it is
 * part of, or after all operations of the call; the keys of a group one after the other, in the
 * order of their first operations. With a LANEMAP_OP_CLEAR in the group, readers see the index
 * empty, then its keys. Each operation's own result is as if it were applied alone.
 *
 * ops            not kept, nor the keys that they point to
 * n_ops          0 .. LANEMAP_APPLY_OPS_MAX
 * ret_results    one per operation; may be NULL
 * ret_n_applied  how many operations, from the first on, were applied: whole groups; n_ops on
 *                success; may be NULL
 * ret_position   the position that must become durable before any of this is acknowledged, also
 *                when nothing changed; may be NULL; set when *ret_n_applied > 0 or the call
 *                returns 0
 *
 * Return: 0. Errors: operations from *ret_n_applied on have not been applied and never will be:
 * -EINVAL bad key, id or code, or too many operations (nothing is set then); -ENOSPC the disk or
 * the shared memory is full, or RLIMIT_FSIZE is reached (a program with such a limit ignores
 * SIGXFSZ); -ENOMEM; -EIO the log cannot be written now; -EBADMSG a segment that the operation has
 * to read is damaged; -ENOENT the data directory was moved or deleted. Writing resumes by itself
 * when the cause is gone: try again. After -ESTALE it does not: lanemap_writer_get_health() says
 * fatal; close the writer.
 *
 * Thread: any; applies are serialised. Cost: per operation one lookup, and amortised constant work;
 * O(log n) in a long posting; many operations on one key of a call copy what they touch of its
 * posting once. Back-pressure: waits up to 100 ms for its turn while flushes and merges have more
 * to do than they should, and for a flush while overlays are far over their budget.
 */
int lanemap_writer_apply(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops,
                         struct lanemap_op_result *ret_results, size_t *ret_n_applied,
                         uint64_t *ret_position);

/*
 * The same for an event loop: it waits for no flush, no merge, no memory, no room in the log, and
 * no lock that a flush or merge holds.
 *
 * ret_wait_ns    with -EAGAIN: it is worth trying again in so many nanoseconds; else 0; may be NULL
 *
 * Return, Errors: as lanemap_writer_apply(); and -EAGAIN: nothing was applied, since it would have
 * waited. Thread: any. Cost: as lanemap_writer_apply(), without the waits.
 */
int lanemap_writer_try_apply(struct lanemap_writer *writer, const struct lanemap_op *ops,
                             size_t n_ops, struct lanemap_op_result *ret_results,
                             size_t *ret_n_applied, uint64_t *ret_position, uint64_t *ret_wait_ns);

/*
 * Look one key up and copy its ids out, ascending, without duplicates, as lanemap_reader_lookup().
 *
 * key            1 .. LANEMAP_KEY_BYTES_MAX bytes; not kept
 * ids            room for ids_capacity ids; may be NULL when ids_capacity is 0
 * ret_n_ids      how many ids the key has; more than ids_capacity: the content of ids is
 *                unspecified
 * ret_position   the answer holds nothing of a later position: reply to a client when it is
 *                durable; may be NULL
 *
 * Return: 0, also for an absent key (*ret_n_ids is 0). Errors: -EINVAL bad key; -EBADMSG a segment
 * is damaged.
 *
 * Thread: any. Cost: a few DRAM accesses; no allocation, no lock, no system call.
 */
int lanemap_writer_lookup(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                          uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids,
                          uint64_t *ret_position);

/*
 * The ids of a key from one on: ascending, without duplicates, at most ids_capacity. A long posting
 * is read in parts of which each is true at some moment of its call; the next part is from the last
 * id and one on.
 *
 * from           ids that are less are left out
 * ids            room for ids_capacity ids; may be NULL when ids_capacity is 0
 * ret_n_ids      how many were copied: fewer than ids_capacity, the key has no more
 *
 * Return, Errors, Thread: as lanemap_writer_lookup(). Cost: that of a lookup, a search in the
 * posting, 1 to 2 ns an id; it does not depend on how many ids the key has.
 */
int lanemap_writer_lookup_from(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                               uint32_t from, uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids,
                               uint64_t *ret_position);

/*
 * Measures what a key's posting takes where its newest version lies: in shared memory the cell of
 * the key and the nodes of its ids, in a segment file the encoded ids and an even share of what the
 * section has for finding its keys. Older versions that a flush or merge drops later, the log, the
 * empty cells of tables and the rounding of the allocator are not in it.
 *
 * n_chunks    so many chunks of the ids (128 of a segment, up to 254 of the overlay) are looked at,
 *             and the others taken to be like them; 0: all
 * ret_bytes, ret_n_ids   0 when the key has no ids
 *
 * Return: 0. Errors: -EINVAL bad key; -EBADMSG. ret_position, Thread: as lanemap_writer_lookup().
 * Cost: that of a lookup of the chunks.
 */
int lanemap_writer_posting_bytes(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                                 uint64_t n_chunks, uint64_t *ret_bytes, uint64_t *ret_n_ids,
                                 uint64_t *ret_position);

/* Asks if the pair (key, id) is in the index. Return: 1 yes, 0 no. Errors: -EINVAL bad key or id;
 * -EBADMSG. ret_position, Thread and Cost: as lanemap_writer_lookup(). */
int lanemap_writer_contains(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                            uint32_t id, uint64_t *ret_position);

/*
 * The fingerprint by which the index knows a key, for tables of a program: two keys with the same
 * are one key.
 *
 * ret_words      64 bits, and those past 64 (0 in an index of 64 bits)
 *
 * Return: 0. Errors: -EINVAL bad key. Thread: any. Cost: about 1.5 cycles a byte and 40 of
 * start-up.
 */
int lanemap_writer_fingerprint(const struct lanemap_writer *writer, const void *key,
                               size_t key_bytes, uint64_t ret_words[2]);

/* Return: the last position applied. Thread: any. Cost: one load. */
uint64_t lanemap_writer_position(struct lanemap_writer *writer);

/*
 * The durable position: a crash undoes nothing up to it, and it included.
 *
 * ret_error      0, or the negative errno that has kept the log from getting durable for longer
 *                than options->outcome_limit_ns; may be NULL
 *
 * Return: the position. After an error the outcome of later positions is unknown: reply that to a
 * client. The engine goes on trying, in a new file. Thread: any. Cost: a few loads and a clock.
 */
uint64_t lanemap_writer_durable(struct lanemap_writer *writer, int *ret_error);

/*
 * The position through which replies may leave under the fsync policy in force.
 *
 *   ALWAYS      the durable one
 *   EVERYSEC    the last one handed to the kernel; the durable one, when the oldest record that is
 *               not durable is a second old
 *   NO          the last one handed to the kernel
 *
 * ret_error      as lanemap_writer_durable()
 *
 * Return: the position. Thread: any. Cost: a few loads and a clock.
 */
uint64_t lanemap_writer_acknowledgeable(struct lanemap_writer *writer, int *ret_error);

/*
 * Block until `position` is durable, whatever the fsync policy.
 *
 * Return: 0. Errors: those of lanemap_writer_durable(); -EINVAL no apply has given this position.
 * Thread: any. Cost: at most the wait for a write and a sync of the log.
 */
int lanemap_writer_sync(struct lanemap_writer *writer, uint64_t position);

/*
 * Have everything through `position` synced now, whatever the fsync policy, and do not wait:
 * lanemap_writer_durable() and the event of lanemap_writer_event_fd() tell when it is.
 *
 * Return: 0. Errors: -EINVAL no apply has given this position. Thread: any. Cost: a lock.
 */
int lanemap_writer_sync_start(struct lanemap_writer *writer, uint64_t position);

/* Change or get the fsync policy (enum lanemap_appendfsync). Return of set: 0, -EINVAL no such
 * policy. Thread: any. */
int lanemap_writer_set_appendfsync(struct lanemap_writer *writer, uint32_t appendfsync);
uint32_t lanemap_writer_get_appendfsync(struct lanemap_writer *writer);

/*
 * A file descriptor (an eventfd, level-triggered until read) that becomes readable when the durable
 * position has advanced, a request has ended, or an error began or ended. Thread: any. Owner: the
 * engine; do not close.
 */
int lanemap_writer_event_fd(struct lanemap_writer *writer);

enum lanemap_request {
        LANEMAP_REQUEST_FLUSH = 1, /* everything applied so far reaches segments and the manifest */
        LANEMAP_REQUEST_COMPACT =
                2, /* flush, then one segment per lane, tombstones gone, memory given back */
        LANEMAP_REQUEST_FLIP = 3 /* flush, then copy into a new data object (a new generation) */
};
#define LANEMAP_PENDING 1

/*
 * Start one. Requests run one after the other, in the order in which they were made.
 *
 * request        enum lanemap_request
 * ret_ticket     names it; its result is kept until one of the two calls below has returned it
 *
 * Return: 0. Errors: -EINVAL no such request; -ENOMEM. Thread: any. Cost: does not block.
 */
int lanemap_writer_request(struct lanemap_writer *writer, uint32_t request, uint64_t *ret_ticket);

/* Return: LANEMAP_PENDING, 0 when it is done, or the negative errno that ended it; -ENOENT no such
 * ticket, or its result was returned before. Thread: any. Cost: does not block. */
int lanemap_writer_request_state(struct lanemap_writer *writer, uint64_t ticket);

/* Block until it has ended. Return: 0, or the negative errno that ended it; -ENOENT as above.
 * Thread: any. */
int lanemap_writer_request_wait(struct lanemap_writer *writer, uint64_t ticket);

/*
 * The last mark applied, and the position of its record. After open that is the last durable one: a
 * feed resumes from there.
 *
 * mark           room for LANEMAP_MARK_BYTES_MAX bytes
 * ret_bytes      bytes of the mark; 0 when no mark was ever set
 * ret_position   may be NULL
 *
 * Thread: any. Cost: one mutex.
 */
void lanemap_writer_mark(struct lanemap_writer *writer, void *mark, size_t *ret_bytes,
                         uint64_t *ret_position);

/*
 * All distinct ids, ascending. An id that is live during the whole call is there; one that is live
 * at no moment of it is not.
 *
 * Return: 0. Errors: -ENOMEM; -EBADMSG a segment is damaged. Thread: any. Owner: the caller frees
 * *ret_ids with lanemap_writer_ids_free(). Cost: reads the whole index, a lane at a time; run it
 * off the event loop.
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
 * address        siginfo_t.si_addr
 *
 * Return: 1: it lies in a segment file that an engine of this process has mapped; return from the
 * handler. 0: it is not the engine's, and nothing was done. After 1 the page reads as zeros, and no
 * answer is computed from it: lookups and operations that need its section return -EBADMSG, the
 * file is marked damaged (stats.degraded, one line in the log), everything else goes on.
 *
 * Thread: any; async-signal-safe. Cost: one mmap(2) for a section of a file.
 */
int lanemap_writer_bus_error(const void *address);

static const uint64_t LANEMAP_FINDING_NO_OFFSET = 18446744073709551615UL; /* UINT64_MAX */
#define LANEMAP_FINDING_NO_LANE 4294967295U

/* Something in the data directory that is not what was written. */
struct lanemap_finding {
        char file[64];   /* name in the data directory */
        uint64_t offset; /* bytes, in the file; LANEMAP_FINDING_NO_OFFSET: no one place */
        uint32_t lane;   /* LANEMAP_FINDING_NO_LANE: it concerns none, or several */
        uint64_t n_keys; /* entries that can be wrong or lost because of it, at most */
        char what[192];  /* in words */
};

/*
 * Check everything that the manifest in force names, at full speed: manifest, segment files (bytes,
 * order, counts), live keys and pairs of every lane, log. Each finding is logged once.
 * stats.degraded stays set while a damaged file is named. A file that was found damaged earlier,
 * and is sound now, is in use again.
 *
 * ret_findings   an array of *ret_n_findings; NULL when everything is sound
 *
 * Return: 0: everything was checked. Errors: -EAGAIN the index changed too fast to be checked;
 * -ENOMEM; errno of the file system.
 *
 * Thread: any. Owner: the caller frees *ret_findings with lanemap_writer_findings_free(). Cost:
 * reads every file, 1 ns a byte and 40 ns an entry; run it off the event loop. Holds no lock.
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
 * Return: 0: the backup is durable. Errors, after which the destination holds no backup: -EINVAL
 * not absolute; -ENOTEMPTY; -EBADMSG the index is degraded: repair it first; -ENOSPC; errno of the
 * file system. Thread: any. Cost: blocks for a flush, and a copy to another file system; run it off
 * the event loop.
 */
int lanemap_writer_backup(struct lanemap_writer *writer, const char *destination,
                          struct lanemap_error *error);

/*
 * The same into an open directory, which may be one that this process has no path to.
 *
 * dir_fd         an empty directory in which this process may make files. Owner: the caller
 * name           the directory's name in the error
 * error          may be NULL
 *
 * Return, Thread, Cost: as lanemap_writer_backup(). Errors: these, and -ENOTDIR.
 */
int lanemap_writer_backup_at(struct lanemap_writer *writer, int dir_fd, const char *name,
                             struct lanemap_error *error);

/*
 * The reasons that keep the writer from its work. Set `size` first.
 *
 * fatal       0; or the negative errno for which the index cannot be published any longer (its
 *             shared memory was removed, and the name has been taken, or there is no room): close
 *             the writer
 * refused     0; -ENOENT the data directory was moved or deleted, and writes are refused; -ESTALE
 *             with fatal
 * hung_ns     nanoseconds that one part has been at one step, of the part with the most: a write, a
 *             sync, a section of a flush or merge. A part without work does not count.
 * part        that part: "log", "flush", "merge", "serve" or "scrub"; NULL: none has work. Owner:
 *             static storage
 * text        the fault, for people; "": none
 */
struct lanemap_writer_health {
        size_t size;
        int fatal;
        int refused;
        uint64_t hung_ns;
        const char *part;
        char text[192];
};

/* Return: 0. Errors: -EINVAL size is unknown. Thread: any. Cost: no lock, no system call but the
 * clock: it answers although every other thread hangs. */
int lanemap_writer_get_health(struct lanemap_writer *writer,
                              struct lanemap_writer_health *ret_health);

/*
 * Asks if an apply now, of a record of log_bytes bytes, would return at once, with success or an
 * error: it would wait for no flush and no sync, and has had its delay. For an event loop, which
 * has other clients to answer.
 *
 * ret_wait_ns    with 0: ask again in so many nanoseconds; else 0; may be NULL
 *
 * Return: 1 it would; 0 it would wait. Thread: any. Cost: two mutexes, which are not waited for.
 */
int lanemap_writer_apply_is_ready(struct lanemap_writer *writer, size_t log_bytes,
                                  uint64_t *ret_wait_ns);

/*
 * The statistics of a writer; set `size` first. A new one is a member in a line of its own, with
 * "kind, unit: meaning" beside it: INFO, LANEMAP.STATS and `lanemap stat --json --socket` read
 * that.
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
        uint64_t n_log_slow_syncs;         /* counter, syncs: that took longer than a second */
        uint64_t log_sync_max_ns;          /* gauge, ns: that the longest sync took */
        uint64_t log_sync_pending_ns;      /* gauge, ns: that the sync under way has taken so far,
                                              or 0 */
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
        uint64_t n_write_stalls;           /* counter, stalls: times that applies were held up
                                              until a flush ended, since overlays were far over
                                              their budget */
        uint64_t write_stall_ns;           /* counter, ns: that they took */
        uint64_t n_write_delays;           /* counter, applies: after which the next one was
                                              delayed, since flushes and merges had more to do
                                              than they should */
        uint64_t write_delay_ns;           /* counter, ns: of these delays */
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

/* Return: 0. Errors: -EINVAL size is unknown. Thread: any. Cost: two mutexes; work for each lane
 * and segment. */
int lanemap_writer_get_stats(struct lanemap_writer *writer, struct lanemap_writer_stats *ret_stats);

/* Return: the keys that are live after the last apply, exact; lanemap_writer_position(), asked
 * after it, is not before that apply. Thread: any. Cost: no lock, no system call. */
uint64_t lanemap_writer_n_keys(const struct lanemap_writer *writer);

/*
 * The same as lanemap_writer_get_stats(), with a limit.
 *
 * wait_ns        for each of the engine's two locks that it needs
 *
 * Return: 0. Errors: -EAGAIN another thread holds one for longer, perhaps since the disk hangs;
 * -EINVAL size is unknown. Thread: any.
 */
int lanemap_writer_try_stats(struct lanemap_writer *writer, uint64_t wait_ns,
                             struct lanemap_writer_stats *ret_stats);

/*
 * Remove the shared objects of a name that no writer holds. Readers that are attached go on with
 * the last state.
 *
 * ret_error      may be NULL
 *
 * Return: 0. Errors: -EBUSY a writer holds the name; -ENOENT there are none; -EINVAL not a name;
 * errno. Thread: any.
 */
int lanemap_writer_unlink(const char *name, struct lanemap_error *ret_error);

#ifndef LANEMAP_DECLARATIONS_ONLY
#ifdef __cplusplus
}
#endif
#endif /* LANEMAP_DECLARATIONS_ONLY */

#endif
