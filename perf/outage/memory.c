/*
 * What stopped readers keep from being given back, while the writer churns, compacts and flips.
 * They come in waves and are stopped at once, so that they hold different generations and segment
 * files.
 *
 * Counted through /proc: every object and file of this index that some process maps, once, with its
 * whole size; objects in shared memory are never sparse, so that is memory. Of a segment file on a
 * disk it is what the page cache may hold at most, and gives up when the kernel wants it.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outage/private.h"

#define WAVES          8
#define CHURN_KEYS_MAX (1 << 19)
#define INODES_MAX     4096
#define DELETED        " (deleted)"

struct pinned {
        uint64_t live_bytes;         /* objects that have a name */
        uint64_t deleted_bytes;      /* objects that have none */
        uint64_t deleted_file_bytes; /* segment files that have none */
        size_t n_inodes;
        uint64_t inodes[INODES_MAX];
};

static bool inode_is_new(struct pinned *pinned, uint64_t inode)
{
        for (size_t i = 0; i < pinned->n_inodes; i++)
                if (pinned->inodes[i] == inode)
                        return false;

        if (pinned->n_inodes == INODES_MAX)
                perf_die("too many files to count", -ENOSPC);
        pinned->inodes[pinned->n_inodes++] = inode;
        return true;
}

static void object_count(struct pinned *pinned, const struct stat *st, const char *path)
{
        uint64_t bytes = (uint64_t)st->st_blocks * 512;

        if (!inode_is_new(pinned, st->st_ino))
                return;
        if (strstr(path, DELETED))
                pinned->deleted_bytes += bytes;
        else
                pinned->live_bytes += bytes;
}

/* Objects: who maps one keeps it open. */
static void process_objects(const char *name, pid_t pid, struct pinned *pinned)
{
        char folder[64], prefix[128], path[4096];
        struct dirent *entry;
        DIR *dir;

        snprintf(prefix, sizeof(prefix), "/dev/shm/lanemap.%s", name);
        snprintf(folder, sizeof(folder), "/proc/%d/fd", (int)pid);
        dir = opendir(folder);
        if (!dir)
                perf_die(folder, -errno);
        while ((entry = readdir(dir))) {
                ssize_t n = readlinkat(dirfd(dir), entry->d_name, path, sizeof(path) - 1);
                struct stat st;

                if (n <= 0)
                        continue;
                path[n] = '\0';
                if (strncmp(path, prefix, strlen(prefix)) == 0 &&
                    fstatat(dirfd(dir), entry->d_name, &st, 0) == 0)
                        object_count(pinned, &st, path);
        }
        closedir(dir);
}

/* Segment files are mapped whole, in one piece, and their descriptors closed. */
static void process_files(const char *directory, pid_t pid, struct pinned *pinned)
{
        char path[64], line[4096 + 256];
        FILE *maps;

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
        maps = fopen(path, "re");
        if (!maps)
                perf_die(path, -errno);
        while (fgets(line, sizeof(line), maps)) {
                uint64_t from, to, inode;

                if (!strstr(line, directory) || !strstr(line, DELETED) ||
                    sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %" SCNu64, &from, &to,
                           &inode) != 3 ||
                    !inode_is_new(pinned, inode))
                        continue;
                pinned->deleted_file_bytes += to - from;
        }
        fclose(maps);
}

static void pinned_take(const struct perf_place *place, const struct outage_readers *readers,
                        struct pinned *pinned)
{
        memset(pinned, 0, sizeof(*pinned));
        process_objects(place->name, getpid(), pinned);
        process_files(place->directory, getpid(), pinned);
        for (uint32_t i = 0; i < readers->n; i++) {
                process_objects(place->name, readers->pids[i], pinned);
                process_files(place->directory, readers->pids[i], pinned);
        }
}

struct peaks {
        uint64_t total, deleted, files;
};

static void peaks_update(const struct perf_place *place, const struct outage_readers *readers,
                         struct peaks *peaks)
{
        static struct pinned pinned;
        uint64_t total;

        pinned_take(place, readers, &pinned);
        total = pinned.live_bytes + pinned.deleted_bytes;
        peaks->total = total > peaks->total ? total : peaks->total;
        peaks->deleted =
                pinned.deleted_bytes > peaks->deleted ? pinned.deleted_bytes : peaks->deleted;
        peaks->files =
                pinned.deleted_file_bytes > peaks->files ? pinned.deleted_file_bytes : peaks->files;
}

/* Adds until the object is half full, or half a million keys: the overlays are large when the flip
 * comes. */
static uint64_t churn(struct lanemap_writer *writer, uint64_t next, uint64_t limit)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t end = next + CHURN_KEYS_MAX;

        do {
                perf_engine_apply(writer, LANEMAP_OP_ADD, next, 4096);
                next += 4096;
                if (lanemap_writer_get_stats(writer, &stats) < 0)
                        perf_die("statistics", -EINVAL);
        } while (stats.shared_bytes < limit / 2 && next < end);

        return next;
}

static void report(const struct outage_options *options, const struct peaks *peaks,
                   const struct lanemap_writer_stats *stats, struct perf_table *table)
{
        double limit = (double)options->memory_limit;

        perf_table_add(table, "memory_limit", limit, "bytes");
        perf_table_add(table, "memory_pinned_peak", (double)peaks->deleted, "bytes");
        perf_table_add(table, "memory_pinned_per_limit", (double)peaks->deleted / limit, "ratio");
        perf_table_add(table, "memory_shared_peak", (double)peaks->total, "bytes");
        perf_table_add(table, "memory_pinned_files_peak", (double)peaks->files, "bytes");
        perf_table_add(table, "memory_flips", (double)stats->n_generation_flips, "");
        perf_table_add(table, "memory_merges", (double)stats->n_merges, "");
}

void outage_measure_memory(const struct outage_options *options, struct perf_table *table)
{
        const struct lanemap_writer_options writer_options = {
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
                .shared_bytes_max = options->memory_limit,
                .flush_bytes = options->memory_limit / 3,
        };
        const uint64_t n_keys = options->quick ? 2000 : 100000;
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct outage_readers readers;
        struct lanemap_writer *writer;
        struct peaks peaks = {0};
        struct perf_place place;
        uint64_t next = n_keys;

        perf_engine_index_make(options->name, options->dir, n_keys, &place);
        writer = perf_engine_open(&place, &writer_options);
        outage_readers_init(&readers, options, &place, n_keys);
        for (uint32_t wave = 0; wave < 2 * WAVES; wave++) {
                next = churn(writer, next, options->memory_limit);
                if (wave < WAVES) {
                        uint32_t n = options->n_readers * (wave + 1) / WAVES;

                        outage_readers_start_stopped(&readers, n - readers.n);
                }
                (void)perf_engine_request(writer, LANEMAP_REQUEST_FLIP);
                peaks_update(&place, &readers, &peaks);
                (void)perf_engine_request(writer, LANEMAP_REQUEST_COMPACT);
                peaks_update(&place, &readers, &peaks);
        }

        if (lanemap_writer_get_stats(writer, &stats) < 0)
                perf_die("statistics", -EINVAL);
        report(options, &peaks, &stats, table);
        outage_readers_deinit(&readers);
        lanemap_writer_close(writer);
        perf_place_remove(&place);
}
