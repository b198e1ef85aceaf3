/* See client/health.h: the engine's numbers, or those of an earlier second. */
#include "common/clock.h"
#include "daemon/client/health.h"

/* The loop, and everybody with it, waits so long for each of two locks of the engine's; longer for
 * numbers that would be older than a second. */
#define STATS_WAIT_NS     (UINT64_C(1) * 1000 * 1000)
#define STATS_WAIT_NS_MAX (UINT64_C(4) * 1000 * 1000)
#define STATS_AGE_NS      (UINT64_C(1000) * 1000 * 1000)

bool lanemap_health_stats(struct lanemap_server *server, struct lanemap_writer_stats *ret_stats,
                          uint64_t *ret_age_ns)
{
        struct lanemap_health *health = &server->health;
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic);

        uint64_t wait_ns = STATS_WAIT_NS_MAX;

        if (health->stats_ns > 0 && now_ns - health->stats_ns < STATS_AGE_NS)
                wait_ns = STATS_WAIT_NS;
        if (server->writer && lanemap_writer_try_stats(server->writer, wait_ns, &stats) == 0) {
                health->stats = stats;
                health->stats_ns = now_ns;
        }
        if (health->stats_ns == 0)
                return false;

        *ret_stats = health->stats;
        *ret_age_ns = now_ns - health->stats_ns;
        return true;
}
