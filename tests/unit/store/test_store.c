/* The data directory: its lock, what it may be on, and what is garbage in it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/manifest_read.h"
#include "store/garbage.h"
#include "store/lock.h"

TestSuite(store, .timeout = 60);

static char parent[64];
static char path[80];
static int dir_fd;

static void directory_init(void)
{
        struct lanemap_error error;

        snprintf(parent, sizeof(parent), "/tmp/lanemap-store-XXXXXX");
        cr_assert(mkdtemp(parent));
        snprintf(path, sizeof(path), "%s/data/", parent);
        cr_assert_eq(lanemap_store_open_directory(path, false, &dir_fd, &error), -ENOENT);
        cr_expect(strstr(error.text, path), "%s", error.text);
        cr_assert_eq(lanemap_store_open_directory(path, true, &dir_fd, &error), 0, "%s",
                     error.text);
}

static void directory_deinit(void)
{
        char command[128];

        close(dir_fd);
        snprintf(command, sizeof(command), "rm -r %s", parent);
        cr_assert_eq(system(command), 0);
}

static void touch(const char *name)
{
        int fd = openat(dir_fd, name, O_CREAT | O_WRONLY, 0600);

        cr_assert_geq(fd, 0);
        close(fd);
}

Test(store, a_new_directory_is_private)
{
        struct stat status;
        int again;

        directory_init();
        cr_assert_eq(fstat(dir_fd, &status), 0);
        cr_expect_eq(status.st_mode & 07777 & 027, 0);
        cr_expect_eq(fcntl(dir_fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
        cr_assert_eq(lanemap_store_open_directory(path, true, &again, NULL), 0);
        close(again);
        touch("file");
        snprintf(path, sizeof(path), "%s/data/file", parent);
        cr_expect_eq(lanemap_store_open_directory(path, true, &again, NULL), -ENOTDIR);
        directory_deinit();
}

static int lock(int *ret_fd, struct lanemap_error *error)
{
        return lanemap_store_lock(&lanemap_files_posix, dir_fd, LANEMAP_STORE_LOCK_NAME, ret_fd,
                                  error);
}

Test(store, one_writer_at_a_time)
{
        struct lanemap_error error;
        struct stat status;
        int first, second;

        directory_init();
        cr_assert_eq(lock(&first, &error), 0, "%s", error.text);
        cr_assert_eq(fstatat(dir_fd, LANEMAP_STORE_LOCK_NAME, &status, 0), 0);
        cr_expect_eq(status.st_mode & 07777, 0600);
        cr_expect_eq(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);

        /* In the same process too: what POSIX record locks would not notice. */
        cr_expect_eq(lock(&second, &error), -EBUSY);
        cr_expect(strstr(error.text, "another writer"), "%s", error.text);
        lanemap_store_unlock(&lanemap_files_posix, first);
        cr_assert_eq(lock(&second, &error), 0);
        lanemap_store_unlock(&lanemap_files_posix, second);
        lanemap_store_unlock(&lanemap_files_posix, -1);
        cr_expect_eq(fstatat(dir_fd, LANEMAP_STORE_LOCK_NAME, &status, 0), 0, "never unlinked");
        directory_deinit();
}

/* W1: released by the death of the holder, although a child of its own lives on. */
Test(store, the_lock_dies_with_its_holder_and_not_with_its_children)
{
        int ready[2], fd, status, r = -1;
        pid_t holder, child;

        directory_init();
        cr_assert_eq(pipe(ready), 0);
        holder = fork();
        cr_assert_geq(holder, 0);
        if (holder == 0) {
                if (lock(&fd, NULL) != 0)
                        _exit(1);
                child = fork();
                if (child == 0) {
                        lanemap_store_unlock(&lanemap_files_posix, fd); /* no longer its own */
                        for (;;)
                                pause();
                }
                if (write(ready[1], &child, sizeof(child)) != sizeof(child))
                        _exit(1);
                for (;;)
                        pause();
        }
        cr_assert_eq(read(ready[0], &child, sizeof(child)), (ssize_t)sizeof(child));
        cr_expect_eq(lock(&fd, NULL), -EBUSY);
        kill(holder, SIGKILL);
        waitpid(holder, &status, 0);

        /* The child is not ours to wait for; its copy of the lock is closed before fork() returns
         * there, which may be a moment from now. */
        for (int i = 0; i < 1000 && (r = lock(&fd, NULL)) != 0; i++)
                usleep(1000);
        cr_assert_eq(r, 0);
        cr_expect_eq(kill(child, 0), 0, "the child is alive");
        cr_assert_eq(lock(&status, NULL), -EBUSY);
        lanemap_store_unlock(&lanemap_files_posix, fd);
        kill(child, SIGKILL);
        close(ready[0]);
        close(ready[1]);
        directory_deinit();
}

