/*
 * lanemapd's two objects: the server and its clients.
 *
 * Rooms: resp <- loop <- client <- command <- the files beside this one (server.c wires them: a
 * room is called from its right only, and calls to its right through what server.c handed it).
 *
 * One thread runs everything here (the loop); other threads are the engine's own and the
 * short-lived helpers of loop/job.h, which touch nothing of these objects. One round of the loop:
 *
 *         wait -> read and run the commands of every ready client, gathering writes in the batch;
 *                 a slice of the transaction whose turn it is
 *              -> apply the batch, write its replies
 *              -> ask the engine how far replies may leave (loop/gate.h), send
 *
 * LP1  Every reply passes the gate with the last position that was applied when it was computed.
 * LP2  A client is freed only at the end of a round, so a batch never names one that is gone.
 * LP3  No client can make another wait for more than the work of its own bounded messages: what
 * takes long runs in the engine, in a helper thread, or in slices (a transaction), and only its
 * client is paused.
 * LP4  The loop waits for no flush, no merge, no memory and no log. While the engine would make a
 * write wait, clients whose next command is a write are parked, and go on in the order in which
 * they were parked; a batch that it refuses to take is held, and comes before every other write.
 * Everybody else is served. Commands that tell nothing of the data (PING, INFO, ...) are run and
 * answered at once, whatever hangs.
 * LP5  No command of a client is run while more than LANEMAP_OUTPUT_BYTES_PAUSE of its replies are
 * not sent, and one long reply is ids of 4 bytes until it is sent (resp/buffer.h). So replies may
 * be as large as they like, and a client is closed only when it has taken nothing of what may leave
 * for --timeout-output seconds.
 * LP6  All clients together have about --maxmemory-clients of memory: beyond it those with much
 * wait, the largest of those that do nothing are closed, and the others go on (client/budget.h).
 * LP7  Whoever has not given the password keeps nobody out: connections over TCP leave
 * LANEMAP_CLIENTS_RESERVED of --maxclients to the Unix socket; such a client has --timeout-auth
 * seconds, LANEMAP_UNAUTHENTICATED_BYTES of input and 10 arguments, and is the first to go where
 * memory is short.
 */
#ifndef LANEMAP_DAEMON_DAEMON_H
#define LANEMAP_DAEMON_DAEMON_H

#include <sys/queue.h>
#include <time.h>

#include <lanemap/writer.h>

#include "daemon/client/batch.h"
#include "daemon/loop/gate.h"
#include "daemon/loop/log.h"
#include "daemon/loop/memory_limit.h"
#include "daemon/loop/watch.h"
#include "daemon/options.h"
#include "daemon/resp/read.h"
#include "daemon/resp/write.h"

struct lanemap_transaction;
struct lanemap_job;

/* Bounds per client. */
#define LANEMAP_QUERY_BYTES_MAX       ((size_t)64 << 20) /* unread input */
#define LANEMAP_OUTPUT_BYTES_SEND     ((size_t)1 << 20)  /* send in the midst of a round */
#define LANEMAP_OUTPUT_BYTES_PAUSE    ((size_t)4 << 20) /* replies not sent: run no command (LP5) */
#define LANEMAP_OUTPUT_BYTES_TURN     ((size_t)4 << 20) /* of a round: then it is another's turn */
#define LANEMAP_SEND_BYTES_TURN       ((size_t)1 << 20) /* the same, of what is sent */
#define LANEMAP_IDS_RUN               ((size_t)4096) /* text of so many is made when it is sent */
#define LANEMAP_UNAUTHENTICATED_BYTES ((size_t)16 << 10) /* before the password: input, replies */
#define LANEMAP_CLIENTS_RESERVED      ((size_t)64)       /* for the Unix socket; a quarter of few */
#define LANEMAP_CLIENT_ADDRESS_BYTES  ((size_t)128)      /* a path of a socket is shorter */
#define LANEMAP_READ_BYTES            ((size_t)16 << 10)
#define LANEMAP_READ_BYTES_MAX        ((size_t)256 << 10)

