/*
 * See options.h. One row per option: what it is called, shown and described, where its value goes,
 * and what CONFIG may do with it. src/common/option.h says what a row holds.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"
#include "daemon/options.h"

#define TO(member) LANEMAP_OPTION_TO(struct lanemap_options, member)
#define BYTES_MAX  (UINT64_C(1) << 40)
#define SHARED_MAX (UINT64_C(1) << 46)

const struct lanemap_choice lanemap_appendfsync_choices[] = {
        {"everysec",
         LANEMAP_APPENDFSYNC_EVERYSEC}, /* in Redis's order, which its CONFIG SET says */
        {"always", LANEMAP_APPENDFSYNC_ALWAYS},
        {"no", LANEMAP_APPENDFSYNC_NO},
        {NULL},
};

const struct lanemap_choice lanemap_segment_kind_choices[] = {
        {"packed", LANEMAP_SEGMENT_PACKED},
        {"recsplit", LANEMAP_SEGMENT_RECSPLIT},
        {"bbhash", LANEMAP_SEGMENT_BBHASH},
        {NULL},
};

const struct lanemap_choice lanemap_filter_choices[] = {
        {"none", LANEMAP_FILTER_NEVER},
        {"auto", LANEMAP_FILTER_AUTO},
        {"always", LANEMAP_FILTER_ALWAYS},
        {NULL},
};

static const struct lanemap_choice fingerprint_bits[] = {
        {"64", 64}, {"80", 80}, {"96", 96}, {NULL}};
static const struct lanemap_choice scrub_off[] = {{"off", UINT64_MAX}, {NULL}};

static const struct lanemap_choice never[] = {{"-1", UINT64_MAX}, {NULL}};

static const struct lanemap_choice loglevels[] = {
        {"debug", LOG_DEBUG},
        {"info", LOG_INFO},
        {"verbose", LOG_INFO},
        {"notice", LOG_NOTICE},
        {"warning", LOG_WARNING},
        {"error", LOG_ERR},
        {NULL},
};

static int socket_group_take(void *values, char *text, struct lanemap_error *ret_error);
static int socket_mode_take(void *values, char *text, struct lanemap_error *ret_error);
static int password_take(void *values, char *text, struct lanemap_error *ret_error);
static int password_file_take(void *values, char *text, struct lanemap_error *ret_error);
static int backup_dir_take(void *values, char *text, struct lanemap_error *ret_error);
static int maxmemory_clients_take(void *values, char *text, struct lanemap_error *ret_error);
static int appendfsync_change(void *program, const void *values);
static int maxclients_change(void *program, const void *values);
static int value_change(void *program, const void *values);
static int slow_change(void *program, const void *values);
static int loglevel_change(void *program, const void *values);