/* ---- a lock file that is removed while it is being taken ---- */

static int n_removals;

static int open_and_remove(const struct lanemap_files *files, int at_fd, const char *name,
                           int flags, mode_t mode)
{
        int fd = lanemap_files_posix.open(&lanemap_files_posix, at_fd, name, flags, mode);

        if (fd >= 0 && n_removals > 0) {
                n_removals--;
                cr_assert_eq(unlinkat(at_fd, name, 0), 0);
        }
        return fd;
}

/* W1, RM1: the lock that counts is on the file that has the name. */
Test(store, a_lock_is_on_the_file_that_has_its_name)
{
        struct lanemap_files files = lanemap_files_posix;
        int first, second;

        files.open = open_and_remove;
        directory_init();
        n_removals = 3;
        cr_assert_eq(lanemap_store_lock(&files, dir_fd, LANEMAP_STORE_LOCK_NAME, &first, NULL), 0);
        cr_expect_eq(n_removals, 0);
        cr_expect_eq(lock(&second, NULL), -EBUSY, "a second lock on the same name");
        cr_expect_eq(lanemap_store_lock_found(&files, dir_fd, LANEMAP_STORE_LOCK_NAME, &second),
                     -EBUSY);
        cr_assert_eq(unlinkat(dir_fd, LANEMAP_STORE_LOCK_NAME, 0), 0);
        cr_expect_eq(lanemap_store_lock_found(&files, dir_fd, LANEMAP_STORE_LOCK_NAME, &second),
                     -ENOENT);
        lanemap_store_unlock(&lanemap_files_posix, first);
        cr_assert_eq(lock(&second, NULL), 0);
        lanemap_store_unlock(&lanemap_files_posix, second);

        n_removals = 1000; /* by a loop of removals, say: an error, and no endless loop */
        cr_expect_eq(lanemap_store_lock(&files, dir_fd, LANEMAP_STORE_LOCK_NAME, &first, NULL),
                     -ESTALE);
        n_removals = 0;
        directory_deinit();
}

/* ---- a fork by another thread, at the worst moment ---- */

#define FORK_MS 200 /* that it is given; where it is held back it takes as long */

static struct {
        sem_t done;
        pthread_t thread;
        pid_t child;
        int ready[2];
} forking;

static void *fork_main(void *arg)
{
        forking.child = fork();
        if (forking.child == 0) {
                if (write(forking.ready[1], "", 1) != 1)
                        _exit(1);
                for (;;)
                        pause();
        }
        sem_post(&forking.done);
        return NULL;
}

static void fork_begin(void)
{
        struct timespec until;

        cr_assert_eq(pthread_create(&forking.thread, NULL, fork_main, NULL), 0);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += FORK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        (void)sem_timedwait(&forking.done, &until);
}

/* Behind it the child is there, and has let go of what it knows of. */
static void fork_end(void)
{
        char byte;

        cr_assert_eq(pthread_join(forking.thread, NULL), 0);
        cr_assert_gt(forking.child, 0);
        cr_assert_eq(read(forking.ready[0], &byte, 1), 1);
}

static void child_end(void)
{
        kill(forking.child, SIGKILL);
        waitpid(forking.child, NULL, 0);
        close(forking.ready[0]);
        close(forking.ready[1]);
        sem_destroy(&forking.done);
}

