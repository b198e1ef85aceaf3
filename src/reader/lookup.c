/*
 * The public calls of liblanemap: argument checks, the question, the counters. reader/retry.h holds
 * the guard and the retry loop, shm/read.h the protocol, private.h the parts.
 */
#include "reader/private.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/guard.h"
#include "common/probes.h"
#include "common/siphash.h"
#include "common/siphash_many.h"
#include "reader/retry.h"
#include "shm/question_read.h"

const char *lanemap_version(void)
{
        return LANEMAP_VERSION;
}

const struct lanemap_abi *lanemap_abi(void)
{
        static const struct lanemap_abi abi = {
                .abi_bytes = sizeof(abi),
                .error_bytes = sizeof(struct lanemap_error),
                .key_bytes = sizeof(struct lanemap_key),
                .span_bytes = sizeof(struct lanemap_span),
                .reader_options_bytes = sizeof(struct lanemap_reader_options),
                .status_bytes = sizeof(struct lanemap_status),
                .view_bytes = sizeof(struct lanemap_view),
                .view_alignment = _Alignof(struct lanemap_view),
        };

        return &abi;
}

/* ---- lookups ---- */

static void statistics_add(struct lanemap_reader *reader, uint64_t n_lookups, uint64_t n_retries)
{
        uint32_t hash = lanemap_guard_hash(lanemap_guard_thread());
        struct reader_statistics *counters =
                &reader->counters[(hash >> 16) % READER_STATISTICS_STRIPES];

        if (n_lookups)
                lanemap_add_relaxed(&counters->n_lookups, n_lookups);
        if (n_retries)
                lanemap_add_relaxed(&counters->n_retries, n_retries);
}

int lanemap_reader_age_check(struct lanemap_reader *reader)
{
        struct lanemap_guard *guard;
        uint64_t age_ns;

        lanemap_reader_timing_begin(reader);
        if (reader->stale_after_ns == 0)
                return 0;

        guard = lanemap_guard_enter();
        age_ns = lanemap_reader_heartbeat_age_ns(reader,
                                                 reader_attachment_get(reader)->region.control);
        lanemap_guard_leave(guard);

        return age_ns > reader->stale_after_ns && !lanemap_reader_revive(reader, age_ns) ? -ESTALE
                                                                                         : 0;
}

void lanemap_reader_account(struct lanemap_reader *reader, uint64_t n_lookups, uint64_t n_retries)
{
        if (n_retries)
                LANEMAP_PROBE(retry, (const char *)reader->name, n_lookups, n_retries);
        lanemap_reader_timing_end(reader, n_lookups, n_retries);
        statistics_add(reader, reader->counts_lookups ? n_lookups : 0, n_retries);
}

/* Counts an answer, if anybody wants that or it took more than one try. */
LANEMAP_ALWAYS_INLINE int answer_finish(struct lanemap_reader *reader, int r, uint64_t n_lookups,
                                        uint64_t n_retries)
{
        if (LANEMAP_UNLIKELY(reader->statistics || n_retries))
                lanemap_reader_account(reader, n_lookups, n_retries);

        return r;
}

struct lookup {
        const void *key;
        size_t key_bytes;
        uint32_t *ids;
        size_t capacity;
        size_t *ret_n_ids;
        uint64_t n_retries;
};

static int lookup_try(const struct lanemap_shm_region *region, void *arg)
{
        struct lookup *lookup = arg;

        return lanemap_shm_lookup(
                region, lanemap_shm_fingerprint(region, lookup->key, lookup->key_bytes),
                lookup->ids, lookup->capacity, lookup->ret_n_ids, &lookup->n_retries);
}

/* A lookup that the simple try has not answered; it leaves the guard. */
static __attribute__((noinline)) int lookup_go_on(struct lanemap_reader *reader,
                                                  struct lanemap_guard *guard,
                                                  const struct reader_attachment *attachment,
                                                  struct lanemap_fingerprint fp,
                                                  struct lookup *lookup)
{
        struct reader_snapshot seen = reader_snapshot_of(attachment);
        int r;

