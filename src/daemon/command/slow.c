/* SLOWLOG and LATENCY: what took long. client/meter.h says what is timed. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/client/meter.h"
#include "daemon/client/slowlog.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"
#include "daemon/command/registry.h"

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

#define ADM LANEMAP_COMMAND_ADMIN

static struct lanemap_command slowlog_subcommands[] = {
        {"get", slowlog_get, -2, ADM, "[count]",
         "Return the newest entries of the slow log (default: 10; -1: all).", "2.2.12",
         "O(N), N: entries"},
        {"len", slowlog_len, 2, ADM, NULL, "Return the length of the slow log.", "2.2.12"},
        {"reset", slowlog_reset, 2, ADM, NULL, "Clear the slow log.", "2.2.12", "O(N), N: entries"},
        LANEMAP_COMMAND_HELP_ROW("6.2.0"),
};

struct lanemap_command lanemap_command_slowlog = {
        .name = "slowlog",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "What took long.",
        .since = "2.2.12",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = slowlog_subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(slowlog_subcommands),
};

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
                            "ERR lanemapd draws nothing; LATENCY HISTORY has the samples, LATENCY "
                            "HISTOGRAM the time of each command");
}

/* ---- LATENCY HISTOGRAM: how many calls took less than powers of two microseconds ---- */

static void histogram_reply(struct lanemap_reply *reply, const char *name,
                            const struct lanemap_meter_counts *counts)
{
        uint64_t below[LANEMAP_METER_POWERS], n_before = 0, n_rows = 0;

        lanemap_meter_powers(counts, below);
        for (unsigned power = 0; power < LANEMAP_METER_POWERS; power++)
                n_rows += below[power] > (power > 0 ? below[power - 1] : 0);
        lanemap_reply_text(reply, name);
        lanemap_reply_map(reply, 2);
        lanemap_reply_text(reply, "calls");
        lanemap_reply_integer(reply, (int64_t)below[LANEMAP_METER_POWERS - 1]);
        lanemap_reply_text(reply, "histogram_usec");
        lanemap_reply_map(reply, n_rows);
        for (unsigned power = 0; power < LANEMAP_METER_POWERS; power++) {
                if (below[power] == n_before)
                        continue;
                n_before = below[power];
                lanemap_reply_integer(reply, INT64_C(1) << power);
                lanemap_reply_integer(reply, (int64_t)n_before);
        }
}

struct histograms {
        struct lanemap_reply *reply; /* NULL: they are counted only */
        size_t n;
};

static void histogram_add(struct histograms *histograms, const char *name,
                          const struct lanemap_meter_counts *counts)
{
        if (counts->covered == 0 || lanemap_meter_total(counts) == 0)
                return;
        histograms->n++;
        if (histograms->reply)
                histogram_reply(histograms->reply, name, counts);
}

static void histograms_all(const struct lanemap_server *server, struct histograms *histograms)
{
        const struct lanemap_command *command;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                histogram_add(histograms, command->full_name, command->counts);
        histogram_add(histograms, LANEMAP_METER_APPLY, &server->applies);
}

/* Those of the names; a container stands for its subcommands. */
static void histograms_named(const struct lanemap_call *call, struct histograms *histograms)
{
        for (uint32_t i = 2; i < call->n_args; i++) {
                const struct lanemap_command *command = lanemap_registry_find_full(
                        lanemap_call_bytes(call, i), call->args[i].bytes);

                if (lanemap_call_is(call, i, LANEMAP_METER_APPLY))
                        histogram_add(histograms, LANEMAP_METER_APPLY, &call->server->applies);
                if (!command)
                        continue;
                histogram_add(histograms, command->full_name, command->counts);
                for (size_t s = 0; s < command->n_subcommands; s++)
                        histogram_add(histograms, command->subcommands[s].full_name,
                                      command->subcommands[s].counts);
        }
}

static void latency_histogram(const struct lanemap_call *call)
{
        struct histograms count = {.reply = NULL}, reply = {lanemap_client_reply(call->client), 0};

        if (call->n_args == 2) {
                histograms_all(call->server, &count);
                lanemap_reply_map(reply.reply, count.n);
                histograms_all(call->server, &reply);
        } else {
                histograms_named(call, &count);
                lanemap_reply_map(reply.reply, count.n);
                histograms_named(call, &reply);
        }
}

static struct lanemap_command latency_subcommands[] = {
        {"latest", latency_latest, 2, ADM, NULL,
         "Return the latest latency samples for all events.", "2.8.13"},
        {"history", latency_history, 3, ADM, "event", "Return the latency samples of an event.",
         "2.8.13"},
        {"reset", latency_reset, -2, ADM, "[event [event ...]]",
         "Forget the samples of all events, or of some.", "2.8.13"},
        {"doctor", latency_doctor, 2, ADM, NULL, "Say in words what was slow.", "2.8.13"},
        {"graph", latency_refuse, 3, ADM | LANEMAP_COMMAND_HIDDEN, "event", "Refused.", "2.8.13"},
        {"histogram", latency_histogram, -2, ADM, "[command [command ...]]",
         "Return how long calls of commands took.", "7.0.0", "O(N), N: commands"},
        LANEMAP_COMMAND_HELP_ROW("2.8.13"),
};

struct lanemap_command lanemap_command_latency = {
        .name = "latency",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "When something took long.",
        .since = "2.8.13",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = latency_subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(latency_subcommands),
};
