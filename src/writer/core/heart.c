/*
 * The heart: a thread that does nothing but beat, ten times a second, from the moment the control
 * object is open until the writer ends.
 *
 * HB1. The heart takes no lock that is held over I/O, and does no I/O. A disk that hangs keeps
 *     replies waiting; it does not make a living writer look dead.
 * HB2. The heart stops with the process. A reader that sees it stand still for two seconds knows
 *     that the writer is dead or stopped, whatever the state word says (lanemap_reader_status()).
 */
#include "writer/core/core.h"

#include <errno.h>

#define HEARTBEAT_NS (UINT64_C(100) * 1000 * 1000)

static void *heart_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        struct writer_heart *heart = &writer->heart;

        lanemap_mutex_lock(&heart->lock);
        while (!heart->stopping) {
                struct lanemap_shm_control *control = writer->shm.control;

                lanemap_store_relaxed(&control->heartbeat, control->heartbeat + 1);
                lanemap_engine_cond_wait_ns(&heart->wake, &heart->lock, HEARTBEAT_NS);
        }
        lanemap_mutex_unlock(&heart->lock);

        return NULL;
}

int lanemap_engine_heart_start(struct lanemap_writer *writer)
{
        int r = lanemap_engine_thread_new(&writer->heart.thread, "lanemap-heart", heart_main,
                                          writer);

        writer->heart.has_thread = r == 0;
        return r;
}

void lanemap_engine_heart_stop(struct lanemap_writer *writer)
{
        struct writer_heart *heart = &writer->heart;

        if (!heart->has_thread)
                return;

        lanemap_mutex_lock(&heart->lock);
        heart->stopping = true;
        pthread_cond_signal(&heart->wake);
        lanemap_mutex_unlock(&heart->lock);
        pthread_join(heart->thread, NULL);
        heart->has_thread = false;
}
