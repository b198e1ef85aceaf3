/*
 * lanemapd's two objects: the server and its clients.
 *
 * One thread runs everything here (the loop); other threads are the engine's own and the
 * short-lived helpers of loop/job.h, which touch nothing of these objects. One round of the loop:
 *
 *         wait -> read and run the commands of every ready client, gathering writes in the batch
 *              -> apply the batch, write its replies
 *              -> ask the engine how far replies may leave (loop/gate.h), send
 *
 * S1  Every reply passes the gate with the last position that was applied when it was computed.
 * S2  A client is freed only at the end of a round, so a batch never names one that is gone.
 * S3  No client can make another wait for more than the work of its own bounded messages: what
 * takes long runs in the engine or in a helper thread, and only its client is paused.
 * S4  While the engine would make an apply wait (a sync or a flush is far behind, or hangs), clients
 * whose next command is a write are paused before it. Commands that tell nothing of the data (PING,
 * INFO, ...) are run and answered at once, whatever hangs.
 */
#ifndef LANEMAP_DAEMON_DAEMON_H
#define LANEMAP_DAEMON_DAEMON_H

#include <sys/queue.h>
#include <time.h>

#include <lanemap/writer.h>

#include "daemon/client/batch.h"
#include "daemon/loop/gate.h"
#include "daemon/loop/memory_limit.h"
#include "daemon/options.h"
#include "daemon/resp/read.h"
#include "daemon/resp/write.h"

struct lanemap_transaction;
struct lanemap_job;

/* Bounds per client. */
#define LANEMAP_QUERY_BYTES_MAX    ((size_t)64 << 20) /* unread input */
#define LANEMAP_OUTPUT_BYTES_MAX   ((size_t)64 << 20) /* replies not taken: the client is closed */
#define LANEMAP_OUTPUT_BYTES_SEND  ((size_t)1 << 20)  /* send in the midst of a round */
#define LANEMAP_OUTPUT_BYTES_PAUSE ((size_t)4 << 20)  /* replies behind the gate: read no more */
#define LANEMAP_OUTPUT_BYTES_TURN  ((size_t)4 << 20)  /* of one round: then it is another's turn */
#define LANEMAP_READ_BYTES         ((size_t)16 << 10)
#define LANEMAP_READ_BYTES_MAX     ((size_t)256 << 10)

/* What epoll names: who is to be called. */
struct lanemap_watch {
        int fd;
        void (*ready)(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events);
};

enum lanemap_blocked {
        LANEMAP_BLOCKED_NOT = 0,
        LANEMAP_BLOCKED_REQUEST,  /* FLUSH, COMPACT, FLIP: client->ticket */
        LANEMAP_BLOCKED_IDS,      /* client->job gathers them */
        LANEMAP_BLOCKED_IDS_GATE, /* client->ids wait to be acknowledgeable */
        LANEMAP_BLOCKED_IDS_SEND, /* client->ids leave piece by piece */
};

struct lanemap_client {
        struct lanemap_watch watch; /* first: epoll gives this back */
        struct lanemap_server *server;
        TAILQ_ENTRY(lanemap_client) all;
        TAILQ_ENTRY(lanemap_client) touched; /* has replies of this round, or input to run */
        uint64_t id;
        char *query;
        size_t query_begin, query_end, query_capacity;
        size_t read_bytes; /* adapts to what the client sends at once */
        struct lanemap_resp_parser parser;
        struct lanemap_reply out;
        struct lanemap_gate gate;
        size_t n_batched; /* entries of server->batch */
        struct lanemap_transaction *transaction;
        enum lanemap_blocked blocked;
        uint64_t ticket;
        struct lanemap_job *job;
        uint32_t *ids;
        size_t n_ids, n_ids_sent;
        uint64_t ids_position;
        uint32_t events; /* that epoll watches for */
        bool is_touched;
        bool has_input; /* the query buffer may hold a whole message */
        bool authenticated;
        bool is_tcp;
        bool close_after; /* nothing more is read; close when everything has left */
        bool close_now;
        bool write_waits; /* the next command is a write, which the engine would not answer at once */
        bool half_closed; /* the peer sends no more; seen while it was paused */
        bool replied;     /* the command at hand has written to `out` */
        int passed_fd;    /* the last descriptor that came with its bytes; -1: none */
        time_t created, last_active;
        const char *last_command;
        char name[64];
        char address[64];
};

TAILQ_HEAD(lanemap_client_list, lanemap_client);

/* client/health.c */
struct lanemap_health {
        char status[1024];                 /* what systemd was told last */
        uint64_t hung_ns;                  /* as of the last look */
        bool starving;                     /* the watchdog is not fed */
        struct lanemap_writer_stats stats; /* the last that could be had */
        uint64_t stats_ns;                 /* when; 0: none yet */
};

