/*
 * What the parts of the engine share.
 *
 * Threads
 *
 *   any         apply, lookups, statistics: the caller's threads
 *   heart       beats, and does nothing else (core/heart.c)
 *   sync        writes and syncs the log (core/sync.c)
 *   watch       looks whether shared objects, locks and data directory are there (life/watch.c)
 *   flusher     freezes overlays and flushes them, serves requests (compact/flush.c,
 *               life/request.c)
 *   workers     merge segments (compact/merge.c), help to build them (compact/executor.c)
 *   scrub       looks for damage (health/scrub.c)
 *
 * Locks, in the order in which they may be taken
 *
 *   flush_lock   one flush, clear-up or generation flip at a time; held over I/O
 *   commit_lock  one manifest at a time; held over I/O
 *   lock         the engine's state: lanes, overlays, views, the arena, the lists of files. Never
 *                held over I/O, but for growing the shared object and taking log space ahead
 *
 * Lookups of this process take none of them: the region and the table of mapped files are under
 * RCU, shared memory under protocol P0, as in any reader.
 *
 * The life of an add: apply -> log reserve -> lane_op (prepare) -> value word stored -> log append
 * -> end of batch. Later, in the flusher: freeze -> sections -> one file -> log synced -> manifest
 * -> views swapped -> old files unlinked.
 */
#ifndef LANEMAP_WRITER_CORE_ENGINE_H
#define LANEMAP_WRITER_CORE_ENGINE_H

#include <lanemap/writer.h>
#include <pthread.h>
#include <urcu/wfcqueue.h>

#include "common/clock.h"
#include "common/executor.h"
#include "common/file.h"
#include "common/rate.h"
#include "lane/policy.h"
#include "lane/read.h"
#include "lane/write.h"
#include "shm/read.h"
#include "shm/write.h"
#include "store/log_write.h"
#include "store/manifest_read.h"
#include "writer/core/hooks.h"

#define WRITER_E_CLEARED 1 /* the index was cleared while a job ran: its result is void */
#define WRITER_E_DAMAGED 2 /* an input is damaged, and marked so: plan again, without it */

/* A segment file, mapped. Under `lock`, except what never changes. */
struct writer_file {
        struct writer_file *next_dead;
        struct lanemap_lane_file *mapped;   /* the original, as it was opened */
        struct lanemap_lane_file *original; /* it, or a later mapping of it; stored release */
        struct lanemap_lane_file *former;   /* mappings that jobs may still be reading (F3) */
        uint32_t slot;
        uint32_t n_refs;           /* segments that name it */
        uint64_t named_generation; /* the last manifest, tried or in force, that names it */
        uint64_t sound_ns;         /* when it was written or last found sound; 0: not known */
        uint64_t scrub_due_ns;
        bool damaged;      /* D1 in health/damage.h */
        uint32_t n_marked; /* how often it was found to be */
        bool hit_taken;    /* that the original's guard was hit is known (U5) */
        bool copy_lost;    /* the copy's was, and it is still to be told */

        /* Where it is served from, and how far that has come (serve/serve.c). */
        uint32_t n_holds;               /* looked at without a segment of it */
        struct lanemap_lane_file *copy; /* NULL: the original; stored release */
        uint64_t warmed_bytes;
        uint64_t copy_due_ns;    /* not tried earlier */
        uint64_t drop_due_ns;    /* 0: the original need not leave the page cache */
        uint32_t n_drops;        /* how often it was made to */
        bool maybe_copied;       /* a copy of its name was found at open */
        bool copy_failed;        /* the last try did */
        bool copy_no_room;       /* for want of room */
        uint64_t counted;        /* the pass of statistics that has counted it */
        unsigned char *locked;   /* the serve thread's: by section; NULL: none */
        const void *locked_base; /* in this mapping */

        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        char name[LANEMAP_SEGMENT_NAME_BYTES];
};

/* One lane's run: a section of a file. Shared by the lane and by jobs that read it. */
struct writer_segment {
        struct writer_file *file;
        const struct lanemap_segment *segment; /* in file->original or file->copy; stored release */
        uint32_t section;
        uint32_t level;
        uint32_t n_refs;
        bool busy; /* a job is replacing it */
        uint64_t n_pairs;
        uint64_t bytes;
};

