/* The outside of the engine, passed in: for tests that bend it. NULL members: the real world. */
#ifndef LANEMAP_WRITER_WRITER_HOOKS_H
#define LANEMAP_WRITER_WRITER_HOOKS_H

#include "common/clock.h"
#include "common/file.h"

struct lanemap_writer_hooks {
        const struct lanemap_files *files;
        const struct lanemap_clock *clock;
};

#endif
