/*
 * A backup by a running writer, into a directory of this process: the writer may have another root,
 * a /tmp of its own, or no right to be here, so it gets an open directory and no name to look for.
 *
 *      DEST                    0700 and ours: nobody else comes past it
 *      DEST/incomplete         0777: the writer's user makes its files here, by the descriptor
 *
 * When the writer has answered, the files move into DEST, the manifest last (BK1 in
 * verify/copy.h): until then DEST is no index.
 */
#include "backup_socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load/load.h"
#include "store/manifest_format.h"
#include "store/lock.h"
#include "tool.h"

#define INNER "incomplete"

struct destination {
        const char *path;
        bool made;
        mode_t mode; /* as it was */
        int fd, inner_fd;
};

static int failed(const char *path, const char *what, int r)
{
        lanemap_tool_say("no backup was made: %s: %s%s", path, what, strerror(-r));
        return r;
}

static bool is_empty(int fd)
{
        int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = own < 0 ? NULL : fdopendir(own);
        const struct dirent *entry;
        bool empty = dir;

        while (empty && (entry = readdir(dir)))
                empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (dir)
                closedir(dir);
        else if (own >= 0)
                close(own);
        return empty;
}

static int inner_make(struct destination *to)
{
        if (mkdirat(to->fd, INNER, 0700) < 0)
                return -errno;
        to->inner_fd = openat(to->fd, INNER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return to->inner_fd < 0 || fchmod(to->inner_fd, 0777) < 0 ? -errno : 0;
}

static int destination_open(struct destination *to, const char *path)
{
        struct lanemap_error error = {.text = ""};
        struct stat st;
        int r;

        *to = (struct destination){.path = path, .made = stat(path, &st) < 0, .inner_fd = -1};
        r = lanemap_store_open_directory(path, true, &to->fd, &error);
        if (r < 0) {
                lanemap_tool_say("no backup was made: %s",
                                 error.text[0] ? error.text : strerror(-r));
                return r;
        }
        if (!is_empty(to->fd)) {
                close(to->fd);
                return failed(path, "", -ENOTEMPTY);
        }

        to->mode = fstat(to->fd, &st) < 0 ? 0700 : st.st_mode & 07777;
        r = fchmod(to->fd, 0700) < 0 ? -errno : inner_make(to);
        if (r < 0) {
                failed(path, "", r);
                if (to->made)
                        (void)rmdir(path);
                close(to->fd);
        }
        return r;
}

/* Calls fn() for the name of each file. Return: 0 or the first that is not. */
static int inner_each(const struct destination *to,
                      int (*fn)(const struct destination *to, const char *name))
{
        int own = openat(to->inner_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
        DIR *dir = own < 0 ? NULL : fdopendir(own);
        const struct dirent *entry;

        if (!dir)
                return -errno;
        while (r == 0 && (entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        r = fn(to, entry->d_name);
        closedir(dir);
        return r;
}

static int file_remove(const struct destination *to, const char *name)
{
        return unlinkat(to->inner_fd, name, 0) < 0 ? -errno : 0;
}

static int file_move(const struct destination *to, const char *name)
{
        return renameat(to->inner_fd, name, to->fd, name) < 0 ? -errno : 0;
}

static int file_move_but_manifest(const struct destination *to, const char *name)
{
        return strcmp(name, LANEMAP_MANIFEST_NAME) == 0 ? 0 : file_move(to, name);
}

static int files_move(const struct destination *to)
{
        int r;

        if (faccessat(to->inner_fd, LANEMAP_MANIFEST_NAME, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
                return -ENOENT;
        r = inner_each(to, file_move_but_manifest);
        if (r == 0 && fsync(to->fd) < 0)
                r = -errno;
        if (r == 0)
                r = file_move(to, LANEMAP_MANIFEST_NAME);
        if (r == 0 && unlinkat(to->fd, INNER, AT_REMOVEDIR) < 0)
                r = -errno;
        if (r == 0 && fsync(to->fd) < 0)
                r = -errno;
        return r;
}

static void destination_abandon(const struct destination *to)
{
        (void)inner_each(to, file_remove);
        (void)unlinkat(to->fd, INNER, AT_REMOVEDIR);
        if (to->made)
                (void)rmdir(to->path);
}

/* For the writer's log and answers only: it does not look for it. */
static void path_make(const char *destination, char path[2 * PATH_MAX])
{
        char here[PATH_MAX];

        if (destination[0] == '/' || !getcwd(here, sizeof(here)))
                snprintf(path, 2 * PATH_MAX, "%s", destination);
        else
                snprintf(path, 2 * PATH_MAX, "%s/%s", here, destination);
        path[PATH_MAX - 1] = '\0';
}

int lanemap_tool_backup_socket(const char *socket, const char *destination)
{
        const char *words[] = {"LANEMAP.BACKUP", NULL, "DESCRIPTOR"};
        char path[2 * PATH_MAX];
        struct destination to;
        int r;

        path_make(destination, path);
        words[1] = path;
        r = destination_open(&to, destination);
        if (r < 0)
                return r;

        r = lanemap_load_socket_command(socket, words, 3, to.inner_fd);
        if (r == 0) {
                r = files_move(&to);
                if (r < 0)
                        failed(destination, "the writer has made one, which is not all here: ", r);
        }
        if (r < 0)
                destination_abandon(&to);
        if (!to.made && fchmod(to.fd, to.mode) < 0 && r == 0)
                r = failed(destination, "", -errno);
        close(to.inner_fd);
        close(to.fd);
        return r;
}
