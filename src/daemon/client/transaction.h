/*
 * MULTI ... EXEC.
 *
 *         QUEUES -> RUNS -> WAITS -> APPLIES -> APPLIED -> ANSWERS
 *
 * Commands are copied when they are queued. EXEC runs them all before anything is applied: writes
 * leave their operations in a batch of the transaction, reads answer from the index as it is and
 * replay on that what the operations before them will do to their key. Then one apply makes all of
 * it true or none (B5), as one record of the log, and the replies of the writes go into the holes
 * left for them. A transaction that is too much for one record is not applied.
 *
 * A short one does all of that in one go. A long one does it in slices of milliseconds, and the
 * loop goes on between them; its client is blocked.
 *
 * EX1  While a transaction runs or is applied (server->executing) nobody else's operation is taken:
 *     who writes is parked, another EXEC is run after it. Reads of one key go on. Where operations
 *     that were taken before are applied between two slices, it runs anew from its first command,
 *     and what its client watches is looked at again (Z1).
 * EX2  Nothing of it is applied before everything ran, and memory for its answer is there. A client
 *     that goes before that, and a stop, drop it whole. After it has been handed to the thread that
 *     applies it, it is applied whether or not its client is still there.
 * EX3  A transaction that the engine would make wait (WAITS) holds up no other one.
 * EX4  A long answer is written in slices when it may leave, and no more of it than its client
 *     reads.
 */
#ifndef LANEMAP_DAEMON_CLIENT_TRANSACTION_H
#define LANEMAP_DAEMON_CLIENT_TRANSACTION_H

#include "daemon/daemon.h"

struct lanemap_command;

#define LANEMAP_TRANSACTION_BYTES_MAX ((size_t)64 << 20)  /* queued */
#define LANEMAP_TRANSACTION_REPLY_MAX ((size_t)256 << 20) /* the reply of one EXEC */
#define LANEMAP_TRANSACTION_SCANS_MAX \
        (UINT64_C(1) << 28) /* operations looked at by its reads, and eights of ids */

enum lanemap_transaction_phase {
        LANEMAP_TRANSACTION_QUEUES = 0,
        LANEMAP_TRANSACTION_RUNS,    /* its commands are run */
        LANEMAP_TRANSACTION_WAITS,   /* everything ran: until the engine takes it */
        LANEMAP_TRANSACTION_APPLIES, /* in the thread of its batch (B6) */
        LANEMAP_TRANSACTION_APPLIED, /* those who watch its keys are told */
        LANEMAP_TRANSACTION_ANSWERS,
};

/* A queued command; its bytes follow its arguments, which are offsets from here. */
struct lanemap_transaction_command {
        const struct lanemap_command *command;
        uint32_t n_args;
        struct lanemap_resp_arg args[];
};

/* Queued commands, one behind the other. Blocks do not move: operations have pointers to keys. */
struct lanemap_transaction_block {
        STAILQ_ENTRY(lanemap_transaction_block) next;
        size_t n_bytes, capacity;
        max_align_t bytes[];
};

/* The next command of a walk through all of them. */
struct lanemap_transaction_cursor {
        const struct lanemap_transaction_block *block;
        size_t at;
};

struct lanemap_transaction {
        STAILQ_HEAD(, lanemap_transaction_block) blocks;
        struct lanemap_transaction_block *last_block;
        size_t queue_bytes; /* memory of the blocks */
        size_t n_commands;
        size_t n_writes, n_ops_max; /* commands that write; at most so many operations */
        bool aborted;               /* a command could not be queued */
        bool executing;             /* a command of it is being run */
        bool writes;                /* a command of it does */
        int failed; /* within EXEC: why it can not be applied whole; -E2BIG, -ENOMEM */
        struct lanemap_batch batch;
        struct lanemap_reply reply;
        uint64_t n_scans;

        enum lanemap_transaction_phase phase;
        struct lanemap_server *server;
        struct lanemap_client *client; /* NULL: it has gone */
        const struct lanemap_command *exec;
        uint64_t round_ns;                          /* server->round_ns of its first slice */
        TAILQ_ENTRY(lanemap_transaction) of_server; /* server->execs, from RUNS on */
        struct lanemap_transaction_cursor next;     /* RUNS */
        size_t n_run, n_counted; /* commands; n_counted: in the numbers of INFO */
        uint64_t n_applies;      /* of the server, when it ran: what it read is still so with as
                                    many */
        size_t n_joined, n_looked_at; /* operations */
        size_t n_answered;            /* entries */
        bool answer_is_begun;
        uint64_t position; /* its answer waits for that to be durable */
        uint64_t ticks;    /* of all slices */
};

/* Return: NULL without memory. */
struct lanemap_transaction *lanemap_transaction_new(struct lanemap_client *client);
void lanemap_transaction_free(struct lanemap_transaction *transaction);

/* The client has none any more: it goes, or it was answered. One that is being applied goes on
 * without it (EX2). */
void lanemap_transaction_leave(struct lanemap_client *client);

/* Return: whether nothing of the client's transaction was handed to the engine. */
bool lanemap_transaction_may_drop(const struct lanemap_transaction *transaction);

/* The engine's thread ends first. */
void lanemap_transaction_end_all(struct lanemap_server *server);

/*
 * Copies a command.
 *
 * n_ops   operations that it will have at most; 0: it does not write
 * Return: 0, -ENOMEM, -E2BIG.
 */
int lanemap_transaction_queue(struct lanemap_transaction *transaction,
                              const struct lanemap_command *command, const char *message,
                              const struct lanemap_resp_arg *args, uint32_t n_args, size_t n_ops);

struct lanemap_transaction_cursor
lanemap_transaction_first(const struct lanemap_transaction *transaction);

/* Return: NULL after the last one. */
const struct lanemap_transaction_command *
lanemap_transaction_next(struct lanemap_transaction_cursor *cursor);

/* Return: whether the client is within EXEC. */
LANEMAP_ALWAYS_INLINE bool lanemap_transaction_runs(const struct lanemap_client *client)
{
        return LANEMAP_UNLIKELY(client->transaction != NULL) && client->transaction->executing;
}

/* Return: whether what the client reads is not in the index yet: it is within EXEC, behind writes
 * of the same transaction. */
LANEMAP_ALWAYS_INLINE bool lanemap_transaction_replays(const struct lanemap_client *client)
{
        return lanemap_transaction_runs(client) && client->transaction->batch.n_ops > 0;
}

/* Return: whether a thread applies something (B6). */
LANEMAP_ALWAYS_INLINE bool lanemap_transaction_is_helped(const struct lanemap_server *server)
{
        return server->batch.helper.is_running || (LANEMAP_UNLIKELY(server->executing != NULL) &&
                                                   server->executing->batch.helper.is_running);
}

/* A read of the transaction at hand copies n_ids ids. Return: 0, -E2BIG its reads are too many. */
int lanemap_transaction_count(struct lanemap_transaction *transaction, uint64_t n_ids);

/*
 * How the operations of the transaction at hand change a posting. ids[0..*n_ids) is ascending;
 * there is room for one more per operation of the batch that touches the key.
 *
 * Return: 0, -E2BIG the transaction has too many reads behind writes.
 */
int lanemap_transaction_replay(struct lanemap_transaction *transaction, const void *key,
                               size_t key_bytes, uint32_t *ids, size_t *n_ids);

#endif
