/* The reader processes of perf/outage, as the bench sees them. See outage_private.h. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "outage/private.h"
#include "support/pin.h"

#define START_SECONDS 60

extern char **environ;

void outage_readers_init(struct outage_readers *readers, const struct outage_options *options,
                         const struct perf_place *place, uint64_t n_keys)
{
        size_t bytes = OUTAGE_READERS_MAX * sizeof(*readers->slots);

        *readers = (struct outage_readers){.options = options, .place = place, .n_keys = n_keys};
        readers->fd = memfd_create("outage", MFD_CLOEXEC);
        if (readers->fd < 0 || ftruncate(readers->fd, (off_t)bytes) < 0)
                perf_die("memfd", -errno);

        readers->slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, readers->fd, 0);
        if (readers->slots == MAP_FAILED)
                perf_die("mmap", -errno);
}

static pid_t reader_spawn(struct outage_readers *readers, uint32_t slot, bool measuring)
{
        char slot_text[16], keys_text[24];
        const char *argv[] = {
                readers->options->reader, slot_text, readers->place->name, keys_text,
                measuring ? "1" : "0",    NULL,
        };
        posix_spawn_file_actions_t actions;
        pid_t pid;
        int r;

        snprintf(slot_text, sizeof(slot_text), "%u", slot);
        snprintf(keys_text, sizeof(keys_text), "%llu", (unsigned long long)readers->n_keys);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, readers->fd, OUTAGE_SLOTS_FD);
        r = posix_spawn(&pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                perf_die(argv[0], r);

        return pid;
}

/* Return: its process, when it has answered. */
static pid_t reader_start(struct outage_readers *readers, bool measuring)
{
        double deadline = perf_now() + START_SECONDS;
        uint32_t i = readers->n;

        if (i == OUTAGE_READERS_MAX)
                perf_die("too many readers", -EINVAL);

        memset(&readers->slots[i], 0, sizeof(readers->slots[0]));
        readers->pids[i] = reader_spawn(readers, i, measuring);
        while (__atomic_load_n(&readers->slots[i].n_lookups, __ATOMIC_RELAXED) == 0) {
                if (waitpid(readers->pids[i], NULL, WNOHANG) != 0)
                        perf_die("a reader has ended", -ECHILD);
                if (perf_now() > deadline)
                        perf_die("a reader does not answer", -ETIMEDOUT);
                perf_sleep_ns(100000);
        }
        /* Anywhere: its parent may be pinned. */
        if (!measuring)
                (void)perf_pin_working(readers->pids[i], 1);
        readers->n++;
        return readers->pids[i];
}

void outage_readers_start(struct outage_readers *readers)
{
        (void)reader_start(readers, true);
}

void outage_readers_start_stopped(struct outage_readers *readers, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                pid_t pid = reader_start(readers, false);
                int status;

                if (kill(pid, SIGSTOP) < 0 || waitpid(pid, &status, WUNTRACED) < 0 ||
                    !WIFSTOPPED(status))
                        perf_die("a reader has ended", -ECHILD);
        }
}

void outage_readers_continue(struct outage_readers *readers)
{
        for (uint32_t i = 0; i < readers->n; i++)
                (void)kill(readers->pids[i], SIGCONT);
}

/* What they have answered is judged here: a wrong answer ends the run. */
void outage_readers_kill(struct outage_readers *readers)
{
        for (uint32_t i = 0; i < readers->n; i++)
                (void)kill(readers->pids[i], SIGKILL);
        for (uint32_t i = 0; i < readers->n; i++) {
                int status;

                if (waitpid(readers->pids[i], &status, 0) < 0 || !WIFSIGNALED(status) ||
                    WTERMSIG(status) != SIGKILL)
                        perf_die("a reader has ended", -ECHILD);
                if (readers->slots[i].n_wrong)
                        perf_die("a reader got a wrong answer", -EPROTO);
        }
        readers->n = 0;
}

void outage_readers_deinit(struct outage_readers *readers)
{
        outage_readers_kill(readers);
        munmap(readers->slots, OUTAGE_READERS_MAX * sizeof(*readers->slots));
        close(readers->fd);
}
