/* See resp/buffer.h. */
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "common/check.h"
#include "daemon/resp/buffer.h"
#include "daemon/resp/number.h"

#define REPLY_BYTES_FIRST 1024
#define REPLY_BYTES_KEEP  65536

#define PIECE_BYTES \
        (LANEMAP_REPLY_PIECE_IDS * LANEMAP_ELEMENT_BYTES_MAX + LANEMAP_ELEMENT_BYTES_MORE)

void lanemap_reply_init(struct lanemap_reply *reply, uint32_t protocol)
{
        memset(reply, 0, sizeof(*reply));
        reply->protocol = protocol;
}

static void piece_free(struct lanemap_reply *reply)
{
        lanemap_free(reply->piece);
        reply->piece = NULL;
        reply->piece_begin = reply->piece_end = 0;
}

void lanemap_reply_deinit(struct lanemap_reply *reply)
{
        for (size_t i = 0; i < reply->n_runs; i++)
                lanemap_free(reply->runs[reply->run_first + i].ids);
        lanemap_free(reply->runs);
        piece_free(reply);
        lanemap_free(reply->bytes);
        *reply = (struct lanemap_reply){.protocol = reply->protocol};
}

uint64_t lanemap_reply_memory(const struct lanemap_reply *reply)
{
        return reply->capacity + reply->ids_bytes + (reply->piece ? PIECE_BYTES : 0) +
               reply->runs_capacity * sizeof(*reply->runs);
}

static char *reply_grow(struct lanemap_reply *reply, size_t n)
{
        size_t live = reply->end - reply->begin;
        size_t capacity = reply->capacity ? reply->capacity : REPLY_BYTES_FIRST;
        char *bytes;

        if (reply->failed)
                return NULL;
        if (reply->begin >= live && reply->capacity - live >= n) {
                memmove(reply->bytes, reply->bytes + reply->begin, live);
                reply->begin = 0;
                reply->end = live;
                return reply->bytes + live;
        }
        while (capacity - reply->end < n)
                capacity *= 2;
        bytes = lanemap_realloc(reply->bytes, capacity);
        if (!bytes) {
                reply->failed = true;
                return NULL;
        }
        reply->bytes = bytes;
        reply->capacity = capacity;
        return bytes + reply->end;
}

char *lanemap_reply_reserve(struct lanemap_reply *reply, size_t n)
{
        if (LANEMAP_LIKELY(reply->capacity - reply->end >= n && !reply->failed))
                return reply->bytes + reply->end;
        return reply_grow(reply, n);
}

void lanemap_reply_raw(struct lanemap_reply *reply, const void *bytes, size_t n_bytes)
{
        char *to;

        if (n_bytes == 0)
                return;
        to = lanemap_reply_reserve(reply, n_bytes);
        if (!to)
                return;
        memcpy(to, bytes, n_bytes);
        reply->end += n_bytes;
}

/* Of the text of a run. */
static uint64_t ids_text_bytes(char type, const uint32_t *ids, size_t n_ids)
{
        uint64_t n_bytes = 0, end = 10;
        size_t n_done = 0;

        for (size_t n_digits = 1; n_done < n_ids; n_digits++, end *= 10) {
                size_t n = lanemap_ids_below(ids, n_ids, end) - n_done;

                n_bytes += n * (1 + n_digits + 2);
                if (type == '$')
                        n_bytes += n * ((n_digits < 10 ? 1 : 2) + 2);
                n_done += n;
        }
        return n_bytes;
}

static bool runs_room(struct lanemap_reply *reply, size_t n)
{
        if (reply->run_first + reply->n_runs + n <= reply->runs_capacity)
                return true;
        if (reply->run_first > 0) {
                memmove(reply->runs, reply->runs + reply->run_first,
                        reply->n_runs * sizeof(*reply->runs));
                reply->run_first = 0;
        }
        return lanemap_array_fit((void **)&reply->runs, &reply->runs_capacity, reply->n_runs + n,
                                 sizeof(*reply->runs)) == 0;
}

void lanemap_reply_run(struct lanemap_reply *reply, char type, uint32_t *ids, size_t n_ids)
{
        size_t n_before = reply->end - reply->begin - reply->n_before_runs;
        struct lanemap_reply_run *run;

        if (n_ids == 0 || reply->failed || !runs_room(reply, 1)) {
                reply->failed |= n_ids > 0;
                lanemap_free(ids);
                return;
        }
        run = &reply->runs[reply->run_first + reply->n_runs++];
        *run = (struct lanemap_reply_run){.ids = ids,
                                          .n_ids = n_ids,
                                          .n_before = n_before,
                                          .n_bytes = ids_text_bytes(type, ids, n_ids),
                                          .type = type};
        reply->n_before_runs += n_before;
        reply->runs_bytes += run->n_bytes;
        reply->ids_bytes += n_ids * sizeof(*ids);
}

bool lanemap_reply_room(struct lanemap_reply *reply, size_t n_bytes, size_t n_runs)
{
        bool was_failed = reply->failed;

        if (runs_room(reply, n_runs) && (n_bytes == 0 || lanemap_reply_reserve(reply, n_bytes)))
                return true;
        reply->failed = was_failed;
        return false;
}

