/*
 * A process that may do what a reader may does all of it, beside a writer and a reader at work.
 *
 * It opens every object and file for writing, truncates, maps, locks, unlinks, renames, signals and
 * traces, and it creates names before the writer does. What must be refused is refused; and what
 * cannot be (shared locks on what it may read, whatever objects of its own it puts into a directory
 * that all may write to) changes nothing: the writer applies, flushes, flips and closes, a
 * successor of a killed one comes up, the other reader is right all the while (R3, R4, W1, W8).
 *
 * Then it is there first: what it put where a control object belongs is a clear error, to the
 * writer with words, and no hang (R5).
 *
 * For root only, since it takes two users: otherwise skipped.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "companion.h"
#include "shm/object.h"

#define UID_HOSTILE 65534
#define UID_READER  65533
#define GID_READERS 65533
#define N_KEPT      64 /* descriptors, with their locks */
#define N_CREATED   32 /* objects of its own */
#define ROUNDS      30

/* Told and asked across processes, beside what beside.h has. */
struct scene {
        uint64_t n_rounds;
        uint64_t n_attempts;
        uint64_t n_locks;
        uint32_t stop;
        pid_t writer;
};

static struct scene *scene;

/* ---- what a reader may try ---- */

struct kept {
        int fds[N_KEPT];
        uint64_t n;
};

/* Something that must fail, and how it ended. */
static void refused(struct companion *companion, bool failed, const char *what, const char *name)
{
        scene->n_attempts++;
        if (!failed)
                companion_wrong(companion, "a reader may %s %s", what, name);
}

static void attack_name(struct companion *companion, int dir_fd, const char *name)
{
        static const int flags[] = {O_RDWR, O_WRONLY, O_WRONLY | O_TRUNC, O_RDONLY | O_TRUNC};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(flags); i++) {
                int fd = openat(dir_fd, name, flags[i] | O_CLOEXEC);

                refused(companion, fd < 0, "open for writing", name);
                if (fd >= 0)
                        close(fd);
        }
        refused(companion, unlinkat(dir_fd, name, 0) < 0, "unlink", name);
        refused(companion, renameat(dir_fd, name, dir_fd, "lanemap-gone") < 0, "rename", name);
        refused(companion, fchmodat(dir_fd, name, 0666, 0) < 0, "chmod", name);
}

static void attack_descriptor(struct companion *companion, int fd, const char *name)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char path[64];
        void *map;
        int again;

        refused(companion, ftruncate(fd, 0) < 0, "truncate", name);
        refused(companion, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0,
                "punch", name);
        refused(companion, pwrite(fd, "x", 1, 0) < 0, "write to", name);
        refused(companion, fchmod(fd, 0666) < 0, "chmod", name);
        refused(companion, fcntl(fd, F_OFD_SETLK, &lock) < 0, "write-lock", name);
        refused(companion, fcntl(fd, F_SETLEASE, F_RDLCK) < 0, "lease", name);

        map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        refused(companion, map == MAP_FAILED, "map writable", name);
        map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        if (map != MAP_FAILED) {
                refused(companion, mprotect(map, 4096, PROT_READ | PROT_WRITE) < 0, "mprotect",
                        name);
                munmap(map, 4096);
        }

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        again = open(path, O_RDWR | O_CLOEXEC);
        refused(companion, again < 0, "open again for writing", name);
        if (again >= 0)
                close(again);
}

