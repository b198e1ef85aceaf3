/* See client/batch.h. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "daemon/client/memory.h"
#include "daemon/client/meter.h"
#include "daemon/client/release.h"
#include "daemon/client/watched.h"

static_assert(LANEMAP_BATCH_OPS_MAX <= LANEMAP_APPLY_OPS_MAX, "one apply is one record");
static_assert(LANEMAP_BATCH_LOG_BYTES_MAX <= LANEMAP_APPLY_BYTES_MAX, "and its bytes fit");

/* Kept between flushes; what a huge command needed is given back. */
#define BATCH_OPS_KEEP ((size_t)16384)

/* Operations and entries of the first room. */
#define BATCH_FIRST ((size_t)256)

static void lent_free(struct lanemap_batch_lent *lent)
{
        lanemap_free(lent->own_query);
        lanemap_free(lent->own_args);
        *lent = (struct lanemap_batch_lent){0};
}

void lanemap_batch_deinit(struct lanemap_batch *batch)
{
        if (batch->helper.is_running)
                pthread_join(batch->helper.thread, NULL);
        lent_free(&batch->lent);
        lanemap_free(batch->ops);
        lanemap_free(batch->results);
        lanemap_free(batch->entries);
        lanemap_free(batch->held_keys);
        memset(batch, 0, sizeof(*batch));
}

/* The capacity is that of both. */
static int ops_room(struct lanemap_batch *batch, size_t n_ops)
{
        size_t results_capacity = batch->ops_capacity;

        if (lanemap_array_fit((void **)&batch->results, &results_capacity, n_ops,
                              sizeof(*batch->results)) < 0)
                return -ENOMEM;
        return lanemap_array_fit((void **)&batch->ops, &batch->ops_capacity, n_ops,
                                 sizeof(*batch->ops));
}

void lanemap_batch_room(struct lanemap_batch *batch, size_t n_ops, size_t n_entries)
{
        (void)lanemap_array_fit((void **)&batch->entries, &batch->entries_capacity, n_entries,
                                sizeof(*batch->entries));
        (void)ops_room(batch, LANEMAP_MIN(n_ops, LANEMAP_BATCH_OPS_MAX));
}

struct lanemap_op *lanemap_batch_reserve(struct lanemap_batch *batch, size_t n_ops)
{
        if (LANEMAP_UNLIKELY(batch->n_entries == batch->entries_capacity) &&
            lanemap_array_fit((void **)&batch->entries, &batch->entries_capacity,
                              LANEMAP_MAX(batch->n_entries + 1, BATCH_FIRST),
                              sizeof(*batch->entries)) < 0)
                return NULL;
        if (LANEMAP_LIKELY(batch->ops_capacity - batch->n_ops >= n_ops))
                return batch->ops + batch->n_ops;

        if (ops_room(batch, LANEMAP_MAX(batch->n_ops + n_ops, BATCH_FIRST)) < 0)
                return NULL;
        return batch->ops + batch->n_ops;
}

void lanemap_batch_join(struct lanemap_batch *batch, size_t first, size_t n)
{
        for (size_t i = first; i + 1 < first + n; i++)
                batch->ops[i].code |= LANEMAP_OP_WITH_NEXT;
}

void lanemap_batch_commit(struct lanemap_batch *batch, struct lanemap_client *client, size_t n_ops,
                          enum lanemap_batch_reply reply)
{
        batch->entries[batch->n_entries++] = (struct lanemap_batch_entry){
                .client = client, .op_first = batch->n_ops, .n_ops = n_ops, .reply = reply};
        batch->log_bytes += n_ops * LANEMAP_BATCH_OP_LOG_BYTES;
        lanemap_batch_join(batch, batch->n_ops, n_ops);
        if (n_ops > 0 && lanemap_batch_op_code(&batch->ops[batch->n_ops]) == LANEMAP_OP_MARK)
                batch->log_bytes += batch->ops[batch->n_ops].key_bytes;
        batch->n_ops += n_ops;
}

static uint64_t entry_n_changed(const struct lanemap_batch *batch,
                                const struct lanemap_batch_entry *entry)
{
        uint64_t n_changed = 0;

        for (size_t i = entry->op_first; i < entry->op_first + entry->n_ops; i++)
                n_changed += batch->results[i].n_changed > 0;
        return n_changed;
}

