/* See scratch.h. */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "shm/object.h"

static const char *temporary_root(void)
{
        const char *root = getenv("TMPDIR");

        return root && root[0] ? root : "/tmp";
}

/* The names in a directory that begin with prefix, sorted; NULL-terminated. Owner: the caller. */
static char **names_of(const char *path, const char *prefix, size_t *ret_n)
{
        struct dirent **entries;
        char **names;
        int n = scandir(path, &entries, NULL, alphasort);
        size_t n_names = 0;

        *ret_n = 0;
        if (n < 0)
                return NULL;

        names = calloc((size_t)n + 1, sizeof(*names));
        lanemap_check(names);
        for (int i = 0; i < n; i++) {
                const char *name = entries[i]->d_name;

                if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
                    strncmp(name, prefix, strlen(prefix)) == 0) {
                        names[n_names] = strdup(name);
                        lanemap_check(names[n_names]);
                        n_names++;
                }
                free(entries[i]);
        }

        free(entries);
        *ret_n = n_names;
        return names;
}

static void names_free(char **names, size_t n)
{
        for (size_t i = 0; i < n; i++)
                free(names[i]);
        free(names);
}

static char *path_join(const char *directory, const char *name)
{
        char *path;

        lanemap_check(asprintf(&path, "%s/%s", directory, name) > 0);
        return path;
}

void scratch_remove_tree(const char *path)
{
        if (unlink(path) == 0 || (errno != EISDIR && errno != EPERM))
                return;

        scratch_empty(path);
        (void)rmdir(path);
}

void scratch_empty(const char *directory)
{
        size_t n;
        char **names = names_of(directory, "", &n);

        for (size_t i = 0; i < n; i++) {
                char *path = path_join(directory, names[i]);

                scratch_remove_tree(path);
                free(path);
        }
        names_free(names, n);
}

/* Whether a shared object belongs to exactly this name. */
static bool object_is_of(const char *object, const char *name)
{
        size_t n = strlen("lanemap.") + strlen(name);

        return object[n] == '\0' || object[n] == '.';
}

static char **shared_names(const char *name, size_t *ret_n)
{
        char prefix[LANEMAP_SHM_OBJECT_NAME_BYTES];

        lanemap_shm_control_name(name, prefix);
        return names_of(LANEMAP_SHM_DIRECTORY, prefix, ret_n);
}

void scratch_remove_shared(const char *name)
{
        size_t n;
        char **names = shared_names(name, &n);

        for (size_t i = 0; i < n; i++) {
                char *path = path_join(LANEMAP_SHM_DIRECTORY, names[i]);

                if (object_is_of(names[i], name))
                        scratch_remove_tree(path); /* a test may have put a folder there */
                free(path);
        }
        names_free(names, n);
}

/* ---- what is there, for the end of a process that has no deinit ---- */

#define PLACES_MAX 64

/* A path, and all whose names begin with its own: a test has put them beside it. */
static void beside_remove(const char *path)
{
        const char *name = strrchr(path, '/') + 1;
        char *directory = strndup(path, (size_t)(name - path));
        char **names;
        size_t n;

        lanemap_check(directory);
        names = names_of(directory, name, &n);
        for (size_t i = 0; i < n; i++) {
                char *inner = path_join(directory, names[i]);

                scratch_remove_tree(inner);
                free(inner);
        }
        names_free(names, n);
        free(directory);
}

/* Of this process: what it forks has its own, or none. */
static struct place {
        pid_t pid; /* 0: free */
        struct scratch scratch;
} places[PLACES_MAX];

static void places_remove(void)
{
        char path[128];

        for (size_t i = 0; i < PLACES_MAX; i++) {
                if (places[i].pid != getpid())
                        continue;
                places[i].pid = 0;
                beside_remove(places[i].scratch.directory);
                snprintf(path, sizeof(path), "%s/%s", LANEMAP_SHM_DIRECTORY,
                         places[i].scratch.name);
                beside_remove(path);
                scratch_remove_shared(places[i].scratch.name);
        }
}

/* Removing allocates, which a signal handler may not: a process that is lost already may try. A
 * second signal, or five seconds in vain, end it. */
static void on_failure(int number)
{
        (void)signal(number, SIG_DFL);
        (void)signal(SIGALRM, SIG_DFL);
        (void)alarm(5);
        places_remove();
        (void)raise(number);
}

static void place_add(const struct scratch *scratch)
{
        static const int failures[] = {SIGABRT, SIGTERM, SIGINT, SIGHUP};
        static bool is_set;

        if (!is_set) {
                is_set = true;
                lanemap_check(atexit(places_remove) == 0);
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(failures); i++)
                        if (signal(failures[i], on_failure) == SIG_ERR)
                                abort();
        }
        for (size_t i = 0; i < PLACES_MAX; i++)
                if (places[i].pid == 0) {
                        places[i] = (struct place){getpid(), *scratch};
                        return;
                }
}

