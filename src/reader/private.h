/*
 * The state that the parts of liblanemap share. A reader object holds one attachment: one
 * generation of the index, mapped.
 *
 *   lookup -> guard -> attachment -> region (shm/read.h) -> answer
 *                  \-> another generation, an unmapped file, a grown object:
 *                      leave the guard, take the lock, refresh, try again
 *
 * J1. Nothing here waits for a guard (common/guard.h): memory that guards may look at is retired to
 *     a list of its reader. Lookups that refresh, polls and re-attachments release what no guard
 *     looks at. So the list holds no more than what was replaced since the oldest open view of the
 *     process began.
 * J2. fork() waits for the two locks here, and nothing else. They are held across system calls that
 *     open, map and unmap, and across no wait for a thread, a page or a lock of the program's.
 * J3. A child may do everything at once, whatever the parent's threads were doing: both locks are
 *     free in it, the lists are whole, the guards of other threads are gone.
 *
 * One lock for all slow paths of all readers of the process, and one for releasing, which is taken
 * first; so fork() has two locks to take.
 */
#ifndef LANEMAP_READER_PRIVATE_H
#define LANEMAP_READER_PRIVATE_H

#include <lanemap/lanemap.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>

#include "shm/object.h"
#include "shm/read.h"

#define READER_STATISTICS_STRIPES 16

/* Something that lookups of this process may still look at. */
struct reader_retired {
        struct reader_retired *next;
        void (*release)(struct reader_retired *retired);
        uint64_t stamp; /* U2 in common/guard.h */
        uint64_t reserved;
};

#define READER_DETAIL_BYTES 200

/* Which lookups are timed, for probes (reader/timing.c). */
struct reader_sample;
struct reader_timing {
        uint32_t sample_every; /* 0: none */
        uint64_t slow_ns;
        struct reader_sample *samples; /* of threads; NULL: none */
};

/* Whose objects and files are mapped. */
struct reader_trust {
        enum lanemap_trust kind;
        uid_t uid; /* unless kind is LANEMAP_TRUST_ANYONE */
};

struct reader_attachment {
        struct reader_retired retired; /* first */
        struct lanemap_shm_region region;
        const struct lanemap_shm_data *data;
        uint64_t mapped_bytes;
        uint64_t bytes_max; /* the object never grows past this */
        int data_fd;
        int directory_fd;     /* of the segment files */
        char *copy_directory; /* of their copies; NULL: there is none */
        uint64_t control_inode;
        struct reader_trust trust;
        /* While this one is being made, under the lock: the one before, whose mappings go on. */
        const struct reader_attachment *predecessor;
        char *detail; /* the reader's */
};

/* Counters on lines of their own, so that threads do not share one. */
struct reader_statistics {
        uint64_t n_lookups;
        uint64_t n_retries;
        unsigned char padding[LANEMAP_CACHE_LINE_BYTES - 2 * sizeof(uint64_t)];
};

struct lanemap_reader {
        struct reader_attachment *attachment; /* replaced under the lock, then retired */
        char name[LANEMAP_NAME_BYTES_MAX + 1];
        char *directory; /* NULL: where the writer says */
        int shm_dir_fd;
        uint64_t stale_after_ns;
        bool begins_slowly; /* a lookup has to look at its age, or at a clock, before it begins */
        bool statistics;    /* and is accounted for, or timed, when it ends */
        bool counts_lookups;
        struct reader_timing timing;
        struct reader_trust trust;
        char detail[READER_DETAIL_BYTES]; /* which object or file it was that attaching failed at */

        /* When the heartbeat was last seen to move, by this process's own clock. */
        uint64_t heartbeat;
        uint64_t heartbeat_seen_ns;

        struct reader_retired *retired; /* under the lock */
        uint64_t n_reattachments;

        bool has_helper;
        bool stop_helper;
        pid_t helper_pid; /* a forked child has no helper */
        pthread_t helper;
        pthread_mutex_t helper_lock;
        pthread_cond_t helper_wake;

        struct reader_statistics counters[READER_STATISTICS_STRIPES];
};

