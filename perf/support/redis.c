/* See redis.h. */
#include "redis.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"

extern char **environ;

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
        posix_spawn_file_actions_t actions;
        int r;

        perf_daemon_socket(place, path);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        r = posix_spawnp(ret_pid, redis_server, &actions, NULL, (char **)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
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
