/*
 * latency-reader: sends an add to lanemapd's socket, and looks in shared memory until the id is
 * there, as a reader process that is not the writer sees it. Then it reads the reply, and waits a
 * little, so that lanemapd sleeps when the next add comes.
 *
 *         latency-reader NAME DIRECTORY FIRST N        a struct latency_seen goes to stdout
 */
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"
#include "support/keys.h"

#define PAUSE_NS     50000
#define UNSEEN_NS    UINT64_C(10000000000)
#define REQUEST_ID   1234567
#define REQUEST_MORE 64

static struct lanemap_reader *attach(const char *name)
{
        struct lanemap_error error = {0};
        struct lanemap_reader_options options = {
                .size = sizeof(options),
                .attach_timeout_ns = UINT64_C(30000000000),
                .error = &error,
        };
        struct lanemap_reader *reader;
        int r = lanemap_reader_attach(name, &options, &reader);

        if (r < 0)
                perf_die(error.text, r);
        return reader;
}

static size_t find(struct lanemap_reader *reader, const char *key, size_t key_bytes)
{
        uint32_t ids[4];
        size_t n_ids;
        int r = lanemap_reader_lookup(reader, key, key_bytes, ids, 4, &n_ids);

        if (r < 0)
                perf_die("lookup", r);
        return n_ids;
}

/* Return: nanoseconds from before the request was sent. */
static uint64_t add_and_find(struct lanemap_reader *reader, int fd, uint64_t number)
{
        char key[PERF_KEY_BYTES_MAX], request[PERF_KEY_BYTES_MAX + REQUEST_MORE], reply[4];
        size_t key_bytes = perf_key_text(PERF_MIX_SINGLE, number, key);
        int n = sprintf(request, "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$7\r\n%d\r\n", key_bytes,
                        (int)key_bytes, key, REQUEST_ID);
        uint64_t from, seen;

        if (find(reader, key, key_bytes) != 0)
                perf_die("a key is there before it is added", -EPROTO);
        from = perf_now_ns();
        if (send(fd, request, (size_t)n, MSG_NOSIGNAL) != n)
                perf_die("send", -errno);
        while (find(reader, key, key_bytes) == 0)
                if (perf_now_ns() - from > UNSEEN_NS)
                        perf_die("an add is not to be seen", -ETIMEDOUT);
        seen = perf_now_ns() - from;
        if (recv(fd, reply, 4, MSG_WAITALL) != 4 || memcmp(reply, ":1\r\n", 4) != 0)
                perf_die("a reply that is not :1", -EPROTO);
        return seen;
}

int main(int argc, char **argv)
{
        static struct lanemap_histogram waits;
        struct lanemap_reader *reader;
        struct perf_place place = {.name = ""};
        struct latency_seen seen;
        uint64_t first, n;
        int fd, r;

        if (argc != 5)
                perf_die("NAME DIRECTORY FIRST N", -EINVAL);
        snprintf(place.directory, sizeof(place.directory), "%s", argv[2]);
        first = strtoull(argv[3], NULL, 10);
        n = strtoull(argv[4], NULL, 10);
        reader = attach(argv[1]);
        r = perf_daemon_connect(&place, &fd);
        if (r < 0 || fcntl(fd, F_SETFL, 0) < 0)
                perf_die("connect", r);

        for (uint64_t i = 0; i < n; i++) {
                uint64_t until;

                lanemap_histogram_record(&waits, add_and_find(reader, fd, first + i), 1);
                until = perf_now_ns() + PAUSE_NS;
                while (perf_now_ns() < until)
                        ;
        }
        seen = (struct latency_seen){
                .visible_p50 = (double)lanemap_histogram_quantile(&waits, 0.5),
                .visible_p99 = (double)lanemap_histogram_quantile(&waits, 0.99),
        };
        if (write(STDOUT_FILENO, &seen, sizeof(seen)) != (ssize_t)sizeof(seen))
                perf_die("stdout", -errno);
        lanemap_reader_detach(reader);
        close(fd);
        return 0;
}
