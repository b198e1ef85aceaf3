/*
 * A writer and a reader at work, for programs that do something beside them: hostile.c,
 * namespaces.c, stopped_readers.c, foreign_owner.c.
 *
 * The stable keys have the same two ids from the first moment on; every other key has at most one
 * id, which tells whose it is. So any answer can be judged by whoever gets it, without a word from
 * the writer, and across its death.
 */
#ifndef LANEMAP_TESTS_COMPANION_H
#define LANEMAP_TESTS_COMPANION_H

#include <lanemap/writer.h>
#include <sys/types.h>

#include "common/order.h"
#include "crash_support.h"

#define COMPANION_SKIPPED 77 /* what meson takes for "skipped" */

/* In anonymous shared memory. */
struct companion {
        struct scratch scratch;
        gid_t gid;             /* of the objects, when run by root */
        uint64_t shared_bytes; /* shared_bytes_max of the writer; 0: the default */
        uint32_t stop_writer, stop_readers;
        uint32_t n_ups;     /* how many writers have come up */
        uint64_t n_batches; /* acknowledged */
        uint64_t n_refused; /* batches that found no room */
        uint64_t n_flushes, n_flips, n_flips_refused;
        uint64_t n_lookups;
        uint32_t n_wrong;
        char wrong[256]; /* the first */
};

struct companion *companion_new(const char *what);
/* Tells what went wrong, if anything did. Return: 0 nothing, 1 something. */
int companion_free(struct companion *companion);

void companion_wrong(struct companion *companion, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/*
 * Forks a process that runs fn and ends with its answer, or with this process. Nothing is left to
 * run at its end.
 */
pid_t companion_fork(int (*fn)(struct companion *companion), struct companion *companion);
/* Waits for one; anything but status 0 is wrong. */
void companion_join(struct companion *companion, pid_t pid, const char *what);
/* Ends one by force. */
void companion_kill(pid_t pid);

/* Waits until *counter >= least: at most 30 s, then it is wrong. */
void companion_wait_u32(struct companion *companion, const uint32_t *counter, uint32_t least,
                        const char *what);
void companion_wait_u64(struct companion *companion, const uint64_t *counter, uint64_t least,
                        const char *what);

/* Gives up all that root has. Return: 0, or a negative errno. */
int companion_drop(uid_t uid, gid_t gid);

/* Whether there are two users, and a directory for shared objects that both may write to: root may
 * become others. If not, says so. */
bool companion_two_users(struct companion *companion, uid_t uid, gid_t gid);

/* For companion_fork(): applies until stop_writer, with flushes and flips, then closes. */
int companion_writer(struct companion *companion);

/* One lookup of everything that can be judged, or what is wrong, told. */
void companion_look(struct companion *companion, struct lanemap_reader *reader, uint32_t round);

/* Attaches, or tells why not and answers NULL. directory may be NULL. */
struct lanemap_reader *companion_attach(struct companion *companion, const char *directory);

/* Attaches and looks until stop_readers. Return: an exit status. */
int companion_reader(struct companion *companion);

/* Opens the index in this process, compares, closes. */
void companion_verify(struct companion *companion);

#endif
