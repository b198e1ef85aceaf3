/* See memory_limit.h. The files are those of cgroups(7) and proc(5). */
#include "daemon/loop/memory_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 512

/* Version 1 says "no limit" with the largest multiple of a page. */
#define NO_LIMIT_MIN (UINT64_C(1) << 62)

static const char *const version_1_files[] = {"memory.limit_in_bytes", NULL};
static const char *const version_2_files[] = {"memory.max", "memory.high", NULL};

/* What one line of mountinfo says. */
struct mount {
        char root[PATH_BYTES];
        char point[PATH_BYTES];
        bool is_v1; /* with the memory controller */
        bool is_v2;
};

/* A list of words with commas between. */
static bool list_has(const char *list, const char *word)
{
        size_t n = strlen(word);

        for (const char *at = list; at; at = strchr(at, ',')) {
                at += *at == ',';
                if (strncmp(at, word, n) == 0 && (at[n] == ',' || at[n] == '\0' || at[n] == '\n'))
                        return true;
        }
        return false;
}

/* \040 and the like. */
static void unescape(char *text)
{
        char *to = text;

        for (const char *from = text; *from; to++) {
                if (from[0] == '\\' && from[1] && from[2] && from[3]) {
                        *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
                        from += 4;
                } else {
                        *to = *from++;
                }
        }
        *to = '\0';
}

static bool mount_parse(const char *line, struct mount *ret_mount)
{
        char type[32], options[PATH_BYTES];
        const char *rest = strstr(line, " - ");

        if (!rest || sscanf(rest, " - %31s %*s %511s", type, options) != 2 ||
            sscanf(line, "%*s %*s %*s %511s %511s", ret_mount->root, ret_mount->point) != 2)
                return false;

        ret_mount->is_v2 = strcmp(type, "cgroup2") == 0;
        ret_mount->is_v1 = strcmp(type, "cgroup") == 0 && list_has(options, "memory");
        unescape(ret_mount->root);
        unescape(ret_mount->point);
        return ret_mount->is_v1 || ret_mount->is_v2;
}

/* The process's group of one version, as the kernel names it. Return: whether it is in one. */
static bool group_find(const char *proc, bool is_v1, char *ret_path)
{
        char name[PATH_BYTES], line[2 * PATH_BYTES];
        bool found = false;
        FILE *file;

        snprintf(name, sizeof(name), "%s/cgroup", proc);
        file = fopen(name, "re");
        while (file && !found && fgets(line, sizeof(line), file)) {
                char *controllers = strchr(line, ':');
                char *path = controllers ? strchr(controllers + 1, ':') : NULL;

                if (!path)
                        continue;
                *path++ = '\0';
                path[strcspn(path, "\n")] = '\0';
                controllers++;
                found = is_v1 ? list_has(controllers, "memory") : !*controllers;
                if (found)
                        snprintf(ret_path, PATH_BYTES, "%s", path);
        }
        if (file)
                fclose(file);
        return found;
}

static void limit_take(const char *directory, const char *name, struct lanemap_memory_limit *limit)
{
        char path[sizeof(limit->file)], text[32] = {0};
        uint64_t bytes;
        int fd;

        if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) >= sizeof(path))
                return;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return;
        if (read(fd, text, sizeof(text) - 1) > 0 && text[0] >= '0' && text[0] <= '9') {
                bytes = strtoull(text, NULL, 10);
                if (bytes < NO_LIMIT_MIN && bytes < limit->bytes) {
                        limit->bytes = bytes;
                        memcpy(limit->file, path, sizeof(path));
                }
        }
        close(fd);
}

/* The group's directory, and those above it, to the mount point. A group that the mount does not
 * show (that of another namespace) is its root. */
static void mount_walk(const struct mount *mount, const char *root, const char *group,
                       struct lanemap_memory_limit *limit)
{
        const char *const *names = mount->is_v1 ? version_1_files : version_2_files;
        size_t n_root = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root), n_point;
        char directory[3 * PATH_BYTES];

        n_point = (size_t)snprintf(directory, sizeof(directory), "%s%s", root, mount->point);
        if (strncmp(group, mount->root, n_root) == 0 && strncmp(group, "/..", 3) != 0 &&
            strcmp(group + n_root, "/") != 0)
                snprintf(directory + n_point, sizeof(directory) - n_point, "%s", group + n_root);
        for (;;) {
                char *slash;

                for (size_t i = 0; names[i]; i++)
                        limit_take(directory, names[i], limit);
                slash = strrchr(directory, '/');
                if (!slash || slash < directory + n_point)
                        return;
                *slash = '\0';
        }
}

void lanemap_memory_limit_read(const char *proc, const char *root,
                               struct lanemap_memory_limit *ret_limit)
{
        char name[PATH_BYTES], group[PATH_BYTES], line[4 * PATH_BYTES];
        struct mount mount;
        FILE *file;

        *ret_limit = (struct lanemap_memory_limit){.bytes = UINT64_MAX};
        snprintf(name, sizeof(name), "%s/mountinfo", proc);
        file = fopen(name, "re");
        while (file && fgets(line, sizeof(line), file))
                if (mount_parse(line, &mount) && group_find(proc, mount.is_v1, group))
                        mount_walk(&mount, root, group, ret_limit);
        if (file)
                fclose(file);
}
