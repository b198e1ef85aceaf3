/* See options.h. One table row per option; numbers carry their range. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "daemon/options.h"

static const char usage_text[] =
        "Usage: lanemapd --name NAME --dir DIR [OPTION...]\n"
        "Own one lanemap index: serve writes over the Redis protocol, publish reads in shared\n"
        "memory.\n"
        "\n"
        "  --name NAME               what readers attach to: 1 to 64 of A-Z a-z 0-9 _ -\n"
        "  --dir DIR                 segments, manifest and log; created if it does not exist\n"
        "  --socket PATH             Unix socket (default: DIR/lanemapd.sock)\n"
        "  --socket-group GROUP      who may write: the members of GROUP, a name or a number\n"
        "  --socket-mode MODE        of the socket, octal (default: 0600, with --socket-group "
        "0660)\n"
        "  --port N                  also listen on this TCP port of the loopback addresses;\n"
        "                            needs a password\n"
        "  --requirepass-file FILE   clients must give the password that is the first line of "
        "FILE\n"
        "  --requirepass PASSWORD    the same, seen by everybody who can list processes for a\n"
        "                            moment; the environment may also hold LANEMAPD_REQUIREPASS\n"
        "  --appendfsync POLICY      always (default), everysec or no\n"
        "  --lanes N                 1 to 1024, at creation (default 64); later: 'lanemap "
        "reshard'\n"
        "  --fingerprint-bits N      64 (default), 80 or 96, at creation only\n"
        "  --segment-kind-young K    packed (default), recsplit or bbhash, for the upper levels\n"
        "  --segment-kind-bottom K   the same, for the lowest level; the index may hold any mix\n"
        "  --filter POLICY           filters in front of segments: none, auto (default: those of\n"
        "                            recsplit and bbhash) or always; the index remembers this\n"
        "                            and the two kinds\n"
        "  --workers N               compaction threads, 1 to 64 (default 1)\n"
        "  --compaction-rate N       bytes per second that merges may write (default 0: no limit)\n"
        "  --flush-bytes N           flush when the overlays have this size (default: adapts)\n"
        "  --log-file-bytes N        size of a log file (default 64 MiB)\n"
        "  --shared-bytes-max N      the shared memory never grows past this (default 64 GiB)\n"
        "  --scrub-bytes-per-second N  how fast segment files are read again and checked in the\n"
        "                            background, or off (default 8 MiB)\n"
        "  --backup-dir DIR          where LANEMAP.BACKUP without a descriptor may make one\n"
        "  --serve-from DIR          serve copies of the segment files from this directory on a "
        "tmpfs,\n"
        "                            in huge pages where the kernel has them\n"
        "  --lock-memory N           keep so many bytes of what is served in memory, newest "
        "levels\n"
        "                            first (default 0: none); needs LimitMEMLOCK=\n"
        "  --hang-limit N            feed systemd's watchdog until a part of the writer has been "
        "at\n"
        "                            one step for so many seconds (default 60); 0: always\n"
        "  --loglevel LEVEL          debug, info, notice (default), warning or error\n"
        "  --version                 print the version and exit\n"
        "  --help                    print this and exit\n"
        "\n"
        "Exit codes: 0 a clean stop, 1 the index could not be opened or served, 2 usage.\n";

enum {
        OPTION_NAME = 256,
        OPTION_DIR,
        OPTION_SOCKET,
        OPTION_SOCKET_GROUP,
        OPTION_SOCKET_MODE,
        OPTION_PORT,
        OPTION_REQUIREPASS,
        OPTION_REQUIREPASS_FILE,
        OPTION_APPENDFSYNC,
        OPTION_LANES,
        OPTION_FINGERPRINT_BITS,
        OPTION_SEGMENT_KIND_YOUNG,
        OPTION_SEGMENT_KIND_BOTTOM,
        OPTION_FILTER,
        OPTION_WORKERS,
        OPTION_COMPACTION_RATE,
        OPTION_FLUSH_BYTES,
        OPTION_LOG_FILE_BYTES,
        OPTION_SHARED_BYTES_MAX,
        OPTION_SCRUB,
        OPTION_SERVE_FROM,
        OPTION_BACKUP_DIR,
        OPTION_LOCK_MEMORY,
        OPTION_HANG_LIMIT,
        OPTION_LOGLEVEL,
        OPTION_VERSION,
        OPTION_HELP,
};

static const struct option long_options[] = {
        {"name", required_argument, NULL, OPTION_NAME},
        {"dir", required_argument, NULL, OPTION_DIR},
        {"socket", required_argument, NULL, OPTION_SOCKET},
        {"socket-group", required_argument, NULL, OPTION_SOCKET_GROUP},
        {"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
        {"port", required_argument, NULL, OPTION_PORT},
        {"requirepass", required_argument, NULL, OPTION_REQUIREPASS},
        {"requirepass-file", required_argument, NULL, OPTION_REQUIREPASS_FILE},
        {"appendfsync", required_argument, NULL, OPTION_APPENDFSYNC},
        {"lanes", required_argument, NULL, OPTION_LANES},
        {"fingerprint-bits", required_argument, NULL, OPTION_FINGERPRINT_BITS},
        {"segment-kind-young", required_argument, NULL, OPTION_SEGMENT_KIND_YOUNG},
        {"segment-kind-bottom", required_argument, NULL, OPTION_SEGMENT_KIND_BOTTOM},
        {"filter", required_argument, NULL, OPTION_FILTER},
        {"workers", required_argument, NULL, OPTION_WORKERS},
        {"compaction-rate", required_argument, NULL, OPTION_COMPACTION_RATE},
        {"flush-bytes", required_argument, NULL, OPTION_FLUSH_BYTES},
        {"log-file-bytes", required_argument, NULL, OPTION_LOG_FILE_BYTES},
        {"shared-bytes-max", required_argument, NULL, OPTION_SHARED_BYTES_MAX},
        {"scrub-bytes-per-second", required_argument, NULL, OPTION_SCRUB},
        {"serve-from", required_argument, NULL, OPTION_SERVE_FROM},
        {"backup-dir", required_argument, NULL, OPTION_BACKUP_DIR},
        {"lock-memory", required_argument, NULL, OPTION_LOCK_MEMORY},
        {"hang-limit", required_argument, NULL, OPTION_HANG_LIMIT},
        {"loglevel", required_argument, NULL, OPTION_LOGLEVEL},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
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

int lanemap_number_parse(const char *text, size_t n_bytes, uint64_t max, uint64_t *ret_number)
{
        uint64_t number = 0;

        if (n_bytes == 0)
                return -EINVAL;
        for (size_t i = 0; i < n_bytes; i++) {
                uint64_t digit = (uint64_t)((unsigned char)text[i] - '0');

                if (digit > 9)
                        return -EINVAL;
                if (number > (max - digit) / 10 || digit > max)
                        return -ERANGE;
                number = number * 10 + digit;
        }
        *ret_number = number;
        return 0;
}

static const char *const appendfsync_texts[] = {
        [LANEMAP_APPENDFSYNC_ALWAYS] = "always",
        [LANEMAP_APPENDFSYNC_EVERYSEC] = "everysec",
        [LANEMAP_APPENDFSYNC_NO] = "no",
};

int lanemap_appendfsync_parse(const char *text, size_t n_bytes)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(appendfsync_texts); i++)
                if (strlen(appendfsync_texts[i]) == n_bytes &&
                    strncasecmp(appendfsync_texts[i], text, n_bytes) == 0)
                        return (int)i;
        return -EINVAL;
}

const char *lanemap_appendfsync_text(uint32_t appendfsync)
{
        return appendfsync < LANEMAP_N_ELEMENTS(appendfsync_texts) ? appendfsync_texts[appendfsync]
                                                                   : "unknown";
}

static const char *const segment_kind_texts[] = {
        [LANEMAP_SEGMENT_PACKED] = "packed",
        [LANEMAP_SEGMENT_RECSPLIT] = "recsplit",
        [LANEMAP_SEGMENT_BBHASH] = "bbhash",
};

static const char *const filter_texts[] = {
        [LANEMAP_FILTER_NEVER] = "none",
        [LANEMAP_FILTER_AUTO] = "auto",
        [LANEMAP_FILTER_ALWAYS] = "always",
};

const char *lanemap_segment_kind_text(uint32_t kind)
{
        return kind > 0 && kind < LANEMAP_N_ELEMENTS(segment_kind_texts) ? segment_kind_texts[kind]
                                                                         : "unknown";
}

const char *lanemap_filter_text(uint32_t filter)
{
        return filter > 0 && filter < LANEMAP_N_ELEMENTS(filter_texts) ? filter_texts[filter]
                                                                       : "unknown";
}

static int segment_kind_take(const char *name, const char *text, uint32_t *ret_kind,
                             struct lanemap_error *ret_error)
{
        for (uint32_t i = 1; i < LANEMAP_N_ELEMENTS(segment_kind_texts); i++) {
                if (strcmp(segment_kind_texts[i], text) == 0) {
                        *ret_kind = i;
                        return 0;
                }
        }

        return refuse(ret_error, "--%s: '%s' is not packed, recsplit or bbhash", name, text);
}

static int filter_take(const char *text, uint32_t *ret_filter, struct lanemap_error *ret_error)
{
        for (uint32_t i = 1; i < LANEMAP_N_ELEMENTS(filter_texts); i++) {
                if (strcmp(filter_texts[i], text) == 0) {
                        *ret_filter = i;
                        return 0;
                }
        }

        return refuse(ret_error, "--filter: '%s' is not none, auto or always", text);
}

static int loglevel_parse(const char *text)
{
        static const struct {
                const char *text;
                int level;
        } levels[] = {
                {"debug", LOG_DEBUG},   {"info", LOG_INFO},       {"verbose", LOG_INFO},
                {"notice", LOG_NOTICE}, {"warning", LOG_WARNING}, {"error", LOG_ERR},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(levels); i++)
                if (strcmp(levels[i].text, text) == 0)
                        return levels[i].level;
        return -EINVAL;
}

/* `where` it comes from. A NUL within would make it shorter than it looks. */
static int password_set(struct lanemap_options *options, const char *where, const char *text,
                        size_t n_bytes, struct lanemap_error *ret_error)
{
        if (n_bytes == 0 || n_bytes > LANEMAP_PASSWORD_BYTES_MAX || memchr(text, '\0', n_bytes))
                return refuse(ret_error, "%s: a password has 1 to %d bytes, none of them NUL",
                              where, LANEMAP_PASSWORD_BYTES_MAX);
        memcpy(options->password, text, n_bytes);
        options->password[n_bytes] = 0;
        return 0;
}

