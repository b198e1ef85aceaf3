/*
 * Every single bit of a small index, flipped: on the disk, and in shared memory.
 *
 *         flip_bits [--every N] [--seed S]
 *                    [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96]
 *                    [--only-segments]
 *
 * Files, to a writer: it refuses with an error that says why, or recovers exactly what was there.
 * A flipped bit of a segment's data may pass the open, which reads headers only, and change answers
 * until it is found: every bit of a segment file has to be found by its verification (W7). Files
 * and shared objects, to a reader: an error code or an answer, never a crash, a hang, or a byte
 * outside of what is mapped (R5). Readers compute no checksums and shared memory has none, so an
 * answer may be wrong by a bit of a segment file, which verification has to find, or of shared
 * memory, where nothing can; how many were is told. With the bit as it was, an attached reader has
 * to be right again. A wrong answer by a bit of any other file is a failure.
 *
 * --every N tries every N-th bit, from a random first one. Attaching reads the head of the data
 * object, the slot table and the lanes' words, so the rest of it is tried more thinly there; while
 * a reader is attached, every bit of it has its turn. --only-segments leaves the rest of the index
 * to a run of another kind. Flips are tried in child processes, in
 * batches: the one that dies tells which bit it was at.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "disk_states.h"
#include "segment/verify.h"
#include "shm/object.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define N_KEYS        48
#define N_IDS_MAX     300
#define BATCH_FLIPS   500
#define BATCH_SECONDS 120
#define HEAD_BYTES    (24 << 10) /* head, slots, lanes' words */

/* What the children tell. */
struct tell {
        uint64_t at_bit;
        uint64_t n_flips, n_refused, n_right, n_wrong_answers, n_wrong_of_files;
        uint32_t n_bad;
};

struct flips {
        struct scratch scratch;
        struct scratch copy; /* files are written here, and shared objects under this name */
        struct disk disk;
        struct disk_state files; /* of the index, as a killed writer left them */
        struct rng rng;
        struct tell *tell;
        uint64_t every;
        bool only_segments;
        struct lanemap_files quiet;
        const char *what; /* the file or object in hand */
};

static struct flips flips;

/* ---- the index ---- */

/* Some keys in segments only, some in the overlay only, some changed there; one absent; one
 * long. */
static uint32_t key_ids(uint32_t key, uint32_t *ids)
{
        uint32_t n = key == 5 ? N_IDS_MAX : key == 6 ? 100 : key % 4;

        for (uint32_t i = 0; i < n; i++)
                ids[i] = key * 1000 + i * (1 + key % 3);
        return n;
}

static size_t key_text(uint32_t key, char *text)
{
        return (size_t)sprintf(text, "key-%u", key);
}

static struct lanemap_writer_options options_of(void)
{
        static struct lanemap_writer_hooks hooks;
        struct lanemap_writer_options options = {
                .size = sizeof(struct lanemap_writer_options),
                .name = flips.copy.name,
                .directory = flips.copy.directory,
                .n_lanes = 2,
                .shared_bytes_max = 4 << 20,
                .scrub_bytes_per_second = UINT64_MAX,
                .hooks = &hooks,
        };

        hooks.files = &flips.quiet;
        index_shape(&options);
        return options;
}

/* A record of the log for every few keys. */
static void keys_add(struct lanemap_writer *writer, uint32_t from, uint32_t to, uint32_t first_id)
{
        static struct lanemap_op ops[8 * N_IDS_MAX];
        char texts[N_KEYS][16];
        uint32_t ids[N_IDS_MAX];
        size_t n_ops = 0;

        for (uint32_t k = from; k < to; k++) {
                uint32_t n = key_ids(k, ids);

                for (uint32_t i = first_id; i < n; i++) {
                        ops[n_ops] = (struct lanemap_op){
                                .code = LANEMAP_OP_ADD, .id = ids[i], .key = texts[k]};
                        ops[n_ops++].key_bytes = key_text(k, texts[k]);
                }
                if (n_ops > 0 && (k % 8 == 7 || k + 1 == to)) {
                        must(lanemap_writer_apply(writer, ops, n_ops, NULL, NULL, NULL) == 0);
                        n_ops = 0;
                }
        }
        must(lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0);
}

