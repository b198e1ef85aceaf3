/*
 * lanemap: a route index in shared memory. This header is its read side.
 *
 * A writer process (lanemapd) owns the index `key -> {id, ...}` of one tenant and publishes it
 * under a name. Any number of reader processes attach by that name and look keys up: lock-free,
 * without system calls, without writing one byte that another process can see. A reader can be
 * stopped, killed or forked at any instruction and nobody else notices.
 *
 *         struct lanemap_reader *reader;
 *         uint32_t ids[64];
 *         size_t n_ids;
 *
 *         r = lanemap_reader_attach("acme", NULL, &reader);
 *         r = lanemap_reader_lookup(reader, "public.users.id=42", 18, ids, 64, &n_ids);
 *         lanemap_reader_detach(reader);
 *
 * Return values: 0 is done; a positive value is a documented outcome; a negative errno is a
 * failure, and then no output has been touched (a buffer for ids may hold anything). Nothing here
 * prints, exits, or installs a signal handler.
 *
 *   -EBADMSG          bytes in the region or in a segment file fail validation
 *   -EPROTONOSUPPORT  the writer speaks a format that this library does not know
 *   -ESTALE           the state is older than the limit that the caller set
 *   -EINVAL           misuse: a bad name, an empty or too long key, a bad option
 *   -EPERM            an object or file that this reader was to map is somebody else's, or others
 *                     may write it (enum lanemap_trust)
 *
 * src/README.md numbers the guarantees of a lookup (R1 to R12). The short form:
 * each answer was true at some moment during the call; once a removal has been acknowledged to the
 * program that asked for it, no lookup that begins later returns the id. Reads may see an addition
 * shortly before it is durable.
 *
 * The program may do as it likes (R6, R11): fork at any moment, also inside a view, and go on in
 * the child; use liburcu; hold several copies of this library; unload it while threads live that
 * have looked up. Detach, or stop using, a reader that has a helper thread before a static copy of
 * this library is unloaded (the shared one stays in memory). fork() waits for attaches, polls and
 * re-attachments of other threads that are in the midst of a system call.
 */
#ifndef LANEMAP_LANEMAP_H
#define LANEMAP_LANEMAP_H

/*
 * The blocks of LANEMAP_DECLARATIONS_ONLY hold all that is not plain C declarations and #defines of
 * plain literals. A binding that has a preprocessor defines it; one that has none cuts the blocks
 * out, from their #ifndef to the #endif that names them, and the two lines above. lanemap_abi()
 * tells whether it understood the structs as the library does.
 */
#ifndef LANEMAP_DECLARATIONS_ONLY
#ifndef __LP64__
#error "lanemap is for systems whose size_t and long have 64 bits"
#endif
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)
#endif /* LANEMAP_DECLARATIONS_ONLY */

/* Limits. Ids are 0 .. LANEMAP_ID_MAX; keys are 1 .. LANEMAP_KEY_BYTES_MAX opaque bytes. A name is
 * 1 .. LANEMAP_NAME_BYTES_MAX of [A-Za-z0-9_-]. */
#define LANEMAP_ID_MAX         4294967294U
#define LANEMAP_KEY_BYTES_MAX  65535
#define LANEMAP_NAME_BYTES_MAX 64

/* Answers of lanemap_reader_attach() and others that say what is wrong in words. */
struct lanemap_error {
        char text[512]; /* one sentence or two: what, where, what to do; NUL-terminated */
};

struct lanemap_key {
        const void *data;
        size_t bytes;
};

/* Where the ids of one key of a batch are: ids[offset] .. ids[offset + n_ids - 1]. */
struct lanemap_span {
        size_t offset; /* LANEMAP_SPAN_UNWRITTEN when the ids did not fit */
        size_t n_ids;  /* 0: the key is absent */
};
/* SIZE_MAX. Not a macro: bindgen takes one of more than 63 bits for -1. */
static const size_t LANEMAP_SPAN_UNWRITTEN = 18446744073709551615UL;

/*
 * Whom a reader trusts. What it maps can be any bytes (-EBADMSG), but whoever may truncate an
 * object or file under a mapping can end the process with SIGBUS, and whoever publishes a name can
 * answer what he likes. So all that is mapped (control object, data object, segment files) has to
 * be writable by its owner only, and the owner has to be one and the same; or root.
 *
 * That leaves a stranger who creates a name before its writer does: he is the one owner then. A
 * reader that knows which user the writer runs as says so (LANEMAP_TRUST_UID), and gets -EPERM
 * instead of being fooled.
 */