static int password_read(struct lanemap_options *options, const char *path,
                         struct lanemap_error *ret_error)
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

                r = password_set(options, "--requirepass-file", text,
                                 end ? (size_t)(end - text) : (size_t)n_bytes, ret_error);
        }
        close(fd);
        explicit_bzero(text, sizeof(text));
        return r;
}

static int socket_group_take(struct lanemap_options *options, const char *text,
                             struct lanemap_error *ret_error)
{
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
static int socket_mode_take(struct lanemap_options *options, const char *text,
                            struct lanemap_error *ret_error)
{
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

static int number_option(const char *name, const char *text, uint64_t min, uint64_t max,
                         uint64_t *ret_number, struct lanemap_error *ret_error)
{
        uint64_t number;

        if (lanemap_number_parse(text, strlen(text), max, &number) < 0 || number < min)
                return refuse(ret_error, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64,
                              name, text, min, max);
        *ret_number = number;
        return 0;
}

static int number_option_32(const char *name, const char *text, uint32_t min, uint32_t max,
                            uint32_t *ret_number, struct lanemap_error *ret_error)
{
        uint64_t number;
        int r;

        r = number_option(name, text, min, max, &number, ret_error);
        if (r == 0)
                *ret_number = (uint32_t)number;
        return r;
}

/* The options with a number. Return: 0, -EINVAL, or 1 when `option` is none of them. */
static int number_option_take(struct lanemap_options *options, int option, const char *value,
                              struct lanemap_error *ret_error)
{
        switch (option) {
        case OPTION_PORT:
                return number_option_32("port", value, 1, 65535, &options->port, ret_error);
        case OPTION_LANES:
                return number_option_32("lanes", value, 1, 1024, &options->n_lanes, ret_error);
        case OPTION_FINGERPRINT_BITS:
                if (strcmp(value, "64") != 0 && strcmp(value, "80") != 0 &&
                    strcmp(value, "96") != 0)
                        return refuse(ret_error, "--fingerprint-bits: '%s' is not 64, 80 or 96",
                                      value);
                options->fingerprint_bits = (uint32_t)atoi(value);
                return 0;
        case OPTION_WORKERS:
                return number_option_32("workers", value, 1, 64, &options->n_workers, ret_error);
        case OPTION_COMPACTION_RATE:
                return number_option("compaction-rate", value, 0, UINT64_C(1) << 40,
                                     &options->compaction_bytes_per_second, ret_error);
        case OPTION_FLUSH_BYTES:
                return number_option("flush-bytes", value, 4096, UINT64_C(1) << 40,
                                     &options->flush_bytes, ret_error);
        case OPTION_LOG_FILE_BYTES:
                return number_option("log-file-bytes", value, 4096, UINT64_C(1) << 40,
                                     &options->log_file_bytes, ret_error);
        case OPTION_SHARED_BYTES_MAX:
                return number_option("shared-bytes-max", value, 65536, UINT64_C(1) << 46,
                                     &options->shared_bytes_max, ret_error);
        case OPTION_LOCK_MEMORY:
                return number_option("lock-memory", value, 0, UINT64_C(1) << 46,
                                     &options->lock_bytes, ret_error);
        case OPTION_HANG_LIMIT:
                return number_option("hang-limit", value, 0, 86400, &options->hang_limit_seconds,
                                     ret_error);
        case OPTION_SCRUB:
                if (strcmp(value, "off") == 0) {
                        options->scrub_bytes_per_second = UINT64_MAX;
                        return 0;
                }
                return number_option("scrub-bytes-per-second", value, 4096, UINT64_C(1) << 40,
                                     &options->scrub_bytes_per_second, ret_error);
        }
        return 1;
}

static int option_take(struct lanemap_options *options, int option, char *value,
                       struct lanemap_error *ret_error)
{
        int r;

