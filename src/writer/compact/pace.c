/* How fast flushes and merges may write: --compaction-rate. */
#include "writer/core/engine.h"

#include <errno.h>

/* A paced merge looks up this often, to see whether the engine is closing. */
#define PACE_NS (UINT64_C(100) * 1000 * 1000)

/* The pace is real time's, whatever the engine's clock says. Under lock, but for the waiting. */
int lanemap_engine_pace(struct lanemap_writer *writer, struct lanemap_rate *rate, uint64_t n_bytes)
{
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic), wait_ns, since_ns = now_ns;

        pthread_mutex_lock(&writer->lock);
        lanemap_rate_take(rate, now_ns, n_bytes);
        while ((wait_ns = lanemap_rate_wait_ns(rate, now_ns)) > 0 &&
               !lanemap_load_acquire(&writer->stopping)) {
                pthread_mutex_unlock(&writer->lock);
                lanemap_engine_worker_sleep(writer, LANEMAP_MIN(wait_ns, PACE_NS));
                pthread_mutex_lock(&writer->lock);
                now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        }
        writer->stats.compaction_paced_ns += now_ns - since_ns;
        pthread_mutex_unlock(&writer->lock);

        return lanemap_load_acquire(&writer->stopping) ? -ESHUTDOWN : 0;
}
