/*
 * The engine's state, in parts. Each room declares what it offers to the others in a header of its
 * own (core/core.h, apply/apply.h, ...); a room uses only those that check_layers.py lists for it.
 *
 * Threads
 *
 *   any       apply, lookups, statistics, requests: the caller's threads
 *   heart     beats, and does nothing else                                  core/heart.c
 *   sync      syncs the log, goes on to new files                           core/sync.c
 *   write     writes the log when the thread that applied does not          core/sync.c
 *   watch     checks that shared objects, locks and directory are there     life/watch.c
 *   flusher   freezes overlays and flushes them, serves requests            life/flusher.c
 *   workers   merge segments, help to build them                            compact/merge.c
 *   scrub     looks for damage                                              health/scrub.c
 *   serve     warms, copies and locks what is served                        serve/serve.c
 *   jobs      one flush or merge each, on a stack of its own, waited for    common/alloc.h
 *
 * As ps, top and perf show them: lanemap-heart, -sync, -log, -watch, -flush, -merge0 and on,
 * -scrub, -serve; a job has the name of the thread that waits for it.
 *
 * Locks, in the order in which a thread may take them. "I/O": may be held over it.
 *
 *   lock                guards                                       I/O   taken by
 *   commit.flush_lock   one flush, clear-up or flip at a time        yes   flusher, workers, watch
 *   commit.lock         one manifest at a time                       yes   flusher, workers, watch
 *   lanes.lock          lanes, shm, segments, pressure, the views    no *  all but heart
 *   requests.lock       the list of requests                         no    any, flusher
 *   workers.lock        wake-ups of flusher, workers, scrub, serve   no    all but heart, sync
 *   sync.lock           the target of a sync, its wake-ups           no    any, sync
 *   heart.lock          which control object is beaten               no    heart, watch
 *
 *   * but for growing the shared object and taking log space ahead.
 *
 * A function that needs a lock says so: LANEMAP_REQUIRES(); clang checks every call. A member
 * marked "atomic" is loaded and stored by the calls of common/order.h, with or without a lock.
 * Lookups of this process take no lock: the region and the table of mapped files are under RCU,
 * shared memory under protocol P0, as in any reader.
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
#include "common/mutex.h"
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

/* A segment file, mapped. Under lanes.lock, except what never changes. */
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
        bool hit_taken;    /* that the original's guard was hit is known (UM5) */
        bool copy_lost;    /* the copy's was, and it is not logged yet */

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
        bool signalled; /* under workers.lock */
        pthread_cond_t wake;
        char *copy_directory; /* absolute; NULL: none was asked for */
        int copy_parent_fd;
        int copy_dir_fd;       /* -1: there is no room for it yet */
        uint64_t n_left_bytes; /* that may still be warmed */
        uint64_t looked_ns;    /* when files were last looked at (UM7) */
        bool lock_due;
        bool lock_refusal_logged; /* a refusal was logged */
        bool copy_failure_logged; /* a failed copy was logged */

        /* Under lanes.lock. */
        bool lock_refused;
        uint64_t locked_bytes;
        uint64_t n_counts; /* passes of lanemap_engine_serve_count() */
};

/* The parts whose progress is watched (core/progress.c). */
enum {
        WRITER_PART_LOG,
        WRITER_PART_FLUSH,
        WRITER_PART_SERVE,
        WRITER_PART_SCRUB,
        WRITER_PART_MERGE, /* and those after it: one for each job under way */
        WRITER_N_PARTS = WRITER_PART_MERGE + 66,
};

/* The thread that keeps published objects in place (life/watch.c). */
struct writer_watch {
        pthread_t thread;
        bool has_thread;
        int inotify_fd;
        int stop_fd;
        uint64_t lost_ns;      /* since when shared objects are lost; 0: none is */
        uint64_t lock_lost_ns; /* the data directory's lock */
        bool emptied;          /* the data directory was seen without its manifest */
};