struct writer_lane {
        struct lanemap_overlay active;
        struct lanemap_overlay frozen;
        bool has_frozen;
        bool compact_wanted;
        uint64_t changed_position; /* of the last operation that changed it */
        uint64_t quiet_position;   /* as it was at quiet_ns, and ever since */
        uint64_t quiet_ns;
        struct lanemap_lane_view_block view; /* in force */
        uint32_t n_segments;
        struct writer_segment *segments[LANEMAP_LANE_SEGMENTS_MAX]; /* newest first */

        uint64_t n_keys; /* live, now */
        uint64_t n_pairs;
        uint64_t frozen_n_keys; /* live when the frozen overlay was frozen */
        uint64_t frozen_n_pairs;

        uint64_t position; /* what the segments cover, and the counts as of it */
        uint64_t position_n_keys;
        uint64_t position_n_pairs;
};

struct writer_mark {
        unsigned char bytes[LANEMAP_MARK_BYTES_MAX];
        uint32_t n_bytes;
        uint64_t position;
};

/* Pages of the data object that are kept back (apply/reserve.c). */
struct writer_reserve {
        uint64_t *offs;
        uint32_t n;
        uint32_t n_max;
};

/* Warming, copies and locked memory. */
struct writer_serve {
        pthread_t thread;
        bool has_thread;
        bool signalled; /* under work_lock */
        pthread_cond_t wake;
        char *copy_directory; /* absolute; NULL: none was asked for */
        int copy_parent_fd;
        int copy_dir_fd;       /* -1: there is no room for it yet */
        uint64_t n_left_bytes; /* that may still be warmed */
        uint64_t looked_ns;    /* when files were last looked at (U7) */
        bool lock_due;
        bool lock_told; /* that locking was refused */
        bool copy_told; /* that a copy cannot be made */

        /* ---- under lock ---- */
        bool lock_refused;
        uint64_t locked_bytes;
        uint64_t n_counts; /* passes of lanemap_engine_serve_count() */
};

/* Whose progress is watched (core/progress.c). */
enum {
        WRITER_PART_LOG,
        WRITER_PART_FLUSH,
        WRITER_PART_SERVE,
        WRITER_PART_SCRUB,
        WRITER_PART_MERGE, /* and those after it: one for each job under way */
        WRITER_N_PARTS = WRITER_PART_MERGE + 66,
};

/* What sees to it that readers find what is published. */
struct writer_watch {
        pthread_t thread;
        bool has_thread;
        int inotify_fd;
        int stop_fd;
        uint64_t lost_ns;      /* since when shared objects are lost; 0: none is */
        uint64_t lock_lost_ns; /* the data directory's lock */
        bool emptied;          /* the data directory was seen without its manifest */
};

/* What readers watch. */
struct writer_heart {
        pthread_t thread;
        bool has_thread;
        pthread_mutex_t lock; /* held for a few instructions; taken last */
        pthread_cond_t wake;
        bool stopping; /* under lock */
};

/* One apply that waits for shared memory. */
struct writer_room_wait {
        uint64_t since_ns;
        uint64_t n_flushes; /* as it began */
};

struct writer_request {
        struct cds_wfcq_node node; /* first: the queue from any thread to the flusher */
        struct writer_request *next;
        uint64_t ticket;
        uint32_t request;
        bool started;
        int result; /* LANEMAP_PENDING until it has ended */
};

struct lanemap_writer {
        char *name;
        char *directory; /* absolute */
        struct lanemap_writer_options options;
        const struct lanemap_files *files;
        const struct lanemap_clock *clock;
        struct lanemap_writer_hooks hooks; /* the rest of them; zeros: the real world */
        int dir_fd;
        int shm_dir_fd;
        int lock_fd;
        int name_lock_fd;

        /* The index's identity: fixed at creation. */
        unsigned char uuid[16];
        unsigned char hash_key_bytes[LANEMAP_HASH_KEY_BYTES];
        struct lanemap_hash_key hash_key;
        uint32_t n_lanes;
        uint32_t cell_bytes;
        struct lanemap_slot slots[LANEMAP_N_SLOTS];

