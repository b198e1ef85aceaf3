/* See loop/job.h. */
#include <errno.h>
#include <unistd.h>

#include "daemon/daemon.h"
#include "daemon/loop/job.h"

static void *job_thread(void *arg)
{
        struct lanemap_job *job = arg;
        uint64_t one = 1;
        int fd = job->event_fd;

        (void)pthread_setname_np(pthread_self(), "lanemapd-job");
        job->r = job->run(job);
        atomic_store_explicit(&job->done, true, memory_order_release);
        if (write(fd, &one, sizeof(one)) < 0)
                return NULL; /* the loop looks once a second, too */
        return NULL;
}

static void job_remove(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_job **link = &server->job_list;

        while (*link != job)
                link = &(*link)->next;
        *link = job->next;
        job->free(server, job);
}

/* Starts the first job that is wanted, if none runs. */
static void jobs_start(struct lanemap_server *server)
{
        while (server->job_list && !server->job_list->is_started) {
                struct lanemap_job *job = server->job_list;

                if (job->client || job->is_wanted) {
                        /* job->r is the thread's from here on, if there is one. */
                        int r = -pthread_create(&job->thread, NULL, job_thread, job);

                        if (r == 0) {
                                job->is_started = true;
                                return;
                        }
                        job->r = r;
                        job->end(server, job);
                }
                job_remove(server, job);
        }
}

void lanemap_job_add(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_job **last = &server->job_list;

        job->event_fd = server->jobs.fd;
        while (*last)
                last = &(*last)->next;
        *last = job;
        jobs_start(server);
}

void lanemap_job_ready(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events)
{
        struct lanemap_job *job = server->job_list;
        uint64_t count;

        if (watch && read(watch->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
                return;
        if (job && job->is_started && atomic_load_explicit(&job->done, memory_order_acquire)) {
                pthread_join(job->thread, NULL);
                job->end(server, job);
                job_remove(server, job);
        }
        if (!server->stopping)
                jobs_start(server);
}

void lanemap_job_finish(struct lanemap_server *server)
{
        while (server->job_list) {
                struct lanemap_job *job = server->job_list;

                if (job->is_started)
                        pthread_join(job->thread, NULL);
                job_remove(server, job);
        }
}
