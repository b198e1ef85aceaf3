/*
 * Opening a log. Its first file takes over the records of a predecessor that are not proven
 * durable; on a full disk that waits. See lanemap_log_open().
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/order.h"
#include "store/log_state.h"

#define COPY_BYTES    (UINT32_C(1) << 20)
#define COMPARE_BYTES ((size_t)256 << 10)

/* Records of a predecessor on their way into the first file. */
struct copy {
        struct lanemap_log_output *output;
        uint64_t after;
        unsigned char *bytes;
        size_t capacity;
        size_t n_bytes;
};

static int copy_flush(struct copy *copy)
{
        struct lanemap_log_output *output = copy->output;
        int r;

        r = lanemap_log_output_allocate(output, output->end + copy->n_bytes);
        if (r == 0)
                r = lanemap_log_output_put(output, copy->bytes, copy->n_bytes);
        if (r < 0)
                return r;

        output->end += copy->n_bytes;
        copy->n_bytes = 0;
        return 0;
}

static int copy_visit(void *arg, const struct lanemap_log_scan *scan,
                      const struct lanemap_log_record *record, const unsigned char *bytes)
{
        struct copy *copy = arg;
        int r;

        if (copy->n_bytes > 0 && copy->n_bytes + record->bytes > copy->capacity) {
                r = copy_flush(copy);
                if (r < 0)
                        return r;
        }

        if (record->bytes > copy->capacity) {
                size_t capacity = LANEMAP_MAX((size_t)record->bytes, (size_t)COPY_BYTES);
                void *grown = lanemap_realloc(copy->bytes, capacity);

                if (!grown)
                        return -ENOMEM;
                copy->bytes = grown;
                copy->capacity = capacity;
        }

        memcpy(copy->bytes + copy->n_bytes, bytes, record->bytes);
        lanemap_log_record_seal(copy->bytes + copy->n_bytes, copy->after, copy->output->seed);
        copy->n_bytes += record->bytes;
        return 0;
}

static int copy_unproven(struct lanemap_log *log, struct lanemap_log_output *output)
{
        struct copy copy = {.output = output, .after = output->header.after};
        int r;

        if (log->last <= copy.after)
                return 0;

        pthread_mutex_lock(&log->drop_mutex); /* the list of files stays as it is */
        r = lanemap_log_walk(log->files_layer, log->dir_fd, log->files, log->n_files, copy.after,
                             log->last, copy_visit, &copy);
        pthread_mutex_unlock(&log->drop_mutex);
        if (r == 0)
                r = copy_flush(&copy);

        lanemap_free(copy.bytes);
        return r;
}

static void first_file_adopt(struct lanemap_log *log, const struct lanemap_log_output *output)
{
        pthread_mutex_lock(&log->mutex);
        for (size_t i = 0; i < log->n_files; i++) /* what is larger is void now */
                log->files[i].last_seq = LANEMAP_MIN(log->files[i].last_seq, output->header.after);
        lanemap_log_adopt(log, output);
        log->given_up = false;
        lanemap_store_release(&log->error, 0);
        lanemap_store_release(&log->written, log->last);
        lanemap_store_release(&log->durable, log->last);
        pthread_mutex_unlock(&log->mutex);
}

int lanemap_log_first_file(struct lanemap_log *log)
{
        struct lanemap_log_header header = log->header;
        struct lanemap_log_output output;
        int r;

        header.number = log->next_number;
        header.after = log->durable;
        r = lanemap_log_output_begin(log->files_layer, log->dir_fd, &header, 0, &output);
        if (r < 0)
                return r;

        r = copy_unproven(log, &output);
        if (r == 0)
                r = lanemap_log_output_finish(&output);
        if (r < 0) {
                lanemap_log_output_abandon(&output);
                return r;
        }

        first_file_adopt(log, &output);
        return 0;
}

/* ---- without room for a file ---- */

/* Return: 0: through O_DIRECT, past the page cache, there are the same bytes. */
static int files_compare(int cached, int direct, unsigned char *buffers)
{
        off_t at = 0;

        for (;;) {
                ssize_t n = pread(direct, buffers, COMPARE_BYTES, at), n_cached;

                if (n < 0)
                        return -errno;
                n_cached = pread(cached, buffers + COMPARE_BYTES, COMPARE_BYTES, at);
                if (n_cached < 0)
                        return -errno;
                if (n != n_cached || memcmp(buffers, buffers + COMPARE_BYTES, (size_t)n) != 0)
                        return -EIO;
                if (n == 0)
                        return 0;
                at += n;
        }
}

static int file_prove(struct lanemap_log *log, uint64_t number, unsigned char *buffers)
{
        char name[LANEMAP_LOG_NAME_BYTES];
        int cached, direct = -1, r;

        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        cached = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (cached < 0)
                return -errno;

        r = log->files_layer->sync(log->files_layer, cached);
        if (r == 0)
                direct = openat(log->dir_fd, name, O_RDONLY | O_DIRECT | O_CLOEXEC);
        if (r == 0)
                r = direct < 0 ? -errno : files_compare(cached, direct, buffers);
        if (direct >= 0)
                close(direct);
        close(cached);
        return r;
}