static void flush_run(struct lanemap_writer *writer)
{
        uint64_t ticket;

        must(lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) == 0);
        must(lanemap_writer_request_wait(writer, ticket) == 0);
}

/* An idle log proves what was durable by an empty record, which is durable itself. */
static void log_idle_wait(struct lanemap_writer *writer)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t last = lanemap_writer_position(writer);

        for (uint32_t i = 0; i < 60000 && stats.durable <= last; i++) {
                (void)usleep(1000);
                must(lanemap_writer_get_stats(writer, &stats) == 0);
        }
        must(stats.durable > last);
}

/* A writer that has all of it, with an idle log: what was durable is proven on the disk. */
static struct lanemap_writer *index_make(void)
{
        struct lanemap_writer_options options = options_of();
        struct lanemap_writer *writer = scratch_writer_open(&flips.scratch, &options);
        struct lanemap_op mark = {.code = LANEMAP_OP_MARK, .key = "mark", .key_bytes = 4};

        keys_add(writer, 0, 24, 0);
        must(lanemap_writer_apply(writer, &mark, 1, NULL, NULL, NULL) == 0);
        flush_run(writer);
        keys_add(writer, 24, N_KEYS, 2);
        flush_run(writer);
        keys_add(writer, 24, N_KEYS, 0);
        log_idle_wait(writer);
        return writer;
}

/* ---- trying ---- */

static void bad(const char *why, int r)
{
        printf("WRONG: %s, bit %" PRIu64 ": %s (%d: %s)\n", flips.what, flips.tell->at_bit, why, r,
               r < 0 ? strerror(-r) : "");
        fflush(stdout);
        flips.tell->n_bad++;
}

static void flip(unsigned char *bytes, uint64_t bit)
{
        bytes[bit / 8] ^= (unsigned char)(1u << (bit % 8));
}

/* fn for each chosen bit of n_bits, in children. */
static void bits_try(const char *what, uint64_t n_bits, uint64_t every, void (*fn)(uint64_t bit))
{
        uint64_t bit = rng_below(&flips.rng, every), before = flips.tell->n_flips;
        int status;

        flips.what = what;
        while (bit < n_bits) {
                pid_t pid;

                fflush(stdout);
                pid = fork();
                must(pid >= 0);
                if (pid == 0) {
                        alarm(BATCH_SECONDS);
                        for (uint32_t i = 0; i < BATCH_FLIPS && bit < n_bits; i++, bit += every) {
                                flips.tell->at_bit = bit;
                                fn(bit);
                                flips.tell->n_flips++;
                        }
                        _exit(0);
                }
                must(waitpid(pid, &status, 0) == pid);
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                        bad(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
                                    ? "it hangs"
                                    : "it dies, by status or signal",
                            status);
                        bit = flips.tell->at_bit + every;
                        continue;
                }
                bit += BATCH_FLIPS * every;
        }
        printf("%-24s %8" PRIu64 " of %8" PRIu64 " bits\n", what, flips.tell->n_flips - before,
               n_bits);
}

/* ---- a writer ---- */

static bool index_is_right(struct lanemap_writer *writer)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint32_t want[N_IDS_MAX], ids[N_IDS_MAX], n;
        uint64_t n_keys = 0, n_pairs = 0;
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        size_t n_ids, n_bytes;
        char text[16];

        for (uint32_t k = 0; k < N_KEYS; k++) {
                n = key_ids(k, want);
                n_keys += n > 0;
                n_pairs += n;
                n_ids = 0;
                if (lanemap_writer_lookup(writer, text, key_text(k, text), ids, N_IDS_MAX, &n_ids,
                                          NULL) != 0 ||
                    n_ids != n || memcmp(ids, want, n * sizeof(ids[0])) != 0)
                        return false;
        }
        lanemap_writer_mark(writer, mark, &n_bytes, NULL);
        must(lanemap_writer_get_stats(writer, &stats) == 0);
        return stats.n_keys == n_keys && stats.n_pairs == n_pairs && n_bytes == 4 &&
               memcmp(mark, "mark", 4) == 0;
}

static bool is_segment(const char *name)
{
        return strncmp(name, "seg-", 4) == 0;
}

static struct disk_file *file_in_hand; /* in flips.files */