/* The first or the last one is there no more, and its ids neither. */
static void run_forget(struct lanemap_reply *reply, struct lanemap_reply_run *run)
{
        reply->n_before_runs -= run->n_before;
        reply->runs_bytes -= run->n_bytes;
        reply->ids_bytes -= run->n_ids * sizeof(*run->ids);
        if (run == &reply->runs[reply->run_first])
                reply->run_first++;
        if (--reply->n_runs == 0)
                reply->run_first = 0;
}

/* The text of the next ids of the first run. Return: false without memory. */
static bool piece_make(struct lanemap_reply *reply, struct lanemap_reply_run *run)
{
        size_t n = LANEMAP_MIN(run->n_ids - run->n_made, LANEMAP_REPLY_PIECE_IDS);
        const uint32_t *ids = run->ids + run->n_made;
        char *to;

        if (!reply->piece)
                reply->piece = lanemap_alloc(PIECE_BYTES);
        if (!reply->piece) {
                reply->failed = true;
                return false;
        }
        to = reply->piece;
        for (size_t i = 0; i < n; i++)
                to = lanemap_element_write(to, run->type, ids[i]);
        run->n_made += n;
        reply->piece_begin = 0;
        reply->piece_end = (size_t)(to - reply->piece);
        return true;
}

size_t lanemap_reply_next(struct lanemap_reply *reply, const char **ret_bytes)
{
        struct lanemap_reply_run *run = reply->n_runs ? &reply->runs[reply->run_first] : NULL;
        size_t n = run ? run->n_before : reply->end - reply->begin;

        *ret_bytes = NULL;
        if (n == 0 && !run)
                return 0;
        if (n > 0) {
                *ret_bytes = reply->bytes + reply->begin;
                return n;
        }
        if (reply->piece_begin == reply->piece_end && !piece_make(reply, run))
                return 0;
        *ret_bytes = reply->piece + reply->piece_begin;
        return reply->piece_end - reply->piece_begin;
}

/* n bytes of the text of the first run are gone. */
static void run_sent(struct lanemap_reply *reply, struct lanemap_reply_run *run, size_t n)
{
        reply->piece_begin += n;
        run->n_bytes -= n;
        reply->runs_bytes -= n;
        if (run->n_bytes > 0)
                return;
        lanemap_check(reply->piece_begin == reply->piece_end && run->n_made == run->n_ids);
        lanemap_free(run->ids);
        run_forget(reply, run);
        piece_free(reply);
}

void lanemap_reply_sent(struct lanemap_reply *reply, size_t n)
{
        struct lanemap_reply_run *run = reply->n_runs ? &reply->runs[reply->run_first] : NULL;

        reply->stream += n;
        if (run && run->n_before == 0) {
                run_sent(reply, run, n);
                return;
        }
        reply->begin += n;
        if (run) {
                run->n_before -= n;
                reply->n_before_runs -= n;
        }
        if (reply->begin == reply->end)
                reply->begin = reply->end = 0;
}

bool lanemap_reply_move_some(struct lanemap_reply *to, struct lanemap_reply *from, uint64_t through)
{
        struct lanemap_reply_run *run = from->n_runs ? &from->runs[from->run_first] : NULL;
        size_t n = run ? run->n_before : from->end - from->begin;

        if (from->stream >= through)
                return false;
        n = (size_t)LANEMAP_MIN((uint64_t)n, through - from->stream);
        n = LANEMAP_MIN(n, LANEMAP_REPLY_MOVE_BYTES);
        lanemap_check(n > 0 || run);
        if (n > 0) {
                lanemap_reply_raw(to, from->bytes + from->begin, n);
                lanemap_reply_sent(from, n);
        } else {
                lanemap_reply_run(to, run->type, run->ids, run->n_ids);
                from->stream += run->n_bytes;
                run_forget(from, run);
        }
        return true;
}

void lanemap_reply_cut(struct lanemap_reply *reply, uint64_t stream_from)
{
        while (stream_from < lanemap_reply_stream_end(reply)) {
                uint64_t excess = lanemap_reply_stream_end(reply) - stream_from;
                size_t tail = reply->end - reply->begin - reply->n_before_runs;
                struct lanemap_reply_run *run;

                if (tail > 0) {
                        reply->end -= (size_t)LANEMAP_MIN((uint64_t)tail, excess);
                        continue;
                }
                run = &reply->runs[reply->run_first + reply->n_runs - 1];
                lanemap_check(reply->n_runs > 0 && run->n_made == 0);
                lanemap_free(run->ids);
                run_forget(reply, run); /* what came before it is the tail */
        }
}

void lanemap_reply_trim(struct lanemap_reply *reply)
{
        if (lanemap_reply_bytes(reply) > 0)
                return;
        if (reply->capacity > REPLY_BYTES_KEEP) {
                lanemap_free(reply->bytes);
                reply->bytes = NULL;
                reply->begin = reply->end = reply->capacity = 0;
        }
        lanemap_free(reply->runs);
        reply->runs = NULL;
        reply->run_first = reply->runs_capacity = 0;
}
