/*
 * The log's disk side: writing and syncing what was appended, going on to a new file where one is
 * full, starting over in a new one where a write or a sync has failed. See log_write.h (W1 to W5)
 * and log_state.h.
 *
 *         healthy --full--> sync, begin, [allocate], finish --> healthy in the new file
 *            |                       |                 |
 *            |                       failed: stay      failed: W5
 *            | failed                in the old file   |
 *            v                                         v
 *         given up --next call--> begin, write all that is not durable, sync, finish --> healthy
 *            ^----------------------- failed ----------------------------------------'
 */
#include <errno.h>

#include "common/alloc.h"
#include "common/bits.h"
#include "common/check.h"
#include "common/order.h"
#include "store/log_state.h"

#define ROTATE_RETRY_BYTES (UINT64_C(1) << 20)
#define SPARE_BYTES_MAX    (UINT32_C(1) << 20)

/* A block that an idle log may keep. */
#define IDLE_BYTES_MAX (UINT32_C(16) << 10)

/* Records that go into one file with one write. */
struct batch {
        struct lanemap_log_block *block; /* NULL: nothing is left */
        size_t from;
        size_t to;
};

static void log_note_progress(struct lanemap_log *log)
{
        lanemap_store_relaxed(&log->progress_ns, lanemap_now_ns(&lanemap_clock_monotonic));
}

static void find_unwritten(struct lanemap_log *log, struct batch *ret_batch)
{
        struct lanemap_log_block *block;

        pthread_mutex_lock(&log->mutex);
        block = log->head;
        while (block && block->n_written == block->n_bytes)
                block = block->next;
        *ret_batch = (struct batch){.block = block};
        if (block) {
                ret_batch->from = block->n_written;
                ret_batch->to = block->n_bytes;
        }
        pthread_mutex_unlock(&log->mutex);
}

/*
 * Seal the records of a batch for a file; those that would pass full_at are left out, but not when
 * the file has none yet. Return: where the sealed ones end; *ret_seq is the last one's number.
 */
static size_t seal_batch(const struct batch *batch, const struct lanemap_log_output *output,
                         uint64_t full_at, uint64_t synced_through, uint64_t *ret_seq)
{
        bool empty = output->end == LANEMAP_LOG_RECORDS_OFF;
        size_t at = batch->from;

        while (at < batch->to) {
                unsigned char *record = batch->block->bytes + at;
                size_t bytes = lanemap_load_le32(record + 4);

                if (output->end + (at - batch->from) + bytes > full_at &&
                    !(empty && at == batch->from))
                        break;

                lanemap_log_record_seal(record, synced_through, output->seed);
                *ret_seq = lanemap_load_le64(record + 8);
                at += bytes;
        }

        return at;
}

static int write_batch(struct lanemap_log *log, struct lanemap_log_output *output,
                       const struct batch *batch, size_t to, uint64_t seq)
{
        size_t bytes = to - batch->from;
        int r;

        r = lanemap_log_output_put(output, batch->block->bytes + batch->from, bytes);
        if (r < 0)
                return r;

        pthread_mutex_lock(&log->mutex);
        batch->block->n_written = to;
        output->end += bytes;
        log->n_unwritten -= bytes;
        lanemap_store_release(&log->written, LANEMAP_MAX(log->written, seq));
        log_note_progress(log);
        pthread_mutex_unlock(&log->mutex);
        return 0;
}

/* Under mutex: everything in the block is durable; it is not the tail. */
static void block_retire(struct lanemap_log *log, struct lanemap_log_block *block)
{
        struct lanemap_log_block *loser = block;

        if (block->capacity <= SPARE_BYTES_MAX &&
            (!log->spare || log->spare->capacity < block->capacity)) {
                loser = log->spare;
                log->spare = block;
        }
        lanemap_log_block_free(loser);
}

/*
 * Under mutex: nothing waits. The memory of a burst is given back; not while a record's room is
 * reserved, which is in the last block.
 */
static void blocks_idle(struct lanemap_log *log)
{
        lanemap_log_block_free(log->spare);
        log->spare = NULL;
        if (log->n_reserved == 0 && log->head && log->head == log->tail &&
            log->head->capacity > IDLE_BYTES_MAX) {
                lanemap_log_block_free(log->head);
                log->head = log->tail = NULL;
        }
}

