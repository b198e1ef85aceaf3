/* Moving damaged files to quarantine/: first a second name there, later the old name goes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "directory/repair_parts.h"

#define TRIES_MAX 1000

int lanemap_repair_quarantine(struct lanemap_repair *repair, const char *name)
{
        void *quarantined = lanemap_realloc(
                repair->quarantined, (repair->n_quarantined + 1) * sizeof(repair->quarantined[0]));

        if (!quarantined)
                return -ENOMEM;
        repair->quarantined = quarantined;
        snprintf(repair->quarantined[repair->n_quarantined++], sizeof(repair->quarantined[0]), "%s",
                 name);
        return 0;
}

static int quarantine_make(struct lanemap_repair *repair)
{
        const struct lanemap_files *files = repair->options->files;
        int r = files->make_directory(files, repair->dir_fd, LANEMAP_QUARANTINE_NAME, 0750);

        return r == -EEXIST ? 0 : r;
}

/* The names in it, and its own: whoever made them, they may not be durable yet. */
static int quarantine_sync(struct lanemap_repair *repair)
{
        const struct lanemap_files *files = repair->options->files;
        int fd, r;

        fd = openat(repair->dir_fd, LANEMAP_QUARANTINE_NAME, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = files->sync_directory(files, fd);
        close(fd);
        return r < 0 ? r : files->sync_directory(files, repair->dir_fd);
}

static bool same_file(int dir_fd, const char *a, const char *b)
{
        struct stat x, y;

        return fstatat(dir_fd, a, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
               fstatat(dir_fd, b, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_ino == y.st_ino &&
               x.st_dev == y.st_dev;
}

/* A name that is taken by another file gets a number at its end. */
int lanemap_repair_link(struct lanemap_repair *repair, const char *name)
{
        const struct lanemap_files *files = repair->options->files;
        char target[128];
        int r = quarantine_make(repair);

        if (r < 0)
                return r;

        for (uint32_t i = 0; i < TRIES_MAX; i++) {
                if (i == 0)
                        snprintf(target, sizeof(target), LANEMAP_QUARANTINE_NAME "/%s", name);
                else
                        snprintf(target, sizeof(target), LANEMAP_QUARANTINE_NAME "/%s.%u", name, i);
                r = files->link(files, repair->dir_fd, name, repair->dir_fd, target);
                if (r == -ENOENT)
                        return 0; /* it was moved before, or is missing */
                if (r == 0 || (r == -EEXIST && same_file(repair->dir_fd, name, target)))
                        return quarantine_sync(repair);
                if (r != -EEXIST)
                        return r;
        }

        return -EEXIST;
}

int lanemap_repair_link_all(struct lanemap_repair *repair)
{
        int r = 0;

        for (size_t i = 0; i < repair->n_quarantined && r == 0; i++)
                r = lanemap_repair_link(repair, repair->quarantined[i]);

        return r;
}

int lanemap_repair_unlink_all(struct lanemap_repair *repair)
{
        const struct lanemap_files *files = repair->options->files;
        int r = 0;

        for (size_t i = 0; i < repair->n_quarantined && r == 0; i++) {
                r = files->unlink(files, repair->dir_fd, repair->quarantined[i]);
                if (r == -ENOENT)
                        r = 0;
        }

        return r;
}
