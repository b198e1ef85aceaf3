/*
 * Keys as a whole: which there are, and what Redis says of a key that never expires.
 */
#include "daemon/command/handlers.h"
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

void lanemap_command_object(const struct lanemap_call *call)
{
        static const struct lanemap_subcommand subcommands[] = {
                {"encoding", 3}, {"refcount", 3}, {"idletime", 3}, {"freq", 3}, {"help", 2},
        };
        int which = lanemap_command_subcommand(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
        struct lanemap_reply *reply;
        size_t n_ids;

        if (which < 0)
                return;
        if (which == 4) {
                reply = lanemap_client_reply(call->client);
                lanemap_reply_array(reply, 1);
                lanemap_reply_simple(reply, "OBJECT ENCODING|REFCOUNT|IDLETIME|FREQ <key>");
                return;
        }
        if (!lanemap_posting_key_check(call, 2) || !lanemap_posting_read(call, 2, true, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        if (n_ids == 0)
                lanemap_reply_null(reply);
        else if (which == 0)
                lanemap_reply_text(reply, n_ids > INTSET_IDS_MAX ? "hashtable" : "intset");
        else if (which == 3)
                lanemap_reply_error(reply, "ERR An LFU maxmemory policy is not selected, access "
                                           "frequency not tracked. Please note that when switching "
                                           "between policies at runtime LRU and LFU data will "
                                           "take some time to adjust.");
        else
                lanemap_reply_integer(reply, which == 1);
}

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
