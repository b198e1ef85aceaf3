/* The rooms wired together, and the loop. See daemon.h for what a round is. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "common/owner.h"
#include "daemon/client/budget.h"
#include "daemon/client/health.h"
#include "daemon/client/life.h"
#include "daemon/client/memory.h"
#include "daemon/client/meter.h"
#include "daemon/client/release.h"
#include "daemon/client/slowlog.h"
#include "daemon/client/state.h"
#include "daemon/client/stop.h"
#include "daemon/client/transaction.h"
#include "daemon/command/dispatch.h"
#include "daemon/command/handlers.h"
#include "daemon/command/table.h"
#include "daemon/loop/job.h"
#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"
#include "daemon/loop/notify.h"
#include "daemon/open.h"
#include "daemon/server.h"
#include "daemon/signals.h"

static void engine_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                         uint32_t events)
{
        uint64_t count;

        if (read(watch->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
                return;
        server->gate_is_due = true;
        if (server->n_requests > 0)
                lanemap_command_requests_ended(server);
}

/* It is touched again when it has read, or when there is memory. */
static bool client_waits_elsewhere(const struct lanemap_client *client)
{
        return lanemap_client_is_full(client) || client->is_held;
}

/* Runs what is left to run, applies, releases, sends. Clients that wait for nothing leave the list.
 */
static void round_end(struct lanemap_server *server)
{
        struct lanemap_client *client, *next, *last;

        if (server->batch.held_keys)
                lanemap_batch_flush(server);
        lanemap_command_exec_go_on(server);
        if (LANEMAP_UNLIKELY(!TAILQ_EMPTY(&server->durable_waits)))
                lanemap_command_waits_end(server);
        /* One that is parked goes to the end of the list: its turn is in the next round. */
        last = TAILQ_LAST(&server->touched, lanemap_client_list);
        for (client = TAILQ_FIRST(&server->touched); client; client = next) {
                next = client == last ? NULL : TAILQ_NEXT(client, touched);
                lanemap_client_run(client);
        }
        lanemap_batch_flush(server);
        lanemap_server_gate(server);
        lanemap_command_exec_answer(server);
        lanemap_budget_round(server);
        for (client = TAILQ_FIRST(&server->touched); client; client = next) {
                lanemap_client_gate(client);
                lanemap_client_send(client);
                next = TAILQ_NEXT(client, touched);
                if (client->close_now) {
                        lanemap_client_free(client);
                        continue;
                }
                lanemap_client_watch(client);
                if (lanemap_gate_is_open(&client->gate) &&
                    (!client->has_input || client_waits_elsewhere(client))) {
                        client->is_touched = false;
                        TAILQ_REMOVE(&server->touched, client, touched);
                }
        }
}

/* Until the engine said that writes are worth trying again. The end of a helper's apply wakes the
 * loop. */
static int write_retry_ms(const struct lanemap_server *server)
{
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic);

        if (lanemap_transaction_is_helped(server) || server->executing)
                return 1000;
        if (server->write_retry_ns <= now_ns)
                return 0;
        return (int)LANEMAP_MIN((server->write_retry_ns - now_ns + 999999) / 1000000,
                                UINT64_C(1000));
}

/* How long the loop may sleep, in milliseconds. */
static int round_timeout(const struct lanemap_server *server)
{
        const struct lanemap_client *client;
        enum lanemap_exec_state exec;
        int timeout = server->watchdog_usec ? (int)LANEMAP_MIN(server->watchdog_usec / 4000, 1000U)
                                            : 1000;

        if (server->stopping)
                timeout = LANEMAP_MIN(timeout, 20);
        if (server->batch.held_keys)
                timeout = LANEMAP_MIN(timeout, write_retry_ms(server));
        exec = lanemap_command_exec_state(server);
        if (exec == LANEMAP_EXEC_IS_DUE)
                return 0;
        if (exec == LANEMAP_EXEC_WAITS)
                timeout = LANEMAP_MIN(timeout, write_retry_ms(server));
        timeout = (int)LANEMAP_MIN((uint64_t)timeout, lanemap_command_waits_ms(server));
        TAILQ_FOREACH(client, &server->touched, touched)
        {
                bool may_go_on = client->has_input && !client->blocked && !client->close_after &&
                                 !client_waits_elsewhere(client) && client->n_batched == 0;

                if (may_go_on && client->write_waits)
                        timeout = LANEMAP_MIN(timeout, write_retry_ms(server));
                else if (may_go_on)
                        return 0;
                timeout = LANEMAP_MIN(timeout, 100);
        }
        return timeout;
}

static uint64_t seconds_passed(const struct lanemap_server *server)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)(now.tv_sec - server->started_at.tv_sec) + 1;
}

/* Once a second. */
static void server_cron(struct lanemap_server *server)
{
        struct lanemap_client *client;

        server->gate_is_due = true;
        server->seconds = seconds_passed(server);
        TAILQ_FOREACH(client, &server->clients, all)
        lanemap_client_cron(client);
        if (server->ids_capacity > 1 << 20) {
                lanemap_free(server->ids);
                server->ids = NULL;
                server->ids_capacity = 0;
        }
        if (server->n_requests > 0 && server->writer)
                lanemap_command_requests_ended(server);
        lanemap_job_ready(server, NULL, 0);
        lanemap_listen_cron(server);
        lanemap_open_cron(server);
        lanemap_memory_cron(server);
        lanemap_budget_cron(server);
        lanemap_health_cron(server);
        lanemap_meter_cron(server);
}