enum lanemap_trust {
        LANEMAP_TRUST_ONE_OWNER = 0, /* whoever owns the control object, and root */
        LANEMAP_TRUST_UID = 1,       /* options.trusted_uid, and root */
        LANEMAP_TRUST_ANYONE = 2 /* nothing is checked: owners that look different from here, or a
                                     group that writes on purpose */
};

/* All members may be 0: the defaults. Set `size` to sizeof(struct lanemap_reader_options): a
 * program and a library of different ages understand each other, unless a member is set that the
 * library does not know (-EINVAL). */
struct lanemap_reader_options {
        size_t size;
        uint64_t attach_timeout_ns; /* how long attach waits for a writer to appear; 0: do not wait
                                     */
        uint64_t stale_after_ns;    /* a lookup answers -ESTALE when the writer has given no sign of
                                       life for longer; 0: answer for ever */
        const char *directory;      /* where the segment files are seen from here; NULL: where the
                                       writer says they are */
        int helper_thread;          /* 1: a thread of the library's own calls poll every 10 ms */
        int statistics;             /* 1: count lookups (lanemap_reader_status) */
        struct lanemap_error *error; /* filled when attach fails; may be NULL */
        uint32_t trust;              /* enum lanemap_trust */
        uint32_t trusted_uid;        /* with LANEMAP_TRUST_UID: the user that the writer runs as */
        uint32_t sample_every;       /* while a tracer watches the probes lookup__sample or
                                        lookup__slow, one in so many lookups of a thread is timed
                                        for them; 0: none; lanemap-perf(7) */
        uint32_t reserved;           /* 0 */
        uint64_t slow_ns;            /* a timed lookup that took as long fires lookup__slow; 0: none
                                        does */
};

enum lanemap_state {
        LANEMAP_STATE_STARTING =
                1, /* a writer is recovering; readers see its predecessor's state */
        LANEMAP_STATE_RUNNING = 2,
        LANEMAP_STATE_CLOSED = 3, /* the writer stopped in good order */
        LANEMAP_STATE_SILENT = 4  /* it did not, and its heartbeat has stood still for two seconds:
                                     it is dead, or stopped (SIGSTOP) */
};

/* Set `size` to sizeof(struct lanemap_status) before the call. Members that an older library does
 * not know are 0. */
struct lanemap_status {
        size_t size;
        uint64_t generation;       /* of the data object that this reader is attached to */
        uint64_t heartbeat_age_ns; /* since this process last saw the writer's heartbeat move */
        uint32_t state;            /* enum lanemap_state */
        uint32_t n_lanes;
        uint32_t fingerprint_bits; /* 64, 80 or 96 */
        uint32_t degraded;         /* 1: the writer has quarantined something (lanemap verify) */
        uint64_t n_keys;           /* live keys, exact */
        uint64_t n_pairs;          /* live (key, id) pairs, exact */
        uint64_t shared_bytes;     /* size of the data object */
        uint64_t segment_bytes;    /* segment files mapped by this process */
        uint64_t n_segment_files;  /* the same, as a number */
        uint64_t n_lookups;        /* by this reader object; 0 without options.statistics */
        uint64_t n_retries;        /* lookups that ran again because memory was reused under them */
        uint64_t n_reattachments;  /* generations followed since attach */
        unsigned char uuid[16];    /* of the index */
        uint32_t n_segments_packed; /* segments in these files, by what they are */
        uint32_t n_segments_recsplit;
        uint32_t n_segments_bbhash;
        uint32_t n_segments_filtered; /* of all of them: those with a filter in front */
};

struct lanemap_reader;

/* The sizes of the structs above, in bytes. */
struct lanemap_abi {
        uint32_t abi_bytes; /* of this one: members beyond it are not there */
        uint32_t error_bytes;
        uint32_t key_bytes;
        uint32_t span_bytes;
        uint32_t reader_options_bytes;
        uint32_t status_bytes;
        uint32_t view_bytes;
        uint32_t view_alignment;
};

