/* See owner.h. Errors have numbers, not names: asking for a name may load other people's code, and
 * an embedding program may hear them. */
#include "common/owner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int lanemap_owner_become(const char *directory, uid_t *ret_uid)
{
        const struct passwd *user;
        struct stat st;

        if (geteuid() != 0 || stat(directory, &st) < 0 || st.st_uid == 0)
                return 0;

        /* The user last: it is what the others need. */
        user = getpwuid(st.st_uid);
        if ((user ? initgroups(user->pw_name, st.st_gid) : setgroups(0, NULL)) < 0 ||
            setresgid(st.st_gid, st.st_gid, st.st_gid) < 0 ||
            setresuid(st.st_uid, st.st_uid, st.st_uid) < 0)
                return -errno;

        *ret_uid = st.st_uid;
        return 1;
}

const char *lanemap_owner_describe(uid_t uid, char room[32])
{
        snprintf(room, 32, uid == 0 ? "root (uid %u)" : "uid %u", (unsigned)uid);
        return room;
}

/* The first entry that is another user's than the directory. */
static bool foreign_find(const char *directory, uid_t owner, char *room, size_t room_bytes,
                         uid_t *ret_uid)
{
        const struct dirent *entry;
        DIR *dir = opendir(directory);
        bool found = false;
        struct stat st;

        if (!dir)
                return false;

        while (!found && (entry = readdir(dir)))
                if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    st.st_uid != owner && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) &&
                    (entry->d_name[0] != '.')) {
                        snprintf(room, room_bytes, "%s", entry->d_name);
                        *ret_uid = st.st_uid;
                        found = true;
                }
        closedir(dir);
        return found;
}

bool lanemap_owner_explain(const char *directory, char *room, size_t room_bytes)
{
        char name[256], theirs[32], ours[32];
        struct stat st;
        uid_t uid;

        if (stat(directory, &st) < 0)
                return false;

        if (foreign_find(directory, st.st_uid, name, sizeof(name), &uid)) {
                snprintf(room, room_bytes,
                         "%.200s/%.80s belongs to %s, the directory to %s: as root, chown -R "
                         "--from=%u %u:%u %.200s",
                         directory, name, lanemap_owner_describe(uid, theirs),
                         lanemap_owner_describe(st.st_uid, ours), (unsigned)uid,
                         (unsigned)st.st_uid, (unsigned)st.st_gid, directory);
                return true;
        }
        if (st.st_uid != geteuid() &&
            faccessat(AT_FDCWD, directory, R_OK | W_OK | X_OK, AT_EACCESS) < 0) {
                snprintf(room, room_bytes,
                         "%.300s belongs to %s, and this process is %s: run it as that user",
                         directory, lanemap_owner_describe(st.st_uid, theirs),
                         lanemap_owner_describe(geteuid(), ours));
                return true;
        }

        return false;
}
