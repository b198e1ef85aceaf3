/* See private.h. Adds go to lanemapd and to redis-server by turns, a slice at a time. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "latency/private.h"
#include "support/load.h"

#define SLICE 500 /* adds of one server before the other one's */

static void add_once(int fd, const struct perf_requests *requests, size_t i)
{
        size_t at = requests->ends[(ssize_t)i - 1], n = requests->ends[i] - at;
        char reply[8];

        if (send(fd, requests->bytes + at, n, MSG_NOSIGNAL) != (ssize_t)n)
                perf_die("send", -errno);
        if (recv(fd, reply, 4, MSG_WAITALL) != 4 || memcmp(reply, ":1\r\n", 4) != 0)
                perf_die("a reply that is not :1", -EPROTO);
}

static void slice_run(int fd, const struct perf_requests *requests, size_t from, size_t until,
                      struct lanemap_histogram *waits)
{
        for (size_t i = from; i < until; i++) {
                uint64_t began = perf_now_ns();

                add_once(fd, requests, i);
                lanemap_histogram_record(waits, perf_now_ns() - began, 1);
        }
}

void latency_measure_reply(const struct latency_options *options, struct perf_table *table)
{
        static const char *const names[] = {"reply", "redis_reply"};
        static struct lanemap_histogram waits[2];
        struct latency_server servers[2];
        struct perf_requests requests;
        double p50[2];

        perf_requests_make(&requests, PERF_REQUEST_SADD, options->n_keys, options->n_samples,
                           options->n_samples, 0);
        for (int i = 0; i < 2; i++)
                latency_server_start(options, i == 1, "no", options->n_keys, &servers[i]);
        latency_server_settle(options, &servers[0]);
        for (size_t at = 0; at < requests.n; at += SLICE) {
                size_t until = at + SLICE < requests.n ? at + SLICE : requests.n;

                for (int i = 0; i < 2; i++)
                        slice_run(servers[i].fd, &requests, at, until, &waits[i]);
        }
        for (int i = 0; i < 2; i++) {
                char row[56];

                p50[i] = (double)lanemap_histogram_quantile(&waits[i], 0.5) * 1e-3;
                snprintf(row, sizeof(row), "%s_p50", names[i]);
                perf_table_add(table, row, p50[i], "us");
                snprintf(row, sizeof(row), "%s_p99", names[i]);
                perf_table_add(table, row,
                               (double)lanemap_histogram_quantile(&waits[i], 0.99) * 1e-3, "us");
                latency_server_stop(&servers[i]);
        }
        perf_table_add(table, "reply_p50_per_redis", p50[0] / p50[1], "");
        perf_requests_free(&requests);
}
