/*
 * The log's memory: opening, reserving, appending, dropping, and what it says about itself. The
 * disk side is log_sync.c. See log_write.h and log_state.h.
 */
#include "store/log_write.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/lock.h"
#include "common/order.h"
#include "store/log_state.h"

#define BLOCK_BYTES_MIN (UINT32_C(16) << 10)
#define BLOCK_BYTES_MAX (UINT32_C(1) << 20)
#define COPY_BYTES      (UINT32_C(1) << 20)

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

static int copy_unproven(const struct lanemap_log_config *config, struct lanemap_log_output *output)
{
        const struct lanemap_log_recovery *recovery = config->recovery;
        struct copy copy = {.output = output, .after = output->header.after};
        int r;

        if (!recovery || recovery->last_seq <= copy.after)
                return 0;

        r = lanemap_log_walk(config->files, config->dir_fd, recovery->files, recovery->n_files,
                             copy.after, recovery->last_seq, copy_visit, &copy);
        if (r == 0)
                r = copy_flush(&copy);

        lanemap_free(copy.bytes);
        return r;
}

static int log_open_file(struct lanemap_log *log, const struct lanemap_log_config *config)
{
        struct lanemap_log_header header = log->header;
        struct lanemap_log_output output;
        int r;

        header.number = log->next_number;
        header.after = log->durable;
        r = lanemap_log_output_begin(log->files_layer, log->dir_fd, &header, 0, &output);
        if (r < 0)
                return r;

        r = copy_unproven(config, &output);
        if (r == 0)
                r = lanemap_log_output_finish(&output);
        if (r < 0) {
                lanemap_log_output_abandon(&output);
                return r;
        }

        lanemap_log_adopt(log, &output);
        for (size_t i = 0; i + 1 < log->n_files; i++) /* what is larger is void now */
                log->files[i].last_seq = LANEMAP_MIN(log->files[i].last_seq, header.after);
        log->written = log->durable = log->last;
        return 0;
}

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
                r = log_open_file(log, config);
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

int lanemap_log_files_reserve(struct lanemap_log *log)
{
        size_t capacity = 2 * log->files_capacity;
        void *files;

        if (log->n_files < log->files_capacity)
                return 0;

        files = lanemap_realloc(log->files, capacity * sizeof(*log->files));
        if (!files)
                return -ENOMEM;

        log->files = files;
        log->files_capacity = capacity;
        return 0;
}

void lanemap_log_adopt(struct lanemap_log *log, const struct lanemap_log_output *output)
{
        uint64_t number = output->header.number;

        if (log->current.fd >= 0) {
                log->files[log->n_files - 1].last_seq = output->header.after;
                log->files[log->n_files - 1].bytes = log->current.allocated;
        }

        /* lanemap_log_files_reserve() was called, and recovery reads the files in the order of
         * their numbers. */
        lanemap_check(log->n_files < log->files_capacity);
        lanemap_check(log->n_files == 0 || number > log->files[log->n_files - 1].number);
        log->files[log->n_files++] = (struct lanemap_log_file){
                .number = number,
                .first_seq = output->header.after + 1,
                .finished = 1,
        };
        log->current = *output;
        lanemap_store_release(&log->next_number, number + 1);
        if (output->is_listed)
                lanemap_log_note_listed(log);
}

void lanemap_log_note_listed(struct lanemap_log *log)
{
        const struct lanemap_log_header *header = &log->current.header;

        log->current.is_listed = true;
        lanemap_store_release(&log->number, header->number);
        lanemap_store_release(&log->proven, LANEMAP_MAX(log->proven, header->after));
}

void lanemap_log_block_free(struct lanemap_log_block *block)
{
        if (block)
                lanemap_free_pages(block, sizeof(*block) + block->capacity);
}

static int ensure_memory(struct lanemap_log *log, size_t bytes)
{
        struct lanemap_log_block *block = log->tail;
        size_t capacity = BLOCK_BYTES_MIN - sizeof(*block); /* whole pages */

        if (block && block->capacity - block->n_bytes >= bytes)
                return 0;

        if (log->spare && log->spare->capacity >= bytes) {
                block = log->spare;
                log->spare = NULL;
        } else {
                if (block)
                        capacity = LANEMAP_MIN(2 * block->capacity, (size_t)BLOCK_BYTES_MAX);
                capacity = LANEMAP_MAX(capacity, bytes);
                block = lanemap_alloc_pages(sizeof(*block) + capacity);
                if (!block)
                        return -ENOMEM;
                block->capacity = capacity;
        }

        block->next = NULL;
        block->n_bytes = block->n_written = block->n_syncing = block->n_again = block->n_durable =
                0;
        if (log->tail)
                log->tail->next = block;
        else
                log->head = block;
        log->tail = block;
        return 0;
}

