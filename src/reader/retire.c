/*
 * Retiring: memory that a guard may still look at waits on a list of its reader (J1). The two locks
 * of the read side and the fork hooks that take them stand here too (J2, J3).
 */
#include "reader/private.h"

#include "common/guard.h"

static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
/* Held while retired memory is released, and by fork(): a child's list equals the parent's. */
static pthread_mutex_t release_lock = PTHREAD_MUTEX_INITIALIZER;

void lanemap_reader_lock(void)
{
        pthread_mutex_lock(&slow_lock);
}

void lanemap_reader_unlock(void)
{
        pthread_mutex_unlock(&slow_lock);
}

static void fork_prepare(void)
{
        pthread_mutex_lock(&release_lock);
        pthread_mutex_lock(&slow_lock);
}

static void fork_parent(void)
{
        pthread_mutex_unlock(&slow_lock);
        pthread_mutex_unlock(&release_lock);
}

/* R6, J3. */
static void fork_child(void)
{
        lanemap_guard_fork_child();
        pthread_mutex_unlock(&slow_lock);
        pthread_mutex_unlock(&release_lock);
}

/*
 * When the code is loaded, not when it is first used: hooks that were registered first run last
 * before a fork. So a program's own hook takes its lock before ours are taken, as a thread does
 * that calls us with that lock held.
 */
__attribute__((constructor)) static void fork_hooks_install(void)
{
        (void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void lanemap_reader_retire(struct lanemap_reader *reader, struct reader_retired *retired)
{
        retired->stamp = lanemap_guard_stamp();
        retired->next = reader->retired;
        lanemap_store_relaxed(&reader->retired, retired);
}

/* Under the lock: what was retired and is stamped no later than the horizon. */
static struct reader_retired *retired_take(struct lanemap_reader *reader, uint64_t horizon)
{
        struct reader_retired *taken = NULL, *kept = NULL;

        for (struct reader_retired *item = reader->retired, *next; item; item = next) {
                struct reader_retired **list = item->stamp <= horizon ? &taken : &kept;

                next = item->next;
                item->next = *list;
                *list = item;
        }

        lanemap_store_relaxed(&reader->retired, kept);
        return taken;
}

/* Under the release lock. */
static void retired_release(struct lanemap_reader *reader, uint64_t horizon)
{
        struct reader_retired *list;

        lanemap_reader_lock();
        list = retired_take(reader, horizon);
        lanemap_reader_unlock();
        while (list) {
                struct reader_retired *next = list->next;

                list->release(list);
                list = next;
        }
}

void lanemap_reader_drain(struct lanemap_reader *reader)
{
        if (!lanemap_load_relaxed(&reader->retired) || pthread_mutex_trylock(&release_lock) != 0)
                return;

        retired_release(reader, lanemap_guard_horizon());
        pthread_mutex_unlock(&release_lock);
}

/* No call on this reader is running, and no view of it is open: nobody looks. */
void lanemap_reader_retired_release(struct lanemap_reader *reader)
{
        pthread_mutex_lock(&release_lock);
        retired_release(reader, UINT64_MAX);
        pthread_mutex_unlock(&release_lock);
}