/* clang-format off */
static const struct lanemap_option rows[] = {
        {"name", "NAME", "what readers attach to: 1 to 64 of A-Z a-z 0-9 _ -", TO(name)},
        {"dir", "DIR", "segments, manifest and log; created if it does not exist", TO(directory),
         .config = "dir"},
        {"socket", "PATH", "Unix socket (default: DIR/lanemapd.sock)", TO(socket), .min = 1,
         .config = "unixsocket"},
        {"socket-group", "GROUP", "who may write: the members of GROUP, a name or a number",
         TO(socket_gid), .take = socket_group_take},
        {"socket-mode", "MODE", "of the socket, octal (default: 0600, with --socket-group 0660)",
         TO(socket_mode), .take = socket_mode_take},
        {"port", "N", "also listen on this TCP port of the loopback addresses; needs a password",
         TO(port), 1, 65535, .config = "port"},
        {"requirepass-file", "FILE", "clients must give the password that is the first line of "
         "FILE",
         .take = password_file_take},
        {"requirepass", "PASSWORD", "the same, seen by everybody who can list processes for a "
         "moment; "
         "the environment may also hold LANEMAPD_REQUIREPASS", .take = password_take,
         .config = "requirepass"},
        {"appendfsync", "POLICY", "always (default), everysec or no",
         TO(appendfsync), .choices = lanemap_appendfsync_choices, .choices_only = true,
         .config = "appendfsync",
         .change = appendfsync_change},
        {"lanes", "N", "1 to 1024, at creation (default 64); later: 'lanemap reshard'", TO(n_lanes),
         1, 1024},
        {"fingerprint-bits", "N", "64 (default), 80 or 96, at creation only",
         TO(fingerprint_bits), .choices = fingerprint_bits, .choices_only = true},
        {"segment-kind-young", "K", "packed (default), recsplit or bbhash, for the upper levels",
         TO(segment_kind_young), .choices = lanemap_segment_kind_choices, .choices_only = true},
        {"segment-kind-bottom", "K", "the same, for the lowest level; the index may hold any mix",
         TO(segment_kind_bottom), .choices = lanemap_segment_kind_choices, .choices_only = true},
        {"filter", "POLICY", "filters in front of segments: none, auto (default: those of "
         "recsplit and bbhash) "
         "or always; the index remembers this and the two kinds",
         TO(filter), .choices = lanemap_filter_choices, .choices_only = true},
        {"workers", "N", "compaction threads, 1 to 64 (default 1)", TO(n_workers), 1, 64},
        {"compaction-rate", "N", "bytes per second that merges may write (default 0: no limit)",
         TO(compaction_bytes_per_second), 0, BYTES_MAX},
        {"flush-bytes", "N", "flush when the overlays have this size (default: adapts)",
         TO(flush_bytes), 4096, BYTES_MAX},
        {"log-file-bytes", "N", "size of a log file (default 64 MiB)", TO(log_file_bytes), 4096,
         BYTES_MAX},
        {"shared-bytes-max", "N", "the shared memory never grows past this (default 64 GiB)",
         TO(shared_bytes_max), 65536, SHARED_MAX},
        {"scrub-bytes-per-second", "N", "how fast segment files are read again and checked in "
         "the background, "
         "or off (default 8 MiB)", TO(scrub_bytes_per_second), 4096, BYTES_MAX,
         .choices = scrub_off},
        {"backup-dir", "DIR", "where LANEMAP.BACKUP without a descriptor may make one",
         TO(backup_dir),
         .take = backup_dir_take},
        {"serve-from", "DIR", "serve copies of the segment files from this directory on a tmpfs, "
         "in huge pages "
         "where the kernel has them", TO(serve_from), .min = 1},
        {"lock-memory", "N", "keep so many bytes of what is served in memory, newest levels first "
         "(default 0: none); needs LimitMEMLOCK=", TO(lock_bytes), 0, SHARED_MAX},
        {"hang-limit", "N", "feed systemd's watchdog until a part of the writer has been at one "
         "step for so "
         "many seconds (default 60); 0: always", TO(hang_limit_seconds), 0, 86400,
         .change = value_change},
        {"maxclients", "N", "connections at once (default 10000); of these 64, a quarter of "
         "fewer than 256, are for the "
         "Unix socket", TO(maxclients), 4, 1000000, .config = "maxclients",
         .change = maxclients_change},
        {"timeout-auth", "N", "close a client that has not given the password after so many "
         "seconds (default 10); 0: never",
         TO(timeout_auth), 0, 86400, .config = "timeout-auth", .change = value_change},
        {"timeout-output", "N", "close a client that has taken nothing of its replies for so "
         "many seconds "
         "(default 60); 0: never", TO(timeout_output), 0, 86400, .config = "timeout-output",
         .change = value_change},
        {"maxmemory-clients", "N", "memory of all clients: bytes (also 1kb, 64mb, 2gb), or N% of "
         "what the process may "
         "have (default 10%); 0: no limit; beyond it the largest that do nothing are closed",
         TO(maxmemory_clients),
         .take = maxmemory_clients_take, .config = "maxmemory-clients", .change = value_change},
        {"timeout", "N", "close a client that has sent and taken nothing for so many seconds "
         "(default 0: never)",
         TO(timeout), 0, INT32_MAX, .config = "timeout", .change = value_change},
        {"slowlog-log-slower-than", "N", "SLOWLOG keeps what took so many microseconds (default "
         "10000); 0: everything; -1: nothing",
         TO(slowlog_us), 0, INT64_MAX / 1000, .choices = never, .config = "slowlog-log-slower-than",
         .change = slow_change},
        {"slowlog-max-len", "N", "of these the last N (default 128)", TO(slowlog_len), 0, 1000000,
         .config = "slowlog-max-len",
         .change = slow_change},
        {"latency-monitor-threshold", "N",
         "LATENCY records what took so many milliseconds (default 0: nothing)",
         TO(latency_ms), 0, INT64_MAX / 1000000, .config = "latency-monitor-threshold",
         .change = slow_change},
        {"options-file", "FILE", "also read options from FILE, a line each: NAME VALUE; those of "
         "the command "
         "line count for more; with a - before it FILE may be absent; SIGHUP reads it again",
         TO(options_file)},
        {"loglevel", "LEVEL", "debug, info, notice (default), warning or error",
         TO(loglevel), .choices = loglevels, .choices_only = true, .config = "loglevel",
         .change = loglevel_change},
};
/* clang-format on */

