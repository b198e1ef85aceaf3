/* See options.h. One table row per option; numbers carry their range. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "daemon/options_value.h"

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
        "  --options-file FILE       also read options from FILE, a line each: NAME VALUE; those\n"
        "                            of the command line count for more; with a - before it FILE\n"
        "                            may be absent; SIGHUP reads it again\n"
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
        OPTION_OPTIONS_FILE,
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
        {"options-file", required_argument, NULL, OPTION_OPTIONS_FILE},
        {"loglevel", required_argument, NULL, OPTION_LOGLEVEL},
        {"version", no_argument, NULL, OPTION_VERSION},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
};

static int number_option(const char *name, const char *text, uint64_t min, uint64_t max,
                         uint64_t *ret_number, struct lanemap_error *ret_error)
{
        uint64_t number;

        if (lanemap_number_parse(text, strlen(text), max, &number) < 0 || number < min)
                return lanemap_option_refuse(
                        ret_error, "--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, name,
                        text, min, max);
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
                        return lanemap_option_refuse(
                                ret_error, "--fingerprint-bits: '%s' is not 64, 80 or 96", value);
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

/* The command line is wiped; when it is read again the password is what it was. */
static int requirepass_take(struct lanemap_options *options, char *value,
                            struct lanemap_error *ret_error)
{
        const char *text = !*value && options->password_wiped ? options->password_wiped : value;
        int r;

        r = lanemap_option_password_set(options, "--requirepass", text, strlen(text), ret_error);
        explicit_bzero(value, strlen(value));
        options->password_is_wiped = true;
        return r;
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
                        return lanemap_option_refuse(
                                ret_error, "--backup-dir: '%.80s' is no absolute path", value);
                options->backup_dir = value;
                return 0;
        case OPTION_SERVE_FROM:
                if (!*value)
                        return lanemap_option_refuse(
                                ret_error, "--serve-from: the name of a directory is empty");
                options->serve_from = value;
                return 0;
        case OPTION_SOCKET:
                if (!*value)
                        return lanemap_option_refuse(ret_error, "--socket: the path is empty");
                options->socket_asked = value;
                if ((size_t)snprintf(options->socket, sizeof(options->socket), "%s", value) >=
                    sizeof(options->socket))
                        return lanemap_option_refuse(ret_error, "--socket: the path is too long");
                return 0;
        case OPTION_SOCKET_GROUP:
                return lanemap_option_socket_group_take(options, value, ret_error);
        case OPTION_SOCKET_MODE:
                return lanemap_option_socket_mode_take(options, value, ret_error);
        case OPTION_REQUIREPASS:
                return requirepass_take(options, value, ret_error);
        case OPTION_OPTIONS_FILE:
                return 0; /* was read before */
        case OPTION_REQUIREPASS_FILE:
                return lanemap_option_password_read(options, value, ret_error);
        case OPTION_APPENDFSYNC:
                r = lanemap_appendfsync_parse(value, strlen(value));
                if (r < 0)
                        return lanemap_option_refuse(
                                ret_error, "--appendfsync: '%s' is not always, everysec or no",
                                value);
                options->appendfsync = (uint32_t)r;
                return 0;
        case OPTION_SEGMENT_KIND_YOUNG:
                return lanemap_option_segment_kind_take("segment-kind-young", value,
                                                        &options->segment_kind_young, ret_error);
        case OPTION_SEGMENT_KIND_BOTTOM:
                return lanemap_option_segment_kind_take("segment-kind-bottom", value,
                                                        &options->segment_kind_bottom, ret_error);
        case OPTION_FILTER:
                return lanemap_option_filter_take(value, &options->filter, ret_error);
        case OPTION_LOGLEVEL:
                r = lanemap_option_loglevel_parse(value);
                if (r < 0)
                        return lanemap_option_refuse(
                                ret_error,
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

/* From the environment, which is wiped, where no option gives one. */
static int password_default(struct lanemap_options *options, struct lanemap_error *ret_error)
{
        const char *password = getenv("LANEMAPD_REQUIREPASS");
        int r = 0;

        if (!password)
                password = options->password_wiped;
        if (password && !*options->password) {
                r = lanemap_option_password_set(options, "LANEMAPD_REQUIREPASS", password,
                                                strlen(password), ret_error);
                options->password_is_wiped = true;
        }
        if (r == 0)
                unsetenv("LANEMAPD_REQUIREPASS");
        return r;
}

static int options_check(struct lanemap_options *options, struct lanemap_error *ret_error)
{
        int r;

        if (!options->name)
                return lanemap_option_refuse(ret_error, "--name is needed; see lanemapd --help");
        if (!name_is_valid(options->name))
                return lanemap_option_refuse(ret_error,
                                             "--name: '%.80s' is not 1 to %d of A-Z a-z 0-9 _ -",
                                             options->name, LANEMAP_NAME_BYTES_MAX);
        if (!options->directory || !*options->directory)
                return lanemap_option_refuse(ret_error, "--dir is needed; see lanemapd --help");
        r = password_default(options, ret_error);
        if (r < 0)
                return r;
        if (options->port && !*options->password)
                return lanemap_option_refuse(
                        ret_error, "--port needs a password, since every user of this machine "
                                   "can reach a TCP port: give --requirepass-file FILE");
        if (!options->has_socket_mode)
                options->socket_mode = options->has_socket_group ? 0660 : 0600;
        if (!*options->socket &&
            (size_t)snprintf(options->socket, sizeof(options->socket), "%s/lanemapd.sock",
                             options->directory) >= sizeof(options->socket))
                return lanemap_option_refuse(ret_error, "--dir: the path is too long");
        return 0;
}

/* What getopt_long() stopped at. Without its value, which may be a password. */
static int unknown_option(char **argv, struct lanemap_error *ret_error)
{
        const char *word = argv[optind - 1];
        int n = (int)LANEMAP_MIN(strcspn(word, "="), (size_t)200);

        if (optopt >= OPTION_NAME)
                return lanemap_option_refuse(ret_error, "%.*s takes no value", n, word);
        if (optopt > 0) /* a letter; argv is at its word or behind it */
                return lanemap_option_refuse(ret_error, "unknown option '-%c'; see lanemapd --help",
                                             optopt);
        return lanemap_option_refuse(ret_error, "unknown option '%.*s'; see lanemapd --help", n,
                                     word);
}

/* Takes the options of a command line. Return: 0; 1 a text was printed; -EINVAL. */
static int words_take(struct lanemap_options *options, int argc, char **argv,
                      struct lanemap_error *ret_error)
{
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
                        return lanemap_option_refuse(ret_error, "%s needs a value",
                                                     argv[optind - 1]);
                case '?':
                        return unknown_option(argv, ret_error);
                }
                r = option_take(options, option, optarg, ret_error);
                if (r != 0)
                        return r;
        }
        if (optind < argc)
                return lanemap_option_refuse(ret_error,
                                             "unexpected argument '%.200s'; see lanemapd --help",
                                             argv[optind]);
        return 0;
}