        struct lanemap_shm_control *control;
        struct lanemap_shm_control *private_control; /* epochs of a replay, which no reader sees */
        struct lanemap_shm_data_object *object;      /* replaced by a flip, under lock */
        struct lanemap_shm_region *region;           /* RCU */
        struct lanemap_lane_files *lane_files;
        size_t lane_files_bytes;
        int retired_object_fds[8]; /* of generations that readers may still hold; -1: free; under
                                      commit_lock */

        pthread_mutex_t flush_lock;
        pthread_mutex_t commit_lock;
        pthread_mutex_t lock;

        /* ---- under lock ---- */
        struct writer_lane *lanes;
        uint64_t n_keys;
        uint64_t n_pairs;
        uint64_t memory_room;                            /* how large the data object can get */
        uint64_t active_bytes;                           /* of all active overlays */
        uint64_t active_used_bytes;                      /* of it, in cells in use, and postings */
        struct lanemap_lane_policy_overlays active_long; /* of it, long postings; without bytes */
        struct writer_reserve freeze_reserve; /* so that a flush can begin in a full object, */
        struct writer_reserve commit_reserve; /* and end */
        struct writer_mark mark;
        struct writer_mark frozen_mark;
        uint64_t clear_position;
        uint64_t clear_epoch; /* counts clears */
        struct writer_file *dead_files;
        struct lanemap_overlay *orphans; /* overlays that a clear took from under a flush */
        uint32_t n_orphans;
        struct lanemap_rate compaction_rate; /* of what merges write */
        bool has_frozen_set;                 /* a flush has begun and not yet ended well */
        uint64_t frozen_position;
        bool flush_wanted;
        uint64_t
                n_sections_built; /* atomic: by flushes; whoever waits for one sees that it gets on */
        uint32_t n_merging;       /* jobs under way */
        bool flush_failing;       /* loaded relaxed elsewhere */
        uint64_t stall_since_ns; /* since when applies wait for a flush that does not get on; 0 */
        uint64_t stall_progress; /* n_sections_built then */
        bool recovering;
        bool has_new_choices;      /* kinds or filter policy that the manifest does not have yet */
        pthread_cond_t stall_wake; /* a flush has ended */
        uint32_t *scratch;         /* ids of one posting */
        size_t scratch_capacity;
        struct lanemap_log_op *log_ops; /* of the record in the making */
        size_t log_ops_capacity;
        struct lanemap_writer_stats stats; /* only the counters */
        uint64_t n_damaged_files;          /* in use, or dead and still named */
        uint64_t n_hits_taken;             /* atomic: guards that were hit, as far as looked at */
        uint64_t n_other_findings;         /* of the last full pass: manifest and log */

        uint64_t position; /* atomic: the last record with something published */

        /* ---- under commit_lock ---- */
        uint64_t manifest_attempt;     /* the generation of the last manifest tried */
        uint64_t manifest_generation;  /* of the one in force; loaded relaxed elsewhere */
        uint64_t next_file_number;     /* atomic */
        uint64_t recovery_file_number; /* files from it on are this writer's own */
        uint64_t log_number_in_manifest;
        bool filter_failure_logged; /* atomic */

        struct lanemap_log *log;

        struct writer_heart heart;
        struct writer_watch watch;
        uint64_t control_inode; /* the watch's */

        /* ---- health; atomic ---- */
        uint64_t busy_since_ns[WRITER_N_PARTS]; /* when it last got on; 0: it has nothing to do */
        int fatal;                              /* the index cannot be published any longer */
        int refused;                            /* why nothing is applied */

        /* ---- sync thread ---- */
        pthread_t sync_thread;
        pthread_mutex_t sync_lock;
        pthread_cond_t sync_wake;    /* there is something to write or sync */
        pthread_cond_t durable_wake; /* the durable position moved, or failed */
        uint64_t sync_target;        /* under sync_lock: must get durable whatever the policy */
        bool sync_idle;              /* atomic: the thread is, or is about to be, asleep */
        bool sync_stopping;          /* atomic: last, when nothing needs the log any more */
        bool stopping;               /* atomic: flusher and workers end */
        uint32_t appendfsync;        /* atomic */
        int event_fd;