/* The number of keys after the operations before this entry, from their results. Entries come
 * in their order, so each operation is looked at once. */
static uint64_t entry_n_keys(struct lanemap_batch *batch, const struct lanemap_batch_entry *entry)
{
        if (batch->n_counted == 0)
                batch->n_keys = entry->n_keys;
        for (; batch->n_counted < entry->op_first; batch->n_counted++) {
                const struct lanemap_op *op = &batch->ops[batch->n_counted];
                const struct lanemap_op_result *result = &batch->results[batch->n_counted];
                uint32_t code = lanemap_batch_op_code(op);

                if (code == LANEMAP_OP_CLEAR)
                        batch->n_keys = 0;
                else if (code == LANEMAP_OP_ADD)
                        batch->n_keys += result->n_changed > 0 && result->n_ids == 1;
                else if (code != LANEMAP_OP_MARK)
                        batch->n_keys -= result->n_changed > 0 && result->n_ids == 0;
        }
        return batch->n_keys;
}

void lanemap_batch_answer(struct lanemap_batch *batch, const struct lanemap_batch_entry *entry,
                          struct lanemap_reply *reply)
{
        switch (entry->reply) {
        case LANEMAP_BATCH_CHANGED:
                lanemap_reply_integer(reply, (int64_t)entry_n_changed(batch, entry));
                break;
        case LANEMAP_BATCH_CHANGED_HAS:
                lanemap_reply_array(reply, 2);
                lanemap_reply_integer(reply, batch->results[entry->op_first].n_changed);
                lanemap_reply_integer(reply, batch->results[entry->op_first].n_ids);
                break;
        case LANEMAP_BATCH_FIRST_CHANGED:
                lanemap_reply_integer(reply, batch->results[entry->op_first].n_changed > 0);
                break;
        case LANEMAP_BATCH_OK:
                lanemap_reply_simple(reply, "OK");
                break;
        case LANEMAP_BATCH_N_KEYS:
                lanemap_reply_integer(reply, (int64_t)entry_n_keys(batch, entry));
                break;
        }
}

void lanemap_batch_refuse(struct lanemap_reply *reply, int r)
{
        if (r == -ENOSPC)
                lanemap_reply_error(reply, "ERR no space: the disk or the shared memory is full; "
                                           "nothing was changed, retry when there is room");
        else if (r == -ENOENT)
                lanemap_reply_error(reply,
                                    "ERR the data directory was moved or deleted under lanemapd; "
                                    "nothing was changed, put it back, or stop lanemapd");
        else if (r == -ESTALE)
                lanemap_reply_error(reply,
                                    "ERR the shared memory of this index was removed, and lanemapd "
                                    "is ending; nothing was changed, retry when it runs again");
        else if (r == -EIO)
                lanemap_reply_error(reply, "ERR log cannot be written; nothing was changed, retry "
                                           "when it can");
        else if (r == -EDOM) /* B7 */
                lanemap_reply_error(reply, "ERR value is not an integer or out of range");
        else if (r == -EBADMSG)
                lanemap_reply_error(reply,
                                    "ERR a segment file is damaged where this key is; nothing was "
                                    "changed; the log and LANEMAP.VERIFY tell which, lanemap "
                                    "repair helps");
        else
                lanemap_reply_error(reply, "ERR cannot apply (%s); nothing was changed",
                                    strerror(-r));
}

/* Entries from `entry` whose operations all lie before `op_end` answer; the next one is returned.
 */
static size_t batch_answer_through(struct lanemap_batch *batch, size_t entry, size_t op_end)
{
        for (; entry < batch->n_entries; entry++) {
                struct lanemap_batch_entry *e = &batch->entries[entry];

                if (e->op_first + e->n_ops > op_end)
                        break;
                if (!e->client)
                        continue;
                e->client->n_batched--;
                lanemap_batch_answer(batch, e, &e->client->out);
                lanemap_client_reply_end(e->client);
        }
        return entry;
}

static size_t batch_refuse_next(struct lanemap_batch *batch, size_t entry, int r)
{
        struct lanemap_batch_entry *e = &batch->entries[entry];

        if (e->client) {
                e->client->n_batched--;
                lanemap_batch_refuse(&e->client->out, r);
                lanemap_client_reply_end(e->client);
        }
        return entry + 1;
}