/*
 * The sizes of the structs as the library in use was compiled, for bindings: one that read them
 * differently finds out before it calls anything else.
 *
 * Thread: any. Owner: static storage.
 */
const struct lanemap_abi *lanemap_abi(void);

/*
 * The version of the library in use, "major.minor.patch".
 *
 * Thread: any. Owner: static storage.
 */
const char *lanemap_version(void);

/*
 * Attach to the index that a writer publishes as `name`.
 *
 * name         NUL-terminated, as given to lanemapd --name
 * options      NULL for the defaults; not kept
 *
 * Return: 0. Errors: -ENOENT no writer has ever published that name (waits for
 * options->attach_timeout_ns first), -EACCES no permission, -EPERM it is somebody else's
 * (options->trust), -EBADMSG, -EPROTONOSUPPORT, -EINVAL,
 * -ENOMEM, -ETIMEDOUT a writer was starting all the while. Nothing is registered anywhere: a writer
 * never knows of a reader.
 *
 * Thread: any. Owner: the caller, until lanemap_reader_detach(). Cost: some system calls and one
 * mapping per segment file. Their pages are populated: by this call, about a millisecond per
 * million keys of a resident index and as long as the disk takes for one that is not; or, with
 * helper_thread, behind it.
 */
int lanemap_reader_attach(const char *name, const struct lanemap_reader_options *options,
                          struct lanemap_reader **ret_reader);

/*
 * Look one key up and copy its ids out, ascending, without duplicates.
 *
 * key          1 .. LANEMAP_KEY_BYTES_MAX bytes; not kept
 * ids          room for ids_capacity ids; may be NULL when ids_capacity is 0
 * ret_n_ids    how many ids the key has. More than ids_capacity: the content of ids is unspecified;
 *              come back with more room.
 *
 * Return: 0, also for an absent key (*ret_n_ids is 0). Errors: -EINVAL, -EBADMSG, -ESTALE; -EAGAIN
 * when memory was reused under every one of a bounded number of tries (a process stopped again and
 * again in the midst of a lookup); and, only when the writer was reborn or published a new segment
 * since, what mapping them can answer.
 *
 * Thread: any number at once on one reader object; not from a signal handler. Cost: a few DRAM
 * accesses and under 500 instructions, of which 200 hash a key of 20 bytes; no allocation, no
 * system call, no full fence in the steady state. A lane whose view has changed is decoded once
 * more, which takes a locked instruction.
 */
int lanemap_reader_lookup(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                          uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids);

/*
 * Look many keys up at once; memory accesses of different keys overlap.
 *
 * ids          one pool for the answers, filled in the order of the keys
 * ret_spans    one per key, always with the number of ids; a key whose ids did not fit has offset
 *              LANEMAP_SPAN_UNWRITTEN and uses no room, so that later, shorter answers still fit
 *
 * Return: the number of keys whose ids did not fit, 0 when all did (capped at INT_MAX). Errors: as
 * lanemap_reader_lookup(); ret_spans and ids are then undefined.
 *
 * Thread: as lanemap_reader_lookup(). Every answer is true at some moment of the call; two keys of
 * one batch may be answered as of different moments. Cost: each key less than a lookup; four are
 * hashed at once where the processor has AVX2 or AVX-512.
 */
int lanemap_reader_lookup_batch(struct lanemap_reader *reader, const struct lanemap_key *keys,
                                size_t n_keys, uint32_t *ids, size_t ids_capacity,
                                struct lanemap_span *ret_spans);

/*
 * Asks if the pair (key, id) is in the index. Does not decode a long posting.
 *
 * Return: 1 yes, 0 no. Errors and Thread: as lanemap_reader_lookup().
 */
int lanemap_reader_contains(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                            uint32_t id);

/*
 * Keys that are asked for again and again: hashed once, then looked up by their fingerprint.
 * Hashing is nearly half of a lookup's instructions.
 *
 * A fingerprint belongs to the index that it was made of, whichever process made it, for as long as
 * that index exists: writers may be reborn, generations change. An index that was made anew under
 * the same name has another hash key, and answers -ESTALE.
 */
struct lanemap_reader_fingerprint {
        uint64_t uuid[2]; /* of the index, as bytes in memory */
        uint64_t hash;    /* as lanemap_reader_iterate() gives them */
        uint32_t hash_ext;
        uint32_t reserved; /* 0 */
};

