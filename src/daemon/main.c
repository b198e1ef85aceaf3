/*
 * lanemapd: one writer process of one lanemap index. A thin edge: options in, then the loop of
 * server.c over the engine of <lanemap/writer.h>.
 *
 * Exit codes: 0 a clean stop, 1 the index could not be opened or served, 2 usage.
 */
#include <stdio.h>

#include "daemon/daemon.h"
#include "daemon/log.h"

int main(int argc, char **argv)
{
        static struct lanemap_options options;
        struct lanemap_error error;
        int r;

        r = lanemap_options_parse(&options, argc, argv, &error);
        if (r < 0) {
                fprintf(stderr, "lanemapd: %s\n", error.text);
                return 2;
        }
        if (r > 0)
                return 0;
        lanemap_log_init(options.loglevel);
        return lanemap_server_run(&options);
}
