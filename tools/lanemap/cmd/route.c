/*
 * lanemap route: a change stream on stdin, the changes that touch a route on stdout.
 *
 * Whoever reads the output waits for it, so it is flushed at each commit, and whenever the input
 * has nothing more to give. A line that cannot be understood is told, counted and passed over; a
 * lookup that fails ends the stream, because to go on would mean to miss a route without a word.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "route/canonical.h"
#include "common/clock.h"
#include "route/identity.h"
#include "load/lines.h"
#include "position.h"
#include "route/route.h"
#include "cmd/commands.h"

#define LINE_BYTES_MAX   ((size_t)64 << 20)
#define WAIT_SECONDS_MAX 1000000000
#define OUTPUT_BYTES_MAX ((size_t)1 << 20) /* flushed earlier than at the commit */

static volatile sig_atomic_t stop;

struct run {
        struct lanemap_route *route;
        struct lanemap_lines lines;
        struct lanemap_wal2json_change change;
        struct lanemap_identity identity;
        struct lanemap_text output;
        struct lanemap_text transaction_lsn, transaction_xid; /* from the begin record */
        uint64_t n_transactions, n_messages, n_malformed, n_partial_tables;
        uint64_t start_ns;
        int output_error; /* of a flush before a wait */
        bool resumes;     /* --after: output holds the lines of the open transaction */
        struct lanemap_position position;
};

static int output_flush(struct run *run)
{
        size_t at = 0;

        while (at < run->output.bytes) {
                ssize_t n = write(STDOUT_FILENO, run->output.data + at, run->output.bytes - at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        lanemap_tool_say("cannot write to the standard output: %s",
                                         strerror(errno));
                        return -EIO;
                }
                at += (size_t)n;
        }
        run->output.bytes = 0;
        return 0;
}

static void output_flush_before_wait(void *arg)
{
        struct run *run = arg;

        if (!run->resumes)
                run->output_error = output_flush(run);
}

static void member_append(struct lanemap_text *output, const char *name, struct lanemap_slice value)
{
        lanemap_text_append_format(output, "\"%s\":", name);
        lanemap_text_append_json(output, value);
        lanemap_text_append_char(output, ',');
}

/* The transaction's position, from its begin record; a stream without those has the change's own.
 */
static void position_append(struct run *run)
{
        struct lanemap_slice lsn = lanemap_text_slice(&run->transaction_lsn);
        struct lanemap_slice xid = lanemap_text_slice(&run->transaction_xid);

        if (lsn.bytes == 0)
                lsn = run->change.lsn;
        if (xid.bytes == 0)
                xid = run->change.xid;
        if (lsn.bytes > 0)
                member_append(&run->output, "lsn", lsn);
        if (xid.bytes > 0) {
                lanemap_text_append_format(&run->output, "\"xid\":");
                lanemap_text_append_slice(&run->output, xid);
                lanemap_text_append_char(&run->output, ',');
        }
}

static void change_append(struct run *run, const uint32_t *ids, size_t n_ids)
{
        struct lanemap_text *output = &run->output;
        struct lanemap_slice action = {.data = &run->change.action, .bytes = 1};

        lanemap_text_append_char(output, '{');
        position_append(run);
        member_append(output, "schema", run->change.schema);
        member_append(output, "table", run->change.table);
        member_append(output, "action", action);
        if (run->change.action == 'T')
                lanemap_text_append_format(output, "\"whole_table\":true,");
        lanemap_text_append_format(output, "\"ids\":[");
        for (size_t i = 0; i < n_ids; i++) {
                if (i > 0)
                        lanemap_text_append_char(output, ',');
                lanemap_text_append_u64(output, ids[i]);
        }
        lanemap_text_append(output, "]}\n", 3);
}

static void identity_see(struct run *run)
{
        const struct lanemap_wal2json_change *change = &run->change;

        if (lanemap_identity_see(&run->identity, change) == 0)
                return;
        run->n_partial_tables++;
        lanemap_tool_say("table %.*s.%.*s sends incomplete old rows, so routes of old values are "
                         "missed: ALTER TABLE ... REPLICA IDENTITY FULL",
                         (int)LANEMAP_MIN(change->schema.bytes, 200u), change->schema.data,
                         (int)LANEMAP_MIN(change->table.bytes, 200u), change->table.data);
}