/* Everything written is durable now. */
static void mark_durable(struct lanemap_log *log, uint64_t seq)
{
        pthread_mutex_lock(&log->mutex);
        /* An acknowledged position stays so, and none is acknowledged that was not written. */
        lanemap_check(seq >= log->durable && seq <= log->written);
        for (struct lanemap_log_block *block = log->head; block; block = block->next) {
                log->n_buffered -= block->n_written - block->n_durable;
                block->n_durable = block->n_written;
        }

        while (log->head != log->tail && log->head->n_durable == log->head->n_bytes) {
                struct lanemap_log_block *block = log->head;

                log->head = block->next;
                block_retire(log, block);
        }
        if (log->head && log->head->n_durable == log->head->n_bytes)
                log->head->n_bytes = log->head->n_written = log->head->n_durable = 0;
        if (log->n_buffered == 0)
                blocks_idle(log);

        if (seq == log->last)
                lanemap_store_relaxed(&log->pending_since_ns, 0);
        if (seq >= log->taken)
                lanemap_store_relaxed(&log->undurable_since_ns, 0);
        lanemap_store_release(&log->proven, LANEMAP_MAX(log->proven, log->claimed));
        lanemap_store_release(&log->durable, seq);
        log_note_progress(log);
        pthread_mutex_unlock(&log->mutex);
}

static int sync_written(struct lanemap_log *log)
{
        uint64_t written = log->written;
        int r;

        if (written == log->durable)
                return 0;

        r = lanemap_log_output_sync(&log->current);
        if (r < 0)
                return r;

        pthread_mutex_lock(&log->mutex);
        log->stats.n_syncs++;
        pthread_mutex_unlock(&log->mutex);
        mark_durable(log, written);
        return 0;
}

static int output_begin(struct lanemap_log *log, struct lanemap_log_output *ret_output)
{
        struct lanemap_log_header header = log->header;
        uint64_t room_bytes;
        int r;

        pthread_mutex_lock(&log->mutex);
        header.number = log->next_number;
        header.after = log->durable;
        room_bytes = log->n_unwritten + log->n_reserved;
        r = lanemap_log_files_reserve(log);
        pthread_mutex_unlock(&log->mutex);
        if (r < 0)
                return r;

        return lanemap_log_output_begin(log->files_layer, log->dir_fd, &header, room_bytes,
                                        ret_output);
}

/*
 * From here on reserve sees to it that the successor has room too. Until its header is begun the
 * old file can still be written, so that no disk that is full now can break W2.
 */
static int successor_announce(struct lanemap_log *log, struct lanemap_log_output *output)
{
        int r;

        pthread_mutex_lock(&log->mutex);
        r = lanemap_log_output_allocate(output, output->end + log->n_unwritten + log->n_reserved);
        if (r == 0)
                log->successor = output;
        pthread_mutex_unlock(&log->mutex);

        return r;
}

/* The current file is full. */
static int log_rotate(struct lanemap_log *log)
{
        struct lanemap_log_output output;
        int r, old_fd = log->current.fd;

        r = sync_written(log);
        if (r < 0)
                return r;

        r = output_begin(log, &output);
        if (r == 0) {
                r = successor_announce(log, &output);
                if (r < 0)
                        lanemap_log_output_abandon(&output);
        }
        if (r < 0) {
                log->rotate_at = UINT64_MAX; /* for the rest of this call */
                return 0;
        }

        r = lanemap_log_output_finish(&output);
        pthread_mutex_lock(&log->mutex);
        log->successor = NULL;
        if (r == 0) {
                lanemap_log_adopt(log, &output);
                log->stats.n_rotations++;
        } else {
                lanemap_store_release(&log->next_number, output.header.number + 1);
        }
        pthread_mutex_unlock(&log->mutex);

        if (r < 0) {
                lanemap_log_output_abandon(&output);
                return r;
        }

        log->files_layer->close(log->files_layer, old_fd);
        log->rotate_at = log->file_bytes;
        return 0;
}

