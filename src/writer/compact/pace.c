/* The rate limit of merges: --compaction-rate. */
#include "writer/compact/compact.h"

#include <errno.h>

#include "writer/core/core.h"

/* A paced merge looks up this often, to see whether the engine is closing. */
#define PACE_NS (UINT64_C(100) * 1000 * 1000)

/* The pace is real time's, whatever the engine's clock says. Takes lanes.lock, and releases it
 * while it waits. */
int lanemap_engine_pace(struct lanemap_writer *writer, struct lanemap_rate *rate, uint64_t n_bytes)
{
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic), wait_ns, since_ns = now_ns;

        lanemap_mutex_lock(&writer->lanes.lock);
        lanemap_rate_take(rate, now_ns, n_bytes);
        while ((wait_ns = lanemap_rate_wait_ns(rate, now_ns)) > 0 &&
               !lanemap_load_acquire(&writer->workers.stopping)) {
                lanemap_mutex_unlock(&writer->lanes.lock);
                lanemap_engine_worker_sleep(writer, LANEMAP_MIN(wait_ns, PACE_NS));
                lanemap_mutex_lock(&writer->lanes.lock);
                now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        }
        writer->lanes.stats.compaction_paced_ns += now_ns - since_ns;
        lanemap_mutex_unlock(&writer->lanes.lock);

        return lanemap_load_acquire(&writer->workers.stopping) ? -ESHUTDOWN : 0;
}