/* Return: r, after saying why the stream ends here. */
static int position_fail(const struct run *run, int r, const char *error)
{
        lanemap_tool_say("line %llu: %s. Nothing of this transaction was printed.",
                         (unsigned long long)run->lines.number, error);
        return r;
}

static int change_route(struct run *run)
{
        const char *error;
        const uint32_t *ids;
        size_t n_ids;
        int r;

        if (run->resumes) {
                r = lanemap_position_change(&run->position, &error);
                if (r != 0)
                        return r < 0 ? position_fail(run, r, error) : 0;
        }
        r = lanemap_route_change(run->route, &run->change, &ids, &n_ids);
        if (r < 0) {
                lanemap_tool_say("line %llu: the lookup failed: %s. Nothing from this line on was "
                                 "routed.",
                                 (unsigned long long)run->lines.number, lanemap_tool_strerror(r));
                return r;
        }
        identity_see(run);
        if (n_ids > 0 || run->change.action == 'T')
                change_append(run, ids, n_ids);
        return run->output.bytes > OUTPUT_BYTES_MAX && !run->resumes ? output_flush(run) : 0;
}

static int transaction_begin(struct run *run)
{
        const char *error;

        if (run->resumes) {
                run->output.bytes = 0; /* of one that was cut off, and comes again */
                if (lanemap_position_begin(&run->position, run->change.lsn, &error) < 0)
                        return position_fail(run, -EINVAL, error);
        }
        run->n_transactions++;
        run->transaction_lsn.bytes = run->transaction_xid.bytes = 0;
        lanemap_text_append_slice(&run->transaction_lsn, run->change.lsn);
        lanemap_text_append_slice(&run->transaction_xid, run->change.xid);
        return 0;
}

static int transaction_commit(struct run *run)
{
        struct lanemap_slice action = {.data = "C", .bytes = 1};
        const char *error;
        int r;

        run->transaction_lsn.bytes = run->transaction_xid.bytes = 0;
        if (!run->resumes)
                return output_flush(run);

        r = lanemap_position_commit(&run->position, run->change.lsn, &error);
        if (r < 0)
                return position_fail(run, r, error);
        if (run->output.bytes == 0)
                return 0;
        lanemap_text_append_char(&run->output, '{');
        member_append(&run->output, "lsn", run->change.lsn);
        member_append(&run->output, "action", action);
        run->output.bytes--; /* the comma */
        lanemap_text_append(&run->output, "}\n", 2);
        return output_flush(run);
}

static int line_route(struct run *run, char *line, size_t bytes)
{
        const char *error;
        size_t at;

        if (bytes == 0)
                return 0;
        if (lanemap_wal2json_parse(&run->change, line, bytes, &error, &at) < 0) {
                run->n_malformed++;
                run->position.is_damaged = true;
                lanemap_tool_say("line %llu: malformed at byte %zu: %s",
                                 (unsigned long long)run->lines.number, at + 1, error);
                return 0;
        }
        switch (run->change.action) {
        case 'B':
                return transaction_begin(run);
        case 'C':
                return transaction_commit(run);
        case 'M':
                run->n_messages++;
                return 0;
        default:
                return change_route(run);
        }
}

/* Return: 0 at the end of the stream or a signal, or a negative errno after saying why. */
static int lines_route(struct run *run)
{
        char *line;
        size_t bytes;
        int r;

        while (!stop && (r = lanemap_lines_next(&run->lines, &line, &bytes)) != 0) {
                if (r == -EINTR)
                        break;
                if (r == -EMSGSIZE) {
                        run->n_malformed++;
                        run->position.is_damaged = true;
                        lanemap_tool_say("line %llu: longer than %zu bytes",
                                         (unsigned long long)run->lines.number, LINE_BYTES_MAX);
                        continue;
                }
                if (r < 0)
                        lanemap_tool_say("cannot read the standard input: %s", strerror(-r));
                else
                        r = line_route(run, line, bytes);
                if (r < 0 || (r = run->output_error) < 0)
                        return r;
        }
        if (run->lines.number == 0 && !stop)
                lanemap_tool_say("the input ended before its first line. If PostgreSQL refuses "
                                 "wal2json: since 15.19 ALTER SYSTEM SET output_plugin_libraries = "
                                 "pgoutput, wal2json; (separate values, not one quoted string), "
                                 "then SELECT pg_reload_conf();");
        return run->resumes ? 0 : output_flush(run);
}

