/*
 * A control object of any bytes and size under its name, and behind it the data object and the
 * segment file of a real index with bytes changed here and there (R5, W8): a reader attaches by
 * name, does all that readers do, follows what the control object says a moment later, and
 * detaches; a writer looks whether it could take the name over.
 *
 * Beyond not crashing: every answer is a documented one, ids are written within the room that was
 * given, and where nothing was changed the answers are right.
 *
 * An input: a byte of flags, the control object's first 136 bytes (what is in use of it), as many
 * of the moment later, then changes of four bytes: where (3, little-endian), and what is xored
 * there. Places are in the data object's first half page, then in the rest of what is in use of it,
 * then in the segment file. Flags:
 *
 *      1  magic, version, uuid and generation of the control object made right, then and later
 *      2  the data object's too
 *      4  the control object ends with the input's 136 bytes
 *      8  the watermark at the epoch, so that answers are believed
 *     16  what is made right is not made right later
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lanemap/lanemap.h>

#include "engine.h"
#include "shm/write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define CONTROL_BYTES 136 /* what is in use of it */
#define HEAD_BYTES    512
#define N_KEYS        40
#define N_IDS         64
#define N_CHANGES_MAX 64

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

/* The index, made once: its objects' and its file's bytes as a writer left them. */
static struct scratch scratch;
static struct lanemap_shm_control control;
static unsigned char *object, *file;
static size_t object_bytes, object_used, file_bytes;
static int shm_dir_fd, control_fd, object_fd, file_fd;

static void scratch_end(void)
{
        scratch_deinit(&scratch);
}

static unsigned char *bytes_of(int fd, size_t *ret_n_bytes)
{
        unsigned char *bytes;
        struct stat st;

        MUST(fd >= 0 && fstat(fd, &st) == 0);
        bytes = malloc((size_t)st.st_size);
        MUST(bytes && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
        *ret_n_bytes = (size_t)st.st_size;
        return bytes;
}

/* Every tenth key has ten ids; a quarter of the keys is in both, overlay and segment. */
static void keys_add(struct lanemap_writer *writer, uint32_t from, uint32_t step)
{
        for (uint32_t i = from; i < N_KEYS; i += step)
                for (uint32_t k = 0; k < (i % 10 ? 1 : 10); k++) {
                        struct lanemap_op op = {.code = LANEMAP_OP_ADD,
                                                .id = i + k + from,
                                                .key = &i,
                                                .key_bytes = sizeof(i)};

                        MUST(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) == 0);
                }
}

static void objects_keep(void)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES], path[512];

        shm_dir_fd = lanemap_shm_open_directory();
        lanemap_shm_control_name(scratch.name, name);
        control_fd = openat(shm_dir_fd, name, O_RDWR | O_CLOEXEC);
        MUST(pread(control_fd, &control, sizeof(control), 0) == sizeof(control));
        lanemap_shm_data_name(scratch.name, control.generation, name);
        object_fd = openat(shm_dir_fd, name, O_RDWR | O_CLOEXEC);
        object = bytes_of(object_fd, &object_bytes);
        for (object_used = object_bytes; object[object_used - 1] == 0; object_used--)
                ;
        MUST(scratch_find(scratch.directory, "seg-", path, sizeof(path)));
        MUST(chmod(path, 0600) == 0);
        file_fd = open(path, O_RDWR | O_CLOEXEC);
        file = bytes_of(file_fd, &file_bytes);
}

/* In a process of its own, which ends with everything left as it is. */
static int index_write(void *arg)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;

        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = 1;
        MUST(lanemap_writer_open(&options, &writer) == 0);
        keys_add(writer, 0, 1);
        MUST(engine_request(writer, LANEMAP_REQUEST_FLUSH) == 0);
        keys_add(writer, 1, 4);
        return 0;
}

static void index_make(void)
{
        scratch_init(&scratch, "fuzz-control");
        MUST(atexit(scratch_end) == 0);
        MUST(engine_crash_after(index_write, NULL) == 0);
        objects_keep();
}

/* The place of a change: in which of the two files. Return: its descriptor. */
static int place_of(uint32_t where, const unsigned char **ret_byte, off_t *ret_off)
{
        size_t at;

        if (where < 0x400000) {
                at = where % HEAD_BYTES;
        } else if (where < 0xc00000) {
                at = HEAD_BYTES + where % (object_used - HEAD_BYTES);
        } else {
                at = where % file_bytes;
                *ret_byte = file + at;
                *ret_off = (off_t)at;
                return file_fd;
        }

        *ret_byte = object + at;
        *ret_off = (off_t)at;
        return object_fd;
}

/* Makes the changes, or takes them back. Return: whether the index is as it was made. */
static bool change(const uint8_t *changes, size_t n_bytes, bool back)
{
        bool is_same = true;

        for (size_t i = 0; i < n_bytes / 4 && i < N_CHANGES_MAX; i++, changes += 4) {
                const unsigned char *byte;
                off_t off;
                int fd = place_of(changes[0] | (uint32_t)changes[1] << 8 |
                                          (uint32_t)changes[2] << 16,
                                  &byte, &off);
                unsigned char changed = *byte ^ (back ? 0 : changes[3]);

                is_same = is_same && changes[3] == 0;
                MUST(pwrite(fd, &changed, 1, off) == 1);
        }
        return is_same;
}

static void head_mend(void)
{
        MUST(pwrite(object_fd, object, offsetof(struct lanemap_shm_data, fingerprint_bits), 0) > 0);
}

