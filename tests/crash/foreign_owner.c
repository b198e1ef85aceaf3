/*
 * Another user of the machine who was there first: with a whole index under the name, with the
 * lock of the name; who would be, with the data object that a writer is about to create; and files
 * that are not all one user's.
 *
 * A reader follows whoever published the name unless it was told whom to trust; then it is -EPERM.
 * A writer refuses a lock that is not its own, with words, and tells nobody what its next data
 * object will be called; what it cannot do it leaves undone (W1, W8, R3).
 *
 * For root only, since it takes two users: otherwise skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "companion.h"
#include "shm/object.h"
#include "support/engine.h"

#define UID_STRANGER 65534
#define UID_SERVICE  65533
#define GID_READERS  65533
#define N_FLIPS      60

/* Across processes. */
struct scene {
        uint32_t is_up;
        uint32_t stop;
        uint64_t n_seen; /* numbers that the stranger saw told */
};

static struct scene *scene;

static void shm_path(const struct companion *companion, const char *suffix, char *path,
                     size_t bytes)
{
        snprintf(path, bytes, "%s/lanemap.%s%s", LANEMAP_SHM_DIRECTORY, companion->scratch.name,
                 suffix);
}

static void expect(struct companion *companion, bool so, const char *what, int r, const char *text)
{
        if (!so)
                companion_wrong(companion, "%s: %d (%s) %s", what, r, strerror(-r), text);
}

static int writer_try(const struct scratch *scratch, struct lanemap_writer **ret_writer,
                      struct lanemap_error *error)
{
        struct lanemap_writer_options options;

        error->text[0] = '\0';
        engine_options_init(&options, scratch, error);
        options.shared_mode = 0644;
        return lanemap_writer_open(&options, ret_writer);
}

static int attach_try(const struct companion *companion, uint32_t trust, uid_t uid,
                      struct lanemap_error *error)
{
        struct lanemap_reader_options options = {
                .size = sizeof(options), .error = error, .trust = trust, .trusted_uid = uid};
        struct lanemap_reader *reader = NULL;
        int r = lanemap_reader_attach(companion->scratch.name, &options, &reader);

        lanemap_reader_detach(reader);
        return r;
}

/* ---- a whole index ---- */

static int whole_index(struct companion *companion)
{
        struct lanemap_writer *writer = NULL;
        struct lanemap_error error;
        int r;

        must(companion_drop(UID_STRANGER, GID_READERS) == 0);
        r = writer_try(&companion->scratch, &writer, &error);
        if (r < 0) {
                companion_wrong(companion, "the stranger's own writer: %s", error.text);
                return 1;
        }

        must(engine_add(writer, "a", 1) == 0);
        must(engine_request(writer, LANEMAP_REQUEST_FLUSH) == 0);
        lanemap_store_release(&scene->is_up, 1);
        while (!lanemap_load_acquire(&scene->stop))
                (void)usleep(1000);
        lanemap_writer_close(writer);
        return 0;
}

/* Not the stranger's and not root's any more: not one owner's. */
static void chown_and_try(struct companion *companion, const char *path, bool is_control,
                          const char *what)
{
        struct lanemap_error error = {{0}};
        int r;

        must(chown(path, UID_SERVICE, GID_READERS) == 0);
        r = attach_try(companion, LANEMAP_TRUST_ONE_OWNER, 0, &error);
        expect(companion, r == -EPERM && strstr(error.text, "another user"), what, r, error.text);
        r = attach_try(companion, LANEMAP_TRUST_ANYONE, 0, &error);
        expect(companion, r == 0, "no owner is asked for", r, error.text);
        must(chown(path, 0, GID_READERS) == 0);
        r = attach_try(companion, LANEMAP_TRUST_ONE_OWNER, 0, &error);
        expect(companion, r == (is_control ? -EPERM : 0),
               "root is trusted, the stranger by him is not", r, error.text);
        must(chown(path, UID_STRANGER, GID_READERS) == 0);
}