/*
 * The fingerprint of a key in the index that is attached.
 *
 * key          1 .. LANEMAP_KEY_BYTES_MAX bytes; not kept
 *
 * Return: 0. Errors: -EINVAL. Thread: as lanemap_reader_lookup(). Cost: hashing; of the index only
 * what is in every processor's cache is looked at.
 */
int lanemap_reader_fingerprint(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                               struct lanemap_reader_fingerprint *ret_fingerprint);

/*
 * lanemap_reader_lookup() by fingerprint.
 *
 * Return: 0, as lanemap_reader_lookup(). Errors: as its; -ESTALE also when the fingerprint is
 * another index's. Thread: as lanemap_reader_lookup(). Cost: as its, without hashing.
 */
int lanemap_reader_lookup_fingerprint(struct lanemap_reader *reader,
                                      const struct lanemap_reader_fingerprint *fingerprint,
                                      uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids);

/*
 * lanemap_reader_lookup_batch() by fingerprint.
 *
 * Return: as lanemap_reader_lookup_batch(). Errors: as its; -ESTALE also when one of them is
 * another index's. Thread: as lanemap_reader_lookup(). Cost: as its, without hashing.
 */
int lanemap_reader_lookup_fingerprints(struct lanemap_reader *reader,
                                       const struct lanemap_reader_fingerprint *fingerprints,
                                       size_t n_fingerprints, uint32_t *ids, size_t ids_capacity,
                                       struct lanemap_span *ret_spans);

/*
 * Views: the ids of one key where they are, without a copy. Use first, then ask whether what was
 * used was true:
 *
 *         do {
 *                 wanted = 0;                                        (forget the last round)
 *                 r = lanemap_reader_view_begin(reader, key, key_bytes, &view);
 *                 if (r < 0)
 *                         return r;
 *                 while ((n = lanemap_reader_view_next(&view, &ids)) > 0)
 *                         for (i = 0; i < n; i++)
 *                                 wanted += is_wanted(ids[i]);
 *                 r = lanemap_reader_view_end(&view);
 *         } while (r == LANEMAP_VIEW_AGAIN);
 *
 * R9. A view is always told whether what was read was true: when lanemap_reader_view_end() answers
 * 0, the ids that were read between the two calls are those that the key had when the view began.
 * When it answers LANEMAP_VIEW_AGAIN the writer had reused their memory meanwhile: nothing is known
 * of what was read, and whatever was made of it has to be forgotten.
 *
 * What that asks of the code in between:
 *
 * - It must be right for any numbers. An id may change between two looks at it, may be above
 *   LANEMAP_ID_MAX, may be out of order. Load an id once, check it before it becomes an index, and
 *   do nothing that cannot be taken back. Pointer and number of ids are always sound: nothing
 *   outside the mapping can be reached through them.
 * - It should be quick. A view is believed for at least the writer's quarantine (5 ms or more,
 *   unless the writer was told otherwise) after it began; beside a writer with a lot to do, one
 *   that takes longer has to begin again, every time. After a few rounds copy:
 *   lanemap_reader_lookup().
 * - It ends what it began, in the same thread, also when it breaks out early (what was read so far
 *   is judged). Views of several keys may be open at once. No lanemap_reader_detach() before.
 *
 * An open view delays the unmapping of retired segments and generations in this process: what the
 * writer replaces meanwhile stays mapped here until the first poll or re-attachment after its end.
 * Nobody waits for it: no call of another thread, no other process, no fork() (R4, R11).
 *
 * Where it pays: for postings of more than a few ids, when what is done with them is less than
 * copying them, or when only some are needed. Ids in segments are kept encoded; a view decodes them
 * into its own memory, 128 at a time, so what it saves there is the room, not the decoding.
 */
#define LANEMAP_VIEW_AGAIN 1

/* About 1 KiB, on the caller's stack. It must not be moved or copied while it is open. */
struct lanemap_view {
        size_t n_ids; /* how many ids the key had when the view began: the sum of the chunks. Not
                         garbage, whatever the end says. */
        uint64_t opaque[127];
};