        /* ---- flusher and workers ---- */
        uint64_t spare_bytes; /* atomic: of the object that is set aside for a successor; 0: none */
        uint64_t spare_bytes_wanted; /* atomic */
        pthread_t flusher_thread;
        pthread_t *worker_threads;
        uint32_t n_worker_threads;
        bool has_sync_thread, has_flusher_thread;
        pthread_mutex_t work_lock;
        pthread_cond_t flusher_wake;
        pthread_cond_t worker_wake;
        pthread_cond_t scrub_wake;
        pthread_t scrub_thread;
        bool has_scrub_thread;
        struct writer_serve serve;
        bool flusher_signalled;
        uint64_t worker_signal;
        struct lanemap_executor executor; /* the worker pool, for parts of a build */
        struct writer_job *jobs;          /* under work_lock: what it is asked to do */
        pthread_cond_t job_done;

        /* ---- requests ---- */
        struct cds_wfcq_head request_head;
        struct cds_wfcq_tail request_tail;
        pthread_mutex_t request_lock;
        pthread_cond_t request_done;
        struct writer_request *requests; /* all that were not asked for after their end */
        uint64_t next_ticket;
};

/* core/log_line.c */
void lanemap_engine_log(const struct lanemap_writer *writer, int priority, const char *format, ...)
        LANEMAP_PRINTF(3, 4);
int lanemap_engine_fail(const struct lanemap_writer *writer, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);
/* Puts a reason that is another user into options.error, if there is one. */
void lanemap_engine_owner_explain(const struct lanemap_writer *writer, int r);

/* life/new.c: *ret_writer is set as soon as there is something to abandon, also on failure */
int lanemap_engine_new(const struct lanemap_writer_options *options,
                       struct lanemap_writer **ret_writer);

/* life/recover.c: steps of lanemap_writer_open(); each says in options.error what was wrong */
struct lanemap_manifest;
int lanemap_engine_identity_load(struct lanemap_writer *writer, struct lanemap_manifest *manifest);
int lanemap_engine_segments_load(struct lanemap_writer *writer,
                                 const struct lanemap_manifest *manifest);
int lanemap_engine_log_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest);

/* life/open.c: a thread of the engine's, to which no signals go. Return: 0, -errno. */
int lanemap_engine_thread_new(pthread_t *ret_thread, void *(*main)(void *writer),
                              struct lanemap_writer *writer);

/* core/heart.c */
int lanemap_engine_heart_start(struct lanemap_writer *writer);
void lanemap_engine_heart_stop(struct lanemap_writer *writer);

/* life/watch.c */
int lanemap_engine_watch_start(struct lanemap_writer *writer);
void lanemap_engine_watch_stop(struct lanemap_writer *writer);
/* The control object under the name is the writer's. */
void lanemap_engine_watch_control(struct lanemap_writer *writer);

/* core/progress.c */
void lanemap_engine_progress(struct lanemap_writer *writer, uint32_t part);
void lanemap_engine_idle(struct lanemap_writer *writer, uint32_t part);
uint32_t lanemap_engine_merge_part(struct lanemap_writer *writer);
uint64_t lanemap_engine_log_age_ns(struct lanemap_writer *writer);

/* life/close.c: gives up whatever there is, without a flush */
void lanemap_engine_abandon(struct lanemap_writer *writer);

/* core/files.c: segment files */
int lanemap_engine_file_open(struct lanemap_writer *writer, uint64_t number,
                             const unsigned char *checksum, struct writer_file **ret_file);
void lanemap_engine_file_free(struct writer_file *file); /* nobody looks any more */
/* Under lock. A file without segments is dead; lanemap_engine_files_reap() unlinks it when no manifest
 * names it. */
int lanemap_engine_file_install(struct lanemap_writer *writer, struct writer_file *file);
int lanemap_engine_segment_new(struct writer_file *file, uint32_t section, uint32_t level,
                               uint64_t n_pairs, uint64_t bytes,
                               struct writer_segment **ret_segment);