static void index_of_a_stranger(struct companion *companion)
{
        struct lanemap_error error = {{0}};
        char path[400];
        pid_t pid;
        int r;

        must(chown(companion->scratch.directory, UID_STRANGER, GID_READERS) == 0);
        pid = companion_fork(whole_index, companion);
        companion_wait_u32(companion, &scene->is_up, 1, "a stranger's index");

        r = attach_try(companion, LANEMAP_TRUST_ONE_OWNER, 0, &error);
        expect(companion, r == 0, "one owner", r, error.text);
        r = attach_try(companion, LANEMAP_TRUST_UID, UID_STRANGER, &error);
        expect(companion, r == 0, "the stranger is named", r, error.text);
        r = attach_try(companion, LANEMAP_TRUST_UID, UID_SERVICE, &error);
        expect(companion, r == -EPERM && strstr(error.text, "another user"), "the service is named",
               r, error.text);

        must(scratch_find(companion->scratch.directory, "seg-", path, sizeof(path)));
        chown_and_try(companion, path, false, "a segment file of a third user");
        shm_path(companion, "", path, sizeof(path));
        chown_and_try(companion, path, true, "a control object of a third user");

        lanemap_store_release(&scene->stop, 1);
        companion_join(companion, pid, "the stranger");
        must(chown(companion->scratch.directory, 0, 0) == 0);
}

/* ---- the lock ---- */

struct planted_lock {
        mode_t mode;
        bool is_link;
        bool is_held;
};

static void lock_plant(const struct companion *companion, const struct planted_lock *planted)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        char path[128];
        int fd;

        shm_path(companion, ".lock", path, sizeof(path));
        if (planted->is_link) {
                must(symlink("/etc/hostname", path) == 0);
                return;
        }
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        must(fd >= 0 && fchmod(fd, planted->mode) == 0);
        if (planted->is_held)
                must(fcntl(fd, F_OFD_SETLK, &lock) == 0);
}

static const struct planted_lock *the_lock;

static int lock_holder(struct companion *companion)
{
        must(companion_drop(UID_STRANGER, GID_READERS) == 0);
        lock_plant(companion, the_lock);
        lanemap_store_release(&scene->is_up, 1);
        while (!lanemap_load_acquire(&scene->stop))
                (void)usleep(1000);
        return 0;
}

static int service_is_refused(struct companion *companion)
{
        struct lanemap_writer *writer = NULL;
        struct lanemap_error error;
        int r;

        must(companion_drop(UID_SERVICE, GID_READERS) == 0);
        r = writer_try(&companion->scratch, &writer, &error);
        expect(companion,
               (r == -EPERM || r == -EACCES || r == -ELOOP) && strstr(error.text, ".lock"),
               "a service whose lock is a stranger's", r, error.text);
        return 0;
}

static int service_opens(struct companion *companion)
{
        struct lanemap_writer *writer = NULL;
        struct lanemap_error error;
        int r;

        must(companion_drop(UID_SERVICE, GID_READERS) == 0);
        r = writer_try(&companion->scratch, &writer, &error);
        expect(companion, r == 0, "the lock is gone", r, error.text);
        if (r == 0)
                lanemap_writer_close(writer);
        return 0;
}

/* -EACCES is what the kernel says where fs.protected_regular is on, and of what cannot be
 * opened. */
static void lock_of_a_stranger(struct companion *companion, const struct planted_lock *planted)
{
        struct lanemap_writer *writer = NULL;
        struct lanemap_error error;
        char path[128];
        pid_t pid;
        int r;

        the_lock = planted;
        lanemap_store_release(&scene->stop, 0);
        lanemap_store_release(&scene->is_up, 0);
        pid = companion_fork(lock_holder, companion);
        companion_wait_u32(companion, &scene->is_up, 1, "a stranger's lock");

        r = writer_try(&companion->scratch, &writer, &error);
        expect(companion,
               (r == -EPERM || r == -EACCES || r == -ELOOP) && strstr(error.text, ".lock"),
               "root, whose lock is a stranger's", r, error.text);
        (void)unlinkat(companion->scratch.dir_fd, "lock", 0);
        must(chown(companion->scratch.directory, UID_SERVICE, GID_READERS) == 0);
        companion_join(companion, companion_fork(service_is_refused, companion),
                       "the refused service");

        /* What the message says to do. */
        shm_path(companion, ".lock", path, sizeof(path));
        must(unlink(path) == 0);
        companion_join(companion, companion_fork(service_opens, companion), "the service");
        lanemap_store_release(&scene->stop, 1);
        companion_join(companion, pid, "the stranger");
}

static void locks_of_a_stranger(void)
{
        static const struct planted_lock locks[] = {
                {.mode = 0666},
                {.mode = 0666, .is_held = true},
                {.mode = 0600, .is_held = true},
                {.is_link = true},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(locks); i++) {
                struct companion *companion = companion_new("lock");

                lock_of_a_stranger(companion, &locks[i]);
                must(companion_free(companion) == 0);
        }
}

