/*
 * Work that would hold the loop up, each in a short-lived thread: opening the index, gathering all
 * ids, verifying all files, a backup. A job is handed over twice: to its thread by pthread_create, back to the loop by an eventfd
 * and `done` (release/acquire). In between the loop does not touch it, except to forget its client.
 */
#ifndef LANEMAP_DAEMON_LOOP_JOB_H
#define LANEMAP_DAEMON_LOOP_JOB_H

#include <pthread.h>
#include <stdatomic.h>

#include "daemon/daemon.h"

struct lanemap_job {
        struct lanemap_job *next; /* server->job_list */
        pthread_t thread;
        bool started;
        int event_fd;
        atomic_bool done;
        struct lanemap_writer_options writer_options; /* opening */
        struct lanemap_error error;
        struct lanemap_writer *writer;
        bool is_open;                  /* opening */
        bool is_verify;                /* verifying */
        char *destination;             /* a backup; none of these: ids */
        int destination_fd;            /* of it; -1: destination is a path */
        struct lanemap_client *client; /* ids, verifying; NULL: nobody waits any more */
        struct lanemap_finding *findings;
        size_t n_findings;
        uint32_t *ids;
        size_t n_ids;
        int r;
};

/* Starts opening the index. Return: 0, -errno. An opening that finds no room, on the disk or in
 * /dev/shm, is tried again until there is some. */
int lanemap_job_open_start(struct lanemap_server *server);
/* Once a second. */
void lanemap_job_room_cron(struct lanemap_server *server);

/* LANEMAP.IDS for this client; it is blocked until it has been answered. Return: 0, -errno. */
int lanemap_job_ids_start(struct lanemap_client *client);
/* LANEMAP.VERIFY and LANEMAP.BACKUP, likewise. fd: the directory, or -1: path is one that this
 * process sees as the client does. Owner: the job, also when this fails. */
int lanemap_job_verify_start(struct lanemap_client *client);
int lanemap_job_backup_start(struct lanemap_client *client, const char *path, int fd);
/* Goes on with LANEMAP.IDS after the gate has moved or replies have been sent. */
void lanemap_job_ids_continue(struct lanemap_client *client);
/* The client goes away. */
void lanemap_job_ids_forget(struct lanemap_client *client);

/* Waits for the threads that run; what they found out is dropped. An index that was opened
 * meanwhile becomes server->writer, to be closed. */
void lanemap_job_finish(struct lanemap_server *server);

/* The eventfd of all jobs. */
void lanemap_job_ready(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events);

#endif
