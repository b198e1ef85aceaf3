/*
 * Keys as a whole: which there are, and what Redis says of a key that never expires.
 */
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"
#include "daemon/command/posting.h"

/* Redis changes the encoding of a set of integers when it has more. */
#define INTSET_IDS_MAX 512

void lanemap_command_exists(const struct lanemap_call *call)
{
        int64_t n_keys = 0;
        size_t n_ids;

        for (uint32_t i = 1; i < call->n_args; i++)
                if (!lanemap_posting_key_check(call, i))
                        return;
        if (call->n_args > 2 && lanemap_posting_must_wait(call))
                return;
        for (uint32_t i = 1; i < call->n_args; i++) {
                if (!lanemap_posting_read(call, i, true, &n_ids))
                        return;
                n_keys += n_ids > 0;
        }
        lanemap_reply_integer(lanemap_client_reply(call->client), n_keys);
}

void lanemap_command_type(const struct lanemap_call *call)
{
        size_t n_ids;

        if (lanemap_posting_key_check(call, 1) && lanemap_posting_read(call, 1, true, &n_ids))
                lanemap_reply_simple(lanemap_client_reply(call->client), n_ids ? "set" : "none");
}

/* Return: 1 argument 2 is a key that exists; 0 after the reply was written. */
static int object_look(const struct lanemap_call *call, size_t *ret_n_ids)
{
        if (!lanemap_posting_key_check(call, 2) || !lanemap_posting_read(call, 2, true, ret_n_ids))
                return 0;
        if (*ret_n_ids == 0)
                lanemap_reply_null(lanemap_client_reply(call->client));
        return *ret_n_ids > 0;
}

static void object_encoding(const struct lanemap_call *call)
{
        size_t n_ids;

        if (object_look(call, &n_ids))
                lanemap_reply_text(lanemap_client_reply(call->client),
                                   n_ids > INTSET_IDS_MAX ? "hashtable" : "intset");
}

static void object_refcount(const struct lanemap_call *call)
{
        size_t n_ids;

        if (object_look(call, &n_ids))
                lanemap_reply_integer(lanemap_client_reply(call->client), 1);
}

static void object_idletime(const struct lanemap_call *call)
{
        size_t n_ids;

        if (object_look(call, &n_ids))
                lanemap_reply_integer(lanemap_client_reply(call->client), 0);
}

static void object_freq(const struct lanemap_call *call)
{
        size_t n_ids;

        if (object_look(call, &n_ids))
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR An LFU maxmemory policy is not selected, access frequency "
                                    "not tracked. Please note that when switching between policies "
                                    "at runtime LRU and LFU data will take some time to adjust.");
}

#define KEY                                  \
        {                                    \
                {                            \
                        2, 2, 1, false, "RO" \
                }                            \
        }

#define R LANEMAP_COMMAND_READONLY

static struct lanemap_command object_subcommands[] = {
        {"encoding", object_encoding, 3, R, "key", "intset up to 512 ids, hashtable beyond.",
         "2.2.3", .keys = KEY},
        {"refcount", object_refcount, 3, R, "key", "Always 1.", "2.2.3", .keys = KEY},
        {"idletime", object_idletime, 3, R, "key", "Always 0: accesses are not recorded.", "2.2.3",
         .keys = KEY},
        {"freq", object_freq, 3, R, "key", "An error: accesses are not counted.", "4.0.0",
         .keys = KEY},
        LANEMAP_COMMAND_HELP_ROW("6.2.0"),
};

struct lanemap_command lanemap_command_object = {
        .name = "object",
        .arity = -2,
        .summary = "Details of a key.",
        .since = "2.2.3",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_GENERIC,
        .subcommands = object_subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(object_subcommands),
};

/* TTL, PTTL, EXPIRETIME, PEXPIRETIME: of a key that does not expire, and of none. */
void lanemap_command_ttl(const struct lanemap_call *call)
{
        size_t n_ids;

        if (lanemap_posting_key_check(call, 1) && lanemap_posting_read(call, 1, true, &n_ids))
                lanemap_reply_integer(lanemap_client_reply(call->client), n_ids > 0 ? -1 : -2);
}

void lanemap_command_persist(const struct lanemap_call *call)
{
        if (lanemap_posting_key_check(call, 1))
                lanemap_reply_integer(lanemap_client_reply(call->client), 0);
}