/*
 * Begins a view of one key.
 *
 * key          1 .. LANEMAP_KEY_BYTES_MAX bytes; not kept
 *
 * Return: 0, also for an absent key (ret_view->n_ids is 0): lanemap_reader_view_end() is due.
 * Errors: as lanemap_reader_lookup(), and then nothing is open.
 *
 * Thread: as lanemap_reader_lookup(); the view belongs to the calling thread. Owner: the caller's
 * memory. Cost: as a lookup of an id-less key: no allocation, no system call, no full fence.
 */
int lanemap_reader_view_begin(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                              struct lanemap_view *ret_view);

/*
 * The next ids, ascending if they are true.
 *
 * ret_ids      where they are; readable until the view ends, or until the next call, whichever is
 *              earlier
 *
 * Return: the number of ids, at most 254; 0 after the last, and as soon as it is clear that the
 * view will not be believed (lanemap_reader_view_end() tells which). *ret_ids is then untouched.
 *
 * Thread: the one that began it. Cost: a cache miss or two a chunk; in a segment 1 to 2 ns an id.
 */
size_t lanemap_reader_view_next(struct lanemap_view *view, const uint32_t **ret_ids);

/*
 * Ends a view and judges it.
 *
 * Return: 0 what was read was true; LANEMAP_VIEW_AGAIN forget it, and begin again. Errors:
 * -EBADMSG bytes that fail validation (certain: they were not being reused).
 *
 * Thread: the one that began it. Cost: a load and a compare.
 */
int lanemap_reader_view_end(struct lanemap_view *view);

/*
 * What this reader is attached to, and how old that is.
 *
 * R8. A reader follows a reborn writer, and can tell how old its state is. A lookup that begins
 * after the successor has published answers from what that published; nothing has to be waited for.
 * Where the shared objects themselves were removed and made anew, lanemap_reader_poll() (the helper
 * thread calls it) and lookups with options->stale_after_ns follow as soon as the heartbeat of the
 * old ones has stood still for two seconds.
 *
 * heartbeat_age_ns is how long this process has known the heartbeat, which moves ten times a second
 * while a writer lives, to stand still. It is looked at by attach, this call, poll, and lookups
 * with stale_after_ns: so the writer's last sign of life is at least that old, and at most that and
 * the time between two looks older (10 ms with the helper thread).
 *
 * The heart beats in a thread of its own that does no I/O: it goes on beside a disk that hangs, and
 * stops with the process. state follows it: LANEMAP_STATE_SILENT after two seconds, counted from
 * this process's first look.
 *
 * Return: 0. Errors: -EINVAL ret_status->size is unknown. Thread: any. Cost: no system call but the
 * clock.
 */
int lanemap_reader_status(struct lanemap_reader *reader, struct lanemap_status *ret_status);

/*
 * Housekeeping, for programs that want no lookup ever to pay for it: follows a reborn writer, maps
 * new segments and populates their pages, goes over to copies that the writer has made on a tmpfs,
 * unmaps retired ones. Lookups do the least that they need themselves, and never wait for a poll
 * that is at work. A later poll releases the memory that an open view may look at; this call waits
 * for nothing.
 *
 * Return: the number of things done (0: nothing to do). Errors: as attach.
 * Thread: any, one at a time is enough. Cost: system calls; may fault pages in from disk.
 */
int lanemap_reader_poll(struct lanemap_reader *reader);

/*
 * Calls fn once for every live key: its hash (the identity of a key; no key bytes are stored) and
 * its ids. For tools: verification, export, statistics. Each lane is read as of moments during the
 * call.
 *
 * fn           answers 0 to go on; anything else stops, and is returned
 *
 * Return: 0, or what fn answered. Errors: as lanemap_reader_lookup(), -ENOMEM. Thread: any.
 * Owner: ids is valid during fn only.
 */
int lanemap_reader_iterate(struct lanemap_reader *reader,
                           int (*fn)(void *arg, uint64_t hash, uint32_t hash_ext,
                                     const uint32_t *ids, size_t n_ids),
                           void *arg);

/* Gives everything back. NULL is fine. Thread: no other call on this reader may be running. */
void lanemap_reader_detach(struct lanemap_reader *reader);

#ifndef LANEMAP_DECLARATIONS_ONLY
#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif /* LANEMAP_DECLARATIONS_ONLY */

#endif
