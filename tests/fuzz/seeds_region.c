/*
 * Writes the corpus of fuzz_region: `seeds_region DIRECTORY`. To be run again when the format
 * changes. Each is the control and the data object of a writer with a few keys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lanemap/writer.h>

#include "scratch.h"
#include "shm/object.h"

#define CONTROL_BYTES 136
#define HEAD_BYTES    512
#define LINE_BYTES    64
#define SLOTS_END     (sizeof(struct lanemap_shm_data) + LANEMAP_N_SLOTS * sizeof(struct lanemap_slot))

struct seed {
        const char *name;
        uint32_t n_keys;
        uint32_t n_ids; /* of every tenth key */
        uint32_t n_lanes;
        uint32_t fingerprint_bits;
        bool flush; /* then the same keys again: segments and overlay */
        unsigned char mode;
};

static void keys_add(struct lanemap_writer *writer, const struct seed *seed)
{
        for (uint32_t i = 0; i < seed->n_keys; i++)
                for (uint32_t k = 0; k < (i % 10 ? 1 : seed->n_ids); k++) {
                        struct lanemap_op op = {.code = LANEMAP_OP_ADD,
                                                .id = i + k * 3,
                                                .key = &i,
                                                .key_bytes = sizeof(i)};

                        if (lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) != 0)
                                abort();
                }
}

static size_t object_read(const char *object, unsigned char *bytes, size_t capacity)
{
        char path[256];
        FILE *file;
        size_t n;

        snprintf(path, sizeof(path), "%s/%s", LANEMAP_SHM_DIRECTORY, object);
        file = fopen(path, "rb");
        if (!file)
                abort();
        n = fread(bytes, 1, capacity, file);
        fclose(file);
        return n;
}

/* Zeros at the end say nothing. */
static size_t trimmed(const unsigned char *bytes, size_t n)
{
        while (n > 0 && bytes[n - 1] == 0)
                n--;
        return (n + 4095) / 4096 * 4096;
}

/* The lines behind the slot table that are not zero, each behind its number. */
static int lines_write(FILE *file, const unsigned char *data, size_t n)
{
        static const unsigned char zeros[LINE_BYTES];
        int r = 0;

        for (size_t at = SLOTS_END; at < n && r == 0; at += LINE_BYTES) {
                size_t line = at / LINE_BYTES;
                unsigned char number[2] = {(unsigned char)line, (unsigned char)(line >> 8)};

                if (memcmp(data + at, zeros, LINE_BYTES) == 0)
                        continue;
                r = fwrite(number, 1, 2, file) != 2 ||
                    fwrite(data + at, 1, LINE_BYTES, file) != LINE_BYTES;
        }
        return r;
}

static int seed_write(const char *directory, const struct seed *seed)
{
        static unsigned char control[LANEMAP_SHM_CONTROL_BYTES], data[8 << 20];
        struct scratch scratch;
        struct lanemap_writer_options options = {.size = sizeof(options),
                                                 .n_lanes = seed->n_lanes,
                                                 .fingerprint_bits = seed->fingerprint_bits};
        struct lanemap_writer *writer;
        char path[4096], object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        uint64_t ticket, generation;
        unsigned char size[4];
        size_t n;
        FILE *file;
        int r;

        scratch_init(&scratch, "seeds");
        options.name = scratch.name;
        options.directory = scratch.directory;
        if (lanemap_writer_open(&options, &writer) != 0)
                abort();
        keys_add(writer, seed);
        if (seed->flush) {
                if (lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) != 0 ||
                    lanemap_writer_request_wait(writer, ticket) != 0)
                        abort();
                keys_add(writer, seed);
        }

        lanemap_shm_control_name(scratch.name, object);
        object_read(object, control, sizeof(control));
        memcpy(&generation, control + offsetof(struct lanemap_shm_control, generation), 8);
        lanemap_shm_data_name(scratch.name, generation, object);
        n = trimmed(data, object_read(object, data, sizeof(data)));
        memset(data + offsetof(struct lanemap_shm_data, directory), 0, LANEMAP_SHM_DIRECTORY_BYTES);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);

        snprintf(path, sizeof(path), "%s/%s", directory, seed->name);
        file = fopen(path, "wb");
        if (!file)
                return 1;
        for (size_t i = 0; i < 4; i++)
                size[i] = (unsigned char)(n >> 8 * i);
        r = fwrite(&seed->mode, 1, 1, file) != 1 ||
            fwrite(control, 1, CONTROL_BYTES, file) != CONTROL_BYTES;
        if (r == 0 && !(seed->mode & 4))
                r = fwrite(data, 1, n, file) != n;
        else if (r == 0)
                r = fwrite(size, 1, 4, file) != 4 ||
                    fwrite(data, 1, HEAD_BYTES, file) != HEAD_BYTES || lines_write(file, data, n);
        printf("%s: object of %zu bytes\n", seed->name, n);
        return fclose(file) != 0 || r;
}

int main(int argc, char **argv)
{
        static const struct seed seeds[] = {
                {"whole", 10, 2, 4, 64, false, 3},  {"few", 20, 1, 1, 64, false, 4},
                {"lists", 12, 40, 1, 64, false, 6}, {"tree", 1, 150, 1, 64, false, 7},
                {"wide", 40, 5, 2, 96, false, 5},   {"flushed", 20, 3, 1, 80, true, 7},
        };
        int r = argc != 2;

        for (size_t i = 0; r == 0 && i < LANEMAP_N_ELEMENTS(seeds); i++)
                r = seed_write(argv[1], &seeds[i]);
        return r;
}
