/* The command line and the options file together, and what one option says of another. See
 * options.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "daemon/options.h"

static int refuse(struct lanemap_error *ret_error, const char *format, ...) LANEMAP_PRINTF(2, 3);

static int refuse(struct lanemap_error *ret_error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return -EINVAL;
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
                r = lanemap_options_password_set(options, "LANEMAPD_REQUIREPASS", password,
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
                return refuse(ret_error, "--name is needed; see lanemapd --help");
        if (!name_is_valid(options->name))
                return refuse(ret_error, "--name: '%.80s' is not 1 to %d of A-Z a-z 0-9 _ -",
                              options->name, LANEMAP_NAME_BYTES_MAX);
        if (!options->directory || !*options->directory)
                return refuse(ret_error, "--dir is needed; see lanemapd --help");
        r = password_default(options, ret_error);
        if (r < 0)
                return r;
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

static int words_take(struct lanemap_options *options, struct lanemap_error *ret_error)
{
        struct lanemap_error error = {.text = ""};
        int r, first;

        r = lanemap_option_parse(&lanemap_daemon_program, options, options->argc, options->argv,
                                 &first, &error);
        if (r == -ENOENT)
                return refuse(ret_error, "%s; see lanemapd --help", error.text);
        if (r < 0)
                return refuse(ret_error, "%s", error.text);
        if (r == 0 && first < options->argc)
                return refuse(ret_error, "unexpected argument '%.200s'; see lanemapd --help",
                              options->argv[first]);
        return r;
}

static int options_parse(struct lanemap_options *options, struct lanemap_options *ret_options,
                         struct lanemap_error *ret_error)
{
        const char *path = lanemap_option_last(&lanemap_daemon_program, "options-file",
                                               options->argc, options->argv);
        int r = 0;

        if (path)
                r = lanemap_options_file_take(options, path, ret_error);
        if (r == 0)
                r = words_take(options, ret_error);
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
        return (struct lanemap_options){.argc = argc,
                                        .argv = argv,
                                        .socket_gid = (gid_t)-1,
                                        .loglevel = LOG_NOTICE,
                                        .hang_limit_seconds = 60,
                                        .timeout_output = 60,
                                        .timeout_auth = 10,
                                        .slowlog_us = 10000,
                                        .slowlog_len = 128,
                                        .maxclients = 10000,
                                        .maxmemory_clients = "10%"};
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