void lanemap_engine_segment_ref(struct writer_segment *segment);
void lanemap_engine_segment_unref(struct lanemap_writer *writer, struct writer_segment *segment);
/* Under lock: the file stays for as long as it is held, whatever happens to its segments. */
void lanemap_engine_file_hold(struct writer_file *file);
void lanemap_engine_file_release(struct lanemap_writer *writer, struct writer_file *file);
/* A mapping of an open file that must be the one named. Return: as lanemap_engine_file_open(). */
int lanemap_engine_file_map(struct lanemap_writer *writer, int fd, bool huge, uint64_t number,
                            const unsigned char *checksum, struct lanemap_lane_file **ret_mapped);
/* Under lock. A file that a lane names; or NULL. */
struct writer_file *lanemap_engine_file_find(struct lanemap_writer *writer, uint64_t number);
void lanemap_engine_file_unmap(struct lanemap_lane_file *mapped);
/* The mapping that lookups use. Without the lock too: the one before stays as long as the file. */
static inline const struct lanemap_lane_file *
lanemap_engine_file_served(const struct writer_file *file)
{
        const struct lanemap_lane_file *copy = lanemap_load_acquire(&file->copy);

        return copy ? copy : lanemap_load_acquire(&file->original);
}
/* Under lock. Lookups, views and jobs go over to what is served now. */
void lanemap_engine_file_publish(struct lanemap_writer *writer, struct writer_file *file);
/* Without any lock: unlinks what is dead and not named, waits for lookups of this process, unmaps.
 */
void lanemap_engine_files_reap(struct lanemap_writer *writer);

/* apply/lane.c: one lane, under lock */
int lanemap_engine_lanes_init(struct lanemap_writer *writer);
int lanemap_engine_lane_publish_new(struct lanemap_writer *writer, uint32_t lane);
void lanemap_engine_lane_publish(struct lanemap_writer *writer, uint32_t lane,
                                 const struct lanemap_lane_view_block *view);
void lanemap_engine_lane_prefetch(struct lanemap_writer *writer, struct lanemap_fingerprint fp);
int lanemap_engine_lane_op(struct lanemap_writer *writer, uint32_t code,
                           struct lanemap_fingerprint fp, uint32_t id, uint64_t position,
                           struct lanemap_op_result *ret_result, bool *ret_changed);
void lanemap_engine_counts_publish(struct lanemap_writer *writer);
uint64_t lanemap_engine_flush_threshold(const struct lanemap_writer *writer);
bool lanemap_engine_flush_is_due(const struct lanemap_writer *writer);
bool lanemap_engine_overlays_exceed(const struct lanemap_writer *writer, uint64_t bytes_max,
                                    uint32_t times);
void lanemap_engine_active_count(
        struct lanemap_writer *writer); /* active_bytes, active_used_bytes */
void lanemap_engine_memory_room_update(struct lanemap_writer *writer);

/* apply/clear.c: all lanes at once, under lock */
struct writer_fresh {
        uint32_t log2_cells; /* of the table; 0: the lane goes on as it is */
        struct lanemap_overlay overlay;
        struct lanemap_lane_view_block view;
};
/* An empty overlay and a block for a view for each lane that is to have them, with smaller tables
 * where memory is short. Return: 0. Errors: -ENOSPC, and there is none of them. */
int lanemap_engine_fresh_alloc(struct lanemap_writer *writer, struct writer_fresh *fresh);
int lanemap_engine_clear(struct lanemap_writer *writer, uint64_t position, uint32_t *ret_n_changed);

/* apply/reserve.c */
int lanemap_engine_reserves_init(struct lanemap_writer *writer);
void lanemap_engine_reserves_deinit(struct lanemap_writer *writer);
void lanemap_engine_reserves_fill(struct lanemap_writer *writer);
/* What they take when they are full. */
/* How many segments the lane with the most has. */
uint32_t lanemap_engine_segments_deepest(const struct lanemap_writer *writer);
uint64_t lanemap_engine_reserves_bytes(const struct lanemap_writer *writer);
/* Gives the pages to whoever allocates next. Return: whether there were any. */
bool lanemap_engine_reserve_release(struct lanemap_writer *writer, struct writer_reserve *reserve);
uint64_t lanemap_engine_spare_bytes(const struct lanemap_writer *writer);
/* Any thread, under any lock: the spare object, as large as it has to be, if there is room for it. Two
 * at once make one. */