static void place_forget(const struct scratch *scratch)
{
        for (size_t i = 0; i < PLACES_MAX; i++)
                if (strcmp(places[i].scratch.name, scratch->name) == 0)
                        places[i].pid = 0;
}

void scratch_init(struct scratch *scratch, const char *what)
{
        uint64_t number;

        lanemap_check(getrandom(&number, sizeof(number), 0) == sizeof(number));
        snprintf(scratch->name, sizeof(scratch->name), "test-%.16s-%016" PRIx64, what, number);
        snprintf(scratch->directory, sizeof(scratch->directory), "%.180s/lanemap-%s-XXXXXX",
                 temporary_root(), what);
        lanemap_check(mkdtemp(scratch->directory));
        scratch->dir_fd = open(scratch->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        lanemap_check(scratch->dir_fd >= 0);
        place_add(scratch);
}

void scratch_deinit(struct scratch *scratch)
{
        close(scratch->dir_fd);
        scratch_remove_tree(scratch->directory);
        scratch_remove_shared(scratch->name);
        place_forget(scratch);
}

static unsigned char *file_read(const char *path, size_t *ret_n_bytes, mode_t *ret_mode)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        unsigned char *bytes;
        struct stat st;
        size_t at = 0;

        lanemap_check(fd >= 0 && fstat(fd, &st) == 0);
        bytes = malloc((size_t)st.st_size + 1);
        lanemap_check(bytes);
        while (at < (size_t)st.st_size) {
                ssize_t n = pread(fd, bytes + at, (size_t)st.st_size - at, (off_t)at);

                lanemap_check(n > 0);
                at += (size_t)n;
        }

        close(fd);
        *ret_n_bytes = at;
        *ret_mode = st.st_mode & 07777;
        return bytes;
}

void scratch_copy_directory(const char *from, const char *to)
{
        size_t n;
        char **names = names_of(from, "", &n);

        lanemap_check(mkdir(to, 0750) == 0);
        for (size_t i = 0; i < n; i++) {
                char *source = path_join(from, names[i]), *target = path_join(to, names[i]);
                size_t n_bytes;
                mode_t mode;
                unsigned char *bytes = file_read(source, &n_bytes, &mode);
                int fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

                lanemap_check(fd >= 0 && write(fd, bytes, n_bytes) == (ssize_t)n_bytes);
                close(fd);
                free(bytes);
                free(source);
                free(target);
        }
        names_free(names, n);
}

/* What moves while nothing changes. */
static void mask_control(struct lanemap_shm_control *control)
{
        control->heartbeat = 0;
}

static void line_print(FILE *out, const char *path, const char *name, bool is_control)
{
        unsigned char digest[32], *bytes;
        size_t n_bytes;
        mode_t mode;

        bytes = file_read(path, &n_bytes, &mode);
        if (is_control && n_bytes == LANEMAP_SHM_CONTROL_BYTES)
                mask_control((struct lanemap_shm_control *)(void *)bytes);
        crypto_generichash(digest, sizeof(digest), bytes, n_bytes, NULL, 0);
        free(bytes);

        fprintf(out, "%s %04o %zu ", name, (unsigned)mode, n_bytes);
        for (size_t i = 0; i < sizeof(digest); i++)
                fprintf(out, "%02x", digest[i]);
        fputc('\n', out);
}

static char *listing(const char *directory, char **names, size_t n, const char *only_of)
{
        char *text = NULL;
        size_t n_bytes = 0;
        FILE *out = open_memstream(&text, &n_bytes);

        lanemap_check(out);
        for (size_t i = 0; i < n; i++) {
                char *path = path_join(directory, names[i]);

                if (!only_of || (object_is_of(names[i], only_of) &&
                                 !strstr(names[i] + strlen(only_of), ".lock") &&
                                 !strstr(names[i] + strlen(only_of), ".spare")))
                        line_print(out, path, names[i], only_of != NULL);
                free(path);
        }
        fclose(out);
        names_free(names, n);
        return text;
}

char *scratch_listing(const char *directory)
{
        size_t n;
        char **names = names_of(directory, "", &n);

        return listing(directory, names, n, NULL);
}

char *scratch_shared_listing(const char *name)
{
        size_t n;
        char **names = shared_names(name, &n);

        return listing(LANEMAP_SHM_DIRECTORY, names, n, name);
}

bool scratch_find(const char *directory, const char *prefix, char *ret_path, size_t path_bytes)
{
        size_t n;
        char **names = names_of(directory, prefix, &n);

        if (n > 0)
                snprintf(ret_path, path_bytes, "%s/%s", directory, names[0]);
        names_free(names, n);
        return n > 0;
}
