/* See redis.h. */
#include "redis.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "daemon.h"

int perf_redis_start(const char *redis_server, const struct perf_place *place,
                     const char *appendfsync, pid_t *ret_pid)
{
        char path[600];
        const char *argv[] = {
                redis_server,
                "--port",
                "0",
                "--unixsocket",
                path,
                "--dir",
                place->directory,
                "--save",
                "",
                "--appendonly",
                "yes",
                "--appendfsync",
                appendfsync,
                "--auto-aof-rewrite-percentage",
                "0",
                "--logfile",
                "",
                "--daemonize",
                "no",
                NULL,
        };

        perf_daemon_socket(place, path);
        return perf_daemon_spawn(argv, ret_pid);
}

void perf_redis_version(const char *redis_server, char version[80])
{
        char command[600];
        FILE *from;

        version[0] = '\0';
        snprintf(command, sizeof(command), "'%s' --version 2>/dev/null", redis_server);
        from = popen(command, "re");
        if (!from)
                return;
        if (fgets(version, 80, from))
                version[strcspn(version, "\n")] = '\0';
        (void)pclose(from);
}
