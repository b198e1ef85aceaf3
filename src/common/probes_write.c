/* Semaphores of the writer library's probes. See common/probes.h. */
#include "common/probes.h"

LANEMAP_PROBES_WRITER(LANEMAP_PROBE_DEFINE)