enum lanemap_blocked {
        LANEMAP_BLOCKED_NOT = 0,
        LANEMAP_BLOCKED_REQUEST, /* FLUSH, COMPACT, FLIP: client->ticket */
        LANEMAP_BLOCKED_JOB,     /* client->job makes the answer */
        LANEMAP_BLOCKED_DURABLE, /* WAITAOF: until client->ticket is durable */
        LANEMAP_BLOCKED_EXEC,    /* client->transaction is run in slices */
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
        size_t parsed_bytes; /* of a message that was understood and has to wait; or 0 */
        struct lanemap_reply out;
        struct lanemap_gate gate;
        size_t n_batched; /* entries of server->batch */
        SLIST_HEAD(, lanemap_watched_key) watched;
        size_t n_watched;
        bool watched_changed; /* one of them was, since WATCH */
        struct lanemap_transaction *transaction;
        enum lanemap_blocked blocked;
        uint64_t ticket;
        struct lanemap_job *job;
        uint64_t relieved;     /* byte of the stream: replies before it were tried to be sent */
        uint64_t unread_since; /* of server->seconds: it takes no replies; 0: none wait */
        uint64_t moved;        /* of server->seconds: it has sent or taken something */
        uint64_t memory_bytes; /* as it was counted last */
        bool is_held;          /* until there is memory (client/budget.h) */
        uint32_t events;       /* that epoll watches for */
        bool is_touched;
        bool has_input; /* the query buffer may hold a whole message */
        bool authenticated;
        uint64_t unauthenticated_since; /* of server->seconds, while it is not */
        bool is_tcp;
        bool close_after; /* nothing more is read; close when everything has left */
        bool close_now;
        bool write_waits; /* the next command is a write, which the engine would not answer at
                             once */
        bool half_closed; /* the peer sends no more; seen while it was paused */
        bool replied;     /* the command at hand has written to `out` */
        bool run_again;   /* it has to wait for a held batch (B4): it is run anew later */
        int passed_fd;    /* the last descriptor that came with its bytes; -1: none */
        time_t created, last_active;
        const char *last_command;          /* its full name */
        TAILQ_ENTRY(lanemap_client) waits; /* server->durable_waits */
        uint64_t wait_until_ns;
        bool wait_replicas; /* for replicas too, of which there are none */
        char name[64];
        char lib_name[64], lib_ver[64];             /* CLIENT SETINFO */
        char address[LANEMAP_CLIENT_ADDRESS_BYTES]; /* the peer's: HOST:PORT, or PATH:0 */
};

TAILQ_HEAD(lanemap_client_list, lanemap_client);

/* client/transaction.h */
TAILQ_HEAD(lanemap_transaction_list, lanemap_transaction);

/* client/watched.c */
LIST_HEAD(lanemap_watched_bucket, lanemap_watched_key);
struct lanemap_watched {
        struct lanemap_watched_bucket *buckets;
        size_t n_buckets; /* a power of two, or 0 */
        size_t n_keys;
};

/* client/health.c */
struct lanemap_health {
        char status[1024];                 /* what systemd was told last */
        uint64_t hung_ns;                  /* as of the last look */
        bool starving;                     /* the watchdog is not fed */
        struct lanemap_writer_stats stats; /* the last that could be had */
        uint64_t stats_ns;                 /* when; 0: none yet */
};

/* client/meter.c */
struct lanemap_meter {
        uint64_t first_ticks, first_ns; /* read together, when lanemapd started */
        uint64_t limit_ticks;           /* from here on it is slow */
        double ns_per_tick;             /* as of the last second; 0: not known yet */
};

/* Nanoseconds in steps of a sixteenth: 64 ns below 1024, then 16 for each power of two up to 2^34;
 * the last one has all above. */
#define LANEMAP_METER_STEPS   16
#define LANEMAP_METER_BUCKETS ((size_t)LANEMAP_METER_STEPS * (1 + 34 - 10))

/* What is known of a command. CONFIG RESETSTAT makes it 0. */
struct lanemap_meter_counts {
        uint64_t calls, ticks;
        uint64_t rejected; /* not run: arity, password, memory, ... */
        uint64_t failed;   /* it replied an error when it was run (M3) */
        uint64_t covered;  /* calls that are in the histogram, or need not be (M5) */
        uint64_t histogram[LANEMAP_METER_BUCKETS];
};

