/* Threads of the engine. */
#include "writer/core/core.h"

#include <signal.h>
#include <sys/resource.h>

#include "common/signals.h"

/* Signals are the program's business, not the engine's threads'. */
int lanemap_engine_thread_new(pthread_t *ret_thread, const char *name, void *(*main)(void *writer),
                              struct lanemap_writer *writer)
{
        sigset_t before;
        int r;

        lanemap_signals_block(&before);
        r = -pthread_create(ret_thread, NULL, main, writer);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r == 0)
                (void)pthread_setname_np(*ret_thread, name); /* without it, it is harder to find */
        return r;
}

/* The heart, the log and callers come first: what runs for long takes the processor when they do
 * not need it. Jobs are threads that inherit it. A failure costs latency. */
void lanemap_engine_thread_yields(int nice)
{
        (void)setpriority(PRIO_PROCESS, 0, nice); /* of the calling thread */
}
