/* See disk_states.h. */
#include "disk_states.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base.h"

#define SECTOR_BYTES 512

/* ---- contents ---- */

static void bytes_fit(struct disk_bytes *to, uint64_t n_bytes)
{
        uint64_t capacity = LANEMAP_ALIGN_UP(n_bytes, UINT64_C(4096));

        if (capacity <= to->capacity)
                return;

        to->bytes = realloc(to->bytes, capacity);
        must(to->bytes);
        memset(to->bytes + to->capacity, 0, capacity - to->capacity);
        to->capacity = capacity;
}

static void bytes_resize(struct disk_bytes *to, uint64_t n_bytes)
{
        bytes_fit(to, n_bytes);
        if (n_bytes < to->n_bytes)
                memset(to->bytes + n_bytes, 0, to->n_bytes - n_bytes);
        to->n_bytes = n_bytes;
}

static void bytes_copy(struct disk_bytes *to, const struct disk_bytes *from)
{
        bytes_resize(to, 0);
        bytes_resize(to, from->n_bytes);
        if (from->n_bytes > 0)
                memcpy(to->bytes, from->bytes, from->n_bytes);
}

static const char *event_bytes(const struct event *event)
{
        return event->data + event->name_bytes + event->name2_bytes;
}

static void event_apply(struct disk_bytes *to, const struct event *event)
{
        switch (event->kind) {
        case EVENT_WRITE:
                if (event->n_bytes == 0)
                        return;
                bytes_resize(to, LANEMAP_MAX(to->n_bytes, event->at + event->n_bytes));
                memcpy(to->bytes + event->at, event_bytes(event), event->n_bytes);
                return;
        case EVENT_ALLOCATE:
                bytes_resize(to, LANEMAP_MAX(to->n_bytes, event->at));
                return;
        default:
                bytes_resize(to, event->at);
                return;
        }
}

/* ---- the disk ---- */

void disk_reset(struct disk *disk)
{
        for (uint32_t i = 0; i < disk->n_inodes; i++) {
                free(disk->inodes[i].durable.bytes);
                free(disk->inodes[i].pending);
        }
        memset(disk->inodes, 0, disk->n_inodes * sizeof(disk->inodes[0]));
        disk->n_inodes = disk->n_names = disk->n_pending_names = 0;
}

static struct disk_inode *inode_at(struct disk *disk, uint32_t inode)
{
        must(inode < DISK_INODES_MAX);
        disk->n_inodes = LANEMAP_MAX(disk->n_inodes, inode + 1);
        return &disk->inodes[inode];
}

static struct disk_name *name_find(struct disk_name *names, uint32_t n_names, const char *name)
{
        for (uint32_t i = 0; i < n_names; i++)
                if (strcmp(names[i].name, name) == 0)
                        return &names[i];
        return NULL;
}

static void name_set(struct disk_name *names, uint32_t *n_names, const char *name, uint32_t inode)
{
        struct disk_name *to = name_find(names, *n_names, name);

        if (!to) {
                must(*n_names < DISK_NAMES_MAX && strlen(name) < sizeof(to->name));
                to = &names[(*n_names)++];
                strcpy(to->name, name);
        }
        to->inode = inode;
}

static void file_load(struct disk *disk, struct recording *recording, int fd, const char *name)
{
        struct disk_inode *inode;
        struct stat st;
        uint32_t number;

        must(fstat(fd, &st) == 0);
        number = recording_know(recording, st.st_ino);
        name_set(disk->names, &disk->n_names, name, number);
        inode = inode_at(disk, number);
        bytes_resize(&inode->durable, (uint64_t)st.st_size);
        must(pread(fd, inode->durable.bytes, (size_t)st.st_size, 0) == st.st_size);
}

/* prefix: "", or the directory's name with a slash. */
static void directory_load(struct disk *disk, struct recording *recording, int dir_fd,
                           const char *prefix)
{
        DIR *dir = fdopendir(dir_fd);
        const struct dirent *entry;
        struct stat st;

        must(dir && fstat(dir_fd, &st) == 0);
        recording_know_directory(recording, st.st_ino, prefix);
        while ((entry = readdir(dir))) {
                int fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
                char name[sizeof(disk->names[0].name) + 1];

                must(fd >= 0 && fstat(fd, &st) == 0);
                must(snprintf(name, sizeof(name), "%s%s", prefix, entry->d_name) <
                     (int)sizeof(name) - 1);
                if (S_ISREG(st.st_mode)) {
                        file_load(disk, recording, fd, name);
                } else if (S_ISDIR(st.st_mode) && entry->d_name[0] != '.') {
                        name_set(disk->names, &disk->n_names, name, DISK_DIRECTORY);
                        strcat(name, "/");
                        directory_load(disk, recording, fd, name);
                        continue;
                }
                close(fd);
        }
        closedir(dir);
}

void disk_load(struct disk *disk, struct recording *recording, const char *directory)
{
        int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        must(fd >= 0);
        disk_reset(disk);
        directory_load(disk, recording, fd, "");
}