const struct lanemap_program lanemap_daemon_program = {
        .name = "lanemapd",
        .synopsis = "lanemapd --name NAME --dir DIR [OPTION...]",
        .about = "Own one lanemap index: serve writes over the Redis protocol, publish reads in "
                 "shared memory.",
        .options = rows,
        .n_options = LANEMAP_N_ELEMENTS(rows),
        .epilog = "Exit codes: 0 a clean stop, 1 the index could not be opened or served, 2 usage.",
        .version = LANEMAP_VERSION,
        .completes = true,
};

static int refuse(struct lanemap_error *ret_error, const char *format, ...) LANEMAP_PRINTF(2, 3);

static int refuse(struct lanemap_error *ret_error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return -EINVAL;
}

int lanemap_options_password_set(struct lanemap_options *options, const char *where,
                                 const char *text, size_t n_bytes, struct lanemap_error *ret_error)
{
        if (n_bytes == 0 || n_bytes > LANEMAP_PASSWORD_BYTES_MAX || memchr(text, '\0', n_bytes))
                return refuse(ret_error, "%s: a password has 1 to %d bytes, none of them NUL",
                              where, LANEMAP_PASSWORD_BYTES_MAX);
        memcpy(options->password, text, n_bytes);
        options->password[n_bytes] = 0;
        return 0;
}

static int password_file_take(void *values, char *path, struct lanemap_error *ret_error)
{
        char text[LANEMAP_PASSWORD_BYTES_MAX + 2];
        ssize_t n_bytes;
        int fd, r;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return refuse(ret_error, "--requirepass-file: cannot open %s: %s", path,
                              strerror(errno));
        n_bytes = read(fd, text, sizeof(text));
        if (n_bytes < 0) {
                r = refuse(ret_error, "--requirepass-file: cannot read %s: %s", path,
                           strerror(errno));
        } else {
                const char *end = memchr(text, '\n', (size_t)n_bytes);

                r = lanemap_options_password_set(values, "--requirepass-file", text,
                                                 end ? (size_t)(end - text) : (size_t)n_bytes,
                                                 ret_error);
        }
        close(fd);
        explicit_bzero(text, sizeof(text));
        return r;
}

static int socket_group_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct lanemap_options *options = values;
        const struct group *group;
        uint64_t number;

        group = getgrnam(text);
        if (group)
                options->socket_gid = group->gr_gid;
        else if (lanemap_number_parse(text, strlen(text), UINT32_MAX - 1, &number) == 0)
                options->socket_gid = (gid_t)number;
        else
                return refuse(ret_error, "--socket-group: there is no group '%.80s'", text);
        options->has_socket_group = true;
        return 0;
}

