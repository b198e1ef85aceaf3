/*
 * Who writes and who syncs the log.
 *
 *   always     whatever is appended is synced at once; what arrives meanwhile is the next group
 *   everysec   written at once, synced when the oldest unsynced record is half a second old
 *   no         written at once, synced when a flush or a caller needs it, and before the memory of
 *              what is not durable is full: nothing else would empty it
 *
 * "At once": by the thread that applied, unless a sync is under way or the disk was slow; then by
 * the write thread. Under `always` the sync thread does both.
 *
 *   E7  Whoever was told by lanemap_writer_acknowledgeable() or lanemap_writer_durable() that a
 *       record has to wait is woken by the event when that may have changed; nobody else is.
 *   E8  While a sync is under way, replies wait for no more than the write of their records, until
 *       the oldest record that is not durable is a second old (everysec).
 */
#include "writer/core/core.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS          (UINT64_C(100) * 1000 * 1000)
#define IDLE_NS          (UINT64_C(60) * 1000 * 1000 * 1000)
#define EVERYSEC_SYNC_NS (UINT64_C(500) * 1000 * 1000)
#define EVERYSEC_LATE_NS (UINT64_C(1000) * 1000 * 1000)
#define SETTLE_NS        (UINT64_C(500) * 1000 * 1000)
#define FAILURE_PAUSE_NS (UINT64_C(100) * 1000 * 1000)
#define OUTCOME_LIMIT_NS (UINT64_C(5) * 1000 * 1000 * 1000)

/* ---- the threads ---- */

static bool sync_is_due(struct lanemap_writer *writer, uint64_t target)
{
        uint64_t oldest_ns;

        if (lanemap_log_durable(writer->log) < target || lanemap_log_is_filling(writer->log))
                return true;

        switch (lanemap_load_relaxed(&writer->sync.appendfsync)) {
        case LANEMAP_APPENDFSYNC_ALWAYS:
                return lanemap_log_durable(writer->log) < lanemap_log_last(writer->log);
        case LANEMAP_APPENDFSYNC_EVERYSEC:
                oldest_ns = lanemap_log_oldest_unsynced_ns(writer->log);
                return oldest_ns && lanemap_now_ns(writer->clock) - oldest_ns >= EVERYSEC_SYNC_NS;
        default:
                return false;
        }
}

static bool write_is_due(struct lanemap_writer *writer)
{
        uint64_t since_ns;

        return lanemap_log_written(writer->log) < lanemap_log_last(writer->log) ||
               lanemap_log_is_full(writer->log) || lanemap_log_error(writer->log, &since_ns) < 0;
}

/* A wait is over, perhaps. E7: the fence pairs with the one in position_wait_for(). */
static void event_give(struct lanemap_writer *writer)
{
        lanemap_fence_full();
        if (!lanemap_load_relaxed(&writer->sync.is_awaited))
                return;

        lanemap_store_relaxed(&writer->sync.is_awaited, false);
        lanemap_engine_event_notify(writer);
}

static void slow_sync_report(struct lanemap_writer *writer, uint64_t began_ns)
{
        uint64_t took_ns = lanemap_now_ns(&lanemap_clock_monotonic) - began_ns;

        if (took_ns > LANEMAP_LOG_SLOW_NS)
                lanemap_engine_log(
                        writer, LOG_WARNING, "%s: writing and syncing the log took %llu.%llu s",
                        writer->identity.directory, (unsigned long long)(took_ns / 1000000000),
                        (unsigned long long)(took_ns / 100000000 % 10));
}

/* One round. Return: 0 nothing to do, 1 done something, or a negative errno. */
static int sync_round(struct lanemap_writer *writer)
{
        uint64_t target, began_ns;
        bool sync;
        int r;

        lanemap_mutex_lock(&writer->sync.lock);
        target = writer->sync.target;
        lanemap_mutex_unlock(&writer->sync.lock);

        sync = sync_is_due(writer, target);
        if (!sync && !write_is_due(writer))
                return 0;

        began_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        r = lanemap_log_write_and_sync(writer->log, sync);
        slow_sync_report(writer, began_ns);
        return r < 0 ? r : 1;
}

static void waiters_wake(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->sync.lock);
        pthread_cond_broadcast(&writer->sync.durable_wake);
        lanemap_mutex_unlock(&writer->sync.lock);
        event_give(writer);
}