static void batch_clear(struct lanemap_server *server)
{
        struct lanemap_batch *batch = &server->batch;

        batch->n_ops = batch->n_entries = 0;
        batch->log_bytes = 0;
        lent_free(&batch->lent);
        lanemap_free(batch->held_keys);
        batch->held_keys = NULL;
        if (LANEMAP_UNLIKELY(batch->ops_capacity > BATCH_OPS_KEEP))
                lanemap_batch_deinit(batch);
}

/* B4. Return: 0, or -ENOMEM: the keys stay where they are. */
static int batch_keys_copy(struct lanemap_batch *batch)
{
        const void *previous = NULL;
        size_t n_bytes = 1, at = 0;
        char *keys;

        if (batch->held_keys)
                return 0;

        /* The ids of one command share their key. */
        for (size_t i = 0; i < batch->n_ops; i++)
                if (i == 0 || batch->ops[i].key != batch->ops[i - 1].key)
                        n_bytes += batch->ops[i].key_bytes;
        keys = lanemap_alloc(n_bytes);
        if (!keys)
                return -ENOMEM;
        for (size_t i = 0; i < batch->n_ops; i++) {
                struct lanemap_op *op = &batch->ops[i];

                if (i > 0 && op->key == previous) {
                        op->key = op[-1].key;
                        continue;
                }
                previous = op->key;
                if (op->key_bytes > 0)
                        memcpy(keys + at, op->key, op->key_bytes);
                op->key = keys + at;
                at += op->key_bytes;
        }
        batch->held_keys = keys;
        return 0;
}

/* Keeps what is left from an entry, and from an operation of it, on. */
static int batch_hold(struct lanemap_batch *batch, size_t entry, size_t op)
{
        int r = batch_keys_copy(batch);

        if (r < 0)
                return r;

        batch->n_ops -= op;
        memmove(batch->ops, batch->ops + op, batch->n_ops * sizeof(*batch->ops));
        batch->n_entries -= entry;
        memmove(batch->entries, batch->entries + entry, batch->n_entries * sizeof(*batch->entries));
        for (size_t i = 0; i < batch->n_entries; i++)
                batch->entries[i].op_first -= op;
        return 0;
}

/* B7: the message is the batch's from now on. */
static void lent_keep(struct lanemap_batch_lent *lent, struct lanemap_client *client)
{
        struct lanemap_resp_parser *parser = &client->parser;

        lent->own_query = client->query;
        client->query = NULL;
        client->query_begin = client->query_end = client->query_capacity = 0;
        if (parser->args != parser->first_args)
                lent->own_args = parser->args;
        parser->args = parser->first_args;
        parser->args_capacity = LANEMAP_N_ELEMENTS(parser->first_args);
}

void lanemap_batch_forget(struct lanemap_batch *batch, struct lanemap_client *client)
{
        for (size_t i = 0; i < batch->n_entries; i++)
                if (batch->entries[i].client == client)
                        batch->entries[i].client = NULL;
        if (batch->lent.message)
                lent_keep(&batch->lent, client);
}

bool lanemap_batch_lend(struct lanemap_server *server, struct lanemap_client *client,
                        const struct lanemap_batch_lent *lent, size_t n_ops,
                        enum lanemap_batch_reply reply)
{
        struct lanemap_batch *batch = &server->batch;

        lanemap_check(batch->n_entries == 0 && batch->n_ops == 0);
        if (!lanemap_batch_reserve(batch, n_ops))
                return false;
        batch->held_keys = lanemap_alloc(1); /* there are none to be copied */
        if (!batch->held_keys)
                return false;
        batch->lent = *lent;
        batch->n_ops = n_ops;
        if (!lanemap_batch_help(server, batch)) {
                batch_clear(server);
                return false;
        }
        batch->entries[batch->n_entries++] =
                (struct lanemap_batch_entry){.client = client, .n_ops = n_ops, .reply = reply};
        client->n_batched++;
        return true;
}