/* One line of the options file, as if it stood on the command line. */
static int line_take(struct lanemap_options *options, char *name, char *value,
                     struct lanemap_error *ret_error)
{
        static char program[] = "lanemapd";
        char word[64];
        char *argv[] = {program, word, value, NULL};

        if (strcmp(name, "options-file") == 0 || strcmp(name, "help") == 0 ||
            strcmp(name, "version") == 0)
                return lanemap_option_refuse(ret_error, "'%s' is for the command line only", name);
        snprintf(word, sizeof(word), "--%s", name);
        return words_take(options, value ? 3 : 2, argv, ret_error);
}

static int file_take(struct lanemap_options *options, const char *path,
                     struct lanemap_error *ret_error)
{
        struct lanemap_error error = {.text = ""};
        char *rest, *name, *value;
        uint32_t line = 0;
        int r;

        r = lanemap_option_file_read(path, &options->file_text, ret_error);
        if (r < 0)
                return r;
        rest = options->file_text;
        while (lanemap_option_file_next(&rest, &line, &name, &value)) {
                r = line_take(options, name, value, &error);
                if (r < 0)
                        return lanemap_option_refuse(ret_error, "%.200s:%u: %.600s",
                                                     path + (*path == '-'), line, error.text);
        }
        options->password_is_wiped = false; /* the file can be read again */
        return 0;
}

/* The last --options-file of the command line, or NULL. */
static const char *file_path(int argc, char **argv)
{
        const char *path = NULL;
        int option;

        opterr = 0;
        optind = 0;
        while ((option = getopt_long(argc, argv, ":", long_options, NULL)) != -1)
                if (option == OPTION_OPTIONS_FILE)
                        path = optarg;
                else if (option == OPTION_HELP || option == OPTION_VERSION)
                        return NULL;
        return path;
}

static int options_parse(struct lanemap_options *options, struct lanemap_options *ret_options,
                         struct lanemap_error *ret_error)
{
        const char *path = file_path(options->argc, options->argv);
        int r = 0;

        if (path)
                r = file_take(options, path, ret_error);
        if (r == 0)
                r = words_take(options, options->argc, options->argv, ret_error);
        if (r == 0)
                r = options_check(options, ret_error);
        options->password_wiped = NULL;
        if (r == 0)
                *ret_options = *options;
        else
                lanemap_options_free(options);
        return r;
}

static struct lanemap_options options_of(int argc, char **argv)
{
        return (struct lanemap_options){
                .argc = argc, .argv = argv, .loglevel = LOG_NOTICE, .hang_limit_seconds = 60};
}

int lanemap_options_parse(struct lanemap_options *ret_options, int argc, char **argv,
                          struct lanemap_error *ret_error)
{
        struct lanemap_options options = options_of(argc, argv);

        return options_parse(&options, ret_options, ret_error);
}

int lanemap_options_parse_again(const struct lanemap_options *options,
                                struct lanemap_options *ret_options,
                                struct lanemap_error *ret_error)
{
        struct lanemap_options again = options_of(options->argc, options->argv);

        if (options->password_is_wiped)
                again.password_wiped = options->password;
        return options_parse(&again, ret_options, ret_error);
}

void lanemap_options_free(struct lanemap_options *options)
{
        if (options->file_text)
                explicit_bzero(options->file_text, strlen(options->file_text));
        lanemap_free(options->file_text);
        options->file_text = NULL;
        explicit_bzero(options->password, sizeof(options->password));
}