static void sync_sleep(struct lanemap_writer *writer, uint64_t ns)
{
        lanemap_mutex_lock(&writer->sync.lock);
        /* Pairs with the fence in lanemap_engine_sync_signal(): either that call sees the flag, or
         * we see its record. */
        lanemap_store_relaxed(&writer->sync.is_idle, true);
        lanemap_fence_full();
        if (!sync_is_due(writer, writer->sync.target) && !write_is_due(writer) &&
            !lanemap_load_relaxed(&writer->sync.stopping))
                lanemap_engine_cond_wait_ns(&writer->sync.wake, &writer->sync.lock, ns);
        lanemap_store_relaxed(&writer->sync.is_idle, false);
        lanemap_mutex_unlock(&writer->sync.lock);
}

static void failure_report(struct lanemap_writer *writer, int r, bool *was_failing)
{
        if (r < 0 && !*was_failing)
                lanemap_engine_log(writer, LOG_ERR,
                                   "%s: the log cannot be written (%s); new writes are refused, "
                                   "acknowledgements "
                                   "wait, lookups go on, tried again",
                                   writer->identity.directory, strerror(-r));
        if (r >= 0 && *was_failing)
                lanemap_engine_log(writer, LOG_NOTICE, "%s: the log can be written again",
                                   writer->identity.directory);
        *was_failing = r < 0;
}

/* An idle log says on disk what is durable, with an empty record. It takes a position, so no apply
 * may be at it. */
static void log_settle(struct lanemap_writer *writer)
{
        lanemap_engine_progress(writer, WRITER_PART_LOG);
        lanemap_mutex_lock(&writer->lanes.lock);
        (void)lanemap_log_settle_append(writer->log);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_idle(writer, WRITER_PART_LOG);
}

/* The log's file was unlinked, and a new one takes the records that are not durable yet. The
 * durable ones of the old file are in overlays, which are flushed at once. */
static void unlinked_flush(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        writer->pressure.flush_wanted = true;
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_flusher_signal(writer);
}

void *lanemap_engine_sync_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t settled_ns = 0;
        bool was_failing = false;

        for (;;) {
                bool stopping = lanemap_load_acquire(&writer->sync.stopping);
                uint64_t now_ns = lanemap_now_ns(writer->clock);
                int r;

                r = sync_round(writer);
                failure_report(writer, r, &was_failing);
                if (r == -ESTALE)
                        unlinked_flush(writer);
                if (r != 0)
                        waiters_wake(writer);
                if (r > 0) {
                        settled_ns = now_ns;
                        continue;
                }
                if (stopping)
                        return NULL;
                if (r == 0 && now_ns - settled_ns >= SETTLE_NS) {
                        log_settle(writer);
                        settled_ns = now_ns;
                        continue;
                }

                if (r < 0) {
                        struct timespec pause = {.tv_nsec = FAILURE_PAUSE_NS};

                        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
                } else {
                        sync_sleep(writer, LOOK_NS);
                }
        }
}

static bool write_thread_is_wanted(struct lanemap_writer *writer)
{
        return lanemap_load_relaxed(&writer->sync.appendfsync) != LANEMAP_APPENDFSYNC_ALWAYS &&
               lanemap_log_written(writer->log) < lanemap_log_last(writer->log);
}

static void write_sleep(struct lanemap_writer *writer, bool failed)
{
        lanemap_mutex_lock(&writer->sync.lock);
        /* As in sync_sleep(). */
        lanemap_store_relaxed(&writer->sync.write_is_idle, true);
        lanemap_fence_full();
        if (!lanemap_load_relaxed(&writer->sync.stopping) &&
            (failed || !write_thread_is_wanted(writer)))
                lanemap_engine_cond_wait_ns(&writer->sync.write_wake, &writer->sync.lock, IDLE_NS);
        lanemap_store_relaxed(&writer->sync.write_is_idle, false);
        lanemap_mutex_unlock(&writer->sync.lock);
}

void *lanemap_engine_log_write_main(void *arg)
{
        struct lanemap_writer *writer = arg;

        while (!lanemap_load_acquire(&writer->sync.stopping)) {
                int r = 0;

                if (write_thread_is_wanted(writer))
                        r = lanemap_log_write(writer->log);
                event_give(writer);
                if (r < 0 || lanemap_log_is_full(writer->log))
                        lanemap_engine_sync_signal(writer);
                write_sleep(writer, r < 0);
        }
        return NULL;
}

void lanemap_engine_log_write(struct lanemap_writer *writer)
{
        int r;

        if (lanemap_load_relaxed(&writer->sync.appendfsync) == LANEMAP_APPENDFSYNC_ALWAYS) {
                lanemap_engine_sync_signal(writer);
                return;
        }

        r = lanemap_log_try_write(writer->log);
        if (r > 0)
                lanemap_engine_log_write_signal(writer);
        if (r < 0 || lanemap_log_is_full(writer->log) || lanemap_log_is_filling(writer->log))
                lanemap_engine_sync_signal(writer);
}

