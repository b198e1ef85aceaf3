/*
 * Copies of the library in one process: the shared one, and a plugin's static one. Each is used by
 * several threads while the process forks, inside views of both; then both are closed while threads
 * live that have looked up through them, and these end. A helper thread may be at work when the
 * shared one is closed: it stays in memory.
 *
 *         host_copies LIBLANEMAP PLUGIN NAME
 */
#include <semaphore.h>

#include "host.h"

/* ---- forks ---- */

static void forks_run(const struct host_copy copies[2], const char *name)
{
        struct lanemap_reader *readers[2];
        struct host_lookups lookups[2];

        for (int i = 0; i < 2; i++) {
                readers[i] = host_attach(&copies[i], name);
                host_lookups_start(&lookups[i], &copies[i], readers[i]);
        }
        for (int n = 0; n < 50; n++) {
                struct lanemap_view views[2];
                pid_t pid;

                for (int i = 0; i < 2; i++)
                        must(copies[i].view_begin(readers[i], "a", 1, &views[i]) == 0);
                pid = fork();
                if (pid == 0)
                        alarm(HOST_SECONDS_MAX);
                for (int i = 0; i < 2; i++)
                        must(copies[i].view_end(&views[i]) >= 0);
                if (pid == 0) {
                        for (int i = 0; i < 2; i++)
                                host_child_look(&copies[i], readers[i]);
                        _exit(0);
                }
                host_child_wait(pid);
        }
        for (int i = 0; i < 2; i++) {
                host_lookups_stop(&lookups[i]);
                copies[i].detach(readers[i]);
        }
}

/* ---- closing ---- */

struct survivor {
        const struct host_copy *copy;
        struct lanemap_reader *reader;
        sem_t has_looked;
        sem_t may_end;
        pthread_t thread;
};

static void *survivor_main(void *arg)
{
        struct survivor *survivor = arg;

        must(survivor->copy->contains(survivor->reader, "a", 1, 1) == 1);
        must(sem_post(&survivor->has_looked) == 0);
        while (sem_wait(&survivor->may_end) != 0)
                ;
        return NULL;
}

static bool is_mapped(const char *path)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        const char *file = strrchr(path, '/') + 1;
        char line[600];
        bool found = false;

        must(maps);
        while (fgets(line, sizeof(line), maps))
                found |= strstr(line, file) != NULL;
        fclose(maps);
        return found;
}

static void close_beside_a_thread(struct host_copy *copy, const char *name, bool detaches)
{
        struct survivor survivor = {.copy = copy, .reader = host_attach(copy, name)};

        must(sem_init(&survivor.has_looked, 0, 0) == 0 && sem_init(&survivor.may_end, 0, 0) == 0);
        must(pthread_create(&survivor.thread, NULL, survivor_main, &survivor) == 0);
        while (sem_wait(&survivor.has_looked) != 0)
                ;
        if (detaches)
                copy->detach(survivor.reader);
        must(dlclose(copy->handle) == 0);
        must(sem_post(&survivor.may_end) == 0);
        must(pthread_join(survivor.thread, NULL) == 0);
}

static void fork_once(void)
{
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        host_child_wait(pid);
}

int main(int argc, char **argv)
{
        struct host_copy copies[2];

        must(argc == 4);
        alarm(HOST_SECONDS_MAX);
        copies[0] = host_open(argv[1], "lanemap_reader");
        copies[1] = host_open(argv[2], "plugin");
        forks_run(copies, argv[3]);

        close_beside_a_thread(&copies[1], argv[3], true);
        must(!is_mapped(argv[2])); /* else this tried nothing */
        fork_once();               /* and its hooks are gone */

        close_beside_a_thread(&copies[0], argv[3], false);
        must(is_mapped(argv[1]));
        fork_once();
        return 0;
}