        r = lanemap_shm_lookup(&attachment->region, fp, lookup->ids, lookup->capacity,
                               lookup->ret_n_ids, &lookup->n_retries);
        lanemap_guard_leave(guard);
        if (LANEMAP_UNLIKELY(r != 0)) {
                r = lanemap_reader_refresh(reader, r, &seen);
                if (r == 0)
                        r = reader_retry(reader, lookup_try, lookup);
        }
        return answer_finish(reader, r, 1, lookup->n_retries);
}

int lanemap_reader_lookup(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                          uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids)
{
        const struct reader_attachment *attachment;
        struct lanemap_fingerprint fp = {.ext = 0};
        struct lanemap_guard *guard;
        struct lookup lookup;
        uint64_t hash, n_retries = 0;

        if (LANEMAP_UNLIKELY(!reader || !reader_key_is_valid(key, key_bytes) ||
                             (!ids && ids_capacity) || !ret_n_ids))
                return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        guard = lanemap_guard_enter();
        attachment = reader_attachment_get(reader);
        if (LANEMAP_LIKELY(attachment->region.hash_key.fingerprint_bits == 64)) {
                hash = lanemap_sip_hash(&attachment->region.hash_key, key, key_bytes);
                if (LANEMAP_LIKELY(lanemap_shm_lookup_simple(
                            &attachment->region, hash, ids, ids_capacity, ret_n_ids, &n_retries))) {
                        lanemap_guard_leave(guard);
                        return answer_finish(reader, 0, 1, 0);
                }
                fp.hash = hash;
        } else {
                fp = lanemap_shm_fingerprint(&attachment->region, key, key_bytes);
        }

        lookup = (struct lookup){.key = key,
                                 .key_bytes = key_bytes,
                                 .ids = ids,
                                 .capacity = ids_capacity,
                                 .ret_n_ids = ret_n_ids,
                                 .n_retries = n_retries};
        return lookup_go_on(reader, guard, attachment, fp, &lookup);
}

struct contains {
        const void *key;
        size_t key_bytes;
        uint32_t id;
        bool found;
        uint64_t n_retries;
};

LANEMAP_ALWAYS_INLINE int contains_try(const struct lanemap_shm_region *region, void *arg)
{
        struct contains *contains = arg;

        return lanemap_shm_contains(
                region, lanemap_shm_fingerprint(region, contains->key, contains->key_bytes),
                contains->id, &contains->found, &contains->n_retries);
}

int lanemap_reader_contains(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                            uint32_t id)
{
        struct contains contains = {.key = key, .key_bytes = key_bytes, .id = id};
        int r;

        if (LANEMAP_UNLIKELY(!reader || !reader_key_is_valid(key, key_bytes) ||
                             id > LANEMAP_ID_MAX))
                return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        r = answer_finish(reader, reader_retry(reader, contains_try, &contains), 1,
                          contains.n_retries);
        return r < 0 ? r : contains.found;
}

/* One chunk, with an epoch and a guard of its own: a batch delays no release for long. */
struct chunk {
        const struct lanemap_key *keys;
        size_t n_keys;
        uint32_t *ids;
        size_t capacity;
        size_t used;
        struct lanemap_span *spans;
        uint64_t n_retries;
};

static int chunk_try(const struct lanemap_shm_region *region, void *arg)
{
        struct lanemap_fingerprint fps[LANEMAP_SHM_CHUNK_KEYS];
        struct chunk *chunk = arg;

        lanemap_fingerprints_of(&region->hash_key, chunk->keys, chunk->n_keys, fps);
        return lanemap_shm_lookup_chunk(region, fps, chunk->n_keys, chunk->ids, chunk->capacity,
                                        chunk->used, chunk->spans, &chunk->used, &chunk->n_retries);
}