/* The locks that a read-only descriptor can have, held until 64 later ones are. */
static void lock_and_keep(struct kept *kept, int fd)
{
        struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
        int *place = &kept->fds[kept->n % N_KEPT];

        if (fcntl(fd, F_OFD_SETLK, &lock) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
                scene->n_locks++;
        if (kept->n >= N_KEPT)
                close(*place);
        *place = fd;
        kept->n++;
}

static void attack_directory(struct companion *companion, const char *path, const char *prefix,
                             struct kept *kept)
{
        DIR *dir = opendir(path);
        const struct dirent *entry;

        if (!dir) {
                companion_wrong(companion, "%s cannot be read by a reader: %s", path,
                                strerror(errno));
                return;
        }

        while ((entry = readdir(dir))) {
                const char *name = entry->d_name;
                struct stat st;
                size_t n = strlen(name);
                bool is_lock =
                        (n >= 5 && strcmp(name + n - 5, ".lock") == 0) || strcmp(name, "lock") == 0;
                int fd;

                if (name[0] == '.' || strncmp(name, prefix, strlen(prefix)) != 0 ||
                    fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    st.st_uid == UID_HOSTILE)
                        continue;

                attack_name(companion, dirfd(dir), name);
                fd = openat(dirfd(dir), name, O_RDONLY | O_CLOEXEC);
                if (is_lock)
                        refused(companion, fd < 0, "open", name);
                if (fd < 0)
                        continue;
                attack_descriptor(companion, fd, name);
                lock_and_keep(kept, fd);
        }
        closedir(dir);
}

static void attack_process(struct companion *companion)
{
        pid_t pid = lanemap_load_acquire(&scene->writer);
        char byte = 0;
        struct iovec from = {&byte, 1}, to = {companion, 1};

        if (pid == 0)
                return;

        refused(companion, kill(pid, SIGSTOP) < 0, "signal", "the writer");
        refused(companion, ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0, "trace", "the writer");
        refused(companion, process_vm_writev(pid, &from, 1, &to, 1, 0) < 0, "write into",
                "the writer");
}

static void garbage_create(const char *object, uint32_t seed)
{
        unsigned char bytes[LANEMAP_SHM_CONTROL_BYTES];
        struct rng rng;
        int fd, dir_fd = lanemap_shm_open_directory();

        if (dir_fd < 0)
                return;

        rng_init(&rng, seed);
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (unsigned char)rng_next(&rng);
        fd = openat(dir_fd, object, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
                (void)!write(fd, bytes, sizeof(bytes));
                (void)fchmod(fd, 0666);
                close(fd);
        }
        close(dir_fd);
}

static int hostile_main(struct companion *companion)
{
        char control[LANEMAP_SHM_OBJECT_NAME_BYTES], object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct kept kept = {.n = 0};

        if (companion_drop(UID_HOSTILE, GID_READERS) < 0)
                return COMPANION_SKIPPED;

        lanemap_shm_control_name(companion->scratch.name, control);
        for (uint32_t round = 0; !lanemap_load_acquire(&scene->stop); round++) {
                attack_directory(companion, LANEMAP_SHM_DIRECTORY, control, &kept);
                attack_directory(companion, companion->scratch.directory, "", &kept);
                attack_process(companion);
                if (round < N_CREATED) {
                        lanemap_shm_data_name(companion->scratch.name, UINT64_C(0xabcd) << round,
                                              object);
                        garbage_create(object, round);
                }
                lanemap_store_release(&scene->n_rounds, scene->n_rounds + 1);
                (void)usleep(5000);
        }
        return 0;
}

static int reader_main(struct companion *companion)
{
        return companion_drop(UID_READER, GID_READERS) < 0 ? COMPANION_SKIPPED
                                                           : companion_reader(companion);
}

/* ---- beside a writer ---- */

static pid_t writer_start(struct companion *companion)
{
        uint32_t n_ups = lanemap_load_acquire(&companion->n_ups);
        pid_t pid = companion_fork(companion_writer, companion);

        companion_wait_u32(companion, &companion->n_ups, n_ups + 1, "a writer that comes up");
        lanemap_store_release(&scene->writer, pid);
        return pid;
}

/* Until the other side and this one have both got on. */
static void go_on(struct companion *companion, const char *what)
{
        uint64_t n_rounds = lanemap_load_acquire(&scene->n_rounds);
        uint64_t n_batches = lanemap_load_acquire(&companion->n_batches);
        uint64_t n_flushes = lanemap_load_acquire(&companion->n_flushes);

        companion_wait_u64(companion, &scene->n_rounds, n_rounds + ROUNDS, what);
        companion_wait_u64(companion, &companion->n_batches, n_batches + 400, what);
        companion_wait_u64(companion, &companion->n_flushes, n_flushes + 3, what);
}

static void attacked(struct companion *companion)
{
        pid_t writer, hostile, reader;
        uint64_t n_flips;

        writer = writer_start(companion);
        reader = companion_fork(reader_main, companion);
        hostile = companion_fork(hostile_main, companion);
        go_on(companion, "beside a hostile process");

        companion_kill(writer);
        lanemap_store_release(&scene->writer, 0);
        writer = writer_start(companion);
        go_on(companion, "a takeover beside a hostile process");

        /* With all that it held gone, shared memory can be given back again. */
        lanemap_store_release(&scene->stop, 1);
        companion_join(companion, hostile, "the hostile process");
        n_flips = lanemap_load_acquire(&companion->n_flips);
        companion_wait_u64(companion, &companion->n_flips, n_flips + 3, "flips");
        lanemap_store_release(&companion->stop_writer, 1);
        companion_join(companion, writer, "the writer");
        lanemap_store_release(&companion->stop_readers, 1);
        companion_join(companion, reader, "the reader");
        companion_verify(companion);
        must(scene->n_attempts > 1000 && scene->n_locks > 10 && companion->n_lookups > 100);
}

/* ---- there first ---- */

enum plant { GARBAGE, EMPTY, SHORT, FIFO, LINK, FOLDER, FOREIGN, N_PLANTS };

/* What a reader and a writer of the name are to be told. */
static const int answers[N_PLANTS][2] = {
        [GARBAGE] = {-EPERM, -EBADMSG}, [EMPTY] = {-EBADMSG, -EBADMSG},
        [SHORT] = {-EBADMSG, -EBADMSG}, [FIFO] = {-EBADMSG, -EBADMSG},
        [LINK] = {-ELOOP, -ELOOP},      [FOLDER] = {-EBADMSG, -EISDIR},
        [FOREIGN] = {-EPERM, -EEXIST},
};

static void plant(enum plant kind, const char *path, const char *object, const char *target)
{
        struct lanemap_shm_control control = {.magic = LANEMAP_SHM_CONTROL_MAGIC,
                                              .version = LANEMAP_SHM_CONTROL_VERSION,
                                              .generation = 77};

        switch (kind) {
        case FIFO:
                must(mkfifo(path, 0666) == 0 && chmod(path, 0666) == 0);
                return;
        case LINK:
                must(symlink(target, path) == 0);
                return;
        case FOLDER:
                must(mkdir(path, 0777) == 0);
                return;
        default:
                garbage_create(object, kind);
        }
        if (kind == EMPTY || kind == SHORT)
                must(truncate(path, kind == SHORT ? 100 : 0) == 0);
        if (kind == FOREIGN) {
                int fd = open(path, O_WRONLY | O_CLOEXEC);

                must(fd >= 0 && pwrite(fd, &control, sizeof(control), 0) == sizeof(control));
                close(fd);
        }
}

/* In a process of its own, as the hostile user. */
static void plant_as_hostile(enum plant kind, const struct scratch *scratch)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES], path[128];
        int status;
        pid_t pid;

        lanemap_shm_control_name(scratch->name, object);
        snprintf(path, sizeof(path), "%s/%s", LANEMAP_SHM_DIRECTORY, object);
        fflush(NULL);
        pid = fork();
        must(pid >= 0);
        if (pid == 0) {
                must(companion_drop(UID_HOSTILE, GID_READERS) == 0);
                plant(kind, path, object, "/etc/hostname");
                _exit(0);
        }
        must(waitpid(pid, &status, 0) == pid && status == 0);
}