int lanemap_log_ensure_room(struct lanemap_log *log, size_t bytes)
{
        int r;

        if (log->error)
                return log->error == -ENOSPC || log->error == -EDQUOT ? -ENOSPC : -EIO;

        r = ensure_memory(log, bytes);
        if (r == 0)
                r = lanemap_log_output_allocate(&log->current,
                                                log->current.end + log->n_unwritten + bytes);
        /* All that is not durable goes there again. */
        if (r == 0 && log->successor)
                r = lanemap_log_output_allocate(log->successor,
                                                LANEMAP_LOG_RECORDS_OFF + log->n_buffered + bytes);

        return r == -EDQUOT ? -ENOSPC : r;
}

int lanemap_log_reserve(struct lanemap_log *log, size_t bytes)
{
        int r;

        if (bytes > LANEMAP_LOG_RECORD_BYTES_MAX)
                return -EINVAL;

        pthread_mutex_lock(&log->mutex);
        log->n_reserved = 0;
        if (!log->error && log->n_buffered > 0 && log->n_buffered + bytes > log->buffer_bytes)
                r = -EAGAIN;
        else
                r = lanemap_log_ensure_room(log, bytes);
        if (r == 0)
                log->n_reserved = bytes;
        pthread_mutex_unlock(&log->mutex);

        return r;
}

uint64_t lanemap_log_append_locked(struct lanemap_log *log, const struct lanemap_log_op *ops,
                                   size_t n_ops, size_t bytes)
{
        struct lanemap_log_block *block = log->tail;
        uint64_t seq = log->last + 1;

        /* Room was ensured: a record that does not fit cannot be refused any more. */
        lanemap_check(bytes <= block->capacity - block->n_bytes);
        lanemap_log_record_encode(log->header.fingerprint_bits, seq, ops, n_ops,
                                  block->bytes + block->n_bytes);
        block->n_bytes += bytes;
        lanemap_store_relaxed(&log->n_buffered, log->n_buffered + bytes);
        log->n_unwritten += bytes;
        log->stats.n_records++;
        log->stats.op_bytes += bytes;
        if (log->pending_since_ns == 0)
                lanemap_store_relaxed(&log->pending_since_ns, lanemap_now_ns(log->clock));
        if (n_ops > 0)
                log->last_op = seq;
        lanemap_store_release(&log->last, seq);
        return seq;
}

void lanemap_log_append(struct lanemap_log *log, const struct lanemap_log_op *ops, size_t n_ops,
                        uint64_t *ret_seq)
{
        size_t bytes = lanemap_log_record_bytes(log->header.fingerprint_bits, ops, n_ops);

        pthread_mutex_lock(&log->mutex);
        /* Its operations are published: the disk has to have room for it (E2). */
        lanemap_check(bytes <= log->n_reserved);
        log->n_reserved = 0;
        *ret_seq = lanemap_log_append_locked(log, ops, n_ops, bytes);
        pthread_mutex_unlock(&log->mutex);
}

/* The oldest file that may go, of those after `number`. The current one is last and never goes. */
static bool find_droppable(struct lanemap_log *log, uint64_t number, uint64_t through_seq,
                           uint64_t keep_number, uint64_t *ret_number)
{
        for (size_t i = 0; i + 1 < log->n_files; i++) {
                const struct lanemap_log_file *file = &log->files[i];

                if (file->number > number && file->number < keep_number &&
                    file->last_seq <= through_seq) {
                        *ret_number = file->number;
                        return true;
                }
        }

        return false;
}

static void forget_file(struct lanemap_log *log, uint64_t number)
{
        size_t i = 0;

        while (log->files[i].number != number)
                i++;
        log->n_files--;
        memmove(&log->files[i], &log->files[i + 1], (log->n_files - i) * sizeof(*log->files));
}