/*
 * What a predecessor wrote is durable if the disk has it: the old files are synced, and what they
 * are in the page cache is compared with what is read past it. A sync alone proves nothing, since
 * one that failed before has left clean pages.
 *
 * Return: 0: all of it is durable. Errors: -EINVAL the file system reads nothing past the cache;
 * -EIO the disk has something else; -ENOMEM; errno of the file layer.
 */
static int old_files_prove(struct lanemap_log *log)
{
        unsigned char *buffers;
        int r = 0;

        if (log->durable == log->last)
                return 0;
        buffers = lanemap_alloc_pages(2 * COMPARE_BYTES);
        if (!buffers)
                return -ENOMEM;

        for (size_t i = 0; i < log->n_files && r == 0; i++)
                if (log->files[i].last_seq > log->durable)
                        r = file_prove(log, log->files[i].number, buffers);
        if (r == 0)
                r = log->files_layer->sync_directory(log->files_layer, log->dir_fd);
        if (r == 0)
                log->durable = log->last;
        lanemap_free_pages(buffers, 2 * COMPARE_BYTES);
        return r;
}

/* ---- open and close ---- */

static int log_take_files(struct lanemap_log *log, const struct lanemap_log_recovery *recovery)
{
        log->files_capacity = 8 + (recovery ? recovery->n_files : 0);
        log->files = lanemap_alloc(log->files_capacity * sizeof(*log->files));
        if (!log->files)
                return -ENOMEM;

        if (recovery && recovery->n_files > 0) {
                memcpy(log->files, recovery->files, recovery->n_files * sizeof(*log->files));
                log->n_files = recovery->n_files;
        }

        return 0;
}

/* Without a file: it is failing, and will go on trying. What the old files hold was written. */
static void log_open_full(struct lanemap_log *log, int error)
{
        log->given_up = true;
        log->error = error;
        log->error_since_ns = lanemap_now_ns(log->clock);
        log->written = log->last;
        /* Else replies that depend on it wait until there is room for a file that has it. */
        (void)old_files_prove(log);
}

int lanemap_log_open(const struct lanemap_log_config *config, struct lanemap_log **ret_log)
{
        const struct lanemap_log_recovery *recovery = config->recovery;
        struct lanemap_log *log;
        int r;

        log = lanemap_alloc_zero(sizeof(*log));
        if (!log)
                return -ENOMEM;

        log->files_layer = config->files;
        log->clock = config->clock;
        log->dir_fd = config->dir_fd;
        log->header.fingerprint_bits = config->fingerprint_bits;
        memcpy(log->header.index_uuid, config->index_uuid, sizeof(log->header.index_uuid));
        log->file_bytes = config->file_bytes ? config->file_bytes : LANEMAP_LOG_FILE_BYTES_DEFAULT;
        log->buffer_bytes =
                config->buffer_bytes ? config->buffer_bytes : LANEMAP_LOG_BUFFER_BYTES_DEFAULT;
        log->rotate_at = log->file_bytes;
        log->current.fd = -1;
        log->number = config->number;
        log->next_number = LANEMAP_MAX(config->next_number, recovery ? recovery->next_number : 1);
        log->durable = LANEMAP_MAX(config->after, recovery ? recovery->proven : 0);
        log->last = LANEMAP_MAX(log->durable, recovery ? recovery->last_seq : 0);
        log->last_op = log->last;
        log->proven = log->durable;
        pthread_mutex_init(&log->sync_mutex, NULL);
        pthread_mutex_init(&log->write_mutex, NULL);
        pthread_mutex_init(&log->drop_mutex, NULL);
        pthread_mutex_init(&log->mutex, NULL);

        r = log_take_files(log, recovery);
        if (r == 0)
                r = lanemap_log_first_file(log);
        if (config->may_be_full && (r == -ENOSPC || r == -EDQUOT)) {
                log_open_full(log, r);
                r = 0;
        }
        if (r < 0) {
                lanemap_log_close(log);
                return r;
        }

        *ret_log = log;
        return 0;
}

void lanemap_log_close(struct lanemap_log *log)
{
        if (!log)
                return;

        lanemap_log_output_close(&log->current);
        while (log->head) {
                struct lanemap_log_block *next = log->head->next;

                lanemap_log_block_free(log->head);
                log->head = next;
        }
        lanemap_log_block_free(log->spare);
        lanemap_free(log->files);
        pthread_mutex_destroy(&log->mutex);
        pthread_mutex_destroy(&log->drop_mutex);
        pthread_mutex_destroy(&log->write_mutex);
        pthread_mutex_destroy(&log->sync_mutex);
        lanemap_free(log);
}