/* For the slow log: how much it was, and its first key. */
static void batch_is_slow(struct lanemap_server *server, size_t op, uint64_t ticks)
{
        const struct lanemap_batch *batch = &server->batch;
        struct lanemap_client *client = batch->entries[batch->n_entries - 1].client;
        uint32_t n_key = (uint32_t)LANEMAP_MIN(batch->ops[op].key_bytes, 256u), n[2];
        char text[512] = LANEMAP_METER_APPLY;
        const uint32_t n_name = (uint32_t)strlen(text);

        if (!client) /* it has gone */
                return;
        n[0] = (uint32_t)snprintf(text + n_name, 64, "%zu operations", batch->n_ops - op);
        n[1] = (uint32_t)snprintf(text + n_name + n[0], 64, "%zu commands", batch->n_entries);
        if (n_key > 0)
                memcpy(text + n_name + n[0] + n[1], batch->ops[op].key, n_key);
        lanemap_meter_slow(
                client, "apply",
                &(struct lanemap_meter_args){
                        .message = text,
                        .args = (struct lanemap_resp_arg[]){{0, n_name},
                                                            {n_name, n[0]},
                                                            {n_name + n[0], n[1]},
                                                            {n_name + n[0] + n[1], n_key}},
                        .n_args = 4},
                ticks);
}

void lanemap_batch_count(struct lanemap_server *server, size_t n, uint64_t position, uint64_t ticks)
{
        lanemap_meter_count(server, &server->applies, 1, ticks);
        server->applies.calls++;
        server->n_applies++;
        server->gate_is_due = true;
        if (n > 0)
                server->position = LANEMAP_MAX(server->position, position);
        lanemap_memory_applied(server, n);
}

void lanemap_batch_applied(struct lanemap_server *server, const struct lanemap_op *ops,
                           const struct lanemap_op_result *results, size_t n, uint64_t position,
                           uint64_t ticks)
{
        lanemap_batch_count(server, n, position, ticks);
        lanemap_watched_applied(server, ops, results, n);
}

/* The operations from `op` on: what the thread made of them, or here and now. */
static int batch_apply(struct lanemap_server *server, size_t op, size_t *ret_n_applied)
{
        struct lanemap_batch *batch = &server->batch;
        uint64_t position = 0, wait_ns = 0;
        uint64_t ticks = lanemap_meter_ticks();
        bool was_helped = batch->helper.is_running;
        int r;

        if (was_helped)
                r = lanemap_batch_help_end(batch, ret_n_applied, &position);
        else
                r = lanemap_writer_try_apply(server->writer, batch->ops + op, batch->n_ops - op,
                                             batch->results + op, ret_n_applied, &position,
                                             &wait_ns);
        if (r == -EAGAIN) {
                lanemap_server_write_later(server, wait_ns);
                return r;
        }
        ticks = was_helped ? batch->helper.ticks : lanemap_meter_ticks() - ticks;
        if (lanemap_meter_is_slow(server, ticks))
                batch_is_slow(server, op, ticks);
        lanemap_batch_applied(server, batch->ops + op, batch->results + op, *ret_n_applied,
                              position, ticks);
        return r;
}

/*
 * A failure ends one command, not the batch: the ones behind it get their own try when the shared
 * memory is full (a removal may fit where an addition did not) or a segment is damaged (theirs may
 * not be), and the same error when the log cannot be written.
 */
void lanemap_batch_flush(struct lanemap_server *server)
{
        struct lanemap_batch *batch = &server->batch;
        size_t entry = 0, op = 0;

        if (lanemap_batch_helper_works(&batch->helper))
                return;
        if (batch->held_keys && !batch->helper.is_running && !lanemap_server_write_is_due(server))
                return;

        while (entry < batch->n_entries) {
                size_t n_applied = 0;
                int r;

                if (!batch->helper.is_running && batch->n_ops - op > LANEMAP_BATCH_OPS_LONG &&
                    batch_hold(batch, entry, op) == 0) {
                        entry = op = 0;
                        if (lanemap_batch_help(server, batch))
                                return;
                }
                r = batch_apply(server, op, &n_applied);
                if (r == -EAGAIN) {
                        r = batch_hold(batch, entry, op);
                        if (r == 0)
                                return;
                }
                op = r == 0 ? batch->n_ops : op + n_applied;
                entry = batch_answer_through(batch, entry, op);
                if (r == 0)
                        break;
                if (r == -ENOSPC && n_applied > 0)
                        continue; /* as the first of an apply it is waited for */
                while (entry < batch->n_entries) {
                        entry = batch_refuse_next(batch, entry, r);
                        op = entry < batch->n_entries ? batch->entries[entry].op_first
                                                      : batch->n_ops;
                        if (r == -ENOSPC || r == -EBADMSG)
                                break;
                }
        }
        batch_clear(server);
}
