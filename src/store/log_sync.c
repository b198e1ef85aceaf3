/*
 * The log's disk side: writing and syncing what was appended, going on to a new file where one is
 * full, starting over in a new one where a write or a sync has failed. See log_write.h (E1 to E6)
 * and log_state.h.
 *
 *   write turn: healthy --write failed--> given up
 *
 *   sync turn:  healthy --full--> sync, begin --> [again, head] --> sync --> healthy in the new one
 *                  |                    |               |             |
 *                  |                    failed: stay    failed        failed
 *                  | failed             in the old file |             |
 *                  v                                    v             v
 *               given up --next call--> begin --> [again, head] --> sync --> healthy
 *                  ^--------------------- failed -----'--------------'
 *
 * In brackets: with the write turn too.
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

/* A thread that must not wait writes if the last write took less than the first, and ended less
 * than the second ago. */
#define QUICK_NS (UINT64_C(2) * 1000 * 1000)
#define PAUSE_NS (UINT64_C(20) * 1000 * 1000)

/* Records that go into one file with one write. */
struct batch {
        struct lanemap_log_block *block; /* NULL: nothing is left */
        size_t from;
        size_t to;
};

/* ---- steps ---- */

/* A turn is at a step from here on; 0: at none. */
static void step_note(uint64_t *since_ns, bool is_at_one)
{
        lanemap_store_relaxed(since_ns,
                              is_at_one ? lanemap_now_ns(&lanemap_clock_monotonic) : UINT64_C(0));
}

static void log_give_up(struct lanemap_log *log, int error)
{
        pthread_mutex_lock(&log->mutex);
        log->given_up = true;
        if (!log->error)
                lanemap_store_release(&log->error_since_ns, lanemap_now_ns(log->clock));
        lanemap_store_release(&log->error, error);
        pthread_mutex_unlock(&log->mutex);
}

static bool log_is_given_up(struct lanemap_log *log)
{
        bool given_up;

        pthread_mutex_lock(&log->mutex);
        given_up = log->given_up;
        pthread_mutex_unlock(&log->mutex);
        return given_up;
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

/* ---- the write turn ---- */

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
                log->write_ns = lanemap_now_ns(log->clock);
        }
        pthread_mutex_unlock(&log->mutex);
}

static int write_batch(struct lanemap_log *log, const struct batch *batch, size_t to, uint64_t seq,
                       uint64_t synced_through)
{
        size_t bytes = to - batch->from;
        uint64_t began_ns, ended_ns;
        int r;

        step_note(&log->write_since_ns, true);
        began_ns = log->write_since_ns;
        r = lanemap_log_output_put(&log->current, batch->block->bytes + batch->from, bytes);
        ended_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        step_note(&log->write_since_ns, false);
        lanemap_store_relaxed(&log->wrote_slowly, ended_ns - began_ns > QUICK_NS);
        lanemap_store_relaxed(&log->wrote_ns, ended_ns);
        if (r < 0)
                return r;

        pthread_mutex_lock(&log->mutex);
        batch->block->n_written = to;
        log->current.end += bytes;
        log->n_unwritten -= bytes;
        log->claimed = LANEMAP_MAX(log->claimed, synced_through);
        lanemap_store_release(&log->written, LANEMAP_MAX(log->written, seq));
        pthread_mutex_unlock(&log->mutex);
        return 0;
}

/* With the write turn: what is appended through `last`, into the current file, as far as full_at.
 * Return: 0; 1 the file is full there. Errors: the file has been given up. */
static int write_pending(struct lanemap_log *log, uint64_t last, uint64_t full_at)
{
        if (log_is_given_up(log))
                return -EIO;

        while (log->written < last) {
                uint64_t synced_through = lanemap_load_acquire(&log->durable), seq = 0;
                struct batch batch;
                size_t to;
                int r = 0;

                find_unwritten(log, &batch);
                to = seal_batch(&batch, &log->current, full_at, synced_through, &seq);
                if (to > batch.from)
                        r = write_batch(log, &batch, to, seq, synced_through);
                if (r < 0) {
                        log_give_up(log, r);
                        return r;
                }
                if (to < batch.to)
                        return 1;
        }

        return 0;
}

