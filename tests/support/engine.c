/* See engine.h. */
#include "engine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"

#define BATCH_KEYS 100

void engine_options_init(struct lanemap_writer_options *options, const struct scratch *scratch,
                         struct lanemap_error *error)
{
        *options = (struct lanemap_writer_options){
                .size = sizeof(*options),
                .name = scratch->name,
                .directory = scratch->directory,
                .n_lanes = 4,
                .flush_bytes = 16 << 10,
                .log_file_bytes = 64 << 10,
                .shared_bytes_max = 256 << 20,
                .error = error,
        };
}

int engine_apply_durably(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops)
{
        uint64_t position;
        int r = lanemap_writer_apply(writer, ops, n_ops, NULL, NULL, &position);

        return r < 0 ? r : lanemap_writer_sync(writer, position);
}

int engine_add(struct lanemap_writer *writer, const char *key, uint32_t id)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, id, key, strlen(key)};

        return engine_apply_durably(writer, &op, 1);
}

int engine_remove(struct lanemap_writer *writer, const char *key, uint32_t id)
{
        struct lanemap_op op = {LANEMAP_OP_REMOVE, id, key, strlen(key)};

        return engine_apply_durably(writer, &op, 1);
}

int engine_request(struct lanemap_writer *writer, uint32_t request)
{
        uint64_t ticket;
        int r = lanemap_writer_request(writer, request, &ticket);

        return r < 0 ? r : lanemap_writer_request_wait(writer, ticket);
}

void engine_stats(struct lanemap_writer *writer, struct lanemap_writer_stats *ret_stats)
{
        *ret_stats = (struct lanemap_writer_stats){.size = sizeof(*ret_stats)};
        lanemap_check(lanemap_writer_get_stats(writer, ret_stats) == 0);
}

int engine_crash_after(int (*fn)(void *arg), void *arg)
{
        pid_t child;
        int status;

        fflush(NULL);
        child = fork();
        lanemap_check(child >= 0);
        if (child == 0)
                _exit(fn(arg));

        lanemap_check(waitpid(child, &status, 0) == child);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

void engine_log_stderr(void *arg, int priority, const char *line)
{
        (void)arg;
        fprintf(stderr, "<%d> %s\n", priority, line);
}

/* ---- comparing ---- */

struct why {
        char *text;
        size_t bytes;
};

static bool LANEMAP_PRINTF(2, 3) disagree(struct why why, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(why.text, why.bytes, format, args);
        va_end(args);
        return false;
}

static bool ids_equal(const uint32_t *ids, const uint32_t *expected, size_t n)
{
        return n == 0 || memcmp(ids, expected, n * sizeof(*ids)) == 0;
}

/* One answer of either side's lookup, with exactly the room that the right answer needs, and with
 * one less. */
static bool lookup_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                           const void *key, size_t key_bytes, const uint32_t *expected,
                           size_t n_expected, struct why why)
{
        const char *who = reader ? "reader" : "writer";
        uint32_t *ids = malloc((n_expected + 1) * sizeof(*ids));
        size_t n_ids = SIZE_MAX;
        bool agrees = true;
        int r;

        lanemap_check(ids);
        ids[n_expected] = 0xfeedbeef;
        r = reader ? lanemap_reader_lookup(reader, key, key_bytes, ids, n_expected, &n_ids)
                   : lanemap_writer_lookup(writer, key, key_bytes, ids, n_expected, &n_ids, NULL);
        if (r != 0 || n_ids != n_expected)
                agrees = disagree(why, "%s lookup of %.*s: %d, %zu ids instead of %zu", who,
                                  (int)key_bytes, (const char *)key, r, n_ids, n_expected);
        else if (!ids_equal(ids, expected, n_ids))
                agrees = disagree(why, "%s lookup of %.*s: %zu ids, but not the right ones", who,
                                  (int)key_bytes, (const char *)key, n_ids);
        else if (ids[n_expected] != 0xfeedbeef)
                agrees = disagree(why, "%s lookup of %.*s: wrote past the room", who,
                                  (int)key_bytes, (const char *)key);
        free(ids);
        return agrees;
}

static bool contains_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                             const struct model *model, const void *key, size_t key_bytes,
                             uint32_t id, struct why why)
{
        int expected = model_contains(model, key, key_bytes, id), r;

        r = lanemap_writer_contains(writer, key, key_bytes, id, NULL);
        if (r == expected && reader)
                r = lanemap_reader_contains(reader, key, key_bytes, id);
        if (r != expected)
                return disagree(why, "contains(%.*s, %" PRIu32 "): %d instead of %d",
                                (int)key_bytes, (const char *)key, id, r, expected);
        return true;
}

bool engine_key_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                        const struct model *model, const void *key, size_t key_bytes, char *ret_why,
                        size_t why_bytes)
{
        struct why why = {ret_why, why_bytes};
        const uint32_t *ids;
        size_t n = model_lookup(model, key, key_bytes, &ids);
        uint32_t probes[8] = {0, 1, LANEMAP_ID_MAX};
        uint32_t n_probes = 3;

        if (!lookup_matches(writer, NULL, key, key_bytes, ids, n, why) ||
            (reader && !lookup_matches(writer, reader, key, key_bytes, ids, n, why)))
                return false;

        if (n > 0) {
                probes[n_probes++] = ids[0];
                probes[n_probes++] = ids[n - 1];
                probes[n_probes++] = ids[n / 2];
                probes[n_probes++] = ids[n / 2] < LANEMAP_ID_MAX ? ids[n / 2] + 1 : 0;
        }
        for (uint32_t i = 0; i < n_probes; i++)
                if (!contains_matches(writer, reader, model, key, key_bytes, probes[i], why))
                        return false;
        return true;
}