/* Return: whether it is one that a reader of the index takes. */
static bool control_write(const uint8_t *bytes, uint8_t flags)
{
        struct lanemap_shm_control now = {.magic = 0};

        memcpy(&now, bytes, CONTROL_BYTES);
        if (flags & 1) {
                now.magic = control.magic;
                now.version = control.version;
                memcpy(now.uuid, control.uuid, sizeof(now.uuid));
                now.generation = control.generation;
        }
        if (flags & 8)
                now.watermark = now.epoch;
        MUST(pwrite(control_fd, &now, sizeof(now), 0) == sizeof(now));
        return (flags & 1) && now.watermark <= now.epoch;
}

static bool is_answer(int r)
{
        return r == 0 || r == -EBADMSG || r == -EAGAIN || r == -ENOENT || r == -EPROTONOSUPPORT ||
               r == -ETIMEDOUT || r == -ESTALE || r == -ENOMEM || r == -ENAMETOOLONG ||
               r == -ENOTDIR || r == -EACCES || r == -ELOOP || r == -EPERM;
}

static int each(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids, size_t n_ids)
{
        uint64_t *sum = arg;

        for (size_t i = 0; i < n_ids; i++)
                *sum += ids[i] ^ hash;
        return 0;
}

static void view(struct lanemap_reader *reader, const struct lanemap_key *key, uint32_t *ids)
{
        struct lanemap_view view;
        const uint32_t *chunk;
        size_t n;

        if (lanemap_reader_view_begin(reader, key->data, key->bytes, &view) < 0)
                return;
        while ((n = lanemap_reader_view_next(&view, &chunk)) > 0)
                memcpy(ids, chunk, LANEMAP_MIN(n, N_IDS) * sizeof(*ids));
        MUST(lanemap_reader_view_end(&view) <= 1);
}

/* Everything that a reader can do. is_right: nothing was changed. */
static void read_all(struct lanemap_reader *reader, bool is_right)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_key keys[N_KEYS];
        struct lanemap_span spans[N_KEYS];
        uint32_t numbers[N_KEYS], ids[N_IDS], batch_ids[N_KEYS * 4];
        uint64_t sum = 0;
        int r;

        for (uint32_t i = 0; i < N_KEYS; i++) {
                size_t n_ids = 0;

                numbers[i] = i;
                keys[i] = (struct lanemap_key){&numbers[i], sizeof(numbers[i])};
                r = lanemap_reader_lookup(reader, &i, sizeof(i), ids, N_IDS, &n_ids);
                MUST(is_answer(r));
                MUST(!is_right || (r == 0 && n_ids >= 1 && ids[0] == i));
                r = lanemap_reader_contains(reader, &i, sizeof(i), i);
                MUST(r == 1 || is_answer(r));
                MUST(!is_right || r == 1);
                view(reader, &keys[i], ids);
        }
        r = lanemap_reader_lookup_batch(reader, keys, N_KEYS, batch_ids,
                                        LANEMAP_N_ELEMENTS(batch_ids), spans);
        MUST(is_answer(r));
        MUST(is_answer(lanemap_reader_iterate(reader, each, &sum)));
        MUST(is_answer(lanemap_reader_status(reader, &status)));
        r = lanemap_reader_poll(reader);
        MUST(r > 0 || is_answer(r));
}

/* A writer that wants the name. */
static void take_over(void)
{
        struct lanemap_shm_control *taken;
        struct lanemap_error error = {""};
        int r = lanemap_shm_control_check(shm_dir_fd, scratch.name, control.uuid, &error);

        MUST(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EEXIST);
        MUST(r == 0 || error.text[0]);
        MUST(lanemap_shm_control_open(shm_dir_fd, scratch.name, control.uuid, 0640, &taken,
                                      &error) == r);
        if (r == 0)
                lanemap_shm_control_close(taken);
}

static void exercise(const uint8_t *later, uint8_t flags, bool is_right)
{
        struct lanemap_error error = {""};
        struct lanemap_reader_options options = {.size = sizeof(options), .error = &error};
        struct lanemap_reader *reader;
        int r = lanemap_reader_attach(scratch.name, &options, &reader);

        MUST(is_answer(r));
        MUST(!is_right || r == 0);
        if (r < 0)
                return;

        read_all(reader, is_right);
        is_right = control_write(later, flags & 16 ? flags & ~1 : flags) && is_right;
        read_all(reader, is_right);
        lanemap_reader_detach(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        bool is_right;

        if (n_bytes < 1 + 2 * CONTROL_BYTES)
                return 0;

        if (!object)
                index_make();

        MUST(pwrite(object_fd, object, object_used, 0) == (ssize_t)object_used);
        is_right = control_write(data + 1, data[0]);
        is_right = change(data + 1 + 2 * CONTROL_BYTES, n_bytes - 1 - 2 * CONTROL_BYTES, false) &&
                   is_right;
        if (data[0] & 2)
                head_mend();
        if (data[0] & 4) {
                MUST(ftruncate(control_fd, CONTROL_BYTES) == 0);
                is_right = false;
        }
        take_over();
        exercise(data + 1 + CONTROL_BYTES, data[0], is_right);
        MUST(ftruncate(control_fd, LANEMAP_SHM_CONTROL_BYTES) == 0);
        change(data + 1 + 2 * CONTROL_BYTES, n_bytes - 1 - 2 * CONTROL_BYTES, true);
        return 0;
}
