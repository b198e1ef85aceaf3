/* Semaphores of the reader library's probes. See common/probes.h. */
#include "common/probes.h"

LANEMAP_PROBES_READER(LANEMAP_PROBE_DEFINE)