        switch (option) {
        case OPTION_NAME:
                options->name = value;
                return 0;
        case OPTION_DIR:
                options->directory = value;
                return 0;
        case OPTION_BACKUP_DIR:
                if (value[0] != '/')
                        return refuse(ret_error, "--backup-dir: '%.80s' is no absolute path",
                                      value);
                options->backup_dir = value;
                return 0;
        case OPTION_SERVE_FROM:
                if (!*value)
                        return refuse(ret_error, "--serve-from: the name of a directory is empty");
                options->serve_from = value;
                return 0;
        case OPTION_SOCKET:
                if (!*value)
                        return refuse(ret_error, "--socket: the path is empty");
                if ((size_t)snprintf(options->socket, sizeof(options->socket), "%s", value) >=
                    sizeof(options->socket))
                        return refuse(ret_error, "--socket: the path is too long");
                return 0;
        case OPTION_SOCKET_GROUP:
                return socket_group_take(options, value, ret_error);
        case OPTION_SOCKET_MODE:
                return socket_mode_take(options, value, ret_error);
        case OPTION_REQUIREPASS:
                r = password_set(options, "--requirepass", value, strlen(value), ret_error);
                explicit_bzero(value, strlen(value));
                return r;
        case OPTION_REQUIREPASS_FILE:
                return password_read(options, value, ret_error);
        case OPTION_APPENDFSYNC:
                r = lanemap_appendfsync_parse(value, strlen(value));
                if (r < 0)
                        return refuse(ret_error,
                                      "--appendfsync: '%s' is not always, everysec or no", value);
                options->appendfsync = (uint32_t)r;
                return 0;
        case OPTION_SEGMENT_KIND_YOUNG:
                return segment_kind_take("segment-kind-young", value, &options->segment_kind_young,
                                         ret_error);
        case OPTION_SEGMENT_KIND_BOTTOM:
                return segment_kind_take("segment-kind-bottom", value,
                                         &options->segment_kind_bottom, ret_error);
        case OPTION_FILTER:
                return filter_take(value, &options->filter, ret_error);
        case OPTION_LOGLEVEL:
                r = loglevel_parse(value);
                if (r < 0)
                        return refuse(ret_error,
                                      "--loglevel: '%s' is not debug, info, notice, warning or "
                                      "error",
                                      value);
                options->loglevel = r;
                return 0;
        }
        return number_option_take(options, option, value, ret_error);
}

static bool name_is_valid(const char *name)
{
        size_t n = strlen(name);

        return n >= 1 && n <= LANEMAP_NAME_BYTES_MAX &&
               strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
                       n;
}

static int options_check(struct lanemap_options *options, struct lanemap_error *ret_error)
{
        const char *password = getenv("LANEMAPD_REQUIREPASS");
        int r;

        if (!options->name)
                return refuse(ret_error, "--name is needed; see lanemapd --help");
        if (!name_is_valid(options->name))
                return refuse(ret_error, "--name: '%.80s' is not 1 to %d of A-Z a-z 0-9 _ -",
                              options->name, LANEMAP_NAME_BYTES_MAX);
        if (!options->directory || !*options->directory)
                return refuse(ret_error, "--dir is needed; see lanemapd --help");
        if (password && !*options->password) {
                r = password_set(options, "LANEMAPD_REQUIREPASS", password, strlen(password),
                                 ret_error);
                if (r < 0)
                        return r;
        }
        unsetenv("LANEMAPD_REQUIREPASS");
        if (options->port && !*options->password)
                return refuse(ret_error,
                              "--port needs a password, since every user of this machine "
                              "can reach a TCP port: give --requirepass-file FILE");
        if (!options->has_socket_mode)
                options->socket_mode = options->has_socket_group ? 0660 : 0600;
        if (!*options->socket &&
            (size_t)snprintf(options->socket, sizeof(options->socket), "%s/lanemapd.sock",
                             options->directory) >= sizeof(options->socket))
                return refuse(ret_error, "--dir: the path is too long");
        return 0;
}

/* What getopt_long() stopped at. Without its value, which may be a password. */
static int unknown_option(char **argv, struct lanemap_error *ret_error)
{
        const char *word = argv[optind - 1];
        int n = (int)LANEMAP_MIN(strcspn(word, "="), (size_t)200);

        if (optopt >= OPTION_NAME)
                return refuse(ret_error, "%.*s takes no value", n, word);
        if (optopt > 0) /* a letter; argv is at its word or behind it */
                return refuse(ret_error, "unknown option '-%c'; see lanemapd --help", optopt);
        return refuse(ret_error, "unknown option '%.*s'; see lanemapd --help", n, word);
}

int lanemap_options_parse(struct lanemap_options *ret_options, int argc, char **argv,
                          struct lanemap_error *ret_error)
{
        struct lanemap_options options = {.loglevel = LOG_NOTICE, .hang_limit_seconds = 60};
        int option, r;

        opterr = 0;
        optind = 0;
        while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
                switch (option) {
                case OPTION_HELP:
                        fputs(usage_text, stdout);
                        return 1;
                case OPTION_VERSION:
                        printf("lanemapd %s\n", LANEMAP_VERSION);
                        return 1;
                case ':':
                        return refuse(ret_error, "%s needs a value", argv[optind - 1]);
                case '?':
                        return unknown_option(argv, ret_error);
                }
                r = option_take(&options, option, optarg, ret_error);
                if (r != 0)
                        return r;
        }
        if (optind < argc)
                return refuse(ret_error, "unexpected argument '%.200s'; see lanemapd --help",
                              argv[optind]);
        r = options_check(&options, ret_error);
        if (r < 0)
                return r;
        *ret_options = options;
        return 0;
}
