/*
 * Writes that wait to be applied together.
 *
 * Commands that write are not applied one by one: each puts its operations here and says which
 * reply they will make. When the loop has run dry, or a client with writes in here asks for
 * anything else, all of them become one lanemap_writer_apply() and the replies are written from its
 * results.
 *
 * B1  The replies of one client are written in the order of its commands: whoever writes another
 *     reply to a client flushes first (lanemap_client_reply()).
 * B2  A client sees its own writes: they are flushed before any other command of it is run
 *     (command/dispatch.c).
 * B3  Keys point into the query buffers of clients: these move only when a client is read, which
 *     happens before its commands run, and a round of the loop ends with a flush.
 * B4  Operations that the engine would make wait are held: they keep a copy of their keys and their
 *     place before all later writes, and are applied also when their client has gone. A client runs
 *     no command meanwhile.
 * B5  The operations of one command are all applied, or none; those of a transaction, too.
 * B6  A batch of very many operations is held (B4) and applied in a thread of its own: the loop
 *     goes on meanwhile. The thread reads operations and writes results; entries are the loop's.
 *     What reads as of one moment and looks more than once (EXEC, SINTER, EXISTS of several
 *     keys, ...) waits for it. So it is with the batch of a transaction.
 * B7  One command of very many operations is a batch of its own, and lends it its message: the
 *     thread makes the operations, too. An argument that is no id is its error, and nothing was
 *     changed. The client, which runs no command (B4), is not read meanwhile, and leaves its
 *     message behind when it goes.
 *
 * A transaction has a batch of its own, applied by EXEC. Its replies go into `holes` of a reply
 * that is already written around them.
 */
#ifndef LANEMAP_DAEMON_CLIENT_BATCH_H
#define LANEMAP_DAEMON_CLIENT_BATCH_H

#include <lanemap/writer.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/base.h"
#include "daemon/resp/write.h"

struct lanemap_client;
struct lanemap_resp_arg;
struct lanemap_server;

enum lanemap_batch_reply {
        LANEMAP_BATCH_CHANGED = 1,   /* integer: how many operations changed anything */
        LANEMAP_BATCH_CHANGED_HAS,   /* array: changed, ids the key has now */
        LANEMAP_BATCH_FIRST_CHANGED, /* integer: whether the first operation changed anything */
        LANEMAP_BATCH_OK,            /* +OK */
        LANEMAP_BATCH_N_KEYS, /* in a transaction: n_keys, changed by the operations before */
};

struct lanemap_batch_entry {
        struct lanemap_client *client; /* NULL: it has gone */
        size_t op_first;
        size_t n_ops;
        enum lanemap_batch_reply reply;
        uint64_t n_keys; /* LANEMAP_BATCH_N_KEYS: before the transaction */
        uint64_t hole;   /* transaction: where in the stream of its reply the answer belongs */
};

/* B7: what the operations of a batch are made of. */
struct lanemap_batch_lent {
        uint32_t code;       /* enum lanemap_op_code; DELETE: each argument is a key */
        const char *message; /* NULL: nothing is lent */
        const struct lanemap_resp_arg *args; /* a key, then ids; or keys */
        char *own_query;                     /* of a client that has gone */
        struct lanemap_resp_arg *own_args;
};

/* B6 */
struct lanemap_batch_helper {
        pthread_t thread;
        bool is_running;  /* the loop's: it has not been joined */
        atomic_bool done; /* the thread's last word */
        struct lanemap_writer *writer;
        const struct lanemap_batch_lent *lent; /* B7; NULL: the operations are made */
        struct lanemap_op *ops;
        struct lanemap_op_result *results;
        size_t n_ops;
        int event_fd; /* wakes the loop */
        int r;
        size_t n_applied;
        uint64_t position;
        uint64_t ticks; /* that it took: client/meter.h */
};

struct lanemap_batch {
        struct lanemap_op *ops;
        struct lanemap_op_result *results;
        size_t n_ops;
        size_t ops_capacity;
        struct lanemap_batch_entry *entries;
        size_t n_entries;
        size_t entries_capacity;
        size_t log_bytes; /* about what the operations take in the log */
        size_t n_counted; /* operations that n_keys has in it; of a transaction that is answered */
        uint64_t n_keys;
        char *held_keys; /* B4; NULL: the batch is not held */
        struct lanemap_batch_lent lent;
        struct lanemap_batch_helper helper;
};