/* client/slowlog.h */
TAILQ_HEAD(lanemap_slow_list, lanemap_slow);

/* client/latency.h */
#define LANEMAP_LATENCY_EVENTS  ((size_t)4)
#define LANEMAP_LATENCY_SAMPLES ((size_t)160)

struct lanemap_latency {
        const char *event; /* NULL: none yet */
        uint64_t max_ms;
        size_t n; /* that there have been; the last ones are in samples */
        struct lanemap_latency_sample {
                time_t time;
                uint64_t ms;
        } samples[LANEMAP_LATENCY_SAMPLES];
};

/* client/memory.c */
struct lanemap_memory {
        struct lanemap_memory_limit limit;
        uint64_t needed_bytes;
        uint64_t started_bytes; /* in use when the index had been opened */
        bool is_short;
        size_t n_ops; /* applied since the last look */
};

/* Opening that found no room (open.c). */
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
        /* Who takes a new connection, and its descriptor with it. */
        void (*accepted)(struct lanemap_server *server, int fd, bool is_tcp, const char *address);
        /* Who runs one command of a client. args[0] is its name; offsets into `message`. Return:
         * false: it has to wait, and is to be run again later. */
        bool (*execute)(struct lanemap_client *client, const char *message,
                        const struct lanemap_resp_arg *args, uint32_t n_args);
        struct lanemap_job *job_list; /* in the order they were asked for */
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
        struct lanemap_client_list durable_waits;
        size_t n_clients, n_clients_max;
        size_t n_tcp_clients, n_tcp_clients_max;
        size_t n_blocked;
        size_t n_requests;       /* of them: that wait for a flush, a compaction, a flip */
        size_t n_parked;         /* clients whose next command is a write that has to wait */
        uint64_t write_retry_ns; /* when the engine said that writes are worth trying again */
        uint64_t round_ns;       /* when this round began */
        uint64_t next_client_id;

        struct lanemap_batch batch;
        struct lanemap_transaction *executing; /* runs, or is applied: nobody else writes (EX1) */
        struct lanemap_transaction_list execs; /* of EXEC in slices, in their order */
        struct lanemap_watched watched;
        struct lanemap_reply discarded; /* replies of commands that are run again */
        uint64_t position;              /* the last one applied, as far as we were told */
        uint64_t acknowledged;          /* replies up to here may leave */
        int log_error;                  /* what keeps later ones waiting, or 0 */
        bool gate_is_due;               /* ask the engine again in this round */

        uint32_t *ids; /* where lookups answer; grows */
        size_t ids_capacity;

        time_t started, now;
        uint64_t seconds; /* since the start, and 1; the clock of the day may jump */
        struct timespec started_at;
        uint64_t watchdog_usec;
        uint64_t n_connections, n_refused, n_commands, n_errors, n_applies, n_outcome_unknown;
        uint64_t bytes_in, bytes_out;
        uint64_t n_closed_unread; /* clients, by --timeout-output */
        uint64_t n_evicted;       /* clients, by --maxmemory-clients */
        uint64_t n_closed_unauthenticated, n_wrong_passwords;
        struct lanemap_log_some refusals_said, unauthenticated_said, passwords_said, browsers_said;
        /* Memory of clients; the limit, UINT64_MAX without one, and as INFO shows it. */
        uint64_t clients_bytes, clients_bytes_peak, clients_bytes_max, clients_bytes_limit;
        bool clients_held;        /* some are */
        bool clients_refused;     /* a command needed more memory than there was */
        uint64_t clients_trimmed; /* of `seconds`: when empty buffers were given back */
        size_t n_clients_peak;
        struct lanemap_meter meter;
        struct lanemap_meter_counts applies; /* of batches, since CONFIG RESETSTAT */
        struct lanemap_slow_list slow;
        uint64_t n_slow, slow_next_id;
        struct lanemap_latency latencies[LANEMAP_LATENCY_EVENTS];
        uint64_t stalled_ns; /* of writes, at the last look */
        bool stalled_is_known;
        uint64_t used_memory_peak; /* as of INFO */
        char run_id[41];           /* 40 hexadecimal digits, drawn at the start */
};

#endif
