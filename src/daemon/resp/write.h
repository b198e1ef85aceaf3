/*
 * The writing half of the Redis protocol: values to bytes, in RESP2 or RESP3.
 *
 * A reply buffer is one run of memory: [begin, end) is not sent yet. `stream` counts every byte
 * ever sent from it, so a place in the stream of replies has a number that stays true when the
 * bytes move.
 *
 * Errors: running out of memory sets `failed` and the buffer takes no more; whoever owns it closes
 * the connection, since a reply with a hole in it would be taken for another one.
 */
#ifndef LANEMAP_DAEMON_RESP_WRITE_H
#define LANEMAP_DAEMON_RESP_WRITE_H

#include "common/base.h"

struct lanemap_reply {
        char *bytes;
        size_t begin;
        size_t end;
        size_t capacity;
        uint64_t stream;   /* the number, in the stream of replies, of the byte at `begin` */
        uint32_t protocol; /* 2 or 3 */
        bool failed;
        uint64_t n_errors; /* error replies written since whoever counts them set it to 0 */
};

void lanemap_reply_init(struct lanemap_reply *reply, uint32_t protocol);
void lanemap_reply_deinit(struct lanemap_reply *reply);

LANEMAP_ALWAYS_INLINE size_t lanemap_reply_bytes(const struct lanemap_reply *reply)
{
        return reply->end - reply->begin;
}

/* The number of the byte that comes next. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_reply_stream_end(const struct lanemap_reply *reply)
{
        return reply->stream + (reply->end - reply->begin);
}

/* Room for n bytes at the end, or NULL. The caller adds what it wrote to reply->end. */
char *lanemap_reply_reserve(struct lanemap_reply *reply, size_t n);

/* n bytes at the begin have been sent. */
void lanemap_reply_sent(struct lanemap_reply *reply, size_t n);

/* Forget everything from that byte of the stream on. */
void lanemap_reply_cut(struct lanemap_reply *reply, uint64_t stream_from);

/* Give memory back that a long reply left behind. */
void lanemap_reply_trim(struct lanemap_reply *reply);

void lanemap_reply_raw(struct lanemap_reply *reply, const void *bytes, size_t n_bytes);
void lanemap_reply_simple(struct lanemap_reply *reply, const char *text);
/* text starts with the code: "ERR ...". Line breaks in it become spaces. */
void lanemap_reply_error(struct lanemap_reply *reply, const char *format, ...) LANEMAP_PRINTF(2, 3);
void lanemap_reply_integer(struct lanemap_reply *reply, int64_t number);
void lanemap_reply_bulk(struct lanemap_reply *reply, const void *bytes, size_t n_bytes);
void lanemap_reply_text(struct lanemap_reply *reply, const char *text); /* a bulk string */
void lanemap_reply_ids(struct lanemap_reply *reply, const uint32_t *ids, size_t n_ids);
void lanemap_reply_verbatim(struct lanemap_reply *reply, const char *text, size_t n_bytes);
void lanemap_reply_null(struct lanemap_reply *reply);
void lanemap_reply_array(struct lanemap_reply *reply, uint64_t n_elements);
void lanemap_reply_set(struct lanemap_reply *reply, uint64_t n_elements);
void lanemap_reply_map(struct lanemap_reply *reply, uint64_t n_pairs); /* RESP2: flat array */

#endif