/* What one record of the log holds, so what one apply may bring. */
#define LANEMAP_BATCH_OPS_MAX       ((size_t)1 << 19)
#define LANEMAP_BATCH_LOG_BYTES_MAX (((size_t)16 << 20) - 4096)
#define LANEMAP_BATCH_OP_LOG_BYTES  ((size_t)20) /* at most, and a mark's own bytes */
/* The batch of the loop is applied when it has that many. */
#define LANEMAP_BATCH_OPS_FULL 1024

/* More are applied in a thread of their own. */
#define LANEMAP_BATCH_OPS_LONG ((size_t)16384)

/* What an entry answers has no more bytes. */
#define LANEMAP_BATCH_ANSWER_BYTES_MAX ((size_t)96)
/* Return: enum lanemap_op_code. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_batch_op_code(const struct lanemap_op *op)
{
        return op->code & ~LANEMAP_OP_WITH_NEXT;
}

/* The operations [first, first + n) are all applied, or none. */
void lanemap_batch_join(struct lanemap_batch *batch, size_t first, size_t n);

void lanemap_batch_deinit(struct lanemap_batch *batch);

/* Room for all that it will have, as far as there is memory; lanemap_batch_reserve() makes what is
 * missing. */
void lanemap_batch_room(struct lanemap_batch *batch, size_t n_ops, size_t n_entries);

/* Room for n_ops more operations and an entry. Return: the first operation, or NULL. */
struct lanemap_op *lanemap_batch_reserve(struct lanemap_batch *batch, size_t n_ops);

/* The reserved operations are filled in: they make one reply, and are applied whole or not at all
 * (B5). */
void lanemap_batch_commit(struct lanemap_batch *batch, struct lanemap_client *client, size_t n_ops,
                          enum lanemap_batch_reply reply);

/* What the entry answers, when its operations were applied; entries in their order. */
void lanemap_batch_answer(struct lanemap_batch *batch, const struct lanemap_batch_entry *entry,
                          struct lanemap_reply *reply);

/* A thread applies all operations of the batch. Return: false: there is none to be had. */
bool lanemap_batch_help(struct lanemap_server *server, struct lanemap_batch *batch);

/* Return: whether it is at it. */
LANEMAP_ALWAYS_INLINE bool lanemap_batch_helper_works(const struct lanemap_batch_helper *helper)
{
        return helper->is_running && !atomic_load_explicit(&helper->done, memory_order_acquire);
}

/* It has done its work, or is waited for. Return: as lanemap_writer_apply(). */
int lanemap_batch_help_end(struct lanemap_batch *batch, size_t *ret_n_applied,
                           uint64_t *ret_position);

/* What it answers when apply failed with r, and nothing of it was applied. */
void lanemap_batch_refuse(struct lanemap_reply *reply, int r);

/* An apply of n operations is over, in which the index changed to `position`; it took `ticks`. For
 * those who count, and for the gate. */
void lanemap_batch_count(struct lanemap_server *server, size_t n, uint64_t position,
                         uint64_t ticks);

/* The same, and for those who watch keys. */
void lanemap_batch_applied(struct lanemap_server *server, const struct lanemap_op *ops,
                           const struct lanemap_op_result *results, size_t n, uint64_t position,
                           uint64_t ticks);

/* Applies what waits, and writes the replies; or holds it, until the engine takes it. */
void lanemap_batch_flush(struct lanemap_server *server);

/* The client goes: nobody reads the replies of what it has in a batch that is held. */
void lanemap_batch_forget(struct lanemap_batch *batch, struct lanemap_client *client);

/* B7. The batch is empty. Return: false: there is no thread to be had, or no memory. */
bool lanemap_batch_lend(struct lanemap_server *server, struct lanemap_client *client,
                        const struct lanemap_batch_lent *lent, size_t n_ops,
                        enum lanemap_batch_reply reply);

#endif