/* One batch over keys[first .. first + n), with room for all of it or, squeezed, for too little. */
static bool batch_matches(struct lanemap_reader *reader, const struct model *model, size_t first,
                          size_t n, bool squeezed, struct why why)
{
        struct lanemap_key keys[BATCH_KEYS];
        struct lanemap_span spans[BATCH_KEYS];
        size_t total = 0, capacity, used = 0;
        int n_unwritten = 0, r;
        uint32_t *ids;

        for (size_t i = 0; i < n; i++) {
                keys[i].data = model->keys[first + i].bytes;
                keys[i].bytes = model->keys[first + i].n_bytes;
                total += model->keys[first + i].n_ids;
        }
        capacity = squeezed ? total / 3 : total;
        ids = malloc((capacity + 1) * sizeof(*ids));
        lanemap_check(ids);

        r = lanemap_reader_lookup_batch(reader, keys, n, ids, capacity, spans);
        for (size_t i = 0; i < n && r >= 0; i++) {
                const struct model_key *key = &model->keys[first + i];
                bool fits = key->n_ids <= capacity - used;

                if (spans[i].n_ids != key->n_ids ||
                    spans[i].offset != (fits ? used : LANEMAP_SPAN_UNWRITTEN) ||
                    (fits && !ids_equal(ids + used, key->ids, key->n_ids))) {
                        free(ids);
                        return disagree(why, "batch: key %zu, %.*s: %zu ids at %zu instead of %zu",
                                        i, (int)key->n_bytes, (const char *)key->bytes,
                                        spans[i].n_ids, spans[i].offset, key->n_ids);
                }
                if (fits)
                        used += key->n_ids;
                else
                        n_unwritten++;
        }

        free(ids);
        return r == n_unwritten ||
               disagree(why, "batch: %d instead of %d unwritten", r, n_unwritten);
}

struct sum {
        uint64_t n_keys, n_pairs, digest;
};

static int sum_add(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids, size_t n_ids)
{
        struct sum *sum = arg;

        (void)hash;
        (void)hash_ext;
        sum->n_keys++;
        sum->n_pairs += n_ids;
        sum->digest += model_ids_digest(ids, n_ids);
        return 0;
}

static bool reader_sums_match(struct lanemap_reader *reader, const struct model *model,
                              struct why why)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct sum sum = {0};
        int r;

        r = lanemap_reader_status(reader, &status);
        if (r != 0 || status.n_keys != model->n_keys || status.n_pairs != model->n_pairs)
                return disagree(why,
                                "reader status: %d, %" PRIu64 " keys %" PRIu64
                                " pairs instead of %" PRIu64 ", %" PRIu64,
                                r, status.n_keys, status.n_pairs, model->n_keys, model->n_pairs);

        r = lanemap_reader_iterate(reader, sum_add, &sum);
        if (r != 0 || sum.n_keys != model->n_keys || sum.n_pairs != model->n_pairs ||
            sum.digest != model_digest(model))
                return disagree(why,
                                "iteration: %d, %" PRIu64 " keys %" PRIu64 " pairs instead of "
                                "%" PRIu64 ", %" PRIu64 "%s",
                                r, sum.n_keys, sum.n_pairs, model->n_keys, model->n_pairs,
                                sum.digest == model_digest(model) ? "" : ", other ids");
        return true;
}

static bool writer_sums_match(struct lanemap_writer *writer, const struct model *model,
                              struct why why)
{
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        struct lanemap_writer_stats stats;
        size_t n_ids, n_expected, mark_bytes;
        uint32_t *ids, *expected;
        bool same;
        int r;

        engine_stats(writer, &stats);
        if (stats.n_keys != model->n_keys || stats.n_pairs != model->n_pairs)
                return disagree(why,
                                "writer counts: %" PRIu64 " keys %" PRIu64 " pairs instead of "
                                "%" PRIu64 ", %" PRIu64,
                                stats.n_keys, stats.n_pairs, model->n_keys, model->n_pairs);

        lanemap_writer_mark(writer, mark, &mark_bytes, NULL);
        if (mark_bytes != model->mark_bytes || memcmp(mark, model->mark, mark_bytes) != 0)
                return disagree(why, "mark: %zu bytes, %.*s, instead of %zu, %.*s", mark_bytes,
                                (int)mark_bytes, (const char *)mark, model->mark_bytes,
                                (int)model->mark_bytes, (const char *)model->mark);

        r = lanemap_writer_ids(writer, &ids, &n_ids);
        if (r != 0)
                return disagree(why, "writer ids: %d", r);
        expected = model_ids(model, &n_expected);
        same = n_ids == n_expected && ids_equal(ids, expected, n_ids);
        free(expected);
        lanemap_writer_ids_free(ids);
        return same || disagree(why, "writer ids: %zu instead of %zu", n_ids, n_expected);
}

bool engine_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                    const struct model *model, char *ret_why, size_t why_bytes)
{
        struct why why = {ret_why, why_bytes};

        for (size_t i = 0; i < model->n; i++)
                if (!engine_key_matches(writer, reader, model, model->keys[i].bytes,
                                        model->keys[i].n_bytes, ret_why, why_bytes))
                        return false;
        for (size_t i = 0; i < model->n && reader; i += BATCH_KEYS) {
                size_t n = LANEMAP_MIN(model->n - i, (size_t)BATCH_KEYS);

                if (!batch_matches(reader, model, i, n, false, why) ||
                    !batch_matches(reader, model, i, n, true, why))
                        return false;
        }

        return writer_sums_match(writer, model, why) &&
               (!reader || reader_sums_match(reader, model, why));
}