/* Everything up to log->taken, into the current file and its successors. */
static int write_pending(struct lanemap_log *log)
{
        while (log->written < log->taken) {
                uint64_t synced_through = log->durable, seq = 0;
                struct batch batch;
                size_t to;
                int r = 0;

                find_unwritten(log, &batch);
                to = seal_batch(&batch, &log->current, log->rotate_at, synced_through, &seq);
                if (to > batch.from) {
                        r = write_batch(log, &log->current, &batch, to, seq);
                        log->claimed = synced_through;
                }
                if (r == 0 && to < batch.to)
                        r = log_rotate(log);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* Everything that is not durable, into one new file that has no header yet. */
static int write_again(struct lanemap_log *log, struct lanemap_log_output *output)
{
        struct batch batch;
        uint64_t seq = 0;
        int r;

        pthread_mutex_lock(&log->mutex);
        for (struct lanemap_log_block *block = log->head; block; block = block->next)
                block->n_written = block->n_durable;
        log->n_unwritten = log->n_buffered;
        pthread_mutex_unlock(&log->mutex);

        for (find_unwritten(log, &batch); batch.block; find_unwritten(log, &batch)) {
                size_t to = seal_batch(&batch, output, UINT64_MAX, output->header.after, &seq);

                r = write_batch(log, output, &batch, to, seq);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* The current file has been given up. */
static int log_restart(struct lanemap_log *log)
{
        struct lanemap_log_output output;
        uint64_t written;
        int r, old_fd = log->current.fd;

        r = output_begin(log, &output);
        if (r < 0)
                return r;

        r = write_again(log, &output);
        written = log->written;
        if (r == 0)
                r = lanemap_log_output_finish(&output);
        if (r < 0) {
                pthread_mutex_lock(&log->mutex);
                lanemap_store_release(&log->next_number, output.header.number + 1);
                pthread_mutex_unlock(&log->mutex);
                lanemap_log_output_abandon(&output);
                return r;
        }

        log->claimed = output.header.after;
        log->given_up = false;
        log->rotate_at = log->file_bytes;
        pthread_mutex_lock(&log->mutex);
        lanemap_log_adopt(log, &output);
        lanemap_store_release(&log->error, 0);
        log->stats.n_restarts++;
        pthread_mutex_unlock(&log->mutex);
        log->files_layer->close(log->files_layer, old_fd);
        mark_durable(log, written);
        return 0;
}

static void log_give_up(struct lanemap_log *log, int error)
{
        log->given_up = true;
        pthread_mutex_lock(&log->mutex);
        if (!log->error)
                lanemap_store_release(&log->error_since_ns, lanemap_now_ns(log->clock));
        lanemap_store_release(&log->error, error);
        pthread_mutex_unlock(&log->mutex);
}

static void log_take(struct lanemap_log *log)
{
        pthread_mutex_lock(&log->mutex);
        log->taken = log->last;
        if (log->undurable_since_ns == 0)
                lanemap_store_relaxed(&log->undurable_since_ns, log->pending_since_ns);
        lanemap_store_relaxed(&log->pending_since_ns, 0);
        pthread_mutex_unlock(&log->mutex);
}

int lanemap_log_write_and_sync(struct lanemap_log *log, bool want_sync)
{
        int r;

        pthread_mutex_lock(&log->sync_mutex);
        log_take(log);
        r = log->given_up ? log_restart(log) : write_pending(log);
        if (r == 0 && want_sync)
                r = sync_written(log);
        if (r < 0)
                log_give_up(log, r);
        if (log->rotate_at == UINT64_MAX)
                log->rotate_at =
                        log->current.end + LANEMAP_MIN(log->file_bytes, ROTATE_RETRY_BYTES);
        pthread_mutex_unlock(&log->sync_mutex);

        return r;
}

int lanemap_log_settle_append(struct lanemap_log *log)
{
        bool wanted;
        int r = 0;

        pthread_mutex_lock(&log->mutex);
        wanted = log->durable == log->last && log->proven < log->last_op;
        if (wanted)
                r = lanemap_log_ensure_room(log, log->n_reserved + LANEMAP_LOG_EMPTY_BYTES);
        if (wanted && r == 0)
                lanemap_log_append_locked(log, NULL, 0, LANEMAP_LOG_EMPTY_BYTES);
        pthread_mutex_unlock(&log->mutex);

        return r < 0 ? r : wanted;
}

int lanemap_log_settle(struct lanemap_log *log)
{
        int r = lanemap_log_settle_append(log);

        return r == 1 ? lanemap_log_write_and_sync(log, true) : r;
}