static int open_and_fork(const struct lanemap_files *files, int at_fd, const char *name, int flags,
                         mode_t mode)
{
        int fd = lanemap_files_posix.open(&lanemap_files_posix, at_fd, name, flags, mode);

        fork_begin();
        return fd;
}

static int fork_and_close(const struct lanemap_files *files, int fd)
{
        fork_begin();
        return lanemap_files_posix.close(&lanemap_files_posix, fd);
}

/* W1: no child keeps the lock, wherever between opening and closing it was made. */
Test(store, a_fork_by_another_thread_does_not_keep_the_lock)
{
        struct lanemap_files opening = lanemap_files_posix, closing = lanemap_files_posix;
        const struct lanemap_files *layers[] = {&opening, &closing};
        int fd;

        opening.open = open_and_fork;
        closing.close = fork_and_close;
        directory_init();
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(layers); i++) {
                cr_assert_eq(sem_init(&forking.done, 0, 0), 0);
                cr_assert_eq(pipe(forking.ready), 0);
                cr_assert_eq(
                        lanemap_store_lock(layers[i], dir_fd, LANEMAP_STORE_LOCK_NAME, &fd, NULL),
                        0);
                if (layers[i] == &opening)
                        fork_end();
                lanemap_store_unlock(layers[i], fd);
                if (layers[i] == &closing)
                        fork_end();
                cr_expect_eq(lock(&fd, NULL), 0, "layer %zu", i);
                lanemap_store_unlock(&lanemap_files_posix, fd);
                child_end();
        }
        directory_deinit();
}

Test(store, garbage_is_what_nothing_names)
{
        static const char *const ours[] = {"seg-0000000000000005-0101010101010101.lms",
                                           "log-0000000000000003.lml", "log-000000000000000a.lml",
                                           "manifest.json", "lock"};
        static const char *const not_ours[] = {"notes.txt", "seg-1.txt", "log-.lml",
                                               "log-000000000000000A.lml", "segments"};
        static const char *const garbage[] = {
                "log-0000000000000004.lml",
                "manifest.json.tmp",
                "seg-0000000000000005-0202020202020202.lms",
                "seg-0000000000000006-0101010101010101.lms",
                "seg-5.lms",
                "tmp-seg-0000000000000007",
        };
        struct lanemap_manifest_file file = {.number = 5, .n_sections = 1};
        struct lanemap_log_file log_files[] = {{.number = 3}, {.number = 10}};
        struct lanemap_manifest manifest;
        char **names;
        size_t n_names;

        directory_init();
        touch("notes.txt");
        touch("manifest.json.tmp");
        cr_expect_eq(lanemap_store_has_data(dir_fd), 0);
        cr_assert_eq(unlinkat(dir_fd, "manifest.json.tmp", 0), 0);
        cr_assert_eq(lanemap_manifest_init(4, &manifest), 0);
        memset(file.checksum, 1, sizeof(file.checksum));
        cr_assert_eq(lanemap_manifest_add_file(&manifest, &file), 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(ours); i++)
                touch(ours[i]);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(not_ours); i++)
                touch(not_ours[i]);
        cr_assert_eq(lanemap_store_list_garbage(dir_fd, &manifest, log_files, 2, &names, &n_names),
                     0);
        cr_expect_eq(n_names, 0);
        cr_expect_null(names);
        cr_expect_eq(lanemap_store_has_data(dir_fd), 1);

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(garbage); i++)
                touch(garbage[i]);
        cr_assert_eq(lanemap_store_list_garbage(dir_fd, &manifest, log_files, 2, &names, &n_names),
                     0);
        cr_assert_eq(n_names, LANEMAP_N_ELEMENTS(garbage));
        for (size_t i = 0; i < n_names; i++)
                cr_expect_str_eq(names[i], garbage[i]);
        lanemap_free(names);

        cr_assert_eq(lanemap_store_list_garbage(dir_fd, NULL, NULL, 0, &names, &n_names), 0);
        cr_expect_eq(n_names, LANEMAP_N_ELEMENTS(garbage) + 3);
        lanemap_free(names);
        lanemap_manifest_deinit(&manifest);
        directory_deinit();
}
