/* See private.h. The adds are latency-reader's own: it sends one and looks until it finds it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "latency/private.h"

void latency_measure_visible(const struct latency_options *options, struct perf_table *table)
{
        struct latency_server server;
        struct latency_seen seen;
        char first[24], n[24];
        int pipe_fds[2], status;
        pid_t pid;

        latency_server_start(options, false, "no", options->n_keys, &server);
        latency_server_settle(options, &server);
        snprintf(first, sizeof(first), "%llu", (unsigned long long)options->n_keys);
        snprintf(n, sizeof(n), "%llu", (unsigned long long)options->n_samples);
        if (pipe(pipe_fds) < 0)
                perf_die("pipe", -errno);
        (void)fflush(NULL);
        pid = fork();
        if (pid == 0) {
                (void)dup2(pipe_fds[1], STDOUT_FILENO);
                (void)execl(options->reader, "latency-reader", server.place.name,
                            server.place.directory, first, n, (char *)NULL);
                perf_die(options->reader, -errno);
        }
        close(pipe_fds[1]);
        if (pid < 0 || read(pipe_fds[0], &seen, sizeof(seen)) != (ssize_t)sizeof(seen) ||
            waitpid(pid, &status, 0) != pid || status != 0)
                perf_die("latency-reader", -EPROTO);
        close(pipe_fds[0]);
        perf_table_add(table, "visible_p50", seen.visible_p50 * 1e-3, "us");
        perf_table_add(table, "visible_p99", seen.visible_p99 * 1e-3, "us");
        latency_server_stop(&server);
}