int lanemap_reader_lookup_batch(struct lanemap_reader *reader, const struct lanemap_key *keys,
                                size_t n_keys, uint32_t *ids, size_t ids_capacity,
                                struct lanemap_span *ret_spans)
{
        struct chunk chunk = {.ids = ids, .capacity = ids_capacity};
        size_t n_unwritten = 0;
        int r = 0;

        if (!reader || (n_keys && (!keys || !ret_spans)) || (!ids && ids_capacity))
                return -EINVAL;
        for (size_t i = 0; i < n_keys; i++)
                if (!reader_key_is_valid(keys[i].data, keys[i].bytes))
                        return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        for (size_t at = 0; at < n_keys && r == 0; at += LANEMAP_SHM_CHUNK_KEYS) {
                chunk.keys = keys + at;
                chunk.n_keys = LANEMAP_MIN(n_keys - at, (size_t)LANEMAP_SHM_CHUNK_KEYS);
                chunk.spans = ret_spans + at;
                r = reader_retry(reader, chunk_try, &chunk);
        }

        r = answer_finish(reader, r, n_keys, chunk.n_retries);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_keys; i++)
                n_unwritten += ret_spans[i].offset == LANEMAP_SPAN_UNWRITTEN;
        return (int)LANEMAP_MIN(n_unwritten, (size_t)INT_MAX);
}

/* ---- the rest ---- */

/* The structs of the first release: what every program has. */
#define OPTIONS_BYTES_MIN (offsetof(struct lanemap_reader_options, trust))
#define STATUS_BYTES_MIN  (offsetof(struct lanemap_status, uuid) + 16)

static void segments_count(const struct lanemap_lane_file *file, struct lanemap_status *status)
{
        for (uint32_t i = 0; i < file->n_sections; i++) {
                const struct lanemap_segment *segment = &file->sections[i];

                status->n_segments_packed += segment->kind == LANEMAP_SEGMENT_KIND_PACKED;
                status->n_segments_recsplit += segment->kind == LANEMAP_SEGMENT_KIND_RECSPLIT;
                status->n_segments_bbhash += segment->kind == LANEMAP_SEGMENT_KIND_BBHASH;
                status->n_segments_filtered += segment->has_filter;
        }
}

/* A writer that was killed left its last word. */
static uint32_t state_seen(const struct lanemap_shm_control *control, uint64_t age_ns)
{
        uint32_t state = lanemap_load_relaxed(&control->state);

        return state != LANEMAP_STATE_CLOSED && age_ns > LANEMAP_SILENT_AFTER_NS
                       ? (uint32_t)LANEMAP_STATE_SILENT
                       : state;
}

int lanemap_reader_status(struct lanemap_reader *reader, struct lanemap_status *ret_status)
{
        const struct reader_attachment *attachment;
        const struct lanemap_lane_files *files;
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_guard *guard;

        if (!reader || !ret_status || ret_status->size < STATUS_BYTES_MIN)
                return -EINVAL;

        guard = lanemap_guard_enter();
        attachment = reader_attachment_get(reader);
        files = lanemap_load_acquire(&attachment->region.files);
        status.generation = attachment->region.generation;
        status.heartbeat_age_ns =
                lanemap_reader_heartbeat_age_ns(reader, attachment->region.control);
        status.state = state_seen(attachment->region.control, status.heartbeat_age_ns);
        status.n_lanes = attachment->region.n_lanes;
        status.fingerprint_bits = attachment->region.hash_key.fingerprint_bits;
        status.degraded = lanemap_load_relaxed(&attachment->data->degraded);
        status.n_keys = lanemap_load_relaxed(&attachment->data->n_keys);
        status.n_pairs = lanemap_load_relaxed(&attachment->data->n_pairs);
        status.shared_bytes = lanemap_load_relaxed(&attachment->region.bytes);
        memcpy(status.uuid, attachment->data->uuid, sizeof(status.uuid));
        for (uint32_t slot = 0; slot < files->n_slots; slot++) {
                const struct lanemap_lane_file *file = lanemap_load_acquire(&files->slots[slot]);

                if (file) {
                        status.n_segment_files++;
                        status.segment_bytes += file->n_bytes;
                        segments_count(file, &status);
                }
        }
        lanemap_guard_leave(guard);

        for (int i = 0; i < READER_STATISTICS_STRIPES; i++) {
                status.n_lookups += lanemap_load_relaxed(&reader->counters[i].n_lookups);
                status.n_retries += lanemap_load_relaxed(&reader->counters[i].n_retries);
        }
        status.n_reattachments = lanemap_load_relaxed(&reader->n_reattachments);
        status.size = ret_status->size;
        memset(ret_status, 0, status.size);
        memcpy(ret_status, &status, LANEMAP_MIN(status.size, sizeof(status)));
        return 0;
}

