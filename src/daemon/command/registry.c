/* See command/registry.h. An open hash table, which is never more than half full. */
#include <string.h>

#include "common/check.h"
#include "daemon/command/registry.h"

#define BUCKETS        1024
#define NAME_BYTES_MAX 32

static const struct lanemap_command *buckets[BUCKETS];
static const struct lanemap_command *commands[BUCKETS / 2];
static struct lanemap_command_counts counts[BUCKETS / 2];
static size_t n_commands;

static uint32_t name_hash(const char *name, size_t n_bytes)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < n_bytes; i++)
                hash = (hash ^ ((unsigned char)name[i] | 0x20)) * 16777619u;
        return hash;
}

void lanemap_registry_add(struct lanemap_command *command)
{
        uint32_t at = name_hash(command->name, strlen(command->name)) % BUCKETS;

        lanemap_check(n_commands < LANEMAP_N_ELEMENTS(commands));
        command->counts = &counts[n_commands];
        commands[n_commands++] = command;
        while (buckets[at])
                at = (at + 1) % BUCKETS;
        buckets[at] = command;
}

const struct lanemap_command *lanemap_registry_find(const char *name, size_t n_bytes)
{
        uint32_t at;

        if (n_bytes > NAME_BYTES_MAX)
                return NULL;
        for (at = name_hash(name, n_bytes) % BUCKETS; buckets[at]; at = (at + 1) % BUCKETS)
                if (strnlen(buckets[at]->name, NAME_BYTES_MAX) == n_bytes &&
                    strncasecmp(buckets[at]->name, name, n_bytes) == 0)
                        return buckets[at];
        return NULL;
}

const struct lanemap_command *lanemap_registry_at(size_t i)
{
        return i < n_commands ? commands[i] : NULL;
}
