/* MEMORY: what a key takes, and what the process has. The fields of MEMORY STATS are Redis's where
 * they have a meaning here, and the engine's. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/client/health.h"
#include "daemon/client/memory.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"
#include "daemon/command/posting.h"

/* Chunks of ids that MEMORY USAGE looks at: by default, as Redis; and at most (LP3). */
#define SAMPLES     UINT64_C(5)
#define SAMPLES_MAX UINT64_C(16384)

/* ---- USAGE ---- */

/* Return: false after an error was replied. */
static bool samples_take(const struct lanemap_call *call, uint64_t *ret_samples)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        *ret_samples = SAMPLES;
        if (call->n_args == 3)
                return true;
        if (call->n_args != 5 || !lanemap_call_is(call, 3, "samples")) {
                lanemap_reply_error(reply, "ERR syntax error");
                return false;
        }
        if (lanemap_number_parse(lanemap_call_bytes(call, 4), call->args[4].bytes, INT64_MAX,
                                 ret_samples) < 0) {
                bool negative = call->args[4].bytes > 1 && lanemap_call_bytes(call, 4)[0] == '-';
                uint64_t number;

                negative = negative &&
                           lanemap_number_parse(lanemap_call_bytes(call, 4) + 1,
                                                call->args[4].bytes - 1, INT64_MAX, &number) == 0;
                lanemap_reply_error(reply, negative
                                                   ? "ERR syntax error"
                                                   : "ERR value is not an integer or out of range");
                return false;
        }
        if (*ret_samples == 0 || *ret_samples > SAMPLES_MAX)
                *ret_samples = SAMPLES_MAX;
        return true;
}

static void memory_usage(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint64_t n_samples, n_bytes, n_ids;
        int r;

        if (!samples_take(call, &n_samples) || !lanemap_posting_key_check(call, 2))
                return;
        r = lanemap_writer_posting_bytes(call->server->writer, lanemap_call_bytes(call, 2),
                                         call->args[2].bytes, n_samples, &n_bytes, &n_ids,
                                         &call->server->position);
        if (r < 0)
                lanemap_posting_fail(call, r);
        else if (n_ids == 0)
                lanemap_reply_null(reply);
        else
                lanemap_reply_integer(reply, (int64_t)n_bytes);
}

/* ---- STATS ---- */

struct facts {
        struct lanemap_writer_stats engine;
        uint64_t used, rss, keys_bytes;
};

static bool facts_look(const struct lanemap_call *call, struct facts *ret_facts)
{
        struct lanemap_writer_stats *engine = &ret_facts->engine;
        uint64_t age_ns;

        *ret_facts = (struct facts){.engine = {.size = sizeof(*engine)}};
        if (!lanemap_health_stats(call->server, engine, &age_ns)) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot read (%s)",
                                    strerror(EAGAIN));
                return false;
        }
        ret_facts->used = lanemap_memory_used(call->server, engine);
        ret_facts->rss = lanemap_memory_rss();
        ret_facts->keys_bytes = engine->overlay_bytes + engine->segment_live_bytes;
        return true;
}

static void number_reply(struct lanemap_reply *reply, const char *name, uint64_t number)
{
        lanemap_reply_text(reply, name);
        lanemap_reply_integer(reply, (int64_t)number);
}

static void ratio_reply(struct lanemap_reply *reply, const char *name, uint64_t a, uint64_t b)
{
        lanemap_reply_text(reply, name);
        lanemap_reply_double(reply, b > 0 ? (double)a / (double)b : 0);
}