/* Only while it still leads there: the operation that gave it to another file is another one. */
static void name_remove(struct disk_name *names, uint32_t *n_names, const char *name,
                        uint32_t inode)
{
        struct disk_name *at = name_find(names, *n_names, name);

        if (at && at->inode == inode)
                *at = names[--*n_names];
}

static void names_apply(struct disk_name *names, uint32_t *n_names, const struct event *event)
{
        const char *name = event->data;

        switch (event->kind) {
        case EVENT_CREATE:
                name_set(names, n_names, name, event->inode);
                break;
        case EVENT_RENAME:
                name_set(names, n_names, name + event->name_bytes, event->inode);
                name_remove(names, n_names, name, event->inode);
                break;
        case EVENT_LINK:
                name_set(names, n_names, name + event->name_bytes, event->inode);
                break;
        case EVENT_MAKE_DIRECTORY:
                name_set(names, n_names, name, DISK_DIRECTORY);
                break;
        default:
                name_remove(names, n_names, name, event->inode);
                break;
        }
}

/* directory: "", or with a slash behind it. */
static bool name_is_in(const char *name, const char *directory)
{
        const char *slash = strrchr(name, '/');
        size_t n = slash ? (size_t)(slash - name) + 1 : 0;

        return strlen(directory) == n && strncmp(name, directory, n) == 0;
}

/* Whether the operation changed that directory. One that changed two is durable with either. */
static bool event_is_in(const struct event *event, const char *directory)
{
        bool has_two = event->kind == EVENT_RENAME || event->kind == EVENT_LINK;

        return (has_two && name_is_in(event->data + event->name_bytes, directory)) ||
               (event->kind != EVENT_LINK && name_is_in(event->data, directory));
}

static void directory_sync(struct disk *disk, const char *directory)
{
        uint32_t n_left = 0;

        for (uint32_t i = 0; i < disk->n_pending_names; i++) {
                const struct event *event = disk->pending_names[i];

                if (event_is_in(event, directory))
                        names_apply(disk->names, &disk->n_names, event);
                else
                        disk->pending_names[n_left++] = event;
        }
        disk->n_pending_names = n_left;
}

static void pending_push(struct disk *disk, const struct event *event)
{
        struct disk_inode *inode = inode_at(disk, event->inode);

        if (inode->n_pending % 64 == 0) {
                inode->pending = realloc(inode->pending,
                                         (inode->n_pending + 64) * sizeof(inode->pending[0]));
                must(inode->pending);
        }
        inode->pending[inode->n_pending++] = (struct disk_pending){.event = event};
}

/* What was doomed stays undecided, unless the file was cut since; what came later is durable. */
static void inode_sync(struct disk_inode *inode, bool failed)
{
        uint32_t n_left = 0;

        for (uint32_t i = 0; i < inode->n_pending && failed; i++)
                inode->pending[i].doomed = true;
        if (failed)
                return;

        for (uint32_t i = 0; i < inode->n_pending; i++) {
                if (inode->pending[i].doomed) {
                        inode->pending[n_left++] = inode->pending[i];
                        continue;
                }
                if (inode->pending[i].event->kind == EVENT_TRUNCATE)
                        n_left = 0;
                event_apply(&inode->durable, inode->pending[i].event);
        }
        inode->n_pending = n_left;
}

void disk_apply(struct disk *disk, const struct event *event)
{
        switch (event->kind) {
        case EVENT_CREATE:
                (void)inode_at(disk, event->inode);
                /* fall through */
        case EVENT_RENAME:
        case EVENT_LINK:
        case EVENT_UNLINK:
        case EVENT_MAKE_DIRECTORY:
                must(disk->n_pending_names < DISK_PENDING_MAX);
                disk->pending_names[disk->n_pending_names++] = event;
                break;
        case EVENT_WRITE:
        case EVENT_ALLOCATE:
        case EVENT_TRUNCATE:
                pending_push(disk, event);
                break;
        case EVENT_SYNC:
                inode_sync(inode_at(disk, event->inode), false);
                break;
        case EVENT_SYNC_FAILED:
                inode_sync(inode_at(disk, event->inode), true);
                break;
        case EVENT_SYNC_DIRECTORY:
                directory_sync(disk, event->data);
                break;
        default:
                break;
        }
}

uint64_t disk_n_undecided(const struct disk *disk)
{
        uint64_t n = disk->n_pending_names;

        for (uint32_t i = 0; i < disk->n_inodes; i++)
                n += disk->inodes[i].n_pending;
        return n;
}

/* ---- one state ---- */

/* The sectors of one write, each there or not. A later write in the same sector may bring an
 * earlier one's bytes along, which is what a sector does: it is written whole. */
static void write_choose(struct disk_bytes *to, const struct event *event, uint32_t of_1024,
                         const struct disk_bytes *after, struct rng *rng)
{
        uint64_t at = event->at - event->at % SECTOR_BYTES, end = event->at + event->n_bytes;

        for (; at < end; at += SECTOR_BYTES) {
                uint64_t n = LANEMAP_MIN((uint64_t)SECTOR_BYTES, after->n_bytes - at);

                if (rng_below(rng, 1024) >= of_1024)
                        continue;
                bytes_fit(to, at + n);
                memcpy(to->bytes + at, after->bytes + at, n);
        }
}

