/* See versions.h. */
#include "versions.h"

#include "common/base.h"

uint32_t versions_ids_max(uint32_t key)
{
        if (key % 64 == 7)
                return VERSIONS_IDS_MAX;
        if (key % 16 == 3)
                return 40;

        return 1 + key % 3;
}

size_t versions_key(uint32_t key, char *ret_text)
{
        return (size_t)snprintf(ret_text, VERSIONS_KEY_BYTES, "key=%u", key);
}

static bool key_deletes(uint32_t key)
{
        return key % 4 == 1;
}

/* Versions until a key is empty again. */
static uint64_t cycle_versions(uint32_t key)
{
        return key_deletes(key) ? versions_ids_max(key) + UINT64_C(1)
                                : 2 * (uint64_t)versions_ids_max(key);
}

struct lanemap_op versions_op(uint32_t key, uint64_t version)
{
        uint64_t n = versions_ids_max(key), cycle = (version - 1) / cycle_versions(key);
        uint64_t step = (version - 1) % cycle_versions(key);
        struct lanemap_op op = {.code = LANEMAP_OP_ADD, .id = (uint32_t)(cycle * n + step)};

        if (step >= n && key_deletes(key))
                return (struct lanemap_op){.code = LANEMAP_OP_DELETE};
        if (step >= n) {
                op.code = LANEMAP_OP_REMOVE;
                op.id = (uint32_t)(cycle * n + step - n);
        }

        return op;
}

uint32_t versions_ids(uint32_t key, uint64_t version, uint32_t *ret_first)
{
        uint64_t n = versions_ids_max(key), cycle = version / cycle_versions(key);
        uint64_t step = version % cycle_versions(key), gone = step > n ? step - n : 0;

        *ret_first = (uint32_t)(cycle * n + gone);
        return (uint32_t)(LANEMAP_MIN(step, n) - gone);
}

/* The first version at or above `low` in which the key is empty. */
static uint64_t next_empty(uint32_t key, uint64_t low)
{
        uint64_t cycle = cycle_versions(key);

        return (low + cycle - 1) / cycle * cycle;
}

bool versions_judge(uint32_t key, const uint32_t *ids, size_t n_ids, uint64_t low, uint64_t high,
                    uint64_t *ret_version)
{
        uint64_t n = versions_ids_max(key), cycle;

        if (n_ids == 0) {
                *ret_version = next_empty(key, low);
                return *ret_version <= high;
        }

        for (size_t i = 1; i < n_ids; i++)
                if (ids[i] != ids[0] + i)
                        return false;
        cycle = ids[0] / n;
        if (n_ids > n || (ids[0] + n_ids - 1) / n != cycle)
                return false;

        /* Growing: from the first id of the cycle. Shrinking: to the last one. */
        if (ids[0] % n == 0)
                *ret_version = cycle * cycle_versions(key) + n_ids;
        else if (!key_deletes(key) && (ids[0] + n_ids) % n == 0)
                *ret_version = cycle * cycle_versions(key) + n + ids[0] % n;
        else
                return false;
        return *ret_version >= low && *ret_version <= high;
}

bool versions_judge_contains(uint32_t key, uint32_t id, bool contains, uint64_t low, uint64_t high)
{
        /* Behind two cycles everything has been true. */
        if (high - low > 2 * cycle_versions(key))
                return true;

        for (uint64_t version = low; version <= high; version++) {
                uint32_t first, n = versions_ids(key, version, &first);

                if ((id - first < n) == contains)
                        return true;
        }

        return false;
}
