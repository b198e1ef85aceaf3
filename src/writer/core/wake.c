/*
 * Wake-ups: the engine's threads sleep and are woken here. The condition of back-pressure is the
 * one exception: apply/pressure.c waits for it, and the end of a flush or a merge signals it.
 *
 * A signal sets a flag or a counter under the lock that goes with the condition, so one that comes
 * before the sleep is not lost. A sleep ends by itself after the time given to it.
 */
#include "writer/core/core.h"

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

void lanemap_engine_cond_wait_ns(pthread_cond_t *cond, struct lanemap_mutex *lock, uint64_t ns)
{
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += (time_t)(ns / 1000000000);
        until.tv_nsec += (long)(ns % 1000000000);
        if (until.tv_nsec >= 1000000000) {
                until.tv_nsec -= 1000000000;
                until.tv_sec++;
        }
        (void)pthread_cond_timedwait(cond, &lock->pthread, &until);
}

void lanemap_engine_event_notify(struct lanemap_writer *writer)
{
        uint64_t one = 1;

        (void)!write(writer->sync.event_fd, &one, sizeof(one));
}

/* Costs a load when the thread is awake anyway. The thread looks again after it has said that it is
 * idle. */
void lanemap_engine_sync_signal(struct lanemap_writer *writer)
{
        lanemap_fence_full();
        if (!lanemap_load_relaxed(&writer->sync.is_idle))
                return;

        lanemap_mutex_lock(&writer->sync.lock);
        pthread_cond_signal(&writer->sync.wake);
        lanemap_mutex_unlock(&writer->sync.lock);
}

/* The same for the thread that writes. */
void lanemap_engine_log_write_signal(struct lanemap_writer *writer)
{
        lanemap_fence_full();
        if (!lanemap_load_relaxed(&writer->sync.write_is_idle))
                return;

        lanemap_mutex_lock(&writer->sync.lock);
        pthread_cond_signal(&writer->sync.write_wake);
        lanemap_mutex_unlock(&writer->sync.lock);
}

void lanemap_engine_flusher_signal(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->workers.lock);
        writer->workers.flusher_signalled = true;
        pthread_cond_signal(&writer->workers.flusher_wake);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_flusher_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        lanemap_mutex_lock(&writer->workers.lock);
        if (!writer->workers.flusher_signalled)
                lanemap_engine_cond_wait_ns(&writer->workers.flusher_wake, &writer->workers.lock,
                                            ns);
        writer->workers.flusher_signalled = false;
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_workers_signal(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->workers.lock);
        writer->workers.signal++;
        pthread_cond_broadcast(&writer->workers.wake);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_worker_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        lanemap_mutex_lock(&writer->workers.lock);
        if (!lanemap_load_acquire(&writer->workers.stopping))
                lanemap_engine_cond_wait_ns(&writer->workers.wake, &writer->workers.lock, ns);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_scrub_signal(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->workers.lock);
        pthread_cond_signal(&writer->workers.scrub_wake);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_scrub_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        lanemap_mutex_lock(&writer->workers.lock);
        if (!lanemap_load_acquire(&writer->workers.stopping))
                lanemap_engine_cond_wait_ns(&writer->workers.scrub_wake, &writer->workers.lock, ns);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_serve_signal(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->workers.lock);
        writer->serve.signalled = true;
        pthread_cond_signal(&writer->serve.wake);
        lanemap_mutex_unlock(&writer->workers.lock);
}

void lanemap_engine_serve_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        struct writer_serve *serve = &writer->serve;

        lanemap_mutex_lock(&writer->workers.lock);
        if (!serve->signalled && !lanemap_load_acquire(&writer->workers.stopping))
                lanemap_engine_cond_wait_ns(&serve->wake, &writer->workers.lock, ns);
        if (serve->signalled)
                serve->lock_due = true;
        serve->signalled = false;
        lanemap_mutex_unlock(&writer->workers.lock);
}
