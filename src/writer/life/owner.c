/* The explanation of an open that another user's file refused: its name, its owner, the remedy. */
#include "writer/life/life.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/owner.h"

/* An object of this name, lanemap.NAME or lanemap.NAME.*, that is another user's. */
static bool object_of_another(const char *name, char *room, size_t room_bytes, uid_t *ret_uid)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        const struct dirent *entry;
        DIR *dir = opendir(LANEMAP_SHM_DIRECTORY);
        bool found = false;
        struct stat st;
        size_t n;

        if (!dir)
                return false;

        lanemap_shm_control_name(name, object);
        n = strlen(object);
        while (!found && (entry = readdir(dir))) {
                if (strncmp(entry->d_name, object, n) != 0 ||
                    (entry->d_name[n] != '\0' && entry->d_name[n] != '.') ||
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    st.st_uid == geteuid())
                        continue;
                snprintf(room, room_bytes, "%s", entry->d_name);
                *ret_uid = st.st_uid;
                found = true;
        }
        closedir(dir);
        return found;
}

void lanemap_engine_owner_explain(const struct lanemap_writer *writer, int r)
{
        struct lanemap_error *error = writer->options.error;
        char object[256], theirs[32], ours[32];
        uid_t uid;

        if (!error || (r != -EACCES && r != -EPERM))
                return;

        /* It is opened after the directory is ours. */
        if (writer->place.shm_dir_fd < 0)
                (void)lanemap_owner_explain(writer->options.directory, error->text,
                                            sizeof(error->text));
        else if (object_of_another(writer->identity.name, object, sizeof(object), &uid))
                snprintf(error->text, sizeof(error->text),
                         "%s/%.100s belongs to %s, and this process is %s: that user publishes "
                         "the name %s, or did. If no writer of that user runs: lanemap remove %s, "
                         "as that user or as root",
                         LANEMAP_SHM_DIRECTORY, object, lanemap_owner_describe(uid, theirs),
                         lanemap_owner_describe(geteuid(), ours), writer->identity.name,
                         writer->identity.name);
        else
                (void)lanemap_owner_explain(writer->identity.directory, error->text,
                                            sizeof(error->text));
}
