/*
 * Work that would hold the loop up, each in a short-lived thread of its own.
 *
 * A job is handed over twice: to its thread by pthread_create, back to the loop by an eventfd and
 * `done` (release/acquire). In between the loop does not touch it, except to forget its client.
 * One job runs at a time, since each reads the whole index; the others wait in their order.
 */
#ifndef LANEMAP_DAEMON_LOOP_JOB_H
#define LANEMAP_DAEMON_LOOP_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/loop/watch.h"

struct lanemap_client;

/* The first member of what a kind of job needs. */
struct lanemap_job {
        int (*run)(struct lanemap_job *job); /* in the thread */
        /* In the loop, when run() has ended; or, with is_started false, because there is no thread
         * for it. Not called for a job that waits when the loop ends. */
        void (*end)(struct lanemap_server *server, struct lanemap_job *job);
        void (*free)(struct lanemap_server *server, struct lanemap_job *job); /* in the loop */
        struct lanemap_client *client; /* that waits for it; NULL: none, or it is gone */
        bool is_wanted;                /* even without a client */
        bool is_started;
        int r; /* what run() returned, or why there is no thread */

        struct lanemap_job *next; /* server->job_list */
        pthread_t thread;
        int event_fd;
        atomic_bool done;
};

/* The job waits for its turn, which may come at once. Owner: the loop, until free(). */
void lanemap_job_add(struct lanemap_server *server, struct lanemap_job *job);

/* The eventfd of all jobs. */
void lanemap_job_ready(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events);

/* Waits for the thread that runs; its end() is not called. */
void lanemap_job_finish(struct lanemap_server *server);

#endif