/* client/memory.c */
struct lanemap_memory {
        struct lanemap_memory_limit limit;
        uint64_t needed_bytes;
        bool is_short;
        size_t n_ops; /* applied since the last look */
};

/* Opening that found no room (loop/job.c). */
struct lanemap_room {
        bool is_awaited;
        uint64_t retry_ns;         /* when it is tried again */
        struct lanemap_error what; /* there was no room for */
};

struct lanemap_server {
        struct lanemap_options options;
        struct lanemap_room room;
        struct lanemap_memory memory;
        struct lanemap_health health;
        struct lanemap_writer *writer; /* NULL while loading */
        struct lanemap_job *job_list;  /* in the order they were asked for */
        int epoll_fd;
        struct lanemap_watch listeners[3]; /* Unix, 127.0.0.1, ::1; fd -1: none */
        struct lanemap_watch signals;
        struct lanemap_watch jobs;   /* an eventfd: a helper thread has ended */
        struct lanemap_watch engine; /* the engine's eventfd */
        bool accept_paused;
        bool stopping;
        uint64_t stop_deadline_ns;
        bool failed;                          /* exit code 1 */
        uint64_t socket_device, socket_inode; /* of the Unix socket's file */
        bool socket_is_lost;                  /* it is gone, and that was said */
        bool socket_is_passed;                /* it is the service manager's */
        bool socket_is_served;                /* ... and its clients are accepted */
        bool reload_is_due;                   /* asked for while the index was being opened */

        struct lanemap_client_list clients;
        struct lanemap_client_list touched;
        size_t n_clients, n_clients_max;
        size_t n_blocked;
        uint64_t next_client_id;

        struct lanemap_batch batch;
        uint64_t position;     /* the last one applied, as far as we were told */
        uint64_t acknowledged; /* replies up to here may leave */
        int log_error;         /* what keeps later ones waiting, or 0 */
        bool gate_is_due;      /* ask the engine again in this round */

        uint32_t *ids; /* where lookups answer; grows */
        size_t ids_capacity;

        time_t started, now;
        struct timespec started_at;
        uint64_t watchdog_usec;
        uint64_t n_connections, n_refused, n_commands, n_errors, n_applies, n_outcome_unknown;
        uint64_t bytes_in, bytes_out;
        size_t n_clients_peak;
};

/* loop/server.c */
int lanemap_server_run(const struct lanemap_options *options);
void lanemap_server_stop(struct lanemap_server *server);
int lanemap_server_watch(struct lanemap_server *server, struct lanemap_watch *watch,
                         uint32_t events);
/* How far replies may leave: asks the engine when it has to. */
void lanemap_server_gate(struct lanemap_server *server);
/* Whether writes may be run now (S4). */
bool lanemap_server_may_write(struct lanemap_server *server);

/* client/life.c: the life of a connection */
void lanemap_client_new(struct lanemap_server *server, int fd, bool is_tcp, const char *address);
void lanemap_client_free(struct lanemap_client *client);
void lanemap_client_close(struct lanemap_client *client); /* freed at the end of the round */
void lanemap_client_touch(struct lanemap_client *client); /* run, release, send in this round */
void lanemap_client_run(struct lanemap_client *client);   /* the commands that are here */
void lanemap_client_send(struct lanemap_client *client);  /* what may leave */
void lanemap_client_watch(struct lanemap_client *client);
void lanemap_client_cron(struct lanemap_client *client);

/* client/reply.c: replies and the gate */

/* Where the reply of the command at hand goes. Flushes the batch first if it holds writes of this
 * client (B1). */
struct lanemap_reply *lanemap_client_reply(struct lanemap_client *client);
/* A reply is whole: it waits for server->position. */
void lanemap_client_reply_end(struct lanemap_client *client);
/* A reply is whole that tells nothing of the data: it waits for the replies before it, only. */
void lanemap_client_reply_end_ungated(struct lanemap_client *client);
/* Release what may leave; replace what nobody can vouch for any more. */
void lanemap_client_gate(struct lanemap_client *client);
/* A blocked client goes on. */
void lanemap_client_unblock(struct lanemap_client *client);
void lanemap_client_block(struct lanemap_client *client, enum lanemap_blocked blocked);

/* loop/listen.c */
int lanemap_listen_open(struct lanemap_server *server, struct lanemap_error *ret_error);
void lanemap_listen_close(struct lanemap_server *server);
void lanemap_listen_cron(struct lanemap_server *server); /* once a second */
/* The index is open, or opening it takes long: clients of a socket that was passed may come. */
int lanemap_listen_serve(struct lanemap_server *server);

#endif