/* ---- what callers ask ---- */

static int log_error(struct lanemap_writer *writer)
{
        uint64_t limit_ns = writer->options.outcome_limit_ns ? writer->options.outcome_limit_ns
                                                             : OUTCOME_LIMIT_NS;
        uint64_t since_ns;
        int r = lanemap_log_error(writer->log, &since_ns);

        return r < 0 && lanemap_now_ns(writer->clock) - since_ns >= limit_ns ? r : 0;
}

/* The position through which the policy lets replies leave. */
static uint64_t position_to_acknowledge(struct lanemap_writer *writer)
{
        uint64_t oldest_ns;

        switch (lanemap_load_relaxed(&writer->sync.appendfsync)) {
        case LANEMAP_APPENDFSYNC_ALWAYS:
                return lanemap_log_durable(writer->log);
        case LANEMAP_APPENDFSYNC_EVERYSEC:
                oldest_ns = lanemap_log_oldest_unsynced_ns(writer->log);
                if (oldest_ns && lanemap_now_ns(writer->clock) - oldest_ns >= EVERYSEC_LATE_NS)
                        return lanemap_log_durable(writer->log);
                return lanemap_log_written(writer->log);
        default:
                return lanemap_log_written(writer->log);
        }
}

/* A position that is not the last one yet is asked for again after the event has been ordered. E7:
 * either the thread that moves it sees the order, or we see it moved. */
static uint64_t position_wait_for(struct lanemap_writer *writer,
                                  uint64_t (*get)(struct lanemap_writer *writer))
{
        uint64_t position = get(writer);

        if (position >= lanemap_log_last(writer->log))
                return position;

        lanemap_store_relaxed(&writer->sync.is_awaited, true);
        lanemap_fence_full();
        return get(writer);
}

static uint64_t position_durable(struct lanemap_writer *writer)
{
        return lanemap_log_durable(writer->log);
}

uint64_t lanemap_writer_durable(struct lanemap_writer *writer, int *ret_error)
{
        uint64_t durable = position_wait_for(writer, position_durable);

        if (ret_error)
                *ret_error = log_error(writer);
        return durable;
}

uint64_t lanemap_writer_acknowledgeable(struct lanemap_writer *writer, int *ret_error)
{
        if (ret_error)
                *ret_error = log_error(writer);
        return position_wait_for(writer, position_to_acknowledge);
}

int lanemap_writer_sync_start(struct lanemap_writer *writer, uint64_t position)
{
        if (lanemap_log_durable(writer->log) >= position)
                return 0;
        /* A position that was published is in the log in a moment: the apply is still at it. */
        if (position > lanemap_log_last(writer->log) &&
            position > lanemap_load_acquire(&writer->lanes.position))
                return -EINVAL;

        lanemap_mutex_lock(&writer->sync.lock);
        if (writer->sync.target < position)
                writer->sync.target = position;
        pthread_cond_signal(&writer->sync.wake);
        lanemap_mutex_unlock(&writer->sync.lock);
        return 0;
}

int lanemap_writer_sync(struct lanemap_writer *writer, uint64_t position)
{
        int r = lanemap_writer_sync_start(writer, position);

        if (r < 0)
                return r;

        lanemap_mutex_lock(&writer->sync.lock);
        while (lanemap_log_durable(writer->log) < position && r == 0) {
                lanemap_engine_cond_wait_ns(&writer->sync.durable_wake, &writer->sync.lock,
                                            LOOK_NS);
                r = log_error(writer);
        }
        lanemap_mutex_unlock(&writer->sync.lock);

        return lanemap_log_durable(writer->log) >= position ? 0 : r;
}

int lanemap_writer_set_appendfsync(struct lanemap_writer *writer, uint32_t appendfsync)
{
        if (appendfsync > LANEMAP_APPENDFSYNC_NO)
                return -EINVAL;

        lanemap_store_relaxed(&writer->sync.appendfsync, appendfsync);
        lanemap_engine_sync_signal(writer);
        return 0;
}

uint32_t lanemap_writer_get_appendfsync(struct lanemap_writer *writer)
{
        return lanemap_load_relaxed(&writer->sync.appendfsync);
}

int lanemap_writer_event_fd(struct lanemap_writer *writer)
{
        return writer->sync.event_fd;
}