/* With the write turn, which is given back. */
static int write_past_the_end(struct lanemap_log *log, uint64_t last)
{
        int r = write_pending(log, last, UINT64_MAX);

        pthread_mutex_lock(&log->mutex);
        if (log->current.end > log->rotate_at)
                lanemap_store_relaxed(&log->is_full, true);
        pthread_mutex_unlock(&log->mutex);
        pthread_mutex_unlock(&log->write_mutex);
        return r;
}

int lanemap_log_write(struct lanemap_log *log)
{
        pthread_mutex_lock(&log->write_mutex);
        return write_past_the_end(log, lanemap_load_acquire(&log->last));
}

int lanemap_log_try_write(struct lanemap_log *log)
{
        uint64_t last = lanemap_load_acquire(&log->last);

        if (lanemap_load_acquire(&log->written) >= last)
                return 0;
        if (lanemap_load_relaxed(&log->sync_since_ns) || lanemap_load_relaxed(&log->wrote_slowly) ||
            lanemap_now_ns(&lanemap_clock_monotonic) - lanemap_load_relaxed(&log->wrote_ns) >
                    PAUSE_NS)
                return 1;
        if (pthread_mutex_trylock(&log->write_mutex) != 0)
                return 1;

        return write_past_the_end(log, last);
}

/* ---- the sync turn ---- */

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

/* Under mutex: the blocks from whose records the durable ones go. */
static void blocks_release(struct lanemap_log *log)
{
        struct lanemap_log_block *head;

        for (struct lanemap_log_block *block = log->head; block; block = block->next) {
                lanemap_store_relaxed(&log->n_buffered,
                                      log->n_buffered - (block->n_syncing - block->n_durable));
                block->n_durable = block->n_syncing;
        }

        while (log->head != log->tail && log->head->n_durable == log->head->n_bytes) {
                struct lanemap_log_block *block = log->head;

                log->head = block->next;
                block_retire(log, block);
        }
        head = log->head;
        if (head && head->n_durable == head->n_bytes)
                head->n_bytes = head->n_written = head->n_syncing = head->n_again =
                        head->n_durable = 0;
        if (log->n_buffered == 0)
                blocks_idle(log);
}

/* What the sync that begins now makes durable: all that was written. */
static uint64_t sync_begin(struct lanemap_log *log, struct lanemap_log_output *ret_output,
                           uint64_t *ret_claimed)
{
        uint64_t through;

        pthread_mutex_lock(&log->mutex);
        through = log->written;
        *ret_output = log->current;
        *ret_claimed = log->claimed;
        for (struct lanemap_log_block *block = log->head; block; block = block->next)
                block->n_syncing = block->n_written;
        log->taken = through;
        if (through > log->durable) {
                if (log->undurable_since_ns == 0)
                        lanemap_store_relaxed(&log->undurable_since_ns, log->pending_since_ns);
                lanemap_store_relaxed(&log->pending_since_ns,
                                      log->last > through ? log->write_ns : UINT64_C(0));
        }
        pthread_mutex_unlock(&log->mutex);
        return through;
}

/* All through `through` is durable now. */
static void sync_end(struct lanemap_log *log, uint64_t through, uint64_t claimed, uint64_t took_ns)
{
        pthread_mutex_lock(&log->mutex);
        /* An acknowledged position stays so, and none is acknowledged that was not written. */
        lanemap_check(through >= log->durable && through <= log->written);
        log->stats.n_syncs++;
        log->stats.n_slow_syncs += took_ns > LANEMAP_LOG_SLOW_NS;
        log->stats.sync_max_ns = LANEMAP_MAX(log->stats.sync_max_ns, took_ns);
        if (!log->current.is_listed)
                lanemap_log_note_listed(log);
        blocks_release(log);
        lanemap_store_relaxed(&log->undurable_since_ns, 0);
        lanemap_store_release(&log->proven, LANEMAP_MAX(log->proven, claimed));
        lanemap_store_release(&log->durable, through);
        if (!log->given_up)
                lanemap_store_release(&log->error, 0);
        pthread_mutex_unlock(&log->mutex);
}

