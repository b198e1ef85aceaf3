/*
 * The log's memory: reserving, appending, dropping, and what it says about itself. The disk side is
 * log_sync.c, the beginning log_open.c. See log_write.h and log_state.h.
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

/* Under mutex: the list has the current file as it is. */
static void current_note(struct lanemap_log *log)
{
        struct lanemap_log_file *file;

        if (log->current.fd < 0)
                return;

        file = &log->files[log->n_files - 1];
        file->last_seq = log->last;
        file->bytes = log->current.allocated;
}

int lanemap_log_try_stats(struct lanemap_log *log, uint64_t wait_ns,
                          struct lanemap_log_stats *ret_stats)
{
        if (!lanemap_lock_within(&log->mutex, wait_ns))
                return -EAGAIN;

        *ret_stats = log->stats;
        ret_stats->n_files = log->n_files;
        ret_stats->buffered_bytes = log->n_buffered;
        current_note(log);
        ret_stats->bytes = 0;
        for (size_t i = 0; i < log->n_files; i++)
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
        current_note(log);
        for (size_t i = 0; i < LANEMAP_MIN(n_files, capacity); i++)
                ret_files[i] = log->files[i];
        pthread_mutex_unlock(&log->mutex);

        return n_files;
}
