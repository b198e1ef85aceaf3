/* See lock.h. */
#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/error.h"

/* The locks of this process, for its children to let go of. A lock lives as long as any descriptor
 * of its open file does, in whatever process. */
#define LOCKS_MAX 64

/* The file of a lock may be removed so often while it is being taken. */
#define REMOVALS_MAX 100

static pthread_once_t locks_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t locks_mutex = PTHREAD_MUTEX_INITIALIZER;
static int locks_fds[LOCKS_MAX];
static size_t n_locks;

static void locks_before_fork(void)
{
        pthread_mutex_lock(&locks_mutex);
}

static void locks_after_fork_parent(void)
{
        pthread_mutex_unlock(&locks_mutex);
}

static void locks_after_fork_child(void)
{
        while (n_locks > 0)
                close(locks_fds[--n_locks]);
        pthread_mutex_unlock(&locks_mutex);
}

static void locks_init(void)
{
        pthread_atfork(locks_before_fork, locks_after_fork_parent, locks_after_fork_child);
}

/* Descriptors are opened and closed between locks_begin() and locks_end(): a fork in between would
 * copy one that the child does not know of. */
static void locks_begin(void)
{
        pthread_once(&locks_once, locks_init);
        pthread_mutex_lock(&locks_mutex);
}

static void locks_end(void)
{
        pthread_mutex_unlock(&locks_mutex);
}

static int locks_add(int fd)
{
        if (n_locks == LOCKS_MAX)
                return -EMFILE;

        locks_fds[n_locks++] = fd;
        return 0;
}

/* Return: true if it was there: not in a child that has closed it. */
static bool locks_remove(int fd)
{
        for (size_t i = 0; i < n_locks; i++)
                if (locks_fds[i] == fd) {
                        locks_fds[i] = locks_fds[--n_locks];
                        return true;
                }

        return false;
}

/* File systems whose locks and syncs end somewhere else. Values that linux/magic.h does not have
 * are from statfs(2). */
static const struct {
        unsigned long magic;
        const char *name;
} remote_file_systems[] = {
        {NFS_SUPER_MAGIC, "NFS"},     {SMB_SUPER_MAGIC, "SMB"},   {0xff534d42, "CIFS"},
        {0xfe534d42, "SMB2"},         {FUSE_SUPER_MAGIC, "FUSE"}, {V9FS_MAGIC, "9P"},
        {CEPH_SUPER_MAGIC, "Ceph"},   {AFS_SUPER_MAGIC, "AFS"},   {CODA_SUPER_MAGIC, "Coda"},
        {OCFS2_SUPER_MAGIC, "OCFS2"}, {0x01161970, "GFS2"},       {0x0bd00bd0, "Lustre"},
        {0x47504653, "GPFS"},
};

static const char *remote_file_system(int fd)
{
        struct statfs status;

        if (fstatfs(fd, &status) < 0)
                return NULL;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(remote_file_systems); i++)
                if (((unsigned long)status.f_type & 0xffffffff) == remote_file_systems[i].magic)
                        return remote_file_systems[i].name;

        return NULL;
}

