/* A damaged file is marked and reported, once. See health/damage.h. */
#include "writer/health/damage.h"
#include "writer/core/core.h"

#include <inttypes.h>
#include <stdio.h>
#include <syslog.h>

void lanemap_engine_finding_log(struct lanemap_writer *writer,
                                const struct lanemap_finding *finding)
{
        char offset[40] = "", lane[24] = "";

        if (finding->offset != LANEMAP_FINDING_NO_OFFSET)
                snprintf(offset, sizeof(offset), ", offset %" PRIu64, finding->offset);
        if (finding->lane != LANEMAP_FINDING_NO_LANE)
                snprintf(lane, sizeof(lane), ", lane %u", finding->lane);
        lanemap_engine_log(
                writer, LOG_CRIT,
                "%s/%s%s%s: %s; up to %" PRIu64
                " keys are affected; everything else goes on; stop the writer and run lanemap "
                "repair",
                writer->identity.directory, finding->file, offset, lane, finding->what,
                finding->n_keys);
}

bool lanemap_engine_file_mark(struct lanemap_writer *writer, uint64_t number)
{
        struct writer_file *file;
        bool news = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = lanemap_engine_file_find(writer, number);
        if (file)
                file->n_marked++;
        if (file && !file->damaged) {
                file->damaged = news = true;
                file->scrub_due_ns = lanemap_now_ns(writer->clock) + LANEMAP_DAMAGE_AGAIN_NS;
                writer->segments.n_damaged++;
                lanemap_engine_degraded_publish(writer);
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        return news;
}