/* Return: whether the verification of a segment finds the flip. Anything else has no such thing. */
static bool verification_finds(void)
{
        struct lanemap_segment_report report;

        return is_segment(file_in_hand->name) &&
               lanemap_segment_file_verify(file_in_hand->content.bytes,
                                           file_in_hand->content.n_bytes, &report) < 0 &&
               report.what;
}

static void files_write(void)
{
        scratch_empty(flips.copy.directory);
        disk_state_write(&flips.files, flips.copy.directory);
}

static void writer_try(uint64_t bit)
{
        struct lanemap_writer_options options = options_of();
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer;
        bool found;
        int r;

        flip(file_in_hand->content.bytes, bit);
        found = verification_finds();
        if (is_segment(file_in_hand->name) && !found)
                bad("verification does not find it", 0);
        files_write();

        options.error = &error;
        r = lanemap_writer_open(&options, &writer);
        if (r < 0) {
                flips.tell->n_refused++;
                if (r != -EBADMSG && r != -EPROTONOSUPPORT && r != -EINVAL)
                        bad("an error that says something else", r);
                if (!error.text[0])
                        bad("an error without words", r);
        } else {
                if (index_is_right(writer))
                        flips.tell->n_right++;
                else if (found)
                        flips.tell->n_wrong_answers++, flips.tell->n_wrong_of_files++;
                else
                        bad("the index came back as another one", 0);
                lanemap_engine_abandon(writer);
        }
        flip(file_in_hand->content.bytes, bit);
        (void)lanemap_writer_unlink(flips.copy.name, NULL);
}

/* ---- a reader ---- */

static void reader_error_judge(int r)
{
        if (r != -EBADMSG && r != -EPROTONOSUPPORT && r != -ENOENT && r != -ETIMEDOUT &&
            r != -EAGAIN && r != -EACCES && r != -ELOOP && r != -ENOTDIR && r != -ENAMETOOLONG)
                bad("an error that a reader does not know", r);
}

static int nothing_to_do(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids,
                         size_t n_ids)
{
        for (size_t i = 0; i < n_ids; i++)
                *(volatile uint32_t *)arg = ids[i];
        return 0;
}

/* Return: 1 right, 0 wrong, or the error. */
static int key_ask(struct lanemap_reader *reader, uint32_t key, const struct lanemap_key *text)
{
        static uint32_t ids[N_IDS_MAX], want[N_IDS_MAX];
        uint32_t n = key_ids(key, want);
        size_t n_ids = 0;
        int r, contains;

        r = lanemap_reader_lookup(reader, text->data, text->bytes, ids, N_IDS_MAX, &n_ids);
        if (r < 0)
                return r;

        contains = lanemap_reader_contains(reader, text->data, text->bytes, key * 1000);
        if (contains < 0)
                return contains;
        return n_ids == n && memcmp(ids, want, n * sizeof(ids[0])) == 0 && contains == (n > 0);
}

static int batch_ask(struct lanemap_reader *reader, const struct lanemap_key *keys)
{
        static uint32_t ids[N_IDS_MAX * 4], want[N_IDS_MAX];
        struct lanemap_span spans[N_KEYS];
        int r = lanemap_reader_lookup_batch(reader, keys, N_KEYS, ids, N_IDS_MAX * 4, spans);

        if (r != 0)
                return r < 0 ? r : 0;
        for (uint32_t k = 0; k < N_KEYS; k++) {
                uint32_t n = key_ids(k, want);

                if (spans[k].n_ids != n ||
                    memcmp(ids + spans[k].offset, want, n * sizeof(ids[0])) != 0)
                        return 0;
        }
        return 1;
}

/* All keys, in all the ways there are to ask. Return: 1 all is right, 0 something is wrong, or the
 * error. */
static int keys_ask(struct lanemap_reader *reader)
{
        char texts[N_KEYS][16];
        struct lanemap_key keys[N_KEYS];
        bool right = true;
        int r;

        for (uint32_t k = 0; k < N_KEYS; k++) {
                keys[k].data = texts[k];
                keys[k].bytes = key_text(k, texts[k]);
                r = key_ask(reader, k, &keys[k]);
                if (r < 0)
                        return r;
                right &= r == 1;
        }
        r = batch_ask(reader, keys);
        return r < 0 ? r : right && r == 1;
}