/* So that the directory that was just made is still there after a crash of the machine. */
static int sync_parent(const char *path)
{
        char *parent = lanemap_strdup(path);
        char *slash;
        int fd, r = 0;

        if (!parent)
                return -ENOMEM;

        slash = strrchr(parent, '/');
        while (slash && slash[1] == 0 && slash > parent) {
                *slash = 0;
                slash = strrchr(parent, '/');
        }
        if (slash)
                slash[slash == parent] = 0;

        fd = open(slash ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
                r = -errno;
        if (fd >= 0)
                close(fd);
        lanemap_free(parent);
        return r;
}

int lanemap_store_check_directory(int fd, const char *path, struct lanemap_error *error)
{
        const char *remote = remote_file_system(fd);

        if (!remote)
                return 0;
        return lanemap_store_error(error, -EOPNOTSUPP,
                                   "%s is on %s: neither locks nor syncs can be relied on "
                                   "there; use a local disk",
                                   path, remote);
}

int lanemap_store_open_directory(const char *path, bool create, int *ret_dir_fd,
                                 struct lanemap_error *error)
{
        bool created = false;
        int fd, r;

        if (create) {
                created = mkdir(path, 0750) == 0;
                if (!created && errno != EEXIST)
                        return lanemap_store_error(error, -errno, "%s: cannot be created: %s", path,
                                                   strerror(errno));
        }

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return lanemap_store_error(error, -errno, "%s: cannot be opened: %s", path,
                                           strerror(errno));

        r = lanemap_store_check_directory(fd, path, error);
        if (r < 0) {
                close(fd);
                return r;
        }

        r = created ? sync_parent(path) : 0;
        if (r < 0) {
                close(fd);
                return lanemap_store_error(error, r, "%s: its parent cannot be synced: %s", path,
                                           strerror(-r));
        }

        *ret_dir_fd = fd;
        return 0;
}

/*
 * The maker of the lock file may replace it, and every user that may open it can hold it: so it is
 * ours (or belongs to the directory's owner, as for root in a service's directory), and 0600.
 */
static int lock_file_check(int dir_fd, int fd, const char *name, struct lanemap_error *error)
{
        struct stat st, dir;

        if (fstat(fd, &st) < 0 || fstat(dir_fd, &dir) < 0)
                return lanemap_store_error(error, -errno, "%s: %s", name, strerror(errno));
        if (!S_ISREG(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != dir.st_uid))
                return lanemap_store_error(error, -EPERM,
                                           "%s was made by another user (uid %u), who could hold "
                                           "or replace it: remove it, if no writer of that user is "
                                           "running",
                                           name, (unsigned)st.st_uid);
        if ((st.st_mode & 077) && fchmod(fd, 0600) < 0)
                return lanemap_store_error(error, -errno, "%s: others may open it: %s", name,
                                           strerror(errno));

        return 0;
}

/* A lock on a file that was removed since it was opened keeps nobody out. */
static bool lock_is_named(int dir_fd, int fd, const char *name)
{
        struct stat held, named;

        return fstat(fd, &held) == 0 && fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
               held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

/* Return: 0; -EBUSY another process holds it; -ESTALE the file is not the one of that name any
 * more; or a negative errno. */
static int lock_set(int dir_fd, int fd, const char *name)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int r;

        r = fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : locks_add(fd);
        if (r == -EAGAIN || r == -EACCES)
                return -EBUSY;
        if (r == 0 && !lock_is_named(dir_fd, fd, name)) {
                locks_remove(fd);
                return -ESTALE;
        }
        return r;
}

static int lock_claim(const struct lanemap_files *files, int dir_fd, const char *name,
                      int *ret_lock_fd, struct lanemap_error *error)
{
        int fd, r;

        fd = files->open(files, dir_fd, name, O_RDWR | O_CREAT, 0600);
        if (fd < 0)
                return lanemap_store_error(error, fd, "%s: the lock file cannot be opened: %s",
                                           name, strerror(-fd));

        r = lock_file_check(dir_fd, fd, name, error);
        if (r < 0) {
                files->close(files, fd);
                return r;
        }

        r = lock_set(dir_fd, fd, name);
        if (r == 0) {
                *ret_lock_fd = fd;
                return 0;
        }

        files->close(files, fd);
        if (r == -EBUSY)
                return lanemap_store_error(error, -EBUSY,
                                           "%s is held by another process: another writer is "
                                           "running",
                                           name);
        return lanemap_store_error(error, r, "%s: cannot be locked: %s", name, strerror(-r));
}

int lanemap_store_lock(const struct lanemap_files *files, int dir_fd, const char *name,
                       int *ret_lock_fd, struct lanemap_error *error)
{
        int r = -ESTALE;

        locks_begin();
        for (int i = 0; i < REMOVALS_MAX && r == -ESTALE; i++)
                r = lock_claim(files, dir_fd, name, ret_lock_fd, error);
        locks_end();
        return r;
}

int lanemap_store_lock_found(const struct lanemap_files *files, int dir_fd, const char *name,
                             int *ret_lock_fd)
{
        int fd, r;

        locks_begin();
        fd = files->open(files, dir_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK, 0);
        r = fd < 0 ? fd : lock_set(dir_fd, fd, name);
        if (r == 0)
                *ret_lock_fd = fd;
        else if (fd >= 0)
                files->close(files, fd);
        locks_end();
        return r == -ESTALE ? -ENOENT : r;
}

void lanemap_store_unlock(const struct lanemap_files *files, int lock_fd)
{
        if (lock_fd < 0)
                return;

        locks_begin();
        if (locks_remove(lock_fd))
                files->close(files, lock_fd);
        locks_end();
}
