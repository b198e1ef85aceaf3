/*
 * Stopped readers hold what they had mapped, and no more comes to it (R4, W6).
 *
 * Eight times eight readers attach, look, and are stopped in the midst of it, while the writer
 * adds, removes, flushes and asks for a new generation again and again. Retired data objects that
 * any of them holds are counted: at most HELD_MAX, since flips are refused then. The writer's own
 * memory and its object stay as large as they were. When the readers are gone, flips go through
 * again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "companion.h"

#define N_ROUNDS 8
#define N_EACH   8
#define HELD_MAX 2

/* The object in force: bytes. */
static uint64_t object_bytes(const struct companion *companion)
{
        DIR *dir = opendir("/dev/shm");
        const struct dirent *entry;
        char prefix[80];
        uint64_t n_bytes = 0;

        must(dir);
        snprintf(prefix, sizeof(prefix), "lanemap.%s.", companion->scratch.name);
        while ((entry = readdir(dir))) {
                struct stat st;

                if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
                    strlen(entry->d_name) == strlen(prefix) + 16 &&
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        n_bytes = LANEMAP_MAX(n_bytes, (uint64_t)st.st_size);
        }
        closedir(dir);
        return n_bytes;
}

/* Private memory of a process, as the kernel counts it. */
static uint64_t private_bytes(pid_t pid)
{
        char path[64], line[256];
        uint64_t n_kib = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
        file = fopen(path, "re");
        must(file);
        while (fgets(line, sizeof(line), file))
                if (strncmp(line, "RssAnon:", 8) == 0)
                        n_kib = strtoull(line + 8, NULL, 10);
        (void)fclose(file);
        return n_kib << 10;
}

/* Distinct data objects without a name that these processes have mapped. */
static uint32_t objects_held(const struct companion *companion, const pid_t *pids, uint32_t n_pids)
{
        uint64_t inodes[64];
        uint32_t n = 0;

        for (uint32_t i = 0; i < n_pids; i++) {
                char path[64], line[512];
                FILE *file;

                snprintf(path, sizeof(path), "/proc/%d/maps", (int)pids[i]);
                file = fopen(path, "re");
                must(file);
                while (fgets(line, sizeof(line), file)) {
                        uint64_t inode;
                        uint32_t at = 0;

                        if (!strstr(line, companion->scratch.name) || !strstr(line, "(deleted)") ||
                            sscanf(line, "%*s %*s %*s %*s %" SCNu64, &inode) != 1)
                                continue;
                        if (!strstr(line, "/dev/shm/lanemap."))
                                continue;
                        while (at < n && inodes[at] != inode)
                                at++;
                        if (at == n && n < LANEMAP_N_ELEMENTS(inodes))
                                inodes[n++] = inode;
                }
                (void)fclose(file);
        }
        return n;
}

static uint64_t flips_asked(const struct companion *companion)
{
        return lanemap_load_acquire(&companion->n_flips) +
               lanemap_load_acquire(&companion->n_flips_refused);
}

static void flips_await(struct companion *companion, uint64_t n)
{
        uint64_t until_ns = now_ns() + UINT64_C(30000000000), target = flips_asked(companion) + n;

        while (flips_asked(companion) < target && now_ns() < until_ns)
                (void)usleep(1000);
        if (flips_asked(companion) < target)
                companion_wrong(companion, "the writer asks for no more flips");
}

static void readers_stop(struct companion *companion, pid_t *pids)
{
        uint64_t before = lanemap_load_acquire(&companion->n_lookups);

        for (uint32_t i = 0; i < N_EACH; i++)
                pids[i] = companion_fork(companion_reader, companion);
        companion_wait_u64(companion, &companion->n_lookups, before + N_EACH * 200, "lookups");
        for (uint32_t i = 0; i < N_EACH; i++)
                must(kill(pids[i], SIGSTOP) == 0);
}

int main(void)
{
        struct companion *companion = companion_new("held");
        pid_t pids[N_ROUNDS * N_EACH], writer = companion_fork(companion_writer, companion);
        uint64_t start_bytes, start_private, flips;
        uint32_t n_held = 0;

        companion_wait_u32(companion, &companion->n_ups, 1, "the writer");
        flips_await(companion, 3);
        start_bytes = object_bytes(companion);
        start_private = private_bytes(writer);
        for (uint32_t round = 0; round < N_ROUNDS; round++) {
                readers_stop(companion, pids + (size_t)round * N_EACH);
                flips_await(companion, 3);
                n_held = objects_held(companion, pids, (round + 1) * N_EACH);
                if (n_held > HELD_MAX)
                        companion_wrong(companion, "round %u: %u objects are held", round, n_held);
        }
        printf("%u readers hold %u retired objects; object %" PRIu64 " -> %" PRIu64
               " bytes, private memory of the writer %" PRIu64 " -> %" PRIu64 "\n",
               N_ROUNDS * N_EACH, n_held, start_bytes, object_bytes(companion), start_private,
               private_bytes(writer));
        if (n_held < 2 || lanemap_load_acquire(&companion->n_flips_refused) == 0)
                companion_wrong(companion, "nothing was held back: nothing was tried");
        if (object_bytes(companion) > 2 * start_bytes)
                companion_wrong(companion, "the object grows");
        if (private_bytes(writer) > start_private + (16 << 20))
                companion_wrong(companion, "the writer grows");

        for (uint32_t i = 0; i < N_ROUNDS * N_EACH; i++)
                companion_kill(pids[i]);
        flips = lanemap_load_acquire(&companion->n_flips);
        companion_wait_u64(companion, &companion->n_flips, flips + 3,
                           "flips after the readers' end");
        lanemap_store_release(&companion->stop_writer, 1);
        companion_join(companion, writer, "the writer");
        companion_verify(companion);
        return companion_free(companion);
}