/* Attach until it works or the time is up. A name that nobody ever published is asked for again
 * every few ms. */
static int attach_wait(struct lanemap_reader *reader, uint64_t timeout_ns)
{
        const struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
        uint64_t deadline_ns = lanemap_reader_now_ns() + timeout_ns;
        int r;

        for (;;) {
                r = lanemap_reader_attachment_new(reader, &reader->attachment);
                if (r != -ENOENT && r != -ETIMEDOUT)
                        return r;
                if (timeout_ns == 0 || lanemap_reader_now_ns() >= deadline_ns)
                        return r;

                (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        }
}

/*
 * Options of a program that is older than this library, or younger. Members that an old one lacks
 * are 0; members that only a young one knows must be 0. ret_options is always set.
 */
static int options_read(const struct lanemap_reader_options *given,
                        struct lanemap_reader_options *ret_options)
{
        const unsigned char *bytes = (const unsigned char *)given;

        memset(ret_options, 0, sizeof(*ret_options));
        if (!given)
                return 0;
        if (given->size < OPTIONS_BYTES_MIN)
                return -EINVAL;

        memcpy(ret_options, given, LANEMAP_MIN(given->size, sizeof(*ret_options)));
        for (size_t i = sizeof(*ret_options); i < given->size; i++)
                if (bytes[i])
                        return -EINVAL;

        return 0;
}

int lanemap_reader_attach(const char *name, const struct lanemap_reader_options *given,
                          struct lanemap_reader **ret_reader)
{
        struct lanemap_reader_options options;
        struct lanemap_reader *reader;
        int r;

        r = options_read(given, &options);
        if (r < 0 || !ret_reader || !lanemap_shm_name_is_valid(name) ||
            options.trust > LANEMAP_TRUST_ANYONE || options.reserved) {
                lanemap_reader_explain(name, -EINVAL, "", options.error);
                return -EINVAL;
        }

        r = lanemap_reader_open(name, &options, &reader);
        if (r == 0) {
                r = attach_wait(reader, options.attach_timeout_ns);
                /* The helper's first work, or this call's. A page that fails here faults later. */
                if (r == 0)
                        (void)lanemap_reader_heartbeat_age_ns(reader,
                                                              reader->attachment->region.control);
                if (r == 0 && options.helper_thread)
                        r = lanemap_reader_start_helper(reader);
                else if (r == 0 && lanemap_reader_files_prepare(reader, NULL) > 0)
                        lanemap_reader_drain(reader);
                if (r < 0) {
                        lanemap_reader_explain(name, r, reader->detail, options.error);
                        lanemap_reader_detach(reader);
                }
        } else {
                lanemap_reader_explain(name, r, "", options.error);
        }
        if (r < 0)
                return r;

        *ret_reader = reader;
        return 0;
}

void lanemap_reader_detach(struct lanemap_reader *reader)
{
        if (!reader)
                return;

        lanemap_reader_stop_helper(reader);
        lanemap_reader_retired_release(reader);
        if (reader->attachment)
                lanemap_reader_attachment_release(&reader->attachment->retired);
        if (reader->shm_dir_fd >= 0)
                close(reader->shm_dir_fd);
        lanemap_reader_timing_deinit(reader);
        free(reader->directory);
        free(reader);
}
