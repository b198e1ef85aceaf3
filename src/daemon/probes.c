/* Semaphores of lanemapd's own probes. See common/probes.h. */
#include "common/probes.h"

LANEMAP_PROBES_DAEMON(LANEMAP_PROBE_DEFINE)
