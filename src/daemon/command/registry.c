/* See command/registry.h. An open hash table, which is never more than half full. */
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "daemon/command/registry.h"

#define BUCKETS        1024
#define NAME_BYTES_MAX 32

static const struct lanemap_command *buckets[BUCKETS];
static const struct lanemap_command *commands[BUCKETS / 2];
static struct lanemap_meter_counts counts[BUCKETS / 2];
static char full_names[128][NAME_BYTES_MAX];
static size_t n_commands;

static uint32_t name_hash(const char *name, size_t n_bytes)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < n_bytes; i++)
                hash = (hash ^ ((unsigned char)name[i] | 0x20)) * 16777619u;
        return hash;
}

static bool name_is(const struct lanemap_command *command, const char *name, size_t n_bytes)
{
        return strnlen(command->name, NAME_BYTES_MAX) == n_bytes &&
               strncasecmp(command->name, name, n_bytes) == 0;
}

static void row_add(struct lanemap_command *command)
{
        lanemap_check(n_commands < LANEMAP_N_ELEMENTS(commands));
        command->counts = &counts[n_commands];
        command->full_name = command->name;
        commands[n_commands++] = command;
}

static void subcommand_add(const struct lanemap_command *container, struct lanemap_command *row)
{
        static size_t n_names;
        char *name = full_names[n_names];
        int n;

        lanemap_check(n_names < LANEMAP_N_ELEMENTS(full_names));
        n_names++;
        row_add(row);
        n = snprintf(name, NAME_BYTES_MAX, "%s|%s", container->name, row->name);
        lanemap_check(n < NAME_BYTES_MAX);
        row->full_name = name;
        row->container = container;
        row->flags |= container->flags;
        row->group = container->group;
}

void lanemap_registry_add(struct lanemap_command *command)
{
        uint32_t at = name_hash(command->name, strlen(command->name)) % BUCKETS;

        row_add(command);
        while (buckets[at])
                at = (at + 1) % BUCKETS;
        buckets[at] = command;
        for (size_t i = 0; i < command->n_subcommands; i++)
                subcommand_add(command, &command->subcommands[i]);
}

const struct lanemap_command *lanemap_registry_find(const char *name, size_t n_bytes)
{
        uint32_t at;

        if (n_bytes > NAME_BYTES_MAX)
                return NULL;
        for (at = name_hash(name, n_bytes) % BUCKETS; buckets[at]; at = (at + 1) % BUCKETS)
                if (name_is(buckets[at], name, n_bytes))
                        return buckets[at];
        return NULL;
}

const struct lanemap_command *lanemap_registry_find_in(const struct lanemap_command *container,
                                                       const char *name, size_t n_bytes)
{
        for (size_t i = 0; i < container->n_subcommands; i++)
                if (name_is(&container->subcommands[i], name, n_bytes))
                        return &container->subcommands[i];
        return NULL;
}

const struct lanemap_command *lanemap_registry_find_full(const char *name, size_t n_bytes)
{
        const char *bar = n_bytes > 0 ? memchr(name, '|', n_bytes) : NULL;
        const struct lanemap_command *command;

        if (!bar)
                return lanemap_registry_find(name, n_bytes);
        command = lanemap_registry_find(name, (size_t)(bar - name));
        if (!command)
                return NULL;
        return lanemap_registry_find_in(command, bar + 1, (size_t)(name + n_bytes - bar - 1));
}

const struct lanemap_command *lanemap_registry_find_message(const char *message,
                                                            const struct lanemap_resp_arg *args,
                                                            uint32_t n_args)
{
        const struct lanemap_command *command, *subcommand;

        command = lanemap_registry_find(message + args[0].off, args[0].bytes);
        if (LANEMAP_LIKELY(!command || !command->subcommands || n_args == 1))
                return command;
        subcommand = lanemap_registry_find_in(command, message + args[1].off, args[1].bytes);
        return subcommand ? subcommand : command;
}

const struct lanemap_command *lanemap_registry_at(size_t i)
{
        return i < n_commands ? commands[i] : NULL;
}
