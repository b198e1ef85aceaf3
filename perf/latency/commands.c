/*
 * See private.h. One connection sends a command that takes long, or some never read, and others ask
 * meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"
#include "support/footprint.h"
#include "support/keys.h"

#define LOAD_IDS         1000 /* of one SADD that makes a long posting */
#define UNREAD_CLIENTS   30
#define UNREAD_SMEMBERS  50
#define ID_DIGITS_MAX    10
#define AFTER_COMMAND_MS 100

/* ---- requests ---- */

static void word_add(struct latency_words *words, const char *word)
{
        latency_words_add(words, "$%zu\r\n%s\r\n", __builtin_strlen(word), word);
}

static void id_add(struct latency_words *words, uint64_t id)
{
        char text[ID_DIGITS_MAX + 1];

        snprintf(text, sizeof(text), "%" PRIu32, (uint32_t)id);
        word_add(words, text);
}

/* SADD of the ids first .. first + n - 1. */
static void sadd_add(struct latency_words *words, const char *key, uint64_t first, uint64_t n)
{
        latency_words_add(words, "*%" PRIu64 "\r\n$4\r\nSADD\r\n", n + 2);
        word_add(words, key);
        for (uint64_t i = 0; i < n; i++)
                id_add(words, first + i);
}

static void posting_load(const struct latency_server *server, const char *key, uint64_t n_ids)
{
        struct latency_words words = {0};
        struct latency_answer answer;

        for (uint64_t at = 0; at < n_ids; at += LOAD_IDS)
                sadd_add(&words, key, at, n_ids - at < LOAD_IDS ? n_ids - at : LOAD_IDS);
        answer = latency_talk(&server->place, &words);
        if (answer.error[0])
                perf_die(answer.error, 0);
        free(words.bytes);
}

static void sadd_make(const struct latency_options *options, struct latency_words *words)
{
        latency_words_add(words, "*%" PRIu64 "\r\n$4\r\nSADD\r\n", options->n_sadd_ids + 2);
        word_add(words, "latency.sadd");
        for (uint64_t i = 0; i < options->n_sadd_ids; i++)
                id_add(words, perf_mix64(i) % 4000000000);
}

static void exec_make(const struct latency_options *options, struct latency_words *words)
{
        latency_words_add(words, "MULTI\r\n");
        for (uint64_t i = 0; i < options->n_exec; i++)
                latency_words_add(words, "SADD latency.exec.%" PRIu64 " 7\r\n", i);
        latency_words_add(words, "EXEC\r\n");
}

/* ---- one command ---- */

static void command_measure(const struct latency_server *server, const char *name,
                            const struct latency_words *words, struct perf_table *table)
{
        static struct latency_probes probes;
        struct latency_answer answer;
        char row[56];

        latency_probes_start(&probes, &server->place);
        answer = latency_talk(&server->place, words);
        perf_sleep_ms(AFTER_COMMAND_MS);
        latency_probes_stop(&probes, name, table);
        snprintf(row, sizeof(row), "%s_time", name);
        perf_table_add(table, row, answer.seconds * 1e3, "ms");
        snprintf(row, sizeof(row), "%s_failed", name);
        perf_table_add(table, row, answer.error[0] != '\0', "");
        if (answer.error[0])
                perf_table_note(table, "%s failed: %s", name, answer.error);
}

static void text_measure(const struct latency_server *server, const char *name, const char *text,
                         struct perf_table *table)
{
        struct latency_words words = {0};

        latency_words_add(&words, "%s\r\n", text);
        command_measure(server, name, &words, table);
        free(words.bytes);
}

static void writes_measure(const struct latency_options *options,
                           const struct latency_server *server, struct perf_table *table)
{
        struct latency_words sadd = {0}, exec = {0};
        uint64_t shared = latency_server_stat(server, "shared_bytes");

        sadd_make(options, &sadd);
        command_measure(server, "sadd", &sadd, table);
        perf_table_add(table, "sadd_shared_per_id",
                       ((double)latency_server_stat(server, "shared_bytes") - (double)shared) /
                               (double)options->n_sadd_ids,
                       "bytes");
        exec_make(options, &exec);
        command_measure(server, "exec", &exec, table);
        free(sadd.bytes);
        free(exec.bytes);
}

static void backup_measure(const struct latency_server *server, struct perf_table *table)
{
        char text[700];

        snprintf(text, sizeof(text), "LANEMAP.BACKUP %s/backup", server->place.directory);
        text_measure(server, "backup", text, table);
}

/* ---- clients that never read ---- */

static int unread_connect(const struct latency_server *server, const struct latency_words *words)
{
        ssize_t n;
        int fd, r = perf_daemon_connect(&server->place, &fd);

        if (r < 0)
                perf_die("connect", r);
        n = send(fd, words->bytes, words->n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
                perf_die("send", -errno);
        return fd;
}

static void unread_measure(const struct latency_options *options,
                           const struct latency_server *server, struct perf_table *table)
{
        uint64_t before = perf_anonymous_bytes(server->pid), most = before;
        struct latency_words words = {0};
        static struct latency_probes probes;
        int fds[UNREAD_CLIENTS];
        double until;

        for (int i = 0; i < UNREAD_SMEMBERS; i++)
                latency_words_add(&words, "SMEMBERS latency.unread\r\n");
        latency_probes_start(&probes, &server->place);
        for (int i = 0; i < UNREAD_CLIENTS; i++)
                fds[i] = unread_connect(server, &words);
        for (until = perf_now() + options->quiet_ms * 1e-3; perf_now() < until;) {
                uint64_t bytes = perf_anonymous_bytes(server->pid);

                most = bytes > most ? bytes : most;
                perf_sleep_ms(20);
        }
        latency_probes_stop(&probes, "unread", table);
        perf_table_add(table, "unread_memory", (double)(most - before), "bytes");
        for (int i = 0; i < UNREAD_CLIENTS; i++)
                close(fds[i]);
        free(words.bytes);
}

void latency_measure_commands(const struct latency_options *options, struct perf_table *table)
{
        static struct latency_probes probes;
        struct latency_server server;

        latency_server_start(options, false, options->appendfsync, options->n_commands_keys,
                             &server);
        posting_load(&server, "latency.long", options->n_commands_keys);
        posting_load(&server, "latency.unread", options->n_unread_ids);
        latency_server_settle(options, &server);
        latency_probes_start(&probes, &server.place);
        perf_sleep_ms(options->quiet_ms);
        latency_probes_stop(&probes, "quiet", table);

        writes_measure(options, &server, table);
        text_measure(&server, "smembers", "SMEMBERS latency.long", table);
        text_measure(&server, "ids", "LANEMAP.IDS", table);
        text_measure(&server, "compact", "LANEMAP.COMPACT", table);
        backup_measure(&server, table);
        text_measure(&server, "verify", "LANEMAP.VERIFY", table);
        text_measure(&server, "dbsize", "DBSIZE", table);
        text_measure(&server, "info", "INFO", table);
        unread_measure(options, &server, table);
        text_measure(&server, "flushall", "FLUSHALL", table);
        latency_server_stop(&server);
}
