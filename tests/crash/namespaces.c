/*
 * Readers that share nothing with the writer but /dev/shm and the data directory (R6, R7).
 *
 * Two readers with equal pids, each the first process of a pid namespace of its own, both
 * forking children that look up at once; one of them is killed. A third sees the data directory at
 * another place of a mount namespace of its own. All are right while the writer works.
 *
 * Where namespaces are not permitted: skipped.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "companion.h"

#define LOOKS 2000

/* What the processes tell, beside what beside.h has. */
struct scene {
        uint32_t n_attached;
        uint32_t n_children; /* forked ones that have looked up */
        uint32_t n_elsewhere;
        pid_t pids[2]; /* as each of the two sees itself */
        uint32_t n_pids;
};

static struct scene *scene;

static void count(uint32_t *counter)
{
        __atomic_fetch_add(counter, 1, __ATOMIC_RELEASE);
}

/* The only process of its namespace: pid 1. Looks, lets a child look, looks on until told to
 * stop. */
static int first_of_its_kind(struct companion *companion)
{
        struct lanemap_reader *reader = companion_attach(companion, NULL);
        int status;
        pid_t pid;

        if (!reader)
                return 1;

        scene->pids[__atomic_fetch_add(&scene->n_pids, 1, __ATOMIC_SEQ_CST) % 2] = getpid();
        companion_look(companion, reader, 1);
        count(&scene->n_attached);
        for (uint32_t round = 0; !lanemap_load_acquire(&companion->stop_readers); round++) {
                companion_look(companion, reader, round);
                if (round % 256 != 0)
                        continue;

                pid = fork();
                must(pid >= 0);
                if (pid == 0) {
                        for (uint32_t i = 0; i < 20; i++)
                                companion_look(companion, reader, round + i);
                        count(&scene->n_children);
                        _exit(0);
                }
                must(waitpid(pid, &status, 0) == pid);
                if (status != 0)
                        companion_wrong(companion, "a forked child ended with status 0x%x", status);
                (void)usleep(1000);
        }
        lanemap_reader_detach(reader);
        return 0;
}

/* Forks the one whose namespace is new, and ends as it does. */
static int in_a_pid_namespace(struct companion *companion)
{
        int status;
        pid_t pid;

        if (unshare(CLONE_NEWPID) < 0)
                return COMPANION_SKIPPED;
        pid = fork();
        must(pid >= 0);
        if (pid == 0) {
                must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
                _exit(first_of_its_kind(companion));
        }
        must(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* The directory, seen elsewhere only: where the writer says it is there is nothing. */
static int in_a_mount_namespace(struct companion *companion)
{
        struct lanemap_reader_options options = {.size = sizeof(options)};
        struct lanemap_reader *reader;
        struct scratch elsewhere;

        scratch_init(&elsewhere, "elsewhere");
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return COMPANION_SKIPPED;
        must(mount(companion->scratch.directory, elsewhere.directory, NULL, MS_BIND, NULL) == 0);
        must(mount("tmpfs", companion->scratch.directory, "tmpfs", 0, "size=64k") == 0);

        if (lanemap_reader_attach(companion->scratch.name, &options, &reader) != -ENOENT)
                companion_wrong(companion, "the hidden directory is not missed");
        reader = companion_attach(companion, elsewhere.directory);
        for (uint32_t round = 0; reader && !lanemap_load_acquire(&companion->stop_readers);
             round++) {
                companion_look(companion, reader, round);
                if (round == LOOKS)
                        count(&scene->n_elsewhere);
                if (round % 256 == 0)
                        (void)usleep(1000);
        }
        lanemap_reader_detach(reader);
        must(umount2(elsewhere.directory, MNT_DETACH) == 0);
        scratch_deinit(&elsewhere);
        return 0;
}

static int can_unshare(struct companion *companion)
{
        (void)companion;
        return unshare(CLONE_NEWPID | CLONE_NEWNS) == 0 &&
                               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0
                       ? 0
                       : COMPANION_SKIPPED;
}

static bool permitted(struct companion *companion)
{
        pid_t pid = companion_fork(can_unshare, companion);
        int status;

        must(waitpid(pid, &status, 0) == pid);
        return status == 0;
}

static void readers_apart(struct companion *companion)
{
        pid_t writer = companion_fork(companion_writer, companion), readers[2], elsewhere;
        uint32_t n_children;
        uint64_t n_flushes;

        companion_wait_u32(companion, &companion->n_ups, 1, "the writer");
        companion_wait_u64(companion, &companion->n_flushes, 1, "a flush");
        elsewhere = companion_fork(in_a_mount_namespace, companion);
        for (int i = 0; i < 2; i++)
                readers[i] = companion_fork(in_a_pid_namespace, companion);
        companion_wait_u32(companion, &scene->n_attached, 2, "two readers");
        companion_wait_u32(companion, &scene->n_elsewhere, 1, "a reader elsewhere");
        if (scene->pids[0] != 1 || scene->pids[1] != 1)
                companion_wrong(companion, "the pids are not equal");

        /* Its death takes the namespace with it. */
        companion_kill(readers[0]);
        n_children = lanemap_load_acquire(&scene->n_children);
        n_flushes = lanemap_load_acquire(&companion->n_flushes);
        companion_wait_u32(companion, &scene->n_children, n_children + 10, "children that look up");
        companion_wait_u64(companion, &companion->n_flushes, n_flushes + 5, "flushes");

        lanemap_store_release(&companion->stop_writer, 1);
        companion_join(companion, writer, "the writer");
        lanemap_store_release(&companion->stop_readers, 1);
        companion_join(companion, readers[1], "the reader in a pid namespace");
        companion_join(companion, elsewhere, "the reader in a mount namespace");
        companion_verify(companion);
}

int main(void)
{
        struct companion *companion = companion_new("apart");

        alarm(120);
        if (!permitted(companion)) {
                printf("skipped: namespaces are not permitted here\n");
                companion_free(companion);
                return COMPANION_SKIPPED;
        }

        scene = mmap(NULL, sizeof(*scene), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                     0);
        must(scene != MAP_FAILED);
        readers_apart(companion);
        printf("%" PRIu32 " forked children looked up\n", scene->n_children);
        return companion_free(companion);
}