/* Nobody but the holder of this turn replaces the current file, so it stays open meanwhile. */
static int sync_written(struct lanemap_log *log)
{
        struct lanemap_log_output output;
        uint64_t through, claimed, began_ns;
        int r;

        if (lanemap_load_acquire(&log->written) == log->durable && log->current.is_listed)
                return 0;

        through = sync_begin(log, &output, &claimed);
        step_note(&log->sync_since_ns, true);
        began_ns = log->sync_since_ns;
        r = lanemap_log_output_sync(&output);
        if (r == 0)
                sync_end(log, through, claimed,
                         lanemap_now_ns(&lanemap_clock_monotonic) - began_ns);
        return r;
}

static int output_begin(struct lanemap_log *log, struct lanemap_log_output *ret_output)
{
        struct lanemap_log_header header = log->header;
        uint64_t room_bytes;
        int r;

        step_note(&log->sync_since_ns, true);
        pthread_mutex_lock(&log->mutex);
        header.number = log->next_number;
        header.after = log->durable;
        room_bytes = log->n_buffered + log->n_reserved;
        r = lanemap_log_files_reserve(log);
        pthread_mutex_unlock(&log->mutex);
        if (r < 0)
                return r;

        return lanemap_log_output_begin(log->files_layer, log->dir_fd, &header, room_bytes,
                                        ret_output);
}

/*
 * From here on reserve sees to it that the successor has room for all that it takes over. Until its
 * header is begun the old file can still be written, so that no disk that is full now can break E2.
 */
static int successor_announce(struct lanemap_log *log, struct lanemap_log_output *output)
{
        int r;

        pthread_mutex_lock(&log->mutex);
        r = lanemap_log_output_allocate(output, LANEMAP_LOG_RECORDS_OFF + log->n_buffered +
                                                        log->n_reserved);
        if (r == 0) {
                log->successor = output;
                for (struct lanemap_log_block *block = log->head; block; block = block->next)
                        block->n_again = block->n_durable;
        }
        pthread_mutex_unlock(&log->mutex);

        return r;
}

/* What the successor does not have yet of what is not durable. */
static void find_again(struct lanemap_log *log, struct batch *ret_batch)
{
        struct lanemap_log_block *block;

        pthread_mutex_lock(&log->mutex);
        block = log->head;
        while (block && block->n_again == block->n_bytes)
                block = block->next;
        *ret_batch = (struct batch){.block = block};
        if (block) {
                ret_batch->from = block->n_again;
                ret_batch->to = block->n_bytes;
        }
        pthread_mutex_unlock(&log->mutex);
}

/* With the write turn: all that is not durable, and then the header. */
static int write_again(struct lanemap_log *log, struct lanemap_log_output *output,
                       uint64_t *ret_seq)
{
        struct batch batch;
        int r;

        *ret_seq = output->header.after;
        for (find_again(log, &batch); batch.block; find_again(log, &batch)) {
                size_t to = seal_batch(&batch, output, UINT64_MAX, output->header.after, ret_seq);

                step_note(&log->sync_since_ns, true);
                r = lanemap_log_output_put(output, batch.block->bytes + batch.from,
                                           to - batch.from);
                if (r < 0)
                        return r;
                pthread_mutex_lock(&log->mutex);
                batch.block->n_again = to;
                output->end += to - batch.from;
                pthread_mutex_unlock(&log->mutex);
        }

        return lanemap_log_output_head(output);
}

/* Under mutex, with both turns: the successor has what is not durable, through seq. */
static void successor_adopt(struct lanemap_log *log, const struct lanemap_log_output *output,
                            uint64_t seq)
{
        log->n_unwritten = 0;
        for (struct lanemap_log_block *block = log->head; block; block = block->next) {
                block->n_written = block->n_again;
                log->n_unwritten += block->n_bytes - block->n_written;
        }
        lanemap_log_adopt(log, output);
        log->given_up = false;
        log->claimed = output->header.after;
        log->rotate_at = log->file_bytes;
        lanemap_store_relaxed(&log->is_full, false);
        lanemap_store_release(&log->written, LANEMAP_MAX(log->written, seq));
}

