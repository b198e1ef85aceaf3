/* See client/transaction.h. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "daemon/client/transaction.h"

/* Blocks of the queue: each is twice as large as the one before it. */
#define BLOCK_BYTES_FIRST ((size_t)1 << 10)
#define BLOCK_BYTES_MAX   ((size_t)256 << 10)

struct lanemap_transaction *lanemap_transaction_new(struct lanemap_client *client)
{
        struct lanemap_transaction *transaction = lanemap_alloc_zero(sizeof(*transaction));

        if (!transaction)
                return NULL;
        STAILQ_INIT(&transaction->blocks);
        transaction->client = client;
        transaction->server = client->server;
        return transaction;
}

void lanemap_transaction_free(struct lanemap_transaction *transaction)
{
        struct lanemap_transaction_block *block;

        if (!transaction)
                return;
        if (transaction->phase != LANEMAP_TRANSACTION_QUEUES)
                TAILQ_REMOVE(&transaction->server->execs, transaction, of_server);
        if (transaction->server->executing == transaction)
                transaction->server->executing = NULL;
        while ((block = STAILQ_FIRST(&transaction->blocks))) {
                STAILQ_REMOVE_HEAD(&transaction->blocks, next);
                lanemap_free(block);
        }
        lanemap_batch_deinit(&transaction->batch);
        lanemap_reply_deinit(&transaction->reply);
        lanemap_free(transaction);
}

bool lanemap_transaction_may_drop(const struct lanemap_transaction *transaction)
{
        return transaction->phase < LANEMAP_TRANSACTION_APPLIES;
}

void lanemap_transaction_leave(struct lanemap_client *client)
{
        struct lanemap_transaction *transaction = client->transaction;

        client->transaction = NULL;
        if (transaction && (transaction->phase == LANEMAP_TRANSACTION_APPLIES ||
                            transaction->phase == LANEMAP_TRANSACTION_APPLIED))
                transaction->client = NULL;
        else
                lanemap_transaction_free(transaction);
}

void lanemap_transaction_end_all(struct lanemap_server *server)
{
        struct lanemap_transaction *transaction;

        while ((transaction = TAILQ_FIRST(&server->execs)))
                lanemap_transaction_free(transaction);
}

/* ---- the queue ---- */

/* Return: room for n_bytes, or NULL. */
static void *queue_room(struct lanemap_transaction *transaction, size_t n_bytes)
{
        struct lanemap_transaction_block *block = transaction->last_block;
        size_t capacity =
                block ? LANEMAP_MIN(2 * block->capacity, BLOCK_BYTES_MAX) : BLOCK_BYTES_FIRST;
        void *room;

        if (!block || block->capacity - block->n_bytes < n_bytes) {
                capacity = LANEMAP_MAX(capacity, n_bytes);
                block = lanemap_alloc(sizeof(*block) + capacity);
                if (!block)
                        return NULL;
                block->n_bytes = 0;
                block->capacity = capacity;
                STAILQ_INSERT_TAIL(&transaction->blocks, block, next);
                transaction->last_block = block;
                transaction->queue_bytes += sizeof(*block) + capacity;
        }
        room = (char *)block->bytes + block->n_bytes;
        block->n_bytes += n_bytes;
        return room;
}

/* Of a command and what belongs to it, so that the next one is aligned. */
static size_t command_bytes(const struct lanemap_resp_arg *args, uint32_t n_args)
{
        const size_t align = _Alignof(struct lanemap_transaction_command);
        size_t n_bytes = sizeof(struct lanemap_transaction_command) + n_args * sizeof(*args);

        for (uint32_t i = 0; i < n_args; i++)
                n_bytes += args[i].bytes;
        return (n_bytes + align - 1) / align * align;
}

int lanemap_transaction_queue(struct lanemap_transaction *transaction,
                              const struct lanemap_command *command, const char *message,
                              const struct lanemap_resp_arg *args, uint32_t n_args, size_t n_ops)
{
        size_t n_bytes = command_bytes(args, n_args);
        size_t at = sizeof(struct lanemap_transaction_command) + n_args * sizeof(*args);
        struct lanemap_transaction_command *queued;

        if (transaction->queue_bytes + n_bytes > LANEMAP_TRANSACTION_BYTES_MAX)
                return -E2BIG;
        queued = queue_room(transaction, n_bytes);
        if (!queued)
                return -ENOMEM;
        queued->command = command;
        queued->n_args = n_args;
        for (uint32_t i = 0; i < n_args; i++) {
                queued->args[i] =
                        (struct lanemap_resp_arg){.off = (uint32_t)at, .bytes = args[i].bytes};
                if (args[i].bytes > 0)
                        memcpy((char *)queued + at, message + args[i].off, args[i].bytes);
                at += args[i].bytes;
        }
        transaction->n_commands++;
        transaction->n_writes += n_ops > 0;
        transaction->n_ops_max += n_ops;
        return 0;
}

struct lanemap_transaction_cursor
lanemap_transaction_first(const struct lanemap_transaction *transaction)
{
        return (struct lanemap_transaction_cursor){.block = STAILQ_FIRST(&transaction->blocks)};
}

const struct lanemap_transaction_command *
lanemap_transaction_next(struct lanemap_transaction_cursor *cursor)
{
        const struct lanemap_transaction_command *queued;

        if (cursor->block && cursor->at == cursor->block->n_bytes)
                *cursor = (struct lanemap_transaction_cursor){
                        .block = STAILQ_NEXT(cursor->block, next)};
        if (!cursor->block)
                return NULL;
        queued = (const void *)((const char *)cursor->block->bytes + cursor->at);
        cursor->at += command_bytes(queued->args, queued->n_args);
        return queued;
}

/* ---- reads behind writes ---- */

int lanemap_transaction_count(struct lanemap_transaction *transaction, uint64_t n_ids)
{
        if (transaction->n_scans <= LANEMAP_TRANSACTION_SCANS_MAX)
                transaction->n_scans += n_ids / 8;
        return transaction->n_scans > LANEMAP_TRANSACTION_SCANS_MAX ? -E2BIG : 0;
}

int lanemap_transaction_replay(struct lanemap_transaction *transaction, const void *key,
                               size_t key_bytes, uint32_t *ids, size_t *n_ids)
{
        const struct lanemap_batch *batch = &transaction->batch;
        size_t n = *n_ids;

        for (size_t i = 0; i < batch->n_ops; i++) {
                const struct lanemap_op *op = &batch->ops[i];
                uint32_t code = lanemap_batch_op_code(op);
                bool same = code == LANEMAP_OP_CLEAR ||
                            (code != LANEMAP_OP_MARK && op->key_bytes == key_bytes &&
                             memcmp(op->key, key, key_bytes) == 0);
                size_t at;

                transaction->n_scans += same ? 1 + n / 64 : 1;
                if (transaction->n_scans > LANEMAP_TRANSACTION_SCANS_MAX)
                        return -E2BIG;
                if (!same)
                        continue;
                if (code == LANEMAP_OP_CLEAR || code == LANEMAP_OP_DELETE) {
                        n = 0;
                        continue;
                }
                at = lanemap_ids_below(ids, n, op->id);
                if (code == LANEMAP_OP_ADD && (at == n || ids[at] != op->id)) {
                        memmove(ids + at + 1, ids + at, (n++ - at) * sizeof(*ids));
                        ids[at] = op->id;
                } else if (code == LANEMAP_OP_REMOVE && at < n && ids[at] == op->id) {
                        memmove(ids + at, ids + at + 1, (--n - at) * sizeof(*ids));
                }
        }
        *n_ids = n;
        return 0;
}
