/* SLOWLOG and LATENCY: what took long. client/meter.h says what is timed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/client/slowlog.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"

/* ---- SLOWLOG ---- */

#define SLOWLOG_GET_COUNT UINT64_C(10)

static void slow_reply(struct lanemap_reply *reply, const struct lanemap_slow *slow)
{
        lanemap_reply_array(reply, 6);
        lanemap_reply_integer(reply, (int64_t)slow->id);
        lanemap_reply_integer(reply, slow->time);
        lanemap_reply_integer(reply, (int64_t)slow->us);
        lanemap_reply_array(reply, slow->n_args);
        for (uint32_t i = 0; i < slow->n_args; i++)
                lanemap_reply_bulk(reply, slow->text + slow->args[i].off, slow->args[i].bytes);
        lanemap_reply_text(reply, slow->address);
        lanemap_reply_text(reply, slow->name);
}

static void slowlog_get(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        const struct lanemap_slow *slow;
        uint64_t count = SLOWLOG_GET_COUNT;

        if (call->n_args > 3) {
                lanemap_reply_error(reply,
                                    "ERR unknown subcommand or wrong number of arguments for "
                                    "'%.*s'. Try SLOWLOG HELP.",
                                    (int)call->args[1].bytes, lanemap_call_bytes(call, 1));
                return;
        }
        if (call->n_args == 3 && lanemap_call_is(call, 2, "-1")) {
                count = UINT64_MAX;
        } else if (call->n_args == 3 &&
                   lanemap_number_parse(lanemap_call_bytes(call, 2), call->args[2].bytes, INT64_MAX,
                                        &count) < 0) {
                lanemap_reply_error(reply, "ERR count should be greater than or equal to -1");
                return;
        }
        count = LANEMAP_MIN(count, call->server->n_slow);
        lanemap_reply_array(reply, count);
        TAILQ_FOREACH(slow, &call->server->slow, all)
        {
                if (count-- == 0)
                        break;
                slow_reply(reply, slow);
        }
}

static void slowlog_len(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)call->server->n_slow);
}

static void slowlog_reset(const struct lanemap_call *call)
{
        lanemap_slowlog_reset(call->server);
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

static void slowlog_help(const struct lanemap_call *call);

static const struct lanemap_subcommand slowlog_subcommands[] = {
        {"get", -2, slowlog_get,
         "Return top <count> entries from the slowlog (default: 10, -1 mean all).", "[<count>]"},
        {"len", 2, slowlog_len, "Return the length of the slowlog."},
        {"reset", 2, slowlog_reset, "Reset the slowlog."},
        {"help", 2, slowlog_help, "Print this help."},
};

static void slowlog_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, slowlog_subcommands, LANEMAP_N_ELEMENTS(slowlog_subcommands));
}

void lanemap_command_slowlog(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, slowlog_subcommands,
                                       LANEMAP_N_ELEMENTS(slowlog_subcommands));
}

/* ---- LATENCY ---- */

static size_t latencies_count(const struct lanemap_server *server)
{
        size_t n = 0;

        for (size_t i = 0; i < LANEMAP_LATENCY_EVENTS; i++)
                n += server->latencies[i].n > 0;
        return n;
}

static const struct lanemap_latency_sample *latency_sample(const struct lanemap_latency *latency,
                                                           size_t i)
{
        return &latency->samples[i % LANEMAP_LATENCY_SAMPLES];
}

static void latency_latest(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_array(reply, latencies_count(call->server));
        for (size_t i = 0; i < LANEMAP_LATENCY_EVENTS; i++) {
                const struct lanemap_latency *latency = &call->server->latencies[i];

                if (latency->n == 0)
                        continue;
                lanemap_reply_array(reply, 4);
                lanemap_reply_text(reply, latency->event);
                lanemap_reply_integer(reply, latency_sample(latency, latency->n - 1)->time);
                lanemap_reply_integer(reply, (int64_t)latency_sample(latency, latency->n - 1)->ms);
                lanemap_reply_integer(reply, (int64_t)latency->max_ms);
        }
}

/* Return: NULL: nothing of that name has happened. */
static struct lanemap_latency *latency_find(const struct lanemap_call *call, uint32_t i)
{
        for (size_t e = 0; e < LANEMAP_LATENCY_EVENTS; e++) {
                struct lanemap_latency *latency = &call->server->latencies[e];

                if (latency->n > 0 && lanemap_call_is(call, i, latency->event))
                        return latency;
        }
        return NULL;
}

static void latency_history(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        const struct lanemap_latency *latency = latency_find(call, 2);
        size_t n = latency ? LANEMAP_MIN(latency->n, LANEMAP_LATENCY_SAMPLES) : 0;

        lanemap_reply_array(reply, n);
        for (size_t i = 0; i < n; i++) {
                const struct lanemap_latency_sample *sample =
                        latency_sample(latency, latency->n - n + i);

                lanemap_reply_array(reply, 2);
                lanemap_reply_integer(reply, sample->time);
                lanemap_reply_integer(reply, (int64_t)sample->ms);
        }
}

static void latency_reset(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        int64_t n = 0;

        if (call->n_args == 2) {
                n = (int64_t)latencies_count(server);
                memset(server->latencies, 0, sizeof(server->latencies));
        }
        for (uint32_t i = 2; i < call->n_args; i++) {
                struct lanemap_latency *latency = latency_find(call, i);

                if (!latency)
                        continue;
                latency->n = 0; /* the row stays its event's */
                latency->max_ms = 0;
                n++;
        }
        lanemap_reply_integer(lanemap_client_reply(call->client), n);
}

static void latency_doctor(const struct lanemap_call *call)
{
        const struct lanemap_server *server = call->server;
        char text[1024];
        int n;

        if (server->options.latency_ms == 0)
                n = snprintf(text, sizeof(text),
                             "Nothing is recorded: latency-monitor-threshold is 0. Set it to "
                             "milliseconds: CONFIG SET latency-monitor-threshold 100.\n");
        else
                n = snprintf(text, sizeof(text),
                             "%zu events took %" PRIu64 " ms or more. LATENCY LATEST names them. "
                             "command: SLOWLOG GET shows which. apply: a batch was large, or its "
                             "keys have many ids. log: the disk is slow; INFO health says what "
                             "waits. flush-stall: writes come faster than flushes and merges "
                             "take them.\n",
                             latencies_count(server), server->options.latency_ms);
        lanemap_reply_verbatim(lanemap_client_reply(call->client), text,
                               LANEMAP_MIN((size_t)n, sizeof(text) - 1));
}

static void latency_refuse(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd draws nothing and keeps no histograms; LATENCY HISTORY "
                            "has the samples, INFO commandstats the time of each command");
}

static void latency_help(const struct lanemap_call *call);

static const struct lanemap_subcommand latency_subcommands[] = {
        {"latest", 2, latency_latest, "Return the latest latency samples for all events."},
        {"history", 3, latency_history, "Return time-latency samples for the <event> class.",
         "<event>"},
        {"reset", -2, latency_reset, "Reset latency data of one or more <event> classes.",
         "[<event> ...]"},
        {"doctor", 2, latency_doctor, "Return a human readable latency analysis report."},
        {"graph", 3, latency_refuse, "Refused.", "<event>"},
        {"histogram", -2, latency_refuse, "Refused.", "[COMMAND ...]"},
        {"help", 2, latency_help, "Print this help."},
};

static void latency_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, latency_subcommands, LANEMAP_N_ELEMENTS(latency_subcommands));
}

void lanemap_command_latency(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, latency_subcommands,
                                       LANEMAP_N_ELEMENTS(latency_subcommands));
}
