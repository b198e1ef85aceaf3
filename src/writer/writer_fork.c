/*
 * Fork in a program that embeds the writer. An OFD lock lives as long as any copy of its
 * descriptor, so a forked child that kept them would keep a dead writer's locks; it closes them at
 * once. Nothing else of the engine works in the child: its threads are gone and the shared memory
 * is not mapped there.
 */
#include "writer/writer_private.h"

#include <unistd.h>

#include "common/rcu.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
static struct lanemap_writer *registry;

static void fork_prepare(void)
{
        pthread_mutex_lock(&registry_lock);
}

static void fork_parent(void)
{
        pthread_mutex_unlock(&registry_lock);
}

static void fork_child(void)
{
        for (struct lanemap_writer *writer = registry; writer; writer = writer->next_registered) {
                if (writer->lock_fd >= 0)
                        close(writer->lock_fd);
                if (writer->name_lock_fd >= 0)
                        close(writer->name_lock_fd);
                writer->lock_fd = writer->name_lock_fd = -1;
        }
        pthread_mutex_unlock(&registry_lock);
}

static void hooks_install(void)
{
        (void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void lanemap_writer_register(struct lanemap_writer *writer)
{
        pthread_once(&hooks_once, hooks_install);
        pthread_mutex_lock(&registry_lock);
        writer->next_registered = registry;
        registry = writer;
        pthread_mutex_unlock(&registry_lock);
}

void lanemap_writer_unregister(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&registry_lock);
        for (struct lanemap_writer **link = &registry; *link; link = &(*link)->next_registered)
                if (*link == writer) {
                        *link = writer->next_registered;
                        break;
                }
        pthread_mutex_unlock(&registry_lock);
}