void lanemap_engine_spare_ensure(struct lanemap_writer *writer);
/* The object that they were of is gone. */
void lanemap_engine_reserves_forget(struct lanemap_writer *writer);

/* life/replay.c: recovery's last two steps before it is published */
int lanemap_engine_replay_begin(struct lanemap_writer *writer);
int lanemap_engine_replay_end(struct lanemap_writer *writer);

/* apply/apply.c */
int lanemap_engine_replay(void *writer, uint64_t seq, const struct lanemap_log_op *ops,
                          size_t n_ops);

/* compact/commit.c */
struct writer_edit {
        uint32_t lane;
        uint32_t n_old; /* segments that go, from the one that is olds[0] */
        struct writer_segment *olds[LANEMAP_LANE_SEGMENTS_MAX];
        struct writer_segment *new_segment; /* NULL: nothing was left */
        struct lanemap_lane_view_block view;
};
struct writer_commit {
        struct writer_edit *edits;
        uint32_t n_edits;
        bool is_flush; /* the frozen overlays of all lanes go; positions advance */
        uint32_t part; /* whose progress it is */
        uint64_t clear_epoch;
};
int lanemap_engine_commit_run(struct lanemap_writer *writer, struct writer_commit *commit);
/* The first manifest of a new index, and one that only says where the log is. */
int lanemap_engine_commit_manifest_only(struct lanemap_writer *writer);

/* compact/build.c: from inputs to a file with sections */
struct writer_build_lane {
        uint32_t lane;
        const struct lanemap_overlay *frozen; /* NULL: none */
        uint32_t n_segments;
        struct writer_segment *segments[LANEMAP_LANE_SEGMENTS_MAX];
        bool drop_tombstones;
        uint32_t level;
};
/* Under lock. The lane's newest build->n_segments segments become the inputs of a job, and what it
 * replaces; afterwards they are let go, with what did not become the lanes'. */
void lanemap_engine_inputs_take(struct writer_lane *lane, struct writer_build_lane *build,
                                struct writer_edit *edit);
void lanemap_engine_inputs_release(struct lanemap_writer *writer,
                                   const struct writer_build_lane *lanes,
                                   const struct writer_edit *edits, uint32_t n_lanes);
/* A cursor whose memory is the heap's. Return: 0. Errors: -ENOMEM. */
int lanemap_engine_segment_cursor(const struct lanemap_segment *segment, struct lanemap_heap *heap,
                                  struct lanemap_segment_cursor *cursor);
/* What a job wrote: what write amplification is made of. */
struct writer_built {
        uint64_t n_bytes; /* of the file; 0: nothing was left of all lanes */
        uint64_t n_entries;
};
/*
 * Builds and writes. ret_segments has one entry per lane, NULL where nothing was left, and is the
 * caller's. part: whose progress it is. rate, which may be NULL: how fast it may write. Return: 0,
 * WRITER_E_DAMAGED.
 */
int lanemap_engine_build_file(struct lanemap_writer *writer, const struct writer_build_lane *lanes,
                              uint32_t n_lanes, uint32_t part, struct lanemap_rate *rate,
                              struct writer_built *ret_built, struct writer_segment **ret_segments);

/* compact/flush.c */
int lanemap_engine_flush_run(struct lanemap_writer *writer, bool always_commit);
void *lanemap_engine_flusher_main(void *writer);
void lanemap_engine_flusher_signal(struct lanemap_writer *writer);

/* compact/merge.c */
void *lanemap_engine_worker_main(void *writer);
void lanemap_engine_workers_signal(struct lanemap_writer *writer);

/* compact/executor.c */
void lanemap_engine_executor_init(struct lanemap_writer *writer, uint32_t n_workers);
/* Until worker_signal is not `seen` any more, or a second has passed without anything to do: helps
 * others to build. Return: worker_signal. */
