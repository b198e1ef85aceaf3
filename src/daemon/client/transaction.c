/* See client/transaction.h. The queue is three arrays that grow: bytes, arguments, commands. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "daemon/client/transaction.h"

void lanemap_transaction_free(struct lanemap_transaction *transaction)
{
        if (!transaction)
                return;
        lanemap_free(transaction->bytes);
        lanemap_free(transaction->args);
        lanemap_free(transaction->commands);
        lanemap_batch_deinit(&transaction->batch);
        lanemap_reply_deinit(&transaction->reply);
        lanemap_free(transaction);
}

int lanemap_transaction_queue(struct lanemap_transaction *transaction,
                              const struct lanemap_command *command, const char *message,
                              const struct lanemap_resp_arg *args, uint32_t n_args)
{
        size_t n_bytes = 0, queued;

        for (uint32_t i = 0; i < n_args; i++)
                n_bytes += args[i].bytes;
        queued = transaction->n_bytes + transaction->n_args * sizeof(*args) +
                 transaction->n_commands * sizeof(*transaction->commands);
        if (queued + n_bytes > LANEMAP_TRANSACTION_BYTES_MAX)
                return -E2BIG;
        if (lanemap_array_fit((void **)&transaction->bytes, &transaction->bytes_capacity,
                              transaction->n_bytes + n_bytes, 1) < 0 ||
            lanemap_array_fit((void **)&transaction->args, &transaction->args_capacity,
                              transaction->n_args + n_args, sizeof(*args)) < 0 ||
            lanemap_array_fit((void **)&transaction->commands, &transaction->commands_capacity,
                              transaction->n_commands + 1, sizeof(*transaction->commands)) < 0)
                return -ENOMEM;
        transaction->commands[transaction->n_commands++] = (struct lanemap_transaction_command){
                .command = command, .args_first = transaction->n_args, .n_args = n_args};
        for (uint32_t i = 0; i < n_args; i++) {
                transaction->args[transaction->n_args++] = (struct lanemap_resp_arg){
                        .off = (uint32_t)transaction->n_bytes, .bytes = args[i].bytes};
                if (args[i].bytes > 0)
                        memcpy(transaction->bytes + transaction->n_bytes, message + args[i].off,
                               args[i].bytes);
                transaction->n_bytes += args[i].bytes;
        }
        return 0;
}

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