static void content_make(const struct disk_inode *inode, uint32_t of_1024, struct rng *rng,
                         struct disk_bytes *content)
{
        struct disk_bytes after = {0};
        uint64_t size;

        bytes_copy(content, &inode->durable);
        if (inode->n_pending == 0)
                return;

        size = inode->durable.n_bytes;
        bytes_copy(&after, &inode->durable);
        for (uint32_t i = 0; i < inode->n_pending; i++) {
                const struct event *event = inode->pending[i].event;

                event_apply(&after, event);
                if (event->kind == EVENT_WRITE)
                        write_choose(content, event, of_1024, &after, rng);
                if (rng_below(rng, 1024) < of_1024)
                        size = after.n_bytes;
        }
        free(after.bytes);

        /* Bytes behind the length are gone, also when the length grew again later. */
        content->n_bytes = content->capacity;
        bytes_resize(content, size);
}

/* Whether the directory of a name is there: what is in a lost one is lost. */
static bool directory_is_there(struct disk_name *names, uint32_t n_names, const char *name)
{
        const char *slash = strrchr(name, '/');
        char directory[sizeof(names[0].name)];
        const struct disk_name *at;

        if (!slash)
                return true;

        snprintf(directory, sizeof(directory), "%.*s", (int)(slash - name), name);
        at = name_find(names, n_names, directory);
        return at && at->inode == DISK_DIRECTORY;
}

/* The same file under a name before this one. */
static const struct disk_file *file_of_inode(const struct disk_file *files,
                                             const struct disk_file *file)
{
        for (; files < file; files++)
                if (files->inode == file->inode)
                        return files;
        return NULL;
}

void disk_state_make(const struct disk *disk, const struct disk_choice *choice, struct rng *rng,
                     struct disk_state *state)
{
        struct disk_name names[DISK_NAMES_MAX];
        uint32_t n_names = disk->n_names;

        memcpy(names, disk->names, n_names * sizeof(names[0]));
        for (uint32_t i = 0; i < disk->n_pending_names; i++)
                if (choice->names_prefix == UINT32_MAX
                            ? rng_below(rng, 1024) < choice->names_of_1024
                            : i < choice->names_prefix ||
                                      (i < 64 && choice->names_besides >> i & 1))
                        names_apply(names, &n_names, disk->pending_names[i]);

        state->n_files = 0;
        state->hash = 0;
        for (uint32_t i = 0; i < n_names; i++) {
                struct disk_file *file = &state->files[state->n_files];
                uint32_t of_1024 = choice->sectors_of_1024;
                const struct disk_file *same;

                if (!directory_is_there(names, n_names, names[i].name))
                        continue;
                state->n_files++;
                if (choice->torn)
                        of_1024 = (uint32_t)rng_below(rng, 1025);
                strcpy(file->name, names[i].name);
                file->inode = names[i].inode;
                same = file_of_inode(state->files, file);
                if (file->inode == DISK_DIRECTORY)
                        bytes_resize(&file->content, 0);
                else if (same)
                        bytes_copy(&file->content, &same->content);
                else
                        content_make(&disk->inodes[file->inode], of_1024, rng, &file->content);
                /* A sum: the order of the names does not matter. */
                state->hash += XXH3_64bits_withSeed(file->content.bytes, file->content.n_bytes,
                                                    XXH3_64bits(file->name, strlen(file->name)));
        }
}

const struct disk_file *disk_state_find(const struct disk_state *state, const char *name)
{
        for (uint32_t i = 0; i < state->n_files; i++)
                if (strcmp(state->files[i].name, name) == 0)
                        return &state->files[i];
        return NULL;
}

void disk_state_write(const struct disk_state *state, const char *directory)
{
        int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        must(dir_fd >= 0);
        for (uint32_t i = 0; i < state->n_files; i++)
                if (state->files[i].inode == DISK_DIRECTORY)
                        must(mkdirat(dir_fd, state->files[i].name, 0750) == 0);
        for (uint32_t i = 0; i < state->n_files; i++) {
                const struct disk_bytes *content = &state->files[i].content;
                uint64_t n = content->n_bytes;
                int fd;

                if (state->files[i].inode == DISK_DIRECTORY)
                        continue;
                fd = openat(dir_fd, state->files[i].name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
                must(fd >= 0);
                while (n > 0 && content->bytes[n - 1] == 0)
                        n--;
                must(pwrite(fd, content->bytes, n, 0) == (ssize_t)n);
                must(ftruncate(fd, (off_t)content->n_bytes) == 0);
                close(fd);
        }
        close(dir_fd);
}

void disk_state_deinit(struct disk_state *state)
{
        for (uint32_t i = 0; i < DISK_NAMES_MAX; i++)
                free(state->files[i].content.bytes);
        memset(state, 0, sizeof(*state));
}