static bool server_is_done(const struct lanemap_server *server)
{
        if (!server->stopping)
                return false;
        return (server->n_clients == 0 && !server->batch.held_keys && !server->executing) ||
               lanemap_now_ns(&lanemap_clock_monotonic) > server->stop_deadline_ns;
}

static int server_loop(struct lanemap_server *server)
{
        struct epoll_event events[256];

        while (!server_is_done(server)) {
                time_t last = server->now;
                int n;

                n = epoll_wait(server->epoll_fd, events, LANEMAP_N_ELEMENTS(events),
                               round_timeout(server));
                if (n < 0 && errno != EINTR)
                        return -errno;
                server->now = time(NULL);
                server->round_ns = lanemap_now_ns(&lanemap_clock_monotonic);
                for (int i = 0; i < n; i++) {
                        struct lanemap_watch *watch = events[i].data.ptr;

                        watch->ready(server, watch, events[i].events);
                }
                if (server->now != last)
                        server_cron(server);
                round_end(server);
        }
        return 0;
}

static void file_limit_warn(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
                lanemap_log(LOG_WARNING,
                            "no file may be larger than %llu bytes (ulimit -f, LimitFSIZE=): log, "
                            "segment files and shared memory that need more are refused as on a "
                            "full disk",
                            (unsigned long long)limit.rlim_cur);
}

/* Another process, another id: clients and monitors see by it that the server was started anew. */
static void run_id_draw(char ret_id[41])
{
        unsigned char bytes[20] = {0};

        if (getrandom(bytes, sizeof(bytes), 0) < 0) { /* before the kernel has any */
                uint64_t words[2] = {lanemap_now_ns(&lanemap_clock_monotonic), (uint64_t)getpid()};

                memcpy(bytes, words, sizeof(words));
        }
        for (size_t i = 0; i < sizeof(bytes); i++)
                snprintf(ret_id + 2 * i, 3, "%02x", bytes[i]);
}

static int server_init(struct lanemap_server *server)
{
        TAILQ_INIT(&server->clients);
        TAILQ_INIT(&server->touched);
        TAILQ_INIT(&server->durable_waits);
        TAILQ_INIT(&server->execs);
        TAILQ_INIT(&server->slow);
        lanemap_meter_init(server);
        run_id_draw(server->run_id);
        server->next_client_id = 1;
        server->epoll_fd = server->signals.fd = server->jobs.fd = server->engine.fd = -1;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++)
                server->listeners[i].fd = -1;
        server->started = server->now = time(NULL);
        clock_gettime(CLOCK_MONOTONIC, &server->started_at);
        server->seconds = 1;
        lanemap_memory_limit_read("/proc/self", "", &server->memory.limit);
        lanemap_budget_cron(server);
        server->watchdog_usec = lanemap_notify_watchdog_usec();
        lanemap_listen_limit(server, server->options.maxclients);
        lanemap_command_table_init();
        signal(SIGPIPE, SIG_IGN);
        signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a full disk */
        file_limit_warn();
        server->accepted = lanemap_client_new;
        server->execute = lanemap_command_execute;
        server->engine.ready = engine_ready;
        server->jobs.ready = lanemap_job_ready;
        server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        server->jobs.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (server->epoll_fd < 0 || server->jobs.fd < 0 || lanemap_signals_open(server) < 0 ||
            lanemap_watch_add(server, &server->jobs, EPOLLIN) < 0)
                return -errno;
        return 0;
}

static void server_deinit(struct lanemap_server *server)
{
        struct lanemap_client *client;

        lanemap_listen_close(server);
        while ((client = TAILQ_FIRST(&server->clients)))
                lanemap_client_free(client);
        lanemap_job_finish(server);
        lanemap_batch_deinit(&server->batch); /* its thread may be at an apply */
        lanemap_transaction_end_all(server);  /* so may theirs */
        lanemap_writer_close(server->writer);
        lanemap_slowlog_reset(server);
        lanemap_free(server->ids);
        for (int i = 0; i < 3; i++) {
                int fd = (int[]){server->signals.fd, server->jobs.fd, server->epoll_fd}[i];

                if (fd >= 0)
                        close(fd);
        }
        explicit_bzero(server->options.password, sizeof(server->options.password));
}

int lanemap_server_run(const struct lanemap_options *options)
{
        static struct lanemap_server server; /* large, and there is one */
        struct lanemap_error error = {0};
        int r;

        server = (struct lanemap_server){.options = *options};
        r = server_init(&server);
        if (r < 0) {
                lanemap_log(LOG_ERR, "cannot start: %s", strerror(-r));
                return 1;
        }
        r = lanemap_listen_open(&server, &error);
        if (r < 0) {
                lanemap_log(LOG_ERR, "%s", *error.text ? error.text : strerror(-r));
                if (lanemap_owner_explain(options->directory, error.text, sizeof(error.text)))
                        lanemap_log(LOG_ERR, "%s", error.text);
        } else {
                lanemap_health_status(&server, "Loading the index");
                r = lanemap_open_start(&server);
                if (r == 0)
                        r = server_loop(&server);
                if (r < 0)
                        lanemap_log(LOG_ERR, "%s", strerror(-r));
        }
        server_deinit(&server);
        if (r == 0 && !server.failed)
                lanemap_log(LOG_NOTICE, "stopped");
        return r < 0 || server.failed ? 1 : 0;
}
