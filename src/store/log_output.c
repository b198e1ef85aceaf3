/* See log_output.h. */
#include "store/log_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/probes.h"

#define ALLOCATE_BYTES_MIN (UINT64_C(64) << 10)
#define ALLOCATE_BYTES_MAX (UINT64_C(4) << 20)
#define PAGE_BYTES         UINT64_C(4096)
#define NUMBERS_TO_TRY     1024

static void output_name(uint64_t number, char *ret_name)
{
        snprintf(ret_name, LANEMAP_LOG_NAME_BYTES, LANEMAP_LOG_NAME_FORMAT,
                 (unsigned long long)number);
}

static int uuid_make(unsigned char *ret_uuid)
{
        ssize_t n = getrandom(ret_uuid, 16, 0);

        return n == 16 ? 0 : n < 0 ? -errno : -EIO;
}

int lanemap_log_output_begin(const struct lanemap_files *files, int dir_fd,
                             const struct lanemap_log_header *header, uint64_t room_bytes,
                             struct lanemap_log_output *ret_output)
{
        struct lanemap_log_output output = {
                .files = files,
                .dir_fd = dir_fd,
                .fd = -EEXIST,
                .header = *header,
                .end = LANEMAP_LOG_RECORDS_OFF,
        };
        int r;

        r = uuid_make(output.header.file_uuid);
        if (r < 0)
                return r;
        output.seed = lanemap_log_seed(output.header.file_uuid);

        for (int i = 0; i < NUMBERS_TO_TRY && output.fd == -EEXIST; i++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                output.header.number = header->number + (uint64_t)i;
                output_name(output.header.number, name);
                output.fd = files->open(files, dir_fd, name, O_RDWR | O_CREAT | O_EXCL, 0600);
        }
        if (output.fd < 0)
                return output.fd;

        r = lanemap_log_output_allocate(&output, LANEMAP_LOG_RECORDS_OFF + room_bytes);
        if (r < 0) {
                lanemap_log_output_abandon(&output);
                return r;
        }

        output.header.bytes = output.allocated;
        *ret_output = output;
        return 0;
}

int lanemap_log_output_allocate(struct lanemap_log_output *output, uint64_t end)
{
        uint64_t step =
                LANEMAP_MIN(LANEMAP_MAX(output->allocated, ALLOCATE_BYTES_MIN), ALLOCATE_BYTES_MAX);
        uint64_t wanted = LANEMAP_MAX(output->allocated + step, LANEMAP_ALIGN_UP(end, PAGE_BYTES));
        int r;

        if (end <= output->allocated)
                return 0;

        r = output->files->allocate(output->files, output->fd, (off_t)output->allocated,
                                    (off_t)(wanted - output->allocated));
        if ((r == -ENOSPC || r == -EDQUOT) && wanted > LANEMAP_ALIGN_UP(end, PAGE_BYTES)) {
                /* Nearly full: what is needed now, and not more. */
                wanted = LANEMAP_ALIGN_UP(end, PAGE_BYTES);
                r = output->files->allocate(output->files, output->fd, (off_t)output->allocated,
                                            (off_t)(wanted - output->allocated));
        }
        if (r < 0)
                return r;

        output->allocated = wanted;
        return 0;
}

static inline uint64_t now_ns(void)
{
        return lanemap_now_ns(&lanemap_clock_monotonic);
}

int lanemap_log_output_put(struct lanemap_log_output *output, const void *records, size_t bytes)
{
        uint64_t start_ns = LANEMAP_PROBE_START_NS(log__write, now_ns());
        int r = lanemap_files_pwrite_all(output->files, output->fd, records, bytes,
                                         (off_t)output->end);

        LANEMAP_PROBE(log__write, output->end, bytes, LANEMAP_PROBE_SINCE_NS(start_ns, now_ns()),
                      r);
        return r;
}

int lanemap_log_output_head(struct lanemap_log_output *output)
{
        unsigned char header[LANEMAP_LOG_HEADER_BYTES];
        int r;

        lanemap_log_header_encode(&output->header, header);
        r = lanemap_files_pwrite_all(output->files, output->fd, header, sizeof(header), 0);
        if (r == 0)
                r = lanemap_files_pwrite_all(output->files, output->fd, header, sizeof(header),
                                             LANEMAP_LOG_HEADER_COPY_OFF);
        return r;
}

int lanemap_log_output_sync(const struct lanemap_log_output *output)
{
        struct stat st;
        int r;

        LANEMAP_PROBE(log__sync__start, output->end);
        r = output->files->sync(output->files, output->fd);
        LANEMAP_PROBE(log__sync__done, output->end, r);
        if (r == 0 && !output->is_listed)
                r = output->files->sync_directory(output->files, output->dir_fd);
        /* Synced, and in no directory: nobody would find it after a crash. */
        if (r == 0 && fstat(output->fd, &st) == 0 && st.st_nlink == 0)
                return -ESTALE;
        return r;
}

int lanemap_log_output_finish(struct lanemap_log_output *output)
{
        int r = output->files->sync(output->files, output->fd);

        if (r == 0)
                r = lanemap_log_output_head(output);
        if (r == 0)
                r = lanemap_log_output_sync(output);
        output->is_listed = r == 0;
        return r;
}

void lanemap_log_output_close(struct lanemap_log_output *output)
{
        if (output->fd >= 0)
                output->files->close(output->files, output->fd);
        output->fd = -1;
}

void lanemap_log_output_abandon(struct lanemap_log_output *output)
{
        char name[LANEMAP_LOG_NAME_BYTES];

        if (output->fd < 0)
                return;

        lanemap_log_output_close(output);
        output_name(output->header.number, name);
        output->files->unlink(output->files, output->dir_fd, name);
}