uint64_t lanemap_engine_worker_wait(struct lanemap_writer *writer, uint64_t seen);
/* One job, if there is one. Return: 1 something was merged, 0 nothing to do, or a negative errno.
 */
int lanemap_engine_merge_run(struct lanemap_writer *writer);
/* Waits until so many bytes more may be written. Return: 0, -ESHUTDOWN the engine is closing. */
int lanemap_engine_pace(struct lanemap_writer *writer, struct lanemap_rate *rate, uint64_t n_bytes);
int lanemap_engine_compact(struct lanemap_writer *writer);

/* compact/plan.c, under lock */
/* Return: the first lane of the most urgent group, or the index's n_lanes: there is none. */
uint32_t lanemap_engine_merge_choose(struct lanemap_writer *writer, uint32_t *ret_n_lanes);
uint32_t lanemap_engine_lane_n_sound(const struct writer_lane *lane);
bool lanemap_engine_lane_has_excess(const struct writer_lane *lane, uint32_t n_sound);
bool lanemap_engine_file_is_all_live(const struct writer_file *file);

/* apply/pressure.c, under lock, which a wait gives back meanwhile */
/* Return: 0. Errors: -ENOSPC, flushes do not get through. */
int lanemap_engine_pressure_wait(struct lanemap_writer *writer);
bool lanemap_engine_room_wait(struct lanemap_writer *writer, struct writer_room_wait *wait);
void lanemap_engine_memory_wait(struct lanemap_writer *writer, size_t n_ops,
                                struct writer_room_wait *wait);
void lanemap_engine_flush_trigger(struct lanemap_writer *writer);
bool lanemap_engine_flush_for_room(struct lanemap_writer *writer);

/* apply/apply.c */
int lanemap_engine_op_apply(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                            uint64_t position, struct lanemap_op_result *result, bool *changed);

/* health/scrub.c */
void *lanemap_engine_scrub_main(void *writer);
void lanemap_engine_scrub_signal(struct lanemap_writer *writer);
/* The scrub looks at it next. The file is held. */
void lanemap_engine_file_doubt(struct lanemap_writer *writer, struct writer_file *file);

/* health/damage.c: the rest of it is in health/damage.h */
void lanemap_engine_degraded_publish(struct lanemap_writer *writer); /* under lock */
/* Whether the files that a job is about to read are what was written; those that were found sound
 * a moment ago are believed unless even_fresh. Return: 0, WRITER_E_DAMAGED. */
int lanemap_engine_inputs_check(struct lanemap_writer *writer,
                                const struct writer_build_lane *lanes, uint32_t n_lanes,
                                bool even_fresh);
/* U5, without any lock: what guards were hit since the last call is found and told. Cost: one load,
 * where none was. */
void lanemap_engine_hits_take(struct lanemap_writer *writer);
/* U7, of the serve thread: a call of fstatat(2) for each file. */
void lanemap_engine_files_look(struct lanemap_writer *writer);
/* Under lock: serves the originals of copies that cannot be read. Return: whether there were any. */
bool lanemap_engine_copies_give_up(struct lanemap_writer *writer);
/* A job met bytes that do not validate. Return: WRITER_E_DAMAGED, or -EBADMSG when no file is to
 * blame. */
int lanemap_engine_inputs_failed(struct lanemap_writer *writer,
                                 const struct writer_build_lane *lane);
/* Instead of unlinking. Return: 0, or a negative errno: the file has its old name. */
int lanemap_engine_file_quarantine(struct lanemap_writer *writer, const char *name);

/* serve/serve.c, serve/copy.c, serve/pin.c: warming, copies, locked memory */
/* The directory that copies are served from, and the index's own in it: the one before anything is
 * written, the other once the uuid is known. */
int lanemap_engine_copies_find(struct lanemap_writer *writer);
int lanemap_engine_copies_init(struct lanemap_writer *writer);
void *lanemap_engine_serve_main(void *writer);
void lanemap_engine_serve_signal(struct lanemap_writer *writer);
void lanemap_engine_serve_stop(struct lanemap_writer *writer);
void lanemap_engine_serve_deinit(struct lanemap_writer *writer);
void lanemap_engine_serve_count(struct lanemap_writer *writer, struct lanemap_writer_stats *stats);
/* Makes a new file's pages present, before any lookup needs them. Return: 0, -EIO not all can be
 * read. */