static void quantiles_say(const char *what, const struct lanemap_histogram *histogram)
{
        static const double quantiles[] = {0.5, 0.99, 0.999};
        double us[LANEMAP_N_ELEMENTS(quantiles)];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(quantiles); i++)
                us[i] = (double)lanemap_histogram_quantile(histogram, quantiles[i]) / 1e3;
        fprintf(stderr, "%s  p50 %.2f us, p99 %.2f us, p99.9 %.2f us, max %.2f us\n", what, us[0],
                us[1], us[2], (double)histogram->max / 1e3);
}

static void stats_say(const struct run *run)
{
        const struct lanemap_route_stats *stats = lanemap_route_stats(run->route);
        uint64_t ns = lanemap_now_ns(&lanemap_clock_monotonic) - run->start_ns;
        double seconds = (double)LANEMAP_MAX(ns, 1) / 1e9;
        double lookup_seconds = (double)LANEMAP_MAX(stats->change_ns.sum, 1) / 1e9;

        fprintf(stderr, "lines           %llu in %.2f s, %llu malformed\n",
                (unsigned long long)run->lines.number, seconds,
                (unsigned long long)run->n_malformed);
        fprintf(stderr, "transactions    %llu, messages %llu\n",
                (unsigned long long)run->n_transactions, (unsigned long long)run->n_messages);
        fprintf(stderr, "changes         %llu, %.0f changes/s, %llu touch a route\n",
                (unsigned long long)stats->n_changes, (double)stats->n_changes / seconds,
                (unsigned long long)stats->n_touching);
        fprintf(stderr, "lookups         %llu, %.0f lookups/s in the index, %llu hits, %llu ids\n",
                (unsigned long long)stats->n_lookups, (double)stats->n_lookups / lookup_seconds,
                (unsigned long long)stats->n_hits, (unsigned long long)stats->n_ids);
        if (stats->n_unkeyable > 0)
                fprintf(stderr, "not looked up   %llu values, too long for a key\n",
                        (unsigned long long)stats->n_unkeyable);
        if (run->n_partial_tables > 0)
                fprintf(stderr, "old rows        incomplete in %llu tables\n",
                        (unsigned long long)run->n_partial_tables);
        quantiles_say("lookup latency", &stats->lookup_ns);
        quantiles_say("change latency", &stats->change_ns);
}

static void on_signal(int number)
{
        stop = 1;
}

static void signals_init(sigset_t *ret_signals)
{
        struct sigaction action = {.sa_handler = on_signal};

        sigemptyset(ret_signals);
        sigaddset(ret_signals, SIGINT);
        sigaddset(ret_signals, SIGTERM);
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
}

struct arguments {
        uint64_t wait_seconds;
        uint64_t after;
        bool resumes;
        bool stats;
};

static int route_run(struct lanemap_reader *reader, const struct arguments *arguments)
{
        struct run run = {
                .route = lanemap_route_new(reader),
                .resumes = arguments->resumes,
                .position.after = arguments->after,
        };
        sigset_t stop_signals;
        int r;

        lanemap_lines_init(&run.lines, STDIN_FILENO, LINE_BYTES_MAX);
        run.lines.before_wait = output_flush_before_wait;
        run.lines.arg = &run;
        run.lines.stop = &stop;
        run.lines.stop_signals = &stop_signals;
        run.start_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        signals_init(&stop_signals);
        r = lines_route(&run);
        if (arguments->stats)
                stats_say(&run);

        lanemap_lines_deinit(&run.lines);
        lanemap_wal2json_change_deinit(&run.change);
        lanemap_identity_deinit(&run.identity);
        lanemap_text_deinit(&run.output);
        lanemap_text_deinit(&run.transaction_lsn);
        lanemap_text_deinit(&run.transaction_xid);
        lanemap_route_free(run.route);
        if (r < 0)
                return LANEMAP_TOOL_FAILURE;
        return run.n_malformed > 0 ? LANEMAP_TOOL_BAD_LINES : LANEMAP_TOOL_DONE;
}

