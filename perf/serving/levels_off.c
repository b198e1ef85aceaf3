/* Without requests for cache lines. See serving_levels_run.h. */
#include "common/base.h"

#define lanemap_prefetch(address) ((void)(address))
#define SERVING_LEVELS            serving_levels_off
#include "serving/levels_run.h"