/* A call refreshes its attachment at most so often: each time something really has changed. */
#define READER_REFRESH_TRIES_MAX 1000

/* Inside a guard. */
LANEMAP_ALWAYS_INLINE const struct reader_attachment *
reader_attachment_get(const struct lanemap_reader *reader)
{
        /* Pairs with the release store in attachment_replace(). */
        return lanemap_load_acquire(&reader->attachment);
}

/*
 * The state of an attachment before a call looked anything up. It is only compared: the attachment
 * may be gone by then, with another one at its address.
 */
struct reader_snapshot {
        const struct reader_attachment *attachment;
        uint64_t generation;
        uint64_t bytes; /* of the object: what was looked up knew of so much, or of more */
};

/* Inside the guard of the attachment. */
LANEMAP_ALWAYS_INLINE struct reader_snapshot
reader_snapshot_of(const struct reader_attachment *attachment)
{
        return (struct reader_snapshot){
                .attachment = attachment,
                .generation = attachment->region.generation,
                .bytes = lanemap_load_relaxed(&attachment->region.bytes),
        };
}

LANEMAP_ALWAYS_INLINE bool reader_key_is_valid(const void *key, size_t key_bytes)
{
        return key && key_bytes >= 1 && key_bytes <= LANEMAP_KEY_BYTES_MAX;
}

/* Adds to the counters of status; lookups only with options.statistics. */
void lanemap_reader_account(struct lanemap_reader *reader, uint64_t n_lookups, uint64_t n_retries);

/* Of lookups that are timed: the clock is looked at. With a limit: the age of the writer's last
 * sign of life. A successor with a control object of its own is followed. Return: 0, or -ESTALE
 * beyond the limit without a successor. */
int lanemap_reader_age_check(struct lanemap_reader *reader);

/* Return: 0, -ENOMEM. */
int lanemap_reader_timing_init(struct lanemap_reader *reader, uint32_t sample_every,
                               uint64_t slow_ns);
void lanemap_reader_timing_deinit(struct lanemap_reader *reader);

/* One in timing.sample_every lookups of a thread is timed, while a tracer asks for it: begin before
 * it, end with its answer ready. */
void lanemap_reader_timing_begin(const struct lanemap_reader *reader);
void lanemap_reader_timing_end(const struct lanemap_reader *reader, uint64_t n_lookups,
                               uint64_t n_retries);

/* Before a lookup does anything: then no output has been touched. */
LANEMAP_ALWAYS_INLINE bool reader_is_too_old(struct lanemap_reader *reader)
{
        return LANEMAP_UNLIKELY(reader->begins_slowly) && lanemap_reader_age_check(reader) < 0;
}

void lanemap_reader_lock(void);
void lanemap_reader_unlock(void);

/* Attach to the generation in force, with every segment mapped (not populated: nobody waits for a
 * disk here). Return: 0, or as lanemap_reader_attach(). */
int lanemap_reader_attachment_new(struct lanemap_reader *reader,
                                  struct reader_attachment **ret_attachment);
/* Before anything is mapped. Return: 0, or -EPERM. */
int lanemap_reader_trust_check(const struct reader_attachment *attachment, const char *what,
                               const struct stat *st);
/* Return: the bytes that are mapped of an object of so many bytes. */
uint64_t lanemap_reader_data_mapped_bytes(uint64_t bytes, uint64_t bytes_max);
/* Return: true if the object is larger than its mapping; `soon`: or will be before long. */
bool lanemap_reader_is_outgrown(const struct reader_attachment *attachment, bool soon);
void lanemap_reader_data_populate(const struct reader_attachment *attachment);
/* mmap(2) failed with `error`. Return: the negative errno to answer. */
int lanemap_reader_map_error(const struct reader_attachment *attachment, int error,
                             const char *what, uint64_t bytes);
/* Keeps a few words for lanemap_reader_explain(). Return: r. */
int lanemap_reader_detail(const struct reader_attachment *attachment, int r, const char *format,
                          ...) __attribute__((format(printf, 3, 4)));
