/*
 * MULTI ... EXEC.
 *
 * Commands are copied when they are queued. EXEC runs them all before anything is applied: writes
 * leave their operations in a batch of the transaction, reads answer from the index as it is and
 * replay on that what the operations before them will do to their key. Then one apply makes all of
 * it true or none (B5), as one record of the log, and the replies of the writes go into the holes
 * left for them. Nothing else is applied in between, since there is one thread. A transaction that
 * is too much for one record is not applied.
 */
#ifndef LANEMAP_DAEMON_CLIENT_TRANSACTION_H
#define LANEMAP_DAEMON_CLIENT_TRANSACTION_H

#include "daemon/daemon.h"

struct lanemap_command;

#define LANEMAP_TRANSACTION_BYTES_MAX ((size_t)64 << 20)  /* queued */
#define LANEMAP_TRANSACTION_REPLY_MAX ((size_t)256 << 20) /* the reply of one EXEC */
#define LANEMAP_TRANSACTION_SCANS_MAX \
        (UINT64_C(1) << 28) /* operations looked at by its reads, and eights of ids */

struct lanemap_transaction {
        char *bytes; /* the queued messages, one behind the other */
        size_t n_bytes, bytes_capacity;
        struct lanemap_resp_arg *args; /* of all commands; offsets into `bytes` */
        size_t n_args, args_capacity;
        struct lanemap_transaction_command {
                const struct lanemap_command *command;
                size_t args_first;
                uint32_t n_args;
        } * commands;
        size_t n_commands, commands_capacity;
        bool aborted;   /* a command could not be queued */
        bool executing; /* within EXEC */
        bool writes;    /* a command of it does */
        int failed;     /* within EXEC: why it can not be applied whole; -E2BIG, -ENOMEM */
        struct lanemap_batch batch;
        struct lanemap_reply reply;
        uint64_t n_scans;
        bool is_prepared;   /* everything ran; only the apply did not, since it had to wait */
        uint64_t n_applies; /* of the server, when it ran: what it read is still so with as many */
};

void lanemap_transaction_free(struct lanemap_transaction *transaction);

/* Copies a command. Return: 0, -ENOMEM, -E2BIG. */
int lanemap_transaction_queue(struct lanemap_transaction *transaction,
                              const struct lanemap_command *command, const char *message,
                              const struct lanemap_resp_arg *args, uint32_t n_args);

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