/* Owner, group and others; the owner may always connect. */
static int socket_mode_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct lanemap_options *options = values;
        size_t n = strlen(text);
        mode_t mode = 0;

        if (n < 3 || n > 4 || strspn(text, "01234567") != n || (n == 4 && text[0] != '0'))
                return refuse(ret_error,
                              "--socket-mode: '%.80s' is not an octal mode from 0600 to 0777",
                              text);
        for (size_t i = 0; i < n; i++)
                mode = mode << 3 | (mode_t)(text[i] - '0');
        if ((mode & 0600) != 0600)
                return refuse(ret_error,
                              "--socket-mode: '%.80s' keeps lanemapd's own user out; it is "
                              "0600 to 0777",
                              text);
        options->socket_mode = mode;
        options->has_socket_mode = true;
        return 0;
}

/* The command line is wiped; when it is read again the password is what it was. */
static int password_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct lanemap_options *options = values;
        const char *password = !*text && options->password_wiped ? options->password_wiped : text;
        int r;

        r = lanemap_options_password_set(options, "--requirepass", password, strlen(password),
                                         ret_error);
        explicit_bzero(text, strlen(text));
        options->password_is_wiped = true;
        return r;
}

static int backup_dir_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct lanemap_options *options = values;

        if (text[0] != '/')
                return refuse(ret_error, "--backup-dir: '%.80s' is no absolute path", text);
        options->backup_dir = text;
        return 0;
}

/* Redis's forms: 100, 100k (1000 each), 100kb (1024 each), and so on; or a percentage, which stays
 * one. */
static int maxmemory_clients_take(void *values, char *text, struct lanemap_error *ret_error)
{
        static const struct {
                const char *text;
                uint64_t bytes;
        } units[] = {
                {"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30},
        };
        struct lanemap_options *options = values;
        size_t n_digits = strspn(text, "0123456789");
        uint64_t number;

        if (strcmp(text + n_digits, "%") == 0 &&
            lanemap_number_parse(text, n_digits, 100, &number) == 0) {
                snprintf(options->maxmemory_clients, sizeof(options->maxmemory_clients),
                         "%" PRIu64 "%%", number);
                return 0;
        }
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(units); i++) {
                if (strcasecmp(text + n_digits, units[i].text) != 0 ||
                    lanemap_number_parse(text, n_digits, SHARED_MAX / units[i].bytes, &number) < 0)
                        continue;
                snprintf(options->maxmemory_clients, sizeof(options->maxmemory_clients), "%" PRIu64,
                         number * units[i].bytes);
                return 0;
        }
        return refuse(ret_error,
                      "--maxmemory-clients: '%.80s' is neither a number of bytes, as 67108864 or "
                      "64mb, nor a percentage from 0%% to 100%%",
                      text);
}

static int appendfsync_change(void *program, const void *values)
{
        const struct lanemap_options *options = values;
        struct lanemap_server *server = program;
        int r;

        r = lanemap_writer_set_appendfsync(server->writer, options->appendfsync);
        if (r < 0)
                return r;
        server->gate_is_due = true;
        server->acknowledged = 0; /* what the old policy let pass says nothing now */
        return 0;
}

static int maxclients_change(void *program, const void *values)
{
        const struct lanemap_options *options = values;

        lanemap_listen_limit(program, options->maxclients);
        return 0;
}

/* It is looked at where it is stored. */
static int value_change(void *program, const void *values)
{
        return 0;
}

/* Asked each time, until the second is over. */
static int slow_change(void *program, const void *values)
{
        struct lanemap_server *server = program;

        server->meter.limit_ticks = 0;
        return 0;
}

static int loglevel_change(void *program, const void *values)
{
        const struct lanemap_options *options = values;

        lanemap_log_init((int)options->loglevel);
        return 0;
}