/* ---- the next data object ---- */

/* Far above what epochs and heartbeats get to here; a random number is not below it. */
#define GENERATION_MIN (UINT64_C(1) << 32)

/* Whatever number the control object comes to hold, creates the data object of that number, if it
 * does not exist by then: any that was told before its object was made would be taken. */
static int guesser(struct companion *companion)
{
        uint64_t seen[LANEMAP_SHM_CONTROL_BYTES / sizeof(uint64_t)];
        char path[128], object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int fd, dir_fd = lanemap_shm_open_directory();
        const uint64_t *words;

        must(companion_drop(UID_STRANGER, GID_READERS) == 0);
        shm_path(companion, "", path, sizeof(path));
        fd = open(path, O_RDONLY | O_CLOEXEC);
        must(dir_fd >= 0 && fd >= 0);
        words = mmap(NULL, LANEMAP_SHM_CONTROL_BYTES, PROT_READ, MAP_SHARED, fd, 0);
        must(words != MAP_FAILED);
        memcpy(seen, words, sizeof(seen));
        lanemap_store_release(&scene->is_up, 1);
        while (!lanemap_load_acquire(&scene->stop))
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(seen); i++) {
                        uint64_t next = lanemap_load_acquire(&words[i]);

                        if (next == seen[i])
                                continue;
                        seen[i] = next;
                        if (next < GENERATION_MIN)
                                continue;
                        scene->n_seen++;
                        lanemap_shm_data_name(companion->scratch.name, next, object);
                        fd = openat(dir_fd, object, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
                        if (fd >= 0) {
                                (void)fchmod(fd, 0666);
                                close(fd);
                        }
                }
        return 0;
}

/* Whatever becomes of a flip, the index goes on, and is never the stranger's object. */
static void flips_under_guesses(struct companion *companion)
{
        struct lanemap_writer *writer = NULL;
        struct lanemap_reader *reader = NULL;
        struct lanemap_error error;
        uint64_t n_flipped = 0;
        uint32_t id = 0;
        pid_t pid;
        int r;

        lanemap_store_release(&scene->stop, 0);
        lanemap_store_release(&scene->is_up, 0);
        must(writer_try(&companion->scratch, &writer, &error) == 0);
        pid = companion_fork(guesser, companion);
        companion_wait_u32(companion, &scene->is_up, 1, "a stranger who guesses");
        must(lanemap_reader_attach(companion->scratch.name, NULL, &reader) == 0);

        for (uint32_t i = 0; i < N_FLIPS; i++) {
                size_t n_ids = 0;

                if (i % 8 == 7) {
                        lanemap_writer_close(writer);
                        r = writer_try(&companion->scratch, &writer, &error);
                        if (r < 0)
                                fprintf(stderr, "a takeover under guesses: %d, %s\n", r,
                                        error.text);
                        must(r == 0);
                }
                must(engine_add(writer, "k", id++) == 0);
                r = engine_request(writer, LANEMAP_REQUEST_FLIP);
                n_flipped += r == 0;
                if (r != 0 && r != -EBUSY)
                        companion_wrong(companion, "a flip under guesses: %s", strerror(-r));
                r = lanemap_reader_lookup(reader, "k", 1, NULL, 0, &n_ids);
                if (r != 0 || n_ids != id)
                        companion_wrong(companion, "lookup under guesses: %d, %zu ids", r, n_ids);
        }

        lanemap_store_release(&scene->stop, 1);
        companion_join(companion, pid, "the guesser");
        printf("%" PRIu64 " numbers seen, %" PRIu64 " of %d flips done\n", scene->n_seen, n_flipped,
               N_FLIPS);
        if (n_flipped == 0 || scene->n_seen == 0)
                companion_wrong(companion, "nothing was tested");
        lanemap_reader_detach(reader);
        lanemap_writer_close(writer);
}

int main(void)
{
        struct companion *companion = companion_new("stranger");
        int r;

        alarm(120);
        if (!companion_two_users(companion, UID_STRANGER, GID_READERS)) {
                companion_free(companion);
                return COMPANION_SKIPPED;
        }

        scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                     0);
        must(scene != MAP_FAILED);
        index_of_a_stranger(companion);
        r = companion_free(companion);
        locks_of_a_stranger();
        companion = companion_new("guess");
        flips_under_guesses(companion);
        return companion_free(companion) || r;
}