int lanemap_engine_file_populate(struct writer_file *file);
/* Of the serve thread. The file is held. */
void lanemap_engine_copies_begin(struct lanemap_writer *writer);
int lanemap_engine_copy_make(struct lanemap_writer *writer, struct writer_file *file);
void lanemap_engine_copy_unlink(struct lanemap_writer *writer, struct writer_file *file);
void lanemap_engine_original_drop(struct lanemap_writer *writer, struct writer_file *file);
void lanemap_engine_memory_lock(struct lanemap_writer *writer);

/* compact/flip.c */
int lanemap_engine_object_create(struct lanemap_writer *writer,
                                 struct lanemap_shm_data_object **ret_object,
                                 struct lanemap_shm_region **ret_region);
/* One that no reader ever sees, to replay into (life/replay.c). */
int lanemap_engine_object_create_private(struct lanemap_writer *writer,
                                         struct lanemap_shm_data_object **ret_object);
void lanemap_engine_object_free(struct lanemap_shm_data_object *object); /* NULL is fine */
/* Unlinks and frees one that was never published. */
void lanemap_engine_object_give_up(struct lanemap_writer *writer,
                                   struct lanemap_shm_data_object *object,
                                   struct lanemap_shm_region *region);
/* What the lanes have in a data object, in another one. */
struct writer_lanes_copy {
        struct lanemap_overlay *actives;
        struct lanemap_overlay *frozens;
        struct lanemap_lane_view_block *views;
};
int lanemap_engine_lanes_copy_init(struct lanemap_writer *writer, struct writer_lanes_copy *copy);
void lanemap_engine_lanes_copy_deinit(struct lanemap_writer *writer,
                                      struct writer_lanes_copy *copy);
/* Under lock. The lanes' new overlays and views in the object; the engine's state is not touched.
 * Return: 0, -ENOSPC, -ENOMEM: the object has what was copied so far. */
int lanemap_engine_lanes_copy(struct lanemap_writer *writer,
                              const struct lanemap_shm_data_object *object,
                              struct writer_lanes_copy *copy);
/* Under lock. The object becomes the engine's; it is not published. The one before is the caller's. */
void lanemap_engine_lanes_move(struct lanemap_writer *writer,
                               struct lanemap_shm_data_object *object,
                               const struct writer_lanes_copy *copy);
int lanemap_engine_flip_run(struct lanemap_writer *writer, bool only_if_worth_it);
/* A new generation whatever readers hold, since its objects were removed; and in another control
 * object, unless that is NULL. Return: 0, and *control is the writer's; -ENOSPC, -ENOMEM, ... */
int lanemap_engine_flip_anew(struct lanemap_writer *writer, struct lanemap_shm_control *control);
/* Gives back the memory of retired objects that no reader holds any more. */
void lanemap_engine_retired_objects_drop(struct lanemap_writer *writer);

/* life/request.c */
void lanemap_engine_requests_serve(struct lanemap_writer *writer);
void lanemap_engine_requests_free(struct lanemap_writer *writer);

/* core/sync.c */
void *lanemap_engine_sync_main(void *writer);
void lanemap_engine_sync_signal(struct lanemap_writer *writer);
void lanemap_engine_event_notify(struct lanemap_writer *writer);
/* core/wake.c: each sleep ends at a signal, at `stopping`, or after ns nanoseconds */
void lanemap_engine_flusher_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_worker_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_scrub_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_serve_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_cond_init(pthread_cond_t *cond); /* on the monotonic clock */
void lanemap_engine_cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ns);

/* A test may stop the serve thread at any of its steps. */
static inline void lanemap_engine_serve_step(struct lanemap_writer *writer, uint32_t step)
{
        if (writer->hooks.serve_step)
                writer->hooks.serve_step(writer->hooks.arg, step);
}

static inline struct lanemap_arena *lanemap_engine_arena(const struct lanemap_writer *writer)
{
        return lanemap_shm_arena_base(writer->object->arena);
}

#endif
