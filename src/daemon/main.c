/*
 * lanemapd: one writer process of one lanemap index. A thin edge: options in, then the loop of
 * server.c over the engine of <lanemap/writer.h>.
 *
 * Exit codes: 0 a clean stop, 1 the index could not be opened or served, 2 usage.
 */
#include <stdio.h>
#include <string.h>

#include "common/owner.h"
#include "daemon/loop/log.h"
#include "daemon/server.h"
#include "daemon/signals.h"

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
                return 0;
        lanemap_log_init(options.loglevel);
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
