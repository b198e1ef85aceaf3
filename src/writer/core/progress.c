/*
 * Health is the whole writer's: the log, flushes, merges, serving and the scrub.
 *
 * Each part notes the time when it takes up work and whenever it has got on with it (a write, a
 * sync, a section, a chunk), and that it has nothing to do. So a slow part differs from one that
 * hangs, and an idle one from both.
 *
 * HG1. Asking takes no lock and does no I/O: the answer comes although every other thread hangs.
 * HG2. A part without work is never said to hang; waiting for a pace (compaction rate, scrub rate)
 *     is not work.
 */
#include "writer/core/core.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Before that a part is not said to have stopped: syncs of a loaded disk take a second or two. */
#define SLOW_NS (UINT64_C(5) * 1000 * 1000 * 1000)

static const struct {
        const char *name;
        const char *words;
} parts[] = {
        [WRITER_PART_LOG] = {"log",
                             "the log cannot be written or synced: replies that depend on it "
                             "wait"},
        [WRITER_PART_FLUSH] = {"flush", "a flush does not get on"},
        [WRITER_PART_SERVE] = {"serve", "warming or copying segment files does not get on"},
        [WRITER_PART_SCRUB] = {"scrub", "the scrub does not get on"},
        [WRITER_PART_MERGE] = {"merge", "a merge does not get on"},
};

void lanemap_engine_progress(struct lanemap_writer *writer, uint32_t part)
{
        lanemap_store_relaxed(&writer->health.busy_since_ns[part],
                              lanemap_now_ns(&lanemap_clock_monotonic));
}

void lanemap_engine_idle(struct lanemap_writer *writer, uint32_t part)
{
        lanemap_store_relaxed(&writer->health.busy_since_ns[part], 0);
}

/* Under lanes.lock. Jobs past the last place share it: what hangs there is seen when the others are
 * done. */
uint32_t lanemap_engine_merge_part(struct lanemap_writer *writer)
{
        uint32_t part = WRITER_PART_MERGE;

        while (part + 1 < WRITER_N_PARTS &&
               lanemap_load_relaxed(&writer->health.busy_since_ns[part]))
                part++;
        lanemap_engine_progress(writer, part);
        return part;
}

static uint64_t part_age_ns(struct lanemap_writer *writer, uint32_t part)
{
        uint64_t since_ns = lanemap_load_relaxed(&writer->health.busy_since_ns[part]), log_ns,
                 now_ns;

        /* The log notes its steps itself: several threads are at it. */
        log_ns = part == WRITER_PART_LOG ? lanemap_log_busy_since_ns(writer->log) : 0;
        if (log_ns && (!since_ns || log_ns < since_ns))
                since_ns = log_ns;
        if (since_ns == 0)
                return 0;
        now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        return now_ns > since_ns ? now_ns - since_ns : 0;
}

uint64_t lanemap_engine_log_age_ns(struct lanemap_writer *writer)
{
        return part_age_ns(writer, WRITER_PART_LOG);
}

/* The log first, whatever waits for it has its age too. */
static uint32_t part_choose(struct lanemap_writer *writer, uint64_t *ret_age_ns)
{
        uint32_t chosen = WRITER_PART_LOG;
        uint64_t age_ns;

        *ret_age_ns = part_age_ns(writer, chosen);
        if (*ret_age_ns >= SLOW_NS)
                return chosen;

        for (uint32_t part = WRITER_PART_LOG + 1; part < WRITER_N_PARTS; part++) {
                age_ns = part_age_ns(writer, part);
                if (age_ns > *ret_age_ns) {
                        *ret_age_ns = age_ns;
                        chosen = part;
                }
        }
        return chosen;
}

static void health_describe(struct lanemap_writer *writer, uint32_t part,
                            struct lanemap_writer_health *health)
{
        uint64_t since_ns;
        int r;

        if (health->fatal) {
                snprintf(health->text, sizeof(health->text),
                         "the shared memory was removed and cannot be made anew (%s)",
                         strerror(-health->fatal));
        } else if (health->refused) {
                snprintf(health->text, sizeof(health->text),
                         "the data directory was moved or deleted: writes are refused");
        } else if (health->hung_ns >= SLOW_NS) {
                snprintf(health->text, sizeof(health->text), "%s (for %" PRIu64 " s)",
                         parts[part].words, health->hung_ns / 1000000000);
        } else if ((r = lanemap_log_error(writer->log, &since_ns)) < 0) {
                snprintf(health->text, sizeof(health->text),
                         "the log cannot be written (%s): new writes are refused", strerror(-r));
        } else if (lanemap_load_relaxed(&writer->pressure.flush_failing)) {
                snprintf(health->text, sizeof(health->text),
                         "overlays cannot be flushed: writes go on while there is room");
        }
}

int lanemap_writer_get_health(struct lanemap_writer *writer,
                              struct lanemap_writer_health *ret_health)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};
        uint32_t part;

        if (!ret_health || ret_health->size != sizeof(health))
                return -EINVAL;

        health.fatal = lanemap_load_acquire(&writer->health.fatal);
        health.refused = lanemap_load_acquire(&writer->health.refused);
        part = part_choose(writer, &health.hung_ns);
        part = LANEMAP_MIN(part, (uint32_t)WRITER_PART_MERGE);
        health.part = health.hung_ns ? parts[part].name : NULL;
        health_describe(writer, part, &health);
        *ret_health = health;
        return 0;
}
