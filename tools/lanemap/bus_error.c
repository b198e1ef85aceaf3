/* A page of a mapped segment file that cannot be read is damage that verify, reshard and load find;
 * of any other mapping it ends the command, as it would, behind a line that says so. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <lanemap/writer.h>
#include "tool.h"

static void bus_error(int number, siginfo_t *info, void *context)
{
        static const char line[] =
                "lanemap: SIGBUS: a page of a mapped file cannot be read: it was cut short, or the "
                "disk or memory fails; 'lanemap verify' tells more of a data directory\n";

        if (info->si_code > 0 && lanemap_writer_bus_error(info->si_addr))
                return;

        (void)!write(STDERR_FILENO, line, strlen(line));
        signal(SIGBUS, SIG_DFL);
        raise(SIGBUS); /* when the handler ends */
}

void lanemap_tool_bus_error_init(void)
{
        struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO};

        sigemptyset(&action.sa_mask);
        sigaction(SIGBUS, &action, NULL);
}
