/*
 * Replies that have not been sent: one stream of bytes, of which some exist only as numbers.
 *
 *         bytes   [begin          n_before |          n_before |         end)
 *         runs                             ids                 ids
 *
 * A run is ids of which the text is made when it is sent, a piece at a time: a reply of five
 * million ids takes 4 bytes for each of them, not 17, and no time before the client reads. The
 * length of its text is known from the start, so a place in the stream has the same number either
 * way. `stream` counts every byte that was ever sent; a number stays true when bytes move.
 *
 * T4  The bytes of the stream do not depend on which of them are a run.
 * T5  One piece of text exists at a time, of the first run, and at most LANEMAP_REPLY_PIECE_IDS
 *     ids.
 *
 * Errors: running out of memory sets `failed` and the buffer takes no more; whoever owns it closes
 * the connection, since a reply with a hole in it would be taken for another one.
 */
#ifndef LANEMAP_DAEMON_RESP_BUFFER_H
#define LANEMAP_DAEMON_RESP_BUFFER_H

#include "common/base.h"

#define LANEMAP_REPLY_PIECE_IDS  ((size_t)8192)
#define LANEMAP_REPLY_MOVE_BYTES ((size_t)64 << 10)

struct lanemap_reply_run {
        uint32_t *ids;
        size_t n_ids;
        size_t n_made;    /* ids that are in the piece, or sent */
        size_t n_before;  /* bytes of the buffer between the run before and this one */
        uint64_t n_bytes; /* of its text, not sent */
        char type;        /* of each element: '$' or ':' */
};

struct lanemap_reply {
        char *bytes;
        size_t begin;
        size_t end;
        size_t capacity;
        struct lanemap_reply_run *runs;
        size_t run_first, n_runs, runs_capacity;
        size_t n_before_runs; /* sum of their n_before */
        uint64_t runs_bytes;  /* sum of their n_bytes */
        uint64_t ids_bytes;   /* memory of their ids */
        char *piece;          /* text of the first run */
        size_t piece_begin, piece_end;
        uint64_t stream;   /* the number, in the stream of replies, of the first byte not sent */
        uint32_t protocol; /* 2 or 3 */
        bool failed;
        bool is_discarded; /* nobody will read it: its errors are not counted by code */
        uint64_t n_errors; /* error replies written since whoever counts them set it to 0 */
};

void lanemap_reply_init(struct lanemap_reply *reply, uint32_t protocol);
void lanemap_reply_deinit(struct lanemap_reply *reply);

/* How much there is to send. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_reply_bytes(const struct lanemap_reply *reply)
{
        return (reply->end - reply->begin) + reply->runs_bytes;
}

/* The number of the byte that comes next. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_reply_stream_end(const struct lanemap_reply *reply)
{
        return reply->stream + lanemap_reply_bytes(reply);
}

/* Bytes of memory that it has. */
uint64_t lanemap_reply_memory(const struct lanemap_reply *reply);

/* Room for n bytes at the end, or NULL. The caller adds what it wrote to reply->end. */
char *lanemap_reply_reserve(struct lanemap_reply *reply, size_t n);

void lanemap_reply_raw(struct lanemap_reply *reply, const void *bytes, size_t n_bytes);

/*
 * Each id becomes an element of this type. Owner: the reply, also when it fails; freed with
 * lanemap_free().
 *
 * ids   ascending
 * type  '$' a bulk string, ':' an integer
 */
void lanemap_reply_run(struct lanemap_reply *reply, char type, uint32_t *ids, size_t n_ids);

/* Room for n_bytes more and n_runs more, so that writing them does not fail. Return: false without
 * memory, and nothing has changed. */
bool lanemap_reply_room(struct lanemap_reply *reply, size_t n_bytes, size_t n_runs);

/* What comes next, as far as it lies in one piece. Return: how many bytes; 0 there is nothing, or
 * no memory for it (`failed`). */
size_t lanemap_reply_next(struct lanemap_reply *reply, const char **ret_bytes);

/* n bytes, at most what lanemap_reply_next() returned, have been sent. */
void lanemap_reply_sent(struct lanemap_reply *reply, size_t n);

/*
 * Moves what comes before byte `through` of `from` to the end of `to`: LANEMAP_REPLY_MOVE_BYTES at
 * most, or a run. That byte does not lie in a run, and no part of a run of `from` was sent.
 *
 * Return: false: there is nothing.
 */
bool lanemap_reply_move_some(struct lanemap_reply *to, struct lanemap_reply *from,
                             uint64_t through);

/* Forget everything from that byte of the stream on. It does not lie in a run. */
void lanemap_reply_cut(struct lanemap_reply *reply, uint64_t stream_from);

/* Give memory back that a long reply left behind. */
void lanemap_reply_trim(struct lanemap_reply *reply);

#endif