int lanemap_log_drop(struct lanemap_log *log, uint64_t through_seq, uint64_t keep_number)
{
        uint64_t number = 0;
        int n_dropped = 0, error = 0;

        pthread_mutex_lock(&log->drop_mutex);
        pthread_mutex_lock(&log->mutex);
        while (find_droppable(log, number, through_seq, keep_number, &number)) {
                char name[LANEMAP_LOG_NAME_BYTES];
                int r;

                /* Unlinking a large file takes its time; nobody waits for it. */
                pthread_mutex_unlock(&log->mutex);
                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
                r = log->files_layer->unlink(log->files_layer, log->dir_fd, name);
                pthread_mutex_lock(&log->mutex);

                if (r == 0 || r == -ENOENT) {
                        forget_file(log, number);
                        n_dropped++;
                } else if (error == 0) {
                        error = r;
                }
        }
        pthread_mutex_unlock(&log->mutex);
        pthread_mutex_unlock(&log->drop_mutex);

        return error ? error : n_dropped;
}

uint64_t lanemap_log_last(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->last);
}

uint64_t lanemap_log_written(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->written);
}

uint64_t lanemap_log_durable(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->durable);
}

uint64_t lanemap_log_proven(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->proven);
}

uint64_t lanemap_log_oldest_unsynced_ns(const struct lanemap_log *log)
{
        uint64_t since = lanemap_load_acquire(&log->undurable_since_ns);

        return since ? since : lanemap_load_acquire(&log->pending_since_ns);
}

int lanemap_log_error(const struct lanemap_log *log, uint64_t *ret_since_ns)
{
        int error = lanemap_load_acquire(&log->error);

        if (error)
                *ret_since_ns = lanemap_load_acquire(&log->error_since_ns);
        return error;
}

uint64_t lanemap_log_number(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->number);
}

uint64_t lanemap_log_next_number(const struct lanemap_log *log)
{
        return lanemap_load_acquire(&log->next_number);
}

uint64_t lanemap_log_sync_since_ns(const struct lanemap_log *log)
{
        return lanemap_load_relaxed(&log->sync_since_ns);
}

uint64_t lanemap_log_busy_since_ns(const struct lanemap_log *log)
{
        uint64_t sync_ns = lanemap_load_relaxed(&log->sync_since_ns);
        uint64_t write_ns = lanemap_load_relaxed(&log->write_since_ns);

        return sync_ns && (!write_ns || sync_ns < write_ns) ? sync_ns : write_ns;
}

bool lanemap_log_is_full(const struct lanemap_log *log)
{
        return lanemap_load_relaxed(&log->is_full);
}

bool lanemap_log_is_ready(struct lanemap_log *log, size_t bytes, size_t allocated_bytes)
{
        bool ready = true;

        if (pthread_mutex_trylock(&log->mutex) != 0)
                return false;

        if (!log->error)
                ready = (log->n_buffered == 0 || log->n_buffered + bytes <= log->buffer_bytes) &&
                        (allocated_bytes == 0 ||
                         log->current.end + log->n_unwritten + allocated_bytes <=
                                 log->current.allocated);
        pthread_mutex_unlock(&log->mutex);
        return ready;
}

bool lanemap_log_is_filling(const struct lanemap_log *log)
{
        uint64_t bytes = lanemap_load_relaxed(&log->n_buffered);

        return bytes > log->buffer_bytes / 2 ||
               (bytes > 0 && bytes + LANEMAP_LOG_RECORD_BYTES_MAX > log->buffer_bytes);
}

int lanemap_log_try_stats(struct lanemap_log *log, uint64_t wait_ns,
                          struct lanemap_log_stats *ret_stats)
{
        if (!lanemap_lock_within(&log->mutex, wait_ns))
                return -EAGAIN;

        *ret_stats = log->stats;
        ret_stats->n_files = log->n_files;
        ret_stats->buffered_bytes = log->n_buffered;
        ret_stats->bytes = log->current.allocated;
        for (size_t i = 0; i + 1 < log->n_files; i++)
                ret_stats->bytes += log->files[i].bytes;
        pthread_mutex_unlock(&log->mutex);
        return 0;
}

void lanemap_log_get_stats(struct lanemap_log *log, struct lanemap_log_stats *ret_stats)
{
        (void)lanemap_log_try_stats(log, LANEMAP_LOCK_FOR_EVER, ret_stats);
}

size_t lanemap_log_get_files(struct lanemap_log *log, struct lanemap_log_file *ret_files,
                             size_t capacity)
{
        size_t n_files;

        pthread_mutex_lock(&log->mutex);
        n_files = log->n_files;
        log->files[n_files - 1].last_seq = log->last;
        log->files[n_files - 1].bytes = log->current.allocated;
        for (size_t i = 0; i < LANEMAP_MIN(n_files, capacity); i++)
                ret_files[i] = log->files[i];
        pthread_mutex_unlock(&log->mutex);

        return n_files;
}
