/* See command/category.h. */
#include "daemon/command/category.h"

#include <stdio.h>
#include <string.h>

#include "daemon/command/registry.h"

enum {
        KEYSPACE = 1 << 0,
        READ = 1 << 1,
        WRITE = 1 << 2,
        SET = 1 << 3,
        ADMIN = 1 << 4,
        FAST = 1 << 5,
        SLOW = 1 << 6,
        DANGEROUS = 1 << 7,
        CONNECTION = 1 << 8,
        TRANSACTION = 1 << 9,
};

static const char *const names[] = {"keyspace", "read", "write",     "set",        "admin",
                                    "fast",     "slow", "dangerous", "connection", "transaction"};

static const uint32_t of_groups[] = {
        [LANEMAP_GROUP_GENERIC] = KEYSPACE,
        [LANEMAP_GROUP_SET] = SET,
        [LANEMAP_GROUP_CONNECTION] = CONNECTION,
        [LANEMAP_GROUP_TRANSACTIONS] = TRANSACTION,
        [LANEMAP_GROUP_SERVER] = 0,
        [LANEMAP_GROUP_LANEMAP] = 0,
};

static const struct {
        uint32_t flag, category;
} of_flags[] = {
        {LANEMAP_COMMAND_READONLY, READ},           {LANEMAP_COMMAND_WRITE, WRITE},
        {LANEMAP_COMMAND_ADMIN, ADMIN | DANGEROUS}, {LANEMAP_COMMAND_DANGEROUS, DANGEROUS},
        {LANEMAP_COMMAND_KEYSPACE, KEYSPACE},       {LANEMAP_COMMAND_CONNECTION, CONNECTION},
};

uint32_t lanemap_category_of(const struct lanemap_command *command)
{
        uint32_t categories = of_groups[command->group];

        if (command->subcommands && !command->run)
                return SLOW;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(of_flags); i++)
                if (command->flags & of_flags[i].flag)
                        categories |= of_flags[i].category;
        return categories | (command->flags & LANEMAP_COMMAND_FAST ? FAST : SLOW);
}

bool lanemap_category_find(const char *name, size_t n_bytes, uint32_t *ret_category)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(names); i++) {
                if (strlen(names[i]) != n_bytes || strncasecmp(names[i], name, n_bytes) != 0)
                        continue;
                *ret_category = UINT32_C(1) << i;
                return true;
        }
        return false;
}

void lanemap_category_reply(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        uint32_t categories = lanemap_category_of(command);
        char name[32];

        lanemap_reply_set(reply, (uint64_t)__builtin_popcount(categories));
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(names); i++) {
                if (!(categories >> i & 1))
                        continue;
                snprintf(name, sizeof(name), "@%s", names[i]);
                lanemap_reply_simple(reply, name);
        }
}

void lanemap_category_reply_all(struct lanemap_reply *reply)
{
        lanemap_reply_array(reply, LANEMAP_N_ELEMENTS(names));
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(names); i++)
                lanemap_reply_text(reply, names[i]);
}

static bool is_member(const struct lanemap_command *command, uint32_t category)
{
        return !(command->flags & LANEMAP_COMMAND_HIDDEN) &&
               (lanemap_category_of(command) & category);
}

void lanemap_category_reply_members(struct lanemap_reply *reply, uint32_t category)
{
        const struct lanemap_command *command;
        uint64_t n = 0;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                n += is_member(command, category);
        lanemap_reply_array(reply, n);
        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                if (is_member(command, category))
                        lanemap_reply_text(reply, command->full_name);
}
