/* See signals.h. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/client/stop.h"
#include "daemon/loop/log.h"
#include "daemon/reload.h"
#include "daemon/signals.h"

/* Left alone: those that stop and continue a process, and those that do nothing by themselves. */
static const int signals_left[] = {
        SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, SIGPIPE, SIGXFSZ,
};

/* A thread that causes one of these cannot go on. */
static const int signals_of_faults[] = {
        SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS,
};

static void signals_heard(sigset_t *ret_set)
{
        sigfillset(ret_set);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(signals_left); i++)
                sigdelset(ret_set, signals_left[i]);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(signals_of_faults); i++)
                sigdelset(ret_set, signals_of_faults[i]);
}

#ifndef LANEMAP_SANITIZED
/* The handler is reset before it runs: the fault happens again, or the signal is raised again, and
 * does what it does by itself. */
static void fault_tell(int number, siginfo_t *info, void *context)
{
        lanemap_log_fault(number, info->si_code > 0 ? info->si_addr : NULL);
        raise(number);
}
#endif

/* A page of a segment file that cannot be read becomes damage, and the access goes on. */
static void bus_error(int number, siginfo_t *info, void *context)
{
        if (info->si_code > 0 && lanemap_writer_bus_error(info->si_addr))
                return;

        lanemap_log_fault(number, info->si_code > 0 ? info->si_addr : NULL);
        signal(SIGBUS, SIG_DFL);
        raise(SIGBUS); /* when the handler ends */
}

static void bus_error_init(void)
{
        struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO};

        sigaction(SIGBUS, &action, NULL);
}

static void faults_init(void)
{
#ifndef LANEMAP_SANITIZED /* sanitizers tell more */
        static char stack[16384];
        const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
        struct sigaction action = {.sa_sigaction = fault_tell,
                                   .sa_flags = SA_SIGINFO | SA_RESETHAND | SA_ONSTACK};

        sigaltstack(&alternate, NULL); /* for this thread's own overflow */
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(signals_of_faults); i++)
                sigaction(signals_of_faults[i], &action, NULL);
#endif
}

void lanemap_signals_init(void)
{
        sigset_t heard;

        signals_heard(&heard);
        pthread_sigmask(SIG_BLOCK, &heard, NULL);
        faults_init();
        bus_error_init();
}

static void signal_name(uint32_t number, char *ret_name, size_t n_name)
{
        const char *name = sigabbrev_np((int)number);

        if (name)
                snprintf(ret_name, n_name, "SIG%s", name);
        else
                snprintf(ret_name, n_name, "signal %u", number);
}

static void signal_take(struct lanemap_server *server, const struct signalfd_siginfo *info)
{
        char name[32], from[80] = "";

        signal_name(info->ssi_signo, name, sizeof(name));
        if (info->ssi_code <= 0) /* a process sent it */
                snprintf(from, sizeof(from), " from process %u (uid %u)", info->ssi_pid,
                         info->ssi_uid);
        switch (info->ssi_signo) {
        case SIGXCPU:
                server->failed = true;
                /* fall through */
        case SIGTERM:
        case SIGINT:
        case SIGQUIT:
                lanemap_log(LOG_NOTICE, "%s%s: stopping", name, from);
                lanemap_server_stop(server);
                break;
        case SIGHUP:
                lanemap_log(LOG_NOTICE, "%s%s: reloading", name, from);
                lanemap_reload(server);
                break;
        default:
                lanemap_log(LOG_NOTICE, "%s%s: ignored", name, from);
        }
}

static void signals_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                          uint32_t events)
{
        struct signalfd_siginfo info;

        while (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
                signal_take(server, &info);
}

int lanemap_signals_open(struct lanemap_server *server)
{
        sigset_t heard;

        signals_heard(&heard);
        server->signals.ready = signals_ready;
        server->signals.fd = signalfd(-1, &heard, SFD_CLOEXEC | SFD_NONBLOCK);
        return server->signals.fd < 0 ? -errno
                                      : lanemap_watch_add(server, &server->signals, EPOLLIN);
}