/* Makes the successor the current file (E4). Its records are not synced yet. On failure the file
 * there was is not to be written again (E5). */
static int log_go_on(struct lanemap_log *log, struct lanemap_log_output *output)
{
        int r, old_fd = log->current.fd;
        uint64_t seq;

        /* The length that the header states is on the disk before it. */
        step_note(&log->sync_since_ns, true);
        r = log->files_layer->sync(log->files_layer, output->fd);
        pthread_mutex_lock(&log->write_mutex);
        if (r == 0)
                r = write_again(log, output, &seq);
        pthread_mutex_lock(&log->mutex);
        log->successor = NULL;
        if (r == 0)
                successor_adopt(log, output, seq);
        else
                lanemap_store_release(&log->next_number, output->header.number + 1);
        pthread_mutex_unlock(&log->mutex);
        if (r < 0)
                log_give_up(log, r);
        pthread_mutex_unlock(&log->write_mutex);

        if (r < 0)
                lanemap_log_output_abandon(output);
        else
                log->files_layer->close(log->files_layer, old_fd);
        return r;
}

/* The current file is full. It is synced first, so that little has to be written again. */
static int log_rotate(struct lanemap_log *log)
{
        struct lanemap_log_output output;
        int r;

        r = sync_written(log);
        if (r < 0)
                return r;

        r = output_begin(log, &output);
        if (r == 0) {
                r = successor_announce(log, &output);
                if (r < 0)
                        lanemap_log_output_abandon(&output);
        }
        if (r < 0) { /* later */
                pthread_mutex_lock(&log->mutex);
                log->rotate_at =
                        log->current.end + LANEMAP_MIN(log->file_bytes, ROTATE_RETRY_BYTES);
                lanemap_store_relaxed(&log->is_full, false);
                pthread_mutex_unlock(&log->mutex);
                return 0;
        }

        r = log_go_on(log, &output);
        if (r < 0)
                return r;

        pthread_mutex_lock(&log->mutex);
        log->stats.n_rotations++;
        pthread_mutex_unlock(&log->mutex);
        return sync_written(log);
}

/* The current file has been given up. */
static int log_restart(struct lanemap_log *log)
{
        struct lanemap_log_output output;
        int r;

        if (log->current.fd < 0)
                return lanemap_log_first_file(log);

        r = output_begin(log, &output);
        if (r < 0)
                return r;
        r = successor_announce(log, &output);
        if (r < 0) {
                lanemap_log_output_abandon(&output);
                return r;
        }

        r = log_go_on(log, &output);
        if (r == 0)
                r = sync_written(log);
        if (r < 0)
                return r;

        pthread_mutex_lock(&log->mutex);
        log->stats.n_restarts++;
        pthread_mutex_unlock(&log->mutex);
        return 0;
}

/* Everything up to `last`, into the current file and its successors. */
static int write_and_rotate(struct lanemap_log *log, uint64_t last)
{
        int r;

        for (;;) {
                uint64_t full_at;

                pthread_mutex_lock(&log->mutex);
                full_at = log->rotate_at;
                pthread_mutex_unlock(&log->mutex);
                pthread_mutex_lock(&log->write_mutex);
                r = write_pending(log, last, full_at);
                pthread_mutex_unlock(&log->write_mutex);
                if (r < 0 || (r == 0 && !lanemap_log_is_full(log)))
                        return r;

                r = log_rotate(log);
                if (r < 0)
                        return r;
        }
}

int lanemap_log_write_and_sync(struct lanemap_log *log, bool want_sync)
{
        int r;

        pthread_mutex_lock(&log->sync_mutex);
        r = log_is_given_up(log) ? log_restart(log)
                                 : write_and_rotate(log, lanemap_load_acquire(&log->last));
        if (r == 0 && want_sync)
                r = sync_written(log);
        if (r < 0)
                log_give_up(log, r);
        step_note(&log->sync_since_ns, false);
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