/* Return: whether it answered, and not all of it right. */
static bool reader_ask(struct lanemap_reader *reader)
{
        int r = keys_ask(reader);
        uint32_t seen;

        if (r < 0)
                reader_error_judge(r);
        flips.tell->n_refused += r < 0;
        flips.tell->n_right += r == 1;
        flips.tell->n_wrong_answers += r == 0;
        if (rng_below(&flips.rng, 16) == 0) {
                int r2 = lanemap_reader_iterate(reader, nothing_to_do, &seen);

                if (r2 < 0)
                        reader_error_judge(r2);
        }
        return r == 0;
}

/* Return: as reader_ask(). */
static bool reader_attach_and_ask(void)
{
        struct lanemap_error error = {{0}};
        struct lanemap_reader_options options = {
                .size = sizeof(options), .directory = flips.copy.directory, .error = &error};
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_reader *reader;
        bool is_wrong;
        int r;

        r = lanemap_reader_attach(flips.copy.name, &options, &reader);
        if (r < 0) {
                flips.tell->n_refused++;
                reader_error_judge(r);
                return false;
        }

        is_wrong = reader_ask(reader);
        must(lanemap_reader_status(reader, &status) == 0);
        r = lanemap_reader_poll(reader);
        if (r < 0)
                reader_error_judge(r);
        lanemap_reader_detach(reader);
        return is_wrong;
}

static unsigned char *object_in_hand; /* mapped, of the copy */
static struct lanemap_reader *reader_in_hand;

static void object_attach_try(uint64_t bit)
{
        flip(object_in_hand, bit);
        (void)reader_attach_and_ask();
        flip(object_in_hand, bit);
}

/* While a reader is attached: what it checked once may have changed since. When the bit is as it
 * was, so are the answers. */
static void object_live_try(uint64_t bit)
{
        flip(object_in_hand, bit);
        (void)reader_ask(reader_in_hand);
        flip(object_in_hand, bit);
        if (rng_below(&flips.rng, 4) == 0) {
                int r = keys_ask(reader_in_hand);

                if (r != 1)
                        bad("its effect stays when it is gone", r);
        }
}

static void segment_try(uint64_t bit)
{
        char path[sizeof(flips.copy.directory) + 80];
        unsigned char byte = file_in_hand->content.bytes[bit / 8] ^ (unsigned char)(1u << bit % 8);
        int fd;

        snprintf(path, sizeof(path), "%s/%s", flips.copy.directory, file_in_hand->name);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        must(fd >= 0 && pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1);
        if (reader_attach_and_ask()) {
                flips.tell->n_wrong_of_files++;
                flip(file_in_hand->content.bytes, bit);
                if (!verification_finds())
                        bad("it changes an answer, and verification does not find it", 0);
                flip(file_in_hand->content.bytes, bit);
        }
        byte = file_in_hand->content.bytes[bit / 8];
        must(pwrite(fd, &byte, 1, (off_t)(bit / 8)) == 1);
        close(fd);
}

/* A shared object under the other name. Return: its bytes, mapped. */
static unsigned char *object_copy(const char *from, const char *to, uint64_t *ret_bytes)
{
        char path[160];
        unsigned char *bytes;
        struct stat st;
        int in, out;

        snprintf(path, sizeof(path), "/dev/shm/%s", from);
        in = open(path, O_RDONLY | O_CLOEXEC);
        snprintf(path, sizeof(path), "/dev/shm/%s", to);
        out = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        must(in >= 0 && out >= 0 && fstat(in, &st) == 0);
        must(posix_fallocate(out, 0, st.st_size) == 0);
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, out, 0);
        must(bytes != MAP_FAILED && pread(in, bytes, (size_t)st.st_size, 0) == st.st_size);
        close(in);
        close(out);
        *ret_bytes = (uint64_t)st.st_size;
        return bytes;
}