/* The thread that beats (core/heart.c). */
struct writer_heart {
        pthread_t thread;
        bool has_thread;
        struct lanemap_mutex lock; /* held for a few instructions; taken last */
        pthread_cond_t wake;
        bool stopping; /* under heart.lock */
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

/* Constant while the engine is open. */
struct engine_identity {
        char *name;
        char *directory; /* absolute */
        unsigned char uuid[16];
        unsigned char hash_key_bytes[LANEMAP_HASH_KEY_BYTES];
        struct lanemap_hash_key hash_key;
        uint32_t n_lanes;
        uint32_t cell_bytes;
        struct lanemap_slot slots[LANEMAP_N_SLOTS];
};

/* Open directories, and the locks of files that make this the one writer (W1). */
struct engine_place {
        int dir_fd;
        int shm_dir_fd;
        int store_lock_fd;
        int name_lock_fd;
};

/* Objects in shared memory. Under lanes.lock, except what says otherwise. */
struct engine_shm {
        struct lanemap_shm_control *control;
        uint64_t control_inode;                      /* the watch's */
        struct lanemap_shm_control *private_control; /* epochs of a replay, which no reader sees */
        struct lanemap_shm_data_object *object;      /* replaced by a flip */
        struct lanemap_shm_region *region;           /* RCU: lookups of this process */
        uint64_t room_bytes;                         /* how large the data object can get */
        struct writer_reserve freeze_reserve; /* so that a flush can begin in a full object, */
        struct writer_reserve commit_reserve; /* and end */
        int retired_object_fds[8];   /* of generations that readers may still hold; -1: free; under
                                        commit.lock */
        uint64_t spare_bytes;        /* atomic: of the spare object; 0: none */
        uint64_t spare_bytes_wanted; /* atomic */
};

/* The window in which the need of shared memory is measured (compact/give_back.c). The flusher's,
 * but for what is under lanes.lock. */
struct engine_slack {
        uint64_t since_ns; /* atomic: when the window began; 0: none has */
        uint64_t generation;
        uint64_t n_flushes;    /* as they were then */
        uint64_t active_bytes; /* of the active overlays, then */
        uint32_t n_windows;    /* in a row, with slack */
};

/* The engine's state: lanes and counts. */
struct engine_lanes {
        struct lanemap_mutex lock;
        struct writer_lane *items; /* identity.n_lanes of them */
        uint64_t n_keys;
        uint64_t n_pairs;
        uint64_t n_keys_applied; /* atomic: n_keys after the last apply */
        uint64_t position;       /* atomic: the last record with something published */
        struct writer_mark mark;
        struct writer_mark frozen_mark;
        uint64_t clear_position;
        uint64_t clear_epoch; /* counts clears */
        bool has_frozen_set;  /* a flush has begun and not yet ended well */
        uint64_t frozen_position;
        struct lanemap_overlay *orphans; /* overlays that a clear took from under a flush */
        uint32_t n_orphans;
        bool recovering;
        uint32_t *scratch; /* ids of one posting */
        size_t scratch_capacity;
        struct lanemap_log_op *log_ops; /* of the record in the making */
        size_t log_ops_capacity;
        struct writer_group *group;        /* memory of apply/group.c; NULL: none yet */
        struct lanemap_writer_stats stats; /* only the counters */
};

/* Segment files. Under lanes.lock; the table's entries are stored release and read under RCU. */
struct engine_segments {
        struct lanemap_lane_files *table;
        size_t table_bytes;
        struct writer_file *dead;
        uint64_t n_damaged;        /* files in use, or dead and still named */
        uint64_t n_other_findings; /* of the last full pass: manifest and log */
        uint64_t n_hits_taken;     /* atomic: guards that were hit, as far as looked at */
};

/* Back-pressure: the work that waits for flushes and merges. Under lanes.lock. */
struct engine_pressure {
        pthread_cond_t wake;        /* with lanes.lock: a flush or a merge has ended */
        uint64_t active_bytes;      /* of all active overlays */
        uint64_t active_used_bytes; /* of it, in cells in use, and postings */
        struct lanemap_lane_policy_overlays active_long; /* of it, long postings; without bytes */
        bool flush_wanted;
        bool flush_failing;        /* loaded relaxed elsewhere */
        uint64_t stall_since_ns;   /* since when applies wait for a flush that does not get on; 0 */
        uint64_t stall_progress;   /* n_sections_built then */
        uint64_t n_sections_built; /* atomic: by flushes; a waiting apply sees that one gets on */
        uint64_t stalled_ns;       /* since when applies are held up; 0: they are not */
        uint64_t resume_ns;        /* delayed applies go on then; 0: none is */
        uint32_t n_segments_deepest; /* of the lane that has the most */
        uint64_t excess_bytes;       /* as merges were last planned, and its budget */
        uint64_t excess_max;
        struct writer_room_wait room_wait;   /* of applies that do not wait themselves */
        uint32_t n_merging;                  /* merges in progress */
        struct lanemap_rate compaction_rate; /* of what merges write */
};

/* Manifests. */
struct engine_commit {
        struct lanemap_mutex flush_lock;
        struct lanemap_mutex lock;
        uint64_t attempt;              /* the generation of the last manifest tried */
        uint64_t generation;           /* of the one in force; loaded relaxed elsewhere */
        uint64_t next_file_number;     /* atomic */
        uint64_t recovery_file_number; /* files from it on are this writer's own */
        uint64_t log_number;           /* that the manifest in force names */
        bool filter_failure_logged;    /* atomic */
        bool has_new_choices; /* kinds or filter policy that the manifest does not have yet;
                                       under lanes.lock */
};

/* The threads of the log, and who waits for them. */
struct engine_sync {
        pthread_t thread;
        bool has_thread;
        pthread_t write_thread;
        bool has_write_thread;
        struct lanemap_mutex lock;
        pthread_cond_t wake;         /* there is something to sync */
        pthread_cond_t write_wake;   /* there is something to write, which nobody else writes */
        pthread_cond_t durable_wake; /* the durable position moved, or failed */
        uint64_t target;             /* under sync.lock: gets durable whatever the policy */
        bool is_idle;                /* atomic: the thread is, or is about to be, asleep */
        bool write_is_idle;          /* atomic: the other one */
        bool is_awaited;             /* atomic: event_fd is to say when a position moves (E7) */
        bool stopping;               /* atomic: last, when nothing needs the log any more */
        uint32_t appendfsync;        /* atomic */
        int event_fd;
};

/* The flusher, the workers and the scrub. */
struct engine_workers {
        struct lanemap_mutex lock;
        bool stopping; /* atomic */
        pthread_t flusher_thread;
        bool has_flusher_thread;
        pthread_cond_t flusher_wake;
        bool flusher_signalled;
        pthread_t *threads;
        uint32_t n_threads;
        pthread_cond_t wake;
        uint64_t signal;
        pthread_t scrub_thread;
        bool has_scrub_thread;
        pthread_cond_t scrub_wake;
        struct lanemap_executor executor; /* the worker pool, for parts of a build */
        struct writer_job *jobs;          /* that it is asked to do */
        pthread_cond_t job_done;
};

/* Progress of each part, and why nothing is applied. All atomic. */
struct engine_health {
        uint64_t busy_since_ns[WRITER_N_PARTS]; /* when it last got on; 0: it has nothing to do */
        int fatal;                              /* the index cannot be published any longer */
        int refused;                            /* why nothing is applied */
};

/* Long work that callers asked for. */
struct engine_requests {
        struct lanemap_mutex lock;
        pthread_cond_t done;
        struct cds_wfcq_head head;
        struct cds_wfcq_tail tail;
        struct writer_request *list; /* all that nobody has asked for after their end */
        uint64_t next_ticket;
};

struct lanemap_writer {
        /* The world, passed in. */
        struct lanemap_writer_options options;
        const struct lanemap_files *files;
        const struct lanemap_clock *clock;
        struct lanemap_writer_hooks hooks; /* zeros: the real world */

