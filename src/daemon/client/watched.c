/* See client/watched.h. A table of chains: a key is there once for each client that watches it. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/client/watched.h"

#define BUCKETS_MIN ((size_t)256)

struct lanemap_watched_key {
        uint64_t fingerprint[2];
        struct lanemap_client *client;
        bool existed;
        LIST_ENTRY(lanemap_watched_key) bucket;
        SLIST_ENTRY(lanemap_watched_key) of_client;
};

static struct lanemap_watched_bucket *bucket_of(const struct lanemap_watched *watched,
                                                const uint64_t fingerprint[2])
{
        return &watched->buckets[fingerprint[0] & (watched->n_buckets - 1)];
}

static bool is_key(const struct lanemap_watched_key *key, const uint64_t fingerprint[2])
{
        return key->fingerprint[0] == fingerprint[0] && key->fingerprint[1] == fingerprint[1];
}

/* Room for one more. Without memory the chains only get longer. Return: 0, -ENOMEM. */
static int buckets_room(struct lanemap_watched *watched)
{
        struct lanemap_watched grown = {.n_buckets =
                                                LANEMAP_MAX(2 * watched->n_buckets, BUCKETS_MIN)};

        if (watched->n_keys < watched->n_buckets)
                return 0;
        grown.buckets = lanemap_alloc_zero(grown.n_buckets * sizeof(*grown.buckets));
        if (!grown.buckets)
                return watched->n_buckets > 0 ? 0 : -ENOMEM;
        for (size_t i = 0; i < watched->n_buckets; i++) {
                struct lanemap_watched_key *key;

                while ((key = LIST_FIRST(&watched->buckets[i]))) {
                        LIST_REMOVE(key, bucket);
                        LIST_INSERT_HEAD(bucket_of(&grown, key->fingerprint), key, bucket);
                }
        }
        lanemap_free(watched->buckets);
        watched->buckets = grown.buckets;
        watched->n_buckets = grown.n_buckets;
        return 0;
}

int lanemap_watched_add(struct lanemap_client *client, const void *key_bytes, size_t n_bytes,
                        bool exists)
{
        struct lanemap_watched *watched = &client->server->watched;
        struct lanemap_watched_key *key;
        uint64_t fingerprint[2];
        int r;

        r = lanemap_writer_fingerprint(client->server->writer, key_bytes, n_bytes, fingerprint);
        if (r < 0)
                return r;
        if (watched->n_buckets > 0)
                LIST_FOREACH(key, bucket_of(watched, fingerprint), bucket)
        if (key->client == client && is_key(key, fingerprint))
                return 0;
        if (client->n_watched == LANEMAP_WATCHED_KEYS_MAX)
                return -E2BIG;
        r = buckets_room(watched);
        if (r < 0)
                return r;
        key = lanemap_alloc_zero(sizeof(*key));
        if (!key)
                return -ENOMEM;

        memcpy(key->fingerprint, fingerprint, sizeof(fingerprint));
        key->client = client;
        key->existed = exists;
        LIST_INSERT_HEAD(bucket_of(watched, fingerprint), key, bucket);
        SLIST_INSERT_HEAD(&client->watched, key, of_client);
        client->n_watched++;
        watched->n_keys++;
        return 0;
}

void lanemap_watched_forget(struct lanemap_client *client)
{
        struct lanemap_watched *watched = &client->server->watched;
        struct lanemap_watched_key *key;

        client->watched_changed = false;
        if (client->n_watched == 0)
                return;
        while ((key = SLIST_FIRST(&client->watched))) {
                SLIST_REMOVE_HEAD(&client->watched, of_client);
                LIST_REMOVE(key, bucket);
                lanemap_free(key);
        }
        watched->n_keys -= client->n_watched;
        client->n_watched = 0;
        if (watched->n_keys == 0) {
                lanemap_free(watched->buckets);
                watched->buckets = NULL;
                watched->n_buckets = 0;
        }
}

size_t lanemap_watched_bytes(const struct lanemap_client *client)
{
        return client->n_watched *
               (sizeof(struct lanemap_watched_key) + 2 * sizeof(struct lanemap_watched_bucket));
}

/* As in Redis, of what was not there nothing was removed. */
static void watched_clear(struct lanemap_watched *watched)
{
        struct lanemap_watched_key *key;

        for (size_t i = 0; i < watched->n_buckets; i++)
                LIST_FOREACH(key, &watched->buckets[i], bucket)
        key->client->watched_changed |= key->existed;
}

static void watched_change(struct lanemap_server *server, const struct lanemap_op *op)
{
        struct lanemap_watched_key *key;
        uint64_t fingerprint[2];

        if (lanemap_writer_fingerprint(server->writer, op->key, op->key_bytes, fingerprint) < 0)
                return;
        LIST_FOREACH(key, bucket_of(&server->watched, fingerprint), bucket)
        if (is_key(key, fingerprint))
                key->client->watched_changed = true;
}

void lanemap_watched_look(struct lanemap_server *server, const struct lanemap_op *ops,
                          const struct lanemap_op_result *results, size_t n_ops)
{
        const void *previous = NULL;

        for (size_t i = 0; i < n_ops; i++) {
                uint32_t code = lanemap_batch_op_code(&ops[i]);

                if (code == LANEMAP_OP_CLEAR)
                        watched_clear(&server->watched);
                if (code == LANEMAP_OP_CLEAR || code == LANEMAP_OP_MARK ||
                    results[i].n_changed == 0 || ops[i].key == previous)
                        continue;
                previous = ops[i].key; /* the ids of one command share their key */
                watched_change(server, &ops[i]);
        }
}
