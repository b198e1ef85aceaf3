/* See model.h. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"

static void *grow(void *array, size_t n, size_t *capacity, size_t element_bytes)
{
        if (n < *capacity)
                return array;

        *capacity = *capacity ? *capacity * 2 : 4;
        array = realloc(array, *capacity * element_bytes);
        lanemap_check(array);
        return array;
}

void model_init(struct model *model)
{
        *model = (struct model){0};
}

void model_deinit(struct model *model)
{
        for (size_t i = 0; i < model->n; i++) {
                free(model->keys[i].bytes);
                free(model->keys[i].ids);
        }
        free(model->keys);
        *model = (struct model){0};
}

void model_copy(const struct model *model, struct model *ret_copy)
{
        *ret_copy = *model;
        ret_copy->capacity = model->n;
        ret_copy->keys = calloc(model->n + 1, sizeof(*ret_copy->keys));
        lanemap_check(ret_copy->keys);
        for (size_t i = 0; i < model->n; i++) {
                const struct model_key *from = &model->keys[i];
                struct model_key *to = &ret_copy->keys[i];

                *to = *from;
                to->capacity = from->n_ids;
                to->bytes = malloc(from->n_bytes + 1);
                to->ids = malloc((from->n_ids + 1) * sizeof(*to->ids));
                lanemap_check(to->bytes && to->ids);
                memcpy(to->bytes, from->bytes, from->n_bytes);
                if (from->n_ids)
                        memcpy(to->ids, from->ids, from->n_ids * sizeof(*to->ids));
        }
}

static int key_order(const struct model_key *key, const void *bytes, size_t n_bytes)
{
        int r = memcmp(key->bytes, bytes, LANEMAP_MIN(key->n_bytes, n_bytes));

        return r ? r : (key->n_bytes > n_bytes) - (key->n_bytes < n_bytes);
}

/* Where the key is, or would be. */
static size_t key_position(const struct model *model, const void *bytes, size_t n_bytes)
{
        size_t low = 0, high = model->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (key_order(&model->keys[middle], bytes, n_bytes) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low;
}

static struct model_key *key_ensure(struct model *model, const void *bytes, size_t n_bytes)
{
        size_t at = key_position(model, bytes, n_bytes);
        struct model_key *key;

        if (at < model->n && key_order(&model->keys[at], bytes, n_bytes) == 0)
                return &model->keys[at];

        model->keys = grow(model->keys, model->n, &model->capacity, sizeof(*model->keys));
        key = &model->keys[at];
        memmove(key + 1, key, (model->n - at) * sizeof(*key));
        *key = (struct model_key){.bytes = malloc(n_bytes), .n_bytes = n_bytes};
        lanemap_check(key->bytes);
        memcpy(key->bytes, bytes, n_bytes);
        model->n++;
        return key;
}

static size_t id_position(const struct model_key *key, uint32_t id)
{
        size_t low = 0, high = key->n_ids;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (key->ids[middle] < id)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low;
}

static bool key_contains(const struct model_key *key, uint32_t id)
{
        size_t at = id_position(key, id);

        return at < key->n_ids && key->ids[at] == id;
}

static uint32_t key_add(struct model_key *key, uint32_t id)
{
        size_t at = id_position(key, id);

        if (key_contains(key, id))
                return 0;

        key->ids = grow(key->ids, key->n_ids, &key->capacity, sizeof(*key->ids));
        memmove(&key->ids[at + 1], &key->ids[at], (key->n_ids - at) * sizeof(*key->ids));
        key->ids[at] = id;
        key->n_ids++;
        return 1;
}

static uint32_t key_remove(struct model_key *key, uint32_t id)
{
        size_t at = id_position(key, id);

        if (!key_contains(key, id))
                return 0;

        memmove(&key->ids[at], &key->ids[at + 1], (key->n_ids - at - 1) * sizeof(*key->ids));
        key->n_ids--;
        return 1;
}

static struct lanemap_op_result clear_apply(struct model *model)
{
        struct lanemap_op_result result = {.n_changed = (uint32_t)model->n_pairs};

        for (size_t i = 0; i < model->n; i++)
                model->keys[i].n_ids = 0;
        model->n_keys = model->n_pairs = 0;
        return result;
}

static struct lanemap_op_result key_apply(struct model *model, const struct lanemap_op *op)
{
        struct model_key *key = key_ensure(model, op->key, op->key_bytes);
        struct lanemap_op_result result = {0};
        size_t n_before = key->n_ids;

        switch (op->code & ~LANEMAP_OP_WITH_NEXT) {
        case LANEMAP_OP_ADD:
                result.n_changed = key_add(key, op->id);
                break;
        case LANEMAP_OP_REMOVE:
                result.n_changed = key_remove(key, op->id);
                break;
        default:
                result.n_changed = (uint32_t)key->n_ids;
                key->n_ids = 0;
                break;
        }

        result.n_ids = (uint32_t)key->n_ids;
        model->n_pairs += key->n_ids - n_before;
        model->n_keys += (uint64_t)(key->n_ids > 0) - (uint64_t)(n_before > 0);
        return result;
}

struct lanemap_op_result model_apply(struct model *model, const struct lanemap_op *op)
{
        switch (op->code & ~LANEMAP_OP_WITH_NEXT) {
        case LANEMAP_OP_CLEAR:
                return clear_apply(model);
        case LANEMAP_OP_MARK:
                model->mark_bytes = op->key_bytes;
                if (op->key_bytes)
                        memcpy(model->mark, op->key, op->key_bytes);
                return (struct lanemap_op_result){0};
        default:
                return key_apply(model, op);
        }
}

const struct model_key *model_find(const struct model *model, const void *key, size_t key_bytes)
{
        size_t at = key_position(model, key, key_bytes);

        return at < model->n && key_order(&model->keys[at], key, key_bytes) == 0 ? &model->keys[at]
                                                                                 : NULL;
}

size_t model_lookup(const struct model *model, const void *key, size_t key_bytes,
                    const uint32_t **ret_ids)
{
        const struct model_key *found = model_find(model, key, key_bytes);

        *ret_ids = found ? found->ids : NULL;
        return found ? found->n_ids : 0;
}

bool model_contains(const struct model *model, const void *key, size_t key_bytes, uint32_t id)
{
        const struct model_key *found = model_find(model, key, key_bytes);

        return found && key_contains(found, id);
}

static int id_order(const void *a, const void *b)
{
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return (left > right) - (left < right);
}

uint32_t *model_ids(const struct model *model, size_t *ret_n_ids)
{
        uint32_t *ids = malloc((model->n_pairs + 1) * sizeof(*ids));
        size_t n = 0, n_distinct = 0;

        lanemap_check(ids);
        for (size_t i = 0; i < model->n; i++)
                for (size_t k = 0; k < model->keys[i].n_ids; k++)
                        ids[n++] = model->keys[i].ids[k];
        qsort(ids, n, sizeof(*ids), id_order);
        for (size_t i = 0; i < n; i++)
                if (n_distinct == 0 || ids[n_distinct - 1] != ids[i])
                        ids[n_distinct++] = ids[i];

        *ret_n_ids = n_distinct;
        return ids;
}

uint64_t model_ids_digest(const uint32_t *ids, size_t n_ids)
{
        uint64_t digest = n_ids + UINT64_C(0x51ed270b35a2b4e7);

        for (size_t i = 0; i < n_ids; i++) {
                digest ^= ids[i];
                digest *= UINT64_C(0x9e3779b97f4a7c15);
                digest ^= digest >> 29;
        }

        return digest;
}

uint64_t model_digest(const struct model *model)
{
        uint64_t digest = 0;

        for (size_t i = 0; i < model->n; i++)
                if (model->keys[i].n_ids)
                        digest += model_ids_digest(model->keys[i].ids, model->keys[i].n_ids);
        return digest;
}