        struct engine_identity identity;
        struct engine_place place;
        struct engine_shm shm;
        struct engine_lanes lanes;
        struct engine_segments segments;
        struct engine_pressure pressure;
        struct engine_slack slack;
        struct engine_commit commit;
        struct lanemap_log *log;
        struct engine_sync sync;
        struct engine_workers workers;
        struct writer_serve serve;
        struct engine_requests requests;
        struct writer_heart heart;
        struct writer_watch watch;
        struct engine_health health;
};

/* A key, and its posting in the level that has it: what an operation needs to decide. */
struct writer_key {
        struct lanemap_fingerprint fp;
        uint32_t lane;
        struct lanemap_overlay_cell_shm *cell; /* in the active overlay, or where it would go */
        uint64_t value;                        /* 0: the active overlay does not have it */
        struct lanemap_lane_posting posting;
        uint64_t n_ids;
};

/* A lane's next active overlay, and the view that names it, before they are published. */
struct writer_lane_start {
        uint32_t log2_cells;       /* of the table; 0: the lane keeps its overlay */
        uint32_t log2_cells_least; /* where memory is short */
        struct lanemap_overlay overlay;
        struct lanemap_lane_view_block view;
};

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

/* From inputs to a file with sections */
struct writer_build_lane {
        uint32_t lane;
        const struct lanemap_overlay *frozen; /* NULL: none */
        uint32_t n_segments;
        struct writer_segment *segments[LANEMAP_LANE_SEGMENTS_MAX];
        bool drop_tombstones;
        uint32_t level;
};

/* Bytes and entries that a job wrote, for write amplification. */
struct writer_built {
        uint64_t n_bytes; /* of the file; 0: nothing was left of all lanes */
        uint64_t n_entries;
};

/* The overlays and views of all lanes, copied into another data object. */
struct writer_lanes_copy {
        struct lanemap_overlay *actives;
        struct lanemap_overlay *frozens;
        struct lanemap_lane_view_block *views;
};

/* The mapping that lookups use. Without the lock too: the one before stays as long as the file. */
static inline const struct lanemap_lane_file *
lanemap_engine_file_served(const struct writer_file *file)
{
        const struct lanemap_lane_file *copy = lanemap_load_acquire(&file->copy);

        return copy ? copy : lanemap_load_acquire(&file->original);
}

/* A lane's segments, for the searches of lane/read.h. */
LANEMAP_ALWAYS_INLINE const struct lanemap_segment *lanemap_engine_lane_segment_at(const void *lane,
                                                                                   uint32_t i)
{
        return ((const struct writer_lane *)lane)->segments[i]->segment;
}

/* A test may stop the serve thread at any of its steps. */
static inline void lanemap_engine_serve_step(struct lanemap_writer *writer, uint32_t step)
{
        if (writer->hooks.serve_step)
                writer->hooks.serve_step(writer->hooks.arg, step);
}

static inline struct lanemap_arena *lanemap_engine_arena(const struct lanemap_writer *writer)
{
        return lanemap_shm_arena_base(writer->shm.object->arena);
}

#endif
