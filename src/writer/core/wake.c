/*
 * Wake-ups: the engine's threads sleep and are woken here. The condition of back-pressure is the one
 * exception: apply/pressure.c waits for it, and whoever ends a flush or a merge signals it.
 *
 * A signal sets a flag or a counter under the lock that goes with the condition, so one that comes
 * before the sleep is not lost. A sleep ends by itself after the time given to it.
 */
#include "writer/core/engine.h"

#include <time.h>
#include <unistd.h>

/* ---- any condition ---- */

void lanemap_engine_cond_init(pthread_cond_t *cond)
{
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(cond, &attributes);
        pthread_condattr_destroy(&attributes);
}

void lanemap_engine_cond_wait_ns(pthread_cond_t *cond, pthread_mutex_t *lock, uint64_t ns)
{
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec += (long)(ns % 1000000000);
        if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
        }
        (void)pthread_cond_timedwait(cond, lock, &until);
}

void lanemap_engine_event_notify(struct lanemap_writer *writer)
{
        uint64_t one = 1;

        (void)!write(writer->event_fd, &one, sizeof(one));
}

/* Costs a load when the thread is awake anyway. The thread looks again after it has said that it is
 * idle. */
void lanemap_engine_sync_signal(struct lanemap_writer *writer)
{
        lanemap_fence_full();
        if (!lanemap_load_relaxed(&writer->sync_idle))
                return;

        pthread_mutex_lock(&writer->sync_lock);
        pthread_cond_signal(&writer->sync_wake);
        pthread_mutex_unlock(&writer->sync_lock);
}

void lanemap_engine_flusher_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        writer->flusher_signalled = true;
        pthread_cond_signal(&writer->flusher_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_flusher_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        pthread_mutex_lock(&writer->work_lock);
        if (!writer->flusher_signalled)
                lanemap_engine_cond_wait_ns(&writer->flusher_wake, &writer->work_lock, ns);
        writer->flusher_signalled = false;
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_workers_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        writer->worker_signal++;
        pthread_cond_broadcast(&writer->worker_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_worker_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        pthread_mutex_lock(&writer->work_lock);
        if (!lanemap_load_acquire(&writer->stopping))
                lanemap_engine_cond_wait_ns(&writer->worker_wake, &writer->work_lock, ns);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_scrub_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        pthread_cond_signal(&writer->scrub_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_scrub_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        pthread_mutex_lock(&writer->work_lock);
        if (!lanemap_load_acquire(&writer->stopping))
                lanemap_engine_cond_wait_ns(&writer->scrub_wake, &writer->work_lock, ns);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_serve_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        writer->serve.signalled = true;
        pthread_cond_signal(&writer->serve.wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_engine_serve_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        struct writer_serve *serve = &writer->serve;

        pthread_mutex_lock(&writer->work_lock);
        if (!serve->signalled && !lanemap_load_acquire(&writer->stopping))
                lanemap_engine_cond_wait_ns(&serve->wake, &writer->work_lock, ns);
        if (serve->signalled)
                serve->lock_due = true;
        serve->signalled = false;
        pthread_mutex_unlock(&writer->work_lock);
}
