/*
 * Which signals a thread of the library leaves to the program: all but those that its own
 * instructions raise. A thread that blocks these is killed by one of them, whatever handler the
 * program has (SIGBUS: verify/mapping.h).
 */
#ifndef LANEMAP_COMMON_SIGNALS_H
#define LANEMAP_COMMON_SIGNALS_H

#include <pthread.h>
#include <signal.h>

#include "common/base.h"

/* Before pthread_create(): the new thread inherits it. Put *ret_before back afterwards. */
LANEMAP_ALWAYS_INLINE void lanemap_signals_block(sigset_t *ret_before)
{
        static const int own[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
        sigset_t others;

        sigfillset(&others);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(own); i++)
                sigdelset(&others, own[i]);
        pthread_sigmask(SIG_SETMASK, &others, ret_before);
}

#endif