static void memory_stats(const struct lanemap_call *call)
{
        const struct lanemap_server *server = call->server;
        struct lanemap_reply *reply;
        struct facts facts;

        if (!facts_look(call, &facts))
                return;
        reply = lanemap_client_reply(call->client);
        lanemap_reply_map(reply, 19);
        number_reply(reply, "peak.allocated", server->used_memory_peak);
        number_reply(reply, "total.allocated", facts.used);
        number_reply(reply, "startup.allocated", server->memory.started_bytes);
        number_reply(reply, "replication.backlog", 0);
        number_reply(reply, "clients.slaves", 0);
        number_reply(reply, "clients.normal", server->clients_bytes);
        number_reply(reply, "keys.count", facts.engine.n_keys);
        number_reply(reply, "keys.bytes-per-key",
                     facts.engine.n_keys ? facts.keys_bytes / facts.engine.n_keys : 0);
        number_reply(reply, "dataset.bytes", facts.keys_bytes);
        ratio_reply(reply, "peak.percentage", facts.used * 100, server->used_memory_peak);
        number_reply(reply, "heap.bytes", facts.engine.heap_bytes);
        number_reply(reply, "shared.bytes", facts.engine.shared_bytes);
        number_reply(reply, "shared.used", facts.engine.shared_used_bytes);
        number_reply(reply, "overlay.bytes", facts.engine.overlay_bytes);
        number_reply(reply, "segment.bytes", facts.engine.segment_bytes);
        number_reply(reply, "segment.live", facts.engine.segment_live_bytes);
        number_reply(reply, "allocator.resident", facts.rss);
        ratio_reply(reply, "fragmentation", facts.rss, facts.used);
        number_reply(reply, "memory.needed", server->memory.needed_bytes);
}

/* ---- DOCTOR ---- */

static void memory_doctor(const struct lanemap_call *call)
{
        const struct lanemap_server *server = call->server;
        const struct lanemap_memory *memory = &server->memory;
        struct facts facts;
        char text[2048];
        int n;

        if (lanemap_memory_explain(server, text, sizeof(text))) {
                n = (int)strlen(text);
        } else if (!facts_look(call, &facts)) {
                return;
        } else if (server->clients_bytes > server->clients_bytes_max) {
                n = snprintf(text, sizeof(text),
                             "Clients have %" PRIu64 " bytes, and maxmemory-clients is %" PRIu64
                             ": those with much wait, and are closed. CLIENT LIST shows tot-mem.",
                             server->clients_bytes, server->clients_bytes_max);
        } else if (facts.engine.segment_bytes / 2 > facts.engine.segment_live_bytes) {
                n = snprintf(text, sizeof(text),
                             "Of %" PRIu64 " bytes of segment files %" PRIu64
                             " are in use: merges are behind. LANEMAP.COMPACT makes one segment "
                             "per lane.",
                             facts.engine.segment_bytes, facts.engine.segment_live_bytes);
        } else {
                n = snprintf(text, sizeof(text),
                             "Nothing is wrong: about %" PRIu64
                             " bytes are needed, and the limit is %" PRIu64 " (0: none).",
                             memory->needed_bytes,
                             memory->limit.bytes == UINT64_MAX ? 0 : memory->limit.bytes);
        }
        lanemap_reply_verbatim(lanemap_client_reply(call->client), text,
                               LANEMAP_MIN((size_t)n, sizeof(text) - 1));
}

/* ---- the allocator ---- */

static void report_add(const char *text, void *arg)
{
        lanemap_reply_raw(arg, text, strlen(text));
}

static void memory_malloc_stats(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct lanemap_reply text;

        lanemap_reply_init(&text, 2);
        lanemap_alloc_report(report_add, &text);
        if (text.failed)
                lanemap_reply_error(reply, "ERR no memory");
        else
                lanemap_reply_verbatim(reply, text.bytes ? text.bytes : "", text.end);
        lanemap_reply_deinit(&text);
}

/* Of this thread: those of the engine do so by themselves. */
static void memory_purge(const struct lanemap_call *call)
{
        lanemap_alloc_give_back();
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

#define U LANEMAP_COMMAND_UNGATED

static struct lanemap_command subcommands[] = {
        {"doctor", memory_doctor, 2, U, NULL, "Say what is wrong with memory, if anything.",
         "4.0.0"},
        {"malloc-stats", memory_malloc_stats, 2, U, NULL, "Return the allocator's report.",
         "4.0.0"},
        {"purge", memory_purge, 2, U, NULL, "Give memory that is not needed back to the system.",
         "4.0.0"},
        {"stats", memory_stats, 2, U, NULL, "Return what memory is used for, in bytes.", "4.0.0"},
        {"usage", memory_usage, -3, LANEMAP_COMMAND_READONLY, "key [SAMPLES count]",
         "Return the bytes of a key's posting where it lies, in shared memory or in a segment.",
         "4.0.0", "O(N), N: samples", .keys = {{2, 2, 1, false, "RO"}}},
        LANEMAP_COMMAND_HELP_ROW("4.0.0"),
};

struct lanemap_command lanemap_command_memory = {
        .name = "memory",
        .arity = -2,
        .summary = "What takes memory.",
        .since = "4.0.0",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(subcommands),
};
