/* See pin.h. */
#include "pin.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

/* As it was before anything was pinned. */
static cpu_set_t allowed;
static int n_allowed;

static int allowed_load(void)
{
        if (n_allowed == 0) {
                if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
                        return -errno;
                n_allowed = CPU_COUNT(&allowed);
        }

        return n_allowed;
}

static int last_cpu(void)
{
        int last = 0;

        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET(cpu, &allowed))
                        last = cpu;

        return last;
}

int perf_n_cpus(void)
{
        int n = allowed_load();

        return n < 1 ? 1 : n;
}

int perf_pin_measuring(void)
{
        cpu_set_t set;

        if (allowed_load() < 1)
                return -errno;

        CPU_ZERO(&set);
        CPU_SET(last_cpu(), &set);
        return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

int perf_pin_working(pid_t pid, int spread)
{
        char path[64];
        struct dirent *entry;
        cpu_set_t set;
        DIR *tasks;

        if (allowed_load() < 2)
                return 0;

        set = allowed;
        if (!spread)
                CPU_CLR(last_cpu(), &set);
        snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
        tasks = opendir(path);
        if (!tasks)
                return -errno;
        while ((entry = readdir(tasks)))
                if (entry->d_name[0] != '.')
                        (void)sched_setaffinity(atoi(entry->d_name), sizeof(set), &set);
        closedir(tasks);
        return 0;
}
