/* See small_room.h. */
#include "small_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool room_private(void)
{
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
                printf("skipped: no mount namespaces here\n");
                return false;
        }

        (void)unsetenv("TMPDIR");
        setlinebuf(stdout);
        return true;
}

int room_mount(const char *at, const char *options)
{
        return mount("tmpfs", at, "tmpfs", 0, options) < 0 ? -errno : 0;
}

void room_fill(const char *path)
{
        static const char zeros[512];
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

        must(fd >= 0);
        while (write(fd, zeros, sizeof(zeros)) > 0)
                ;
        must(errno == ENOSPC);
        close(fd);
}

void room_print(void)
{
        DIR *dir = opendir("/dev/shm");
        const struct dirent *entry;
        struct statvfs fs;
        char line[512];
        FILE *maps = fopen("/proc/self/maps", "re");

        must(dir && maps && statvfs("/dev/shm", &fs) == 0);
        printf("/dev/shm: %" PRIu64 " of %" PRIu64 " bytes are free\n",
               (uint64_t)(fs.f_bavail * fs.f_frsize), (uint64_t)(fs.f_blocks * fs.f_frsize));
        while ((entry = readdir(dir))) {
                struct stat st;

                if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISREG(st.st_mode))
                        printf("%10" PRIu64 " bytes: %s\n", (uint64_t)st.st_blocks * 512,
                               entry->d_name);
        }
        while (fgets(line, sizeof(line), maps))
                if (strstr(line, "/dev/shm/"))
                        printf("mapped: %s", line);
        (void)fclose(maps);
        closedir(dir);
}

void spare_await(const char *name)
{
        uint64_t until_ns = now_ns() + UINT64_C(10000000000);
        char path[160];
        struct stat st;

        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.spare", name);
        while (stat(path, &st) < 0 && now_ns() < until_ns)
                (void)usleep(10000);
        if (stat(path, &st) < 0) {
                printf("no spare object: there is no room for it, or nobody makes it\n");
                room_print();
                abort();
        }
}