/* --type NAME=AS */
static int alias_take(void *values, char *text, struct lanemap_error *ret_error)
{
        const char *equals = strrchr(text, '=');
        struct lanemap_slice name, as;

        if (equals) {
                name = (struct lanemap_slice){.data = text, .bytes = (size_t)(equals - text)};
                as = (struct lanemap_slice){.data = equals + 1, .bytes = strlen(equals + 1)};
                if (lanemap_canonical_alias_add(name, as) == 0)
                        return 0;
        }
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "--type wants NAME=AS, where AS is a type such as numeric or uuid, not '%.200s'",
                 text);
        return -EINVAL;
}

static int after_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct lanemap_slice slice = {.data = text, .bytes = strlen(text)};
        struct arguments *arguments = values;

        arguments->resumes = true;
        if (lanemap_lsn_parse(slice, &arguments->after))
                return 0;
        snprintf(ret_error->text, sizeof(ret_error->text),
                 "--after wants a position such as 0/15D5A38, not '%.100s'; 0/0 for the beginning",
                 text);
        return -EINVAL;
}

#define TO(member) LANEMAP_OPTION_TO(struct arguments, member)
static const struct lanemap_option options[] = {
        {"after", "LSN",
         "skip transactions up to and with the one at LSN; print the others when they commit, each "
         "with a line {\"lsn\":...,\"action\":\"C\"} at its end",
         .take = after_take},
        {"stats", NULL, "at the end, say on stderr how much and how fast", TO(stats),
         .letter = 's'},
        {"wait", "SECONDS", "wait that long for a writer to publish NAME", TO(wait_seconds), 0,
         WAIT_SECONDS_MAX, .letter = 'w'},
        {"type", "NAME=AS", "treat the column type NAME (a domain, say) as the type AS; repeatable",
         .take = alias_take, .letter = 't'},
};

static int route(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        int exit_code = LANEMAP_TOOL_FAILURE;
        struct lanemap_reader *reader;

        if (lanemap_tool_attach(words[0], arguments->wait_seconds * UINT64_C(1000000000),
                                &reader) == 0) {
                exit_code = route_run(reader, arguments);
                lanemap_reader_detach(reader);
        }
        lanemap_canonical_alias_deinit();
        return exit_code;
}

const struct lanemap_tool_command lanemap_tool_route = {
        .name = "route",
        .summary = "read a PostgreSQL change stream and print which ids each change touches",
        .program =
                {
                        .name = "lanemap route",
                        .synopsis = "lanemap route [OPTION...] NAME",
                        .about = "Read a PostgreSQL change stream in wal2json's format-version 2 "
                                 "(one JSON object a line) from the standard input, look each "
                                 "change up in the index published as NAME, and print one JSON "
                                 "object a line for every change that touches anything:\n\n  "
                                 "{\"lsn\":\"0/"
                                 "15D5A38\",\"xid\":742,\"schema\":\"public\",\"table\":\"t\","
                                 "\"action\":\"U\",\"ids\":[7,9]}\n\nLooked up are the keys "
                                 "schema.table and schema.table.column=value of the new row, the "
                                 "old row, or both. See lanemap-route(1) for how values are "
                                 "written in keys.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Tables should have REPLICA IDENTITY FULL; one that sends "
                                  "incomplete old rows is named once on stderr. What lies in a "
                                  "pipe is lost when this program dies: see RESUMING in "
                                  "lanemap-route(1). SIGINT and SIGTERM "
                                  "end the stream in good order.\n\nExit codes: 0 done; 1 failure; "
                                  "2 usage; 4 some lines were malformed and reported on stderr, "
                                  "the others were routed.",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one NAME",
        .run = route,
};
