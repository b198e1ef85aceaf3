/* See client/memory.h. */
#include "daemon/client/memory.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/client/health.h"
#include "daemon/loop/log.h"

/* What a process has without an index (its own data and stacks, those of its libraries: 1.6 MB),
 * buffers of a few clients, what a flush of a small index takes, and what is added until the next
 * look. tests/daemon/test_memory.py brings a writer to its limit. */
#define BASE_BYTES (UINT64_C(4) << 20)

/* Operations after which it is time to look again. */
#define OPS_MAX 65536

/*
 * Heap and shared memory can go nowhere; segment files are page cache, but an index that does not
 * find them there reads the disk for every key: minutes of page faults. A flush or merge has a
 * section of one lane in memory, a few times over, while it builds it.
 */
static uint64_t needed_bytes(const struct lanemap_writer_stats *stats)
{
        uint32_t n_lanes = stats->n_lanes ? stats->n_lanes : 1;

        return BASE_BYTES + stats->heap_bytes + stats->shared_bytes + stats->segment_bytes +
               4 * (stats->segment_bytes / n_lanes);
}

bool lanemap_memory_explain(const struct lanemap_server *server, char *text, size_t n_text)
{
        const struct lanemap_memory *memory = &server->memory;

        if (!memory->is_short)
                return false;

        snprintf(text, n_text,
                 "%s is %" PRIu64 " bytes, and this index needs about %" PRIu64
                 ": nothing is added until the limit is raised (MemoryMax=, MemoryHigh=) or "
                 "something is removed",
                 memory->limit.file, memory->limit.bytes, memory->needed_bytes);
        return true;
}

static void memory_look(struct lanemap_server *server)
{
        struct lanemap_memory *memory = &server->memory;
        struct lanemap_writer_stats stats;
        uint64_t age_ns;
        char text[768];
        bool was_short = memory->is_short;

        memory->n_ops = 0;
        lanemap_memory_limit_read("/proc/self", "", &memory->limit);
        if (!server->writer || !lanemap_health_stats(server, &stats, &age_ns))
                return;

        memory->needed_bytes = needed_bytes(&stats);
        memory->is_short = memory->limit.bytes < memory->needed_bytes;
        if (memory->is_short && !was_short) {
                (void)lanemap_memory_explain(server, text, sizeof(text));
                lanemap_log(LOG_ERR, "%s", text);
        } else if (was_short && !memory->is_short) {
                lanemap_log(LOG_NOTICE, "there is memory enough again: adding goes on");
        }
}

void lanemap_memory_cron(struct lanemap_server *server)
{
        memory_look(server);
}

void lanemap_memory_applied(struct lanemap_server *server, size_t n_ops)
{
        server->memory.n_ops += n_ops;
        if (server->memory.n_ops > OPS_MAX)
                memory_look(server);
}

/* Of the files of a directory whose names begin and end so. */
static uint64_t files_bytes(const char *directory, const char *begin, const char *end)
{
        size_t n_begin = strlen(begin), n_end = strlen(end);
        uint64_t bytes = 0;
        struct dirent *entry;
        DIR *dir = opendir(directory);

        while (dir && (entry = readdir(dir))) {
                size_t n = strlen(entry->d_name);
                struct stat st;

                if (n >= n_begin + n_end && strncmp(entry->d_name, begin, n_begin) == 0 &&
                    strcmp(entry->d_name + n - n_end, end) == 0 &&
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                        bytes += (uint64_t)st.st_blocks * 512;
        }
        if (dir)
                closedir(dir);
        return bytes;
}

bool lanemap_memory_may_open(struct lanemap_server *server, struct lanemap_error *ret_why)
{
        struct lanemap_memory *memory = &server->memory;
        char objects[80];
        uint64_t files;

        lanemap_memory_limit_read("/proc/self", "", &memory->limit);
        snprintf(objects, sizeof(objects), "lanemap.%s", server->options.name);
        files = files_bytes(server->options.directory, "seg-", ".lms");
        memory->needed_bytes = BASE_BYTES + files_bytes("/dev/shm", objects, "");
        if (memory->limit.bytes < memory->needed_bytes) {
                snprintf(ret_why->text, sizeof(ret_why->text),
                         "%.250s is %" PRIu64 " bytes, and this index needs more than %" PRIu64
                         " to come up, and about %" PRIu64 " to serve: raise the limit "
                         "(MemoryMax=, MemoryHigh=)",
                         memory->limit.file, memory->limit.bytes, memory->needed_bytes,
                         memory->needed_bytes + files);
                return false;
        }

        memory->needed_bytes += files;
        if (memory->limit.bytes < memory->needed_bytes)
                lanemap_log(LOG_WARNING,
                            "%s is %" PRIu64 " bytes, and this index needs about %" PRIu64
                            ": the start may take long; raise the limit (MemoryMax=, MemoryHigh=)",
                            memory->limit.file, memory->limit.bytes, memory->needed_bytes);
        return true;
}

static uint64_t started_bytes(struct lanemap_server *server)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t age_ns;

        return lanemap_health_stats(server, &stats, &age_ns) ? lanemap_memory_used(server, &stats)
                                                             : 0;
}

void lanemap_memory_opened(struct lanemap_server *server)
{
        const struct lanemap_memory *memory = &server->memory;

        memory_look(server);
        server->memory.started_bytes = started_bytes(server);
        if (memory->limit.bytes == UINT64_MAX)
                lanemap_log(LOG_NOTICE, "memory: about %" PRIu64 " bytes are needed; no limit",
                            memory->needed_bytes);
        else
                lanemap_log(LOG_NOTICE,
                            "memory: about %" PRIu64 " bytes are needed; the limit is %" PRIu64
                            " (%s)",
                            memory->needed_bytes, memory->limit.bytes, memory->limit.file);
}

uint64_t lanemap_memory_used(struct lanemap_server *server,
                             const struct lanemap_writer_stats *stats)
{
        uint64_t used = stats->heap_bytes + stats->shared_used_bytes + server->clients_bytes;

        server->used_memory_peak = LANEMAP_MAX(server->used_memory_peak, used);
        return used;
}

uint64_t lanemap_memory_rss(void)
{
        unsigned long long n_pages = 0;
        FILE *file = fopen("/proc/self/statm", "re");

        if (!file)
                return 0;
        if (fscanf(file, "%*u %llu", &n_pages) != 1)
                n_pages = 0;
        fclose(file);
        return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
