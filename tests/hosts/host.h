/*
 * What the foreign hosts share: liblanemap through dlopen(), as a plugin's host has it; a watchdog,
 * so that a deadlock is a failure and no hang; a must that says where.
 */
#ifndef LANEMAP_TESTS_HOST_H
#define LANEMAP_TESTS_HOST_H

#include <dlfcn.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST_SECONDS_MAX 60

#define must(condition)                                                                         \
        do {                                                                                    \
                if (!(condition)) {                                                             \
                        fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
                        _exit(1);                                                               \
                }                                                                               \
        } while (0)

/* The calls of one copy of the library. */
struct host_copy {
        void *handle;
        int (*attach)(const char *, const struct lanemap_reader_options *,
                      struct lanemap_reader **);
        int (*contains)(struct lanemap_reader *, const void *, size_t, uint32_t);
        int (*view_begin)(struct lanemap_reader *, const void *, size_t, struct lanemap_view *);
        int (*view_end)(struct lanemap_view *);
        int (*poll)(struct lanemap_reader *);
        void (*detach)(struct lanemap_reader *);
};

static inline void *host_symbol(void *handle, const char *prefix, const char *name)
{
        char symbol[64];
        void *address;

        snprintf(symbol, sizeof(symbol), "%s_%s", prefix, name);
        address = dlsym(handle, symbol);
        must(address);
        return address;
}

/* prefix      lanemap_reader, or what a plugin calls its own */
static inline struct host_copy host_open(const char *path, const char *prefix)
{
        struct host_copy copy = {.handle = dlopen(path, RTLD_NOW | RTLD_LOCAL)};

        if (!copy.handle)
                fprintf(stderr, "%s\n", dlerror());
        must(copy.handle);
        *(void **)&copy.attach = host_symbol(copy.handle, prefix, "attach");
        *(void **)&copy.contains = host_symbol(copy.handle, prefix, "contains");
        *(void **)&copy.view_begin = host_symbol(copy.handle, prefix, "view_begin");
        *(void **)&copy.view_end = host_symbol(copy.handle, prefix, "view_end");
        *(void **)&copy.poll = host_symbol(copy.handle, prefix, "poll");
        *(void **)&copy.detach = host_symbol(copy.handle, prefix, "detach");
        return copy;
}

static inline struct lanemap_reader *host_attach(const struct host_copy *copy, const char *name)
{
        struct lanemap_reader_options options = {.size = sizeof(options), .helper_thread = 1};
        struct lanemap_reader *reader = NULL;

        must(copy->attach(name, &options, &reader) == 0);
        must(copy->contains(reader, "a", 1, 1) == 1);
        return reader;
}

/* A thread that looks up until it is told to stop. */
struct host_lookups {
        const struct host_copy *copy;
        struct lanemap_reader *reader;
        pthread_t thread;
        bool stop;
};

static inline void *host_lookups_main(void *arg)
{
        struct host_lookups *lookups = arg;

        while (!__atomic_load_n(&lookups->stop, __ATOMIC_RELAXED)) {
                must(lookups->copy->contains(lookups->reader, "a", 1, 1) == 1);
                must(lookups->copy->poll(lookups->reader) >= 0);
        }
        return NULL;
}

static inline void host_lookups_start(struct host_lookups *lookups, const struct host_copy *copy,
                                      struct lanemap_reader *reader)
{
        *lookups = (struct host_lookups){.copy = copy, .reader = reader};
        must(pthread_create(&lookups->thread, NULL, host_lookups_main, lookups) == 0);
}

static inline void host_lookups_stop(struct host_lookups *lookups)
{
        __atomic_store_n(&lookups->stop, true, __ATOMIC_RELAXED);
        must(pthread_join(lookups->thread, NULL) == 0);
}

/* In a child. */
static inline void host_child_look(const struct host_copy *copy, struct lanemap_reader *reader)
{
        must(copy->contains(reader, "a", 1, 1) == 1);
        must(copy->poll(reader) >= 0);
        copy->detach(reader);
}

static inline void host_child_wait(pid_t pid)
{
        int status;

        must(pid > 0 && waitpid(pid, &status, 0) == pid);
        must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#endif