/* Only for an attachment that no lookup can reach. */
void lanemap_reader_attachment_release(struct reader_retired *retired);

/* In front of each mapped file, and of each table of files, lies what remembers it once it is
 * retired and lookups may still look at it: retiring needs no memory, so it cannot fail. */
static inline struct reader_retired *reader_retired_of(void *file_or_table)
{
        return (struct reader_retired *)file_or_table - 1;
}

/*
 * The copy where the view's entry names one, else, and whatever is wrong with the copy, the
 * original. No page of it is read but the header's. The caller gives the file up by
 * lanemap_reader_file_release() or by retiring it.
 *
 * Return: 0 and a file; -ENOENT, -EPERM, -EBADMSG, -EPROTONOSUPPORT, ...
 */
int lanemap_reader_file_map(const struct reader_attachment *attachment,
                            const struct lanemap_lane_segment_shm *entry,
                            struct lanemap_lane_file **ret_file);
/* Attachments that followed each other have files in common: the last one unmaps. */
void lanemap_reader_file_release(struct lanemap_lane_file *file);

/*
 * Under the lock: map what the views name and the table lacks, without reading any of it; with
 * `trim`, retire what no view names any more. *ret_n_done: how many files were mapped or retired.
 * Return: 0, LANEMAP_SHM_E_GENERATION, or a negative errno.
 */
int lanemap_reader_files_update(struct lanemap_reader *reader, struct reader_attachment *attachment,
                                bool trim, int *ret_n_done);
/* The same for an attachment that nobody else sees yet. */
int lanemap_reader_files_map_all(struct reader_attachment *attachment);

/*
 * Without the lock, outside any guard: what the views name, with its pages present, and
 * in the place that they say; the lock is held only to look and to put into place. `stop` may be
 * NULL; loaded relaxed. Return: how many files were mapped, or a negative errno.
 */
int lanemap_reader_files_prepare(struct lanemap_reader *reader, const bool *stop);
void lanemap_reader_files_release(struct lanemap_lane_files *files);

/* Under the lock. */
void lanemap_reader_retire(struct lanemap_reader *reader, struct reader_retired *retired);
/* Without the lock: gives back what was retired and no guard looks at. Waits for nobody; what is
 * still looked at, and what another thread is at work on, is the next one's. */
void lanemap_reader_drain(struct lanemap_reader *reader);
/* At detach: all of it. */
void lanemap_reader_retired_release(struct lanemap_reader *reader);

/*
 * Refreshes the attachment after an outcome other than 0. Return: 0 try again, or a negative errno;
 * -EBADMSG, when the object is no larger than what was looked up knew: whether another thread
 * learned of the growth first makes no difference.
 */
int lanemap_reader_refresh(struct lanemap_reader *reader, int outcome,
                           const struct reader_snapshot *seen);

/*
 * R8. Follows a name that was removed and taken again: the control object that is mapped here is
 * another one than the name leads to, and its heart has not beaten for two seconds. Return: whether
 * the attachment is another one now.
 */
bool lanemap_reader_revive(struct lanemap_reader *reader, uint64_t age_ns);

/* A reader object without an attachment; the library's own thread. */
int lanemap_reader_open(const char *name, const struct lanemap_reader_options *options,
                        struct lanemap_reader **ret_reader);
int lanemap_reader_start_helper(struct lanemap_reader *reader);
void lanemap_reader_stop_helper(struct lanemap_reader *reader);
/* The sentence for options->error. detail may be "". */
void lanemap_reader_explain(const char *name, int r, const char *detail,
                            struct lanemap_error *error);

uint64_t lanemap_reader_now_ns(void);
/* A writer that has shown no sign of life for so long is dead or stopped, and may be gone together
 * with its control object. */
#define LANEMAP_SILENT_AFTER_NS (UINT64_C(2) * 1000 * 1000 * 1000)

/* Looks at the heartbeat; answers its age. */
uint64_t lanemap_reader_heartbeat_age_ns(struct lanemap_reader *reader,
                                         const struct lanemap_shm_control *control);

#endif
