/* As it ships. See serving_levels_run.h. */
#define SERVING_LEVELS serving_levels_on
#include "serving/levels_run.h"