static int writer_try(const struct scratch *scratch, struct lanemap_error *error)
{
        struct lanemap_writer_options options = {.size = sizeof(options),
                                                 .name = scratch->name,
                                                 .directory = scratch->directory,
                                                 .error = error};
        struct lanemap_writer *writer = NULL;
        int r = lanemap_writer_open(&options, &writer);

        if (r == 0)
                lanemap_writer_close(writer);
        return r;
}

static void control_unlink(const struct scratch *scratch)
{
        char path[128];

        snprintf(path, sizeof(path), "%s/lanemap.%s", LANEMAP_SHM_DIRECTORY, scratch->name);
        must(unlink(path) == 0 || rmdir(path) == 0);
}

static void there_first(enum plant kind)
{
        struct lanemap_error error = {{0}};
        struct lanemap_reader *reader = NULL;
        struct scratch scratch;
        int told[2];

        scratch_init(&scratch, "first");
        plant_as_hostile(kind, &scratch);
        told[0] = lanemap_reader_attach(scratch.name, NULL, &reader);
        told[1] = writer_try(&scratch, &error);
        if (told[0] != answers[kind][0] || told[1] != answers[kind][1] ||
            !strstr(error.text, scratch.name)) {
                fprintf(stderr, "plant %d: the reader is told %d, the writer %d: %s\n", kind,
                        told[0], told[1], error.text);
                abort();
        }

        control_unlink(&scratch);
        must(writer_try(&scratch, &error) == 0);
        scratch_deinit(&scratch);
}

/* A writer without root's powers, and an object that it may not even open. */
static int without_powers(struct companion *companion)
{
        struct lanemap_error error = {{0}};

        must(companion_drop(UID_READER, GID_READERS) == 0);
        must(writer_try(&companion->scratch, &error) == -EACCES);
        must(strstr(error.text, companion->scratch.name));
        return 0;
}

static int there_first_all(void)
{
        struct companion *companion = companion_new("private");
        char path[128];

        for (int kind = 0; kind < N_PLANTS; kind++)
                there_first(kind);

        must(chown(companion->scratch.directory, UID_READER, GID_READERS) == 0);
        plant_as_hostile(GARBAGE, &companion->scratch);
        snprintf(path, sizeof(path), "%s/lanemap.%s", LANEMAP_SHM_DIRECTORY,
                 companion->scratch.name);
        must(chmod(path, 0600) == 0);
        companion_join(companion, companion_fork(without_powers, companion),
                       "a writer without powers");
        return companion_free(companion);
}

int main(void)
{
        struct companion *companion = companion_new("hostile");
        int r;

        alarm(120);
        if (!companion_two_users(companion, UID_HOSTILE, GID_READERS)) {
                companion_free(companion);
                return COMPANION_SKIPPED;
        }

        scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                     0);
        must(scene != MAP_FAILED);
        companion->gid = GID_READERS;
        must(chown(companion->scratch.directory, 0, GID_READERS) == 0);
        must(chmod(companion->scratch.directory, 0750) == 0);
        attacked(companion);
        printf("%" PRIu64 " attempts in %" PRIu64 " rounds, %" PRIu64 " locks\n", scene->n_attempts,
               scene->n_rounds, scene->n_locks);
        r = companion_free(companion);
        return there_first_all() || r;
}
