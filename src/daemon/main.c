/*
 * lanemapd: one writer process of one lanemap index. A thin edge: options in, then the loop of
 * server.c over the engine of <lanemap/writer.h>.
 *
 * Exit codes: 0 a clean stop, 1 the index could not be opened or served, 2 usage.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/owner.h"
#include "daemon/loop/log.h"
#include "daemon/server.h"
#include "daemon/signals.h"

/* What --help, --version or --completion asks for. */
static int text_print(int outcome)
{
        char *text = NULL;

        if (outcome == LANEMAP_OPTION_VERSION) {
                printf("lanemapd %s\n", LANEMAP_VERSION);
        } else if (outcome == LANEMAP_OPTION_COMPLETION) {
                text = lanemap_option_completion(&lanemap_daemon_program, "_lanemapd");
                printf("%scomplete -o filenames -F _lanemapd lanemapd\n", text ? text : "");
        } else {
                text = lanemap_option_help(&lanemap_daemon_program);
                fputs(text ? text : "", stdout);
        }
        free(text);
        return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

int main(int argc, char **argv)
{
        static struct lanemap_options options;
        struct lanemap_error error;
        uid_t uid;
        int r;

        lanemap_signals_init();
        r = lanemap_options_parse(&options, argc, argv, &error);
        if (r < 0) {
                fprintf(stderr, "lanemapd: %s\n", error.text);
                return 2;
        }
        if (r > 0)
                return text_print(r);
        lanemap_log_init((int)options.loglevel);
        r = lanemap_owner_become(options.directory, &uid);
        if (r < 0) {
                lanemap_log(LOG_ERR,
                            "%s belongs to another user, and root cannot become that one "
                            "(%s): run lanemapd as the owner of its directory",
                            options.directory, strerror(-r));
                return 1;
        }
        if (r > 0)
                lanemap_log(LOG_NOTICE, "running as uid %u, the owner of %s", (unsigned)uid,
                            options.directory);
        return lanemap_server_run(&options);
}