static void shared_try(uint64_t generation, uint64_t every)
{
        struct lanemap_reader_options options = {.size = sizeof(options),
                                                 .directory = flips.copy.directory};
        char from[LANEMAP_SHM_OBJECT_NAME_BYTES], to[LANEMAP_SHM_OBJECT_NAME_BYTES];
        unsigned char *control, *data;
        uint64_t control_bytes, data_bytes;

        lanemap_shm_control_name(flips.scratch.name, from);
        lanemap_shm_control_name(flips.copy.name, to);
        control = object_copy(from, to, &control_bytes);
        lanemap_shm_data_name(flips.scratch.name, generation, from);
        lanemap_shm_data_name(flips.copy.name, generation, to);
        data = object_copy(from, to, &data_bytes);
        files_write();

        if (!flips.only_segments) {
                object_in_hand = control;
                bits_try("control object, attach", 8 * control_bytes, 8 * every, object_attach_try);
                object_in_hand = data;
                bits_try("data object's head, attach", 8 * HEAD_BYTES, every, object_attach_try);
                bits_try("data object, attach", 8 * data_bytes, 40 * every, object_attach_try);
        }
        for (uint32_t i = 0; i < flips.files.n_files; i++) {
                file_in_hand = &flips.files.files[i];
                if (is_segment(file_in_hand->name))
                        bits_try("segment file, attach", 8 * file_in_hand->content.n_bytes, every,
                                 segment_try);
        }
        if (flips.only_segments)
                goto done;

        must(lanemap_reader_attach(flips.copy.name, &options, &reader_in_hand) == 0);
        object_in_hand = control;
        bits_try("control object, attached", 8 * control_bytes, every, object_live_try);
        object_in_hand = data;
        bits_try("data object, attached", 8 * data_bytes, every, object_live_try);
        lanemap_reader_detach(reader_in_hand);
done:
        munmap(control, control_bytes);
        munmap(data, data_bytes);
        (void)lanemap_writer_unlink(flips.copy.name, NULL);
}

static void files_try(uint64_t every)
{
        for (uint32_t i = 0; i < flips.files.n_files; i++) {
                struct disk_file *file = &flips.files.files[i];
                uint64_t n_bytes = file->content.n_bytes;

                file_in_hand = file;
                /* Space that a log has set aside is zeros: only the beginning of them. */
                while (strncmp(file->name, "log-", 4) == 0 && n_bytes > 0 &&
                       file->content.bytes[n_bytes - 1] == 0)
                        n_bytes--;
                n_bytes = LANEMAP_MIN(n_bytes + 64, file->content.n_bytes);
                if (n_bytes > 0 && (!flips.only_segments || is_segment(file->name)))
                        bits_try(file->name, 8 * n_bytes, every, writer_try);
        }
}

static void flips_init(int argc, char **argv)
{
        rng_init(&flips.rng, argument_seed(argc, argv));
        argument_shape(argc, argv);
        flips.every = argument_u64(argc, argv, "--every", 1);
        flips.only_segments = argument_flag(argc, argv, "--only-segments");
        (void)setenv("TMPDIR", "/dev/shm", 0);
        scratch_init(&flips.scratch, "flip");
        scratch_init(&flips.copy, "flip");
        flips.quiet = files_without_sync();
        flips.tell = mmap(NULL, sizeof(*flips.tell), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        must(flips.tell != MAP_FAILED && flips.every > 0);
}

int main(int argc, char **argv)
{
        struct disk_choice nothing = {0};
        struct recording *recording = recording_new(1 << 20);
        struct lanemap_writer *writer;
        uint64_t generation;

        flips_init(argc, argv);
        writer = index_make();
        generation = writer->shm.object->generation;
        disk_load(&flips.disk, recording, flips.scratch.directory);
        disk_state_make(&flips.disk, &nothing, &flips.rng, &flips.files);
        /* Stays to the end, so that its objects do; nobody writes. */
        lanemap_engine_abandon(writer);

        shared_try(generation, flips.every);
        files_try(flips.every);
        printf("%" PRIu64 " flips: %" PRIu64 " refused, %" PRIu64 " without effect, %" PRIu64
               " changed an answer (%" PRIu64
               " of them in segment files, found by verification), %u wrong\n",
               flips.tell->n_flips, flips.tell->n_refused, flips.tell->n_right,
               flips.tell->n_wrong_answers, flips.tell->n_wrong_of_files, flips.tell->n_bad);
        disk_state_deinit(&flips.files);
        disk_reset(&flips.disk);
        scratch_deinit(&flips.scratch);
        scratch_deinit(&flips.copy);
        return flips.tell->n_bad > 0 || flips.tell->n_refused == 0 || flips.tell->n_right == 0;
}
