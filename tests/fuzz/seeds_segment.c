/*
 * Writes the corpus of fuzz_segment: `seeds_segment DIRECTORY`. To be run again when the format
 * changes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "segment/posting/build.h"
#include "segment/build.h"
#include "segment/file_write.h"

struct seed {
        const char *name;
        uint32_t n_entries;
        uint32_t fingerprint_bits;
        bool lists; /* and tombstones */
        uint32_t kind;
        uint32_t filter;
        bool removed; /* tombstones only */
        bool crowded; /* all in one place: one sub-block, one bucket */
};

/* n entries, evenly spread over the first 16 slots, or one behind the other. */
struct even {
        struct lanemap_cursor cursor; /* first */
        const struct seed *seed;
        uint32_t position;
        uint32_t ids[400];
};

static int even_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        static const uint32_t lengths[] = {1, 0, 2, 1, 3, 129, 1, 128, 1, 300};
        struct even *even = (struct even *)cursor;
        uint32_t i = even->position,
                 n_ids = even->seed->lists ? lengths[i % 10] : !even->seed->removed;

        if (i == even->seed->n_entries)
                return LANEMAP_CURSOR_END;

        for (uint32_t k = 0; k < n_ids; k++)
                even->ids[k] = i * 1000 + k * (1 + i * 7);
        ret_entry->fingerprint.hash =
                (uint64_t)(((double)i + 0.5) / even->seed->n_entries * 0x1p56);
        if (even->seed->crowded)
                ret_entry->fingerprint.hash = UINT64_C(0x123456789abc00) + i;
        ret_entry->fingerprint.ext = even->seed->fingerprint_bits > 64 ? i & 0xffff : 0;
        ret_entry->n_ids = n_ids;
        ret_entry->ids = even->ids;
        even->position++;
        return 0;
}

static int even_rewind(struct lanemap_cursor *cursor)
{
        ((struct even *)cursor)->position = 0;
        return 0;
}

static int put(const char *directory, const char *name, const unsigned char head[2],
               const unsigned char *bytes, size_t n_bytes)
{
        char path[4096];
        FILE *file;
        int r;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        file = fopen(path, "wb");
        if (!file)
                return 1;

        r = fwrite(head, 1, 2, file) != 2 || fwrite(bytes, 1, n_bytes, file) != n_bytes;
        return fclose(file) != 0 || r;
}

static int build(struct lanemap_heap *heap, const struct seed *seed,
                 struct lanemap_segment_built *ret_built)
{
        struct even even = {.cursor = {even_next, even_rewind}, .seed = seed};
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0xffff};
        struct lanemap_segment_build_options options = {.kind = seed->kind,
                                                        .fingerprint_bits = seed->fingerprint_bits,
                                                        .slot_bitmap = slots,
                                                        .filter = seed->filter};

        return lanemap_segment_build(heap, &options, &even.cursor, ret_built);
}

static int put_section(struct lanemap_heap *heap, const char *directory, const struct seed *seed)
{
        unsigned char head[2] = {1, (unsigned char)((seed->fingerprint_bits - 64) / 16)};
        struct lanemap_segment_built built;

        if (build(heap, seed, &built) != 0)
                return 1;

        return put(directory, seed->name, head, built.bytes, built.n_bytes);
}

/* A file of two lanes, through the code that writes real ones. */
static int put_file(struct lanemap_heap *heap, const char *directory, const char *name,
                    unsigned char mode, const struct seed *a, const struct seed *b)
{
        int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd, r;
        struct lanemap_segment_write_options options = {.file_number = 7, .fingerprint_bits = 64};
        struct lanemap_segment_write_section sections[2] = {{.lane = 1, .kind = a->kind},
                                                            {.lane = 2, .kind = b->kind}};
        const unsigned char head[2] = {mode, 0};
        struct lanemap_segment_written written;
        static unsigned char bytes[65536];
        uint64_t offsets[2];
        ssize_t n;

        if (dir_fd < 0 || build(heap, a, &sections[0].built) != 0 ||
            build(heap, b, &sections[1].built) != 0 ||
            lanemap_segment_file_write(&lanemap_files_posix, dir_fd, &options, sections, 2, offsets,
                                       &written) != 0)
                return 1;

        fd = openat(dir_fd, written.name, O_RDONLY | O_CLOEXEC);
        n = read(fd, bytes, sizeof(bytes));
        r = n <= 0 || put(directory, name, head, bytes, (size_t)n);
        unlinkat(dir_fd, written.name, 0);
        close(fd);
        close(dir_fd);
        return r;
}

static int put_posting(const char *directory, const char *name, uint32_t n_ids)
{
        const unsigned char head[2] = {4, 0};
        unsigned char bytes[4096];
        uint32_t ids[500];

        for (uint32_t i = 0; i < n_ids; i++)
                ids[i] = i * i * 50;
        return put(directory, name, head, bytes,
                   (size_t)(lanemap_segment_posting_encode(bytes, ids, n_ids) - bytes));
}

/* For each kind and each array: a few bytes somewhere in it. */
static int put_arrays(const char *directory)
{
        static const char *const kinds[] = {"packed", "recsplit", "bbhash"};
        static const char *const arrays[] = {"index", "tags", "entries", "postings", "filter"};
        int r = 0;

        for (unsigned char kind = 0; kind < 3; kind++) {
                for (unsigned char array = 0; array < 5; array++) {
                        const unsigned char head[2] = {5, kind};
                        const unsigned char bytes[] = {(unsigned char)(kind + array % 2 * 3),
                                                       array,
                                                       (unsigned char)(array * 7),
                                                       0,
                                                       1,
                                                       0x80,
                                                       0,
                                                       8};
                        char name[64];

                        snprintf(name, sizeof(name), "array-%s-%s", kinds[kind], arrays[array]);
                        if (array != 1 || kind == 0)
                                r |= put(directory, name, head, bytes, sizeof(bytes));
                }
        }

        return r;
}

int main(int argc, char **argv)
{
        static const struct seed seeds[] = {
                {"section-0", 0, 64, false, 1},
                {"section-1", 1, 64, false, 1},
                {"section-60", 60, 64, false, 1},
                {"section-lists", 20, 64, true, 1},
                {"section-300-80", 300, 80, true, 1},
                {"section-100-96", 100, 96, false, 1},
                {"recsplit-0", 0, 64, false, 2},
                {"recsplit-1", 1, 64, false, 2},
                {"recsplit-400", 400, 64, false, 2},
                {"recsplit-150-80", 150, 80, true, 2},
                {"bbhash-0", 0, 64, false, 3},
                {"bbhash-3", 3, 64, false, 3},
                {"bbhash-400", 400, 64, false, 3},
                {"bbhash-150-80", 150, 80, true, 3},
                {"fuse8-packed-60", 60, 64, false, 1, 1},
                {"fuse8-recsplit-80", 30, 80, true, 2, 1},
                {"fuse8-bbhash-1", 1, 64, false, 3, 1},
                {"xor8-bbhash-96", 100, 96, false, 3, 2},
                {"removed-packed-30", 30, 64, false, 1, 0, true},
                {"removed-recsplit-30", 30, 64, false, 2, 0, true},
                {"removed-bbhash-30", 30, 64, false, 3, 1, true},
                {"crowded-packed-200", 200, 64, false, 1, 0, false, true},
                {"crowded-packed-lists-80", 70, 80, true, 1, 1, false, true},
                {"crowded-recsplit-200", 200, 64, false, 2, 0, false, true},
                {"crowded-bbhash-200", 200, 64, false, 3, 2, false, true},
                {"xor8-packed-lists-96", 30, 96, true, 1, 2},
                {"fuse8-recsplit-96", 100, 96, false, 2, 1},
                {"bbhash-20-lists-96", 20, 96, true, 3},
        };
        struct lanemap_heap *heap = lanemap_heap_new();
        int r = 0;

        if (argc != 2 || !heap)
                return 2;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(seeds); i++)
                r |= put_section(heap, argv[1], &seeds[i]);
        r |= put_file(heap, argv[1], "file-2", 3, &seeds[2], &seeds[3]);
        r |= put_file(heap, argv[1], "file-2-as-it-is", 2, &seeds[7], &seeds[10]);
        r |= put_file(heap, argv[1], "file-filters", 3, &seeds[14], &seeds[16]);
        r |= put_arrays(argv[1]);
        r |= put_posting(argv[1], "posting-2", 2);
        r |= put_posting(argv[1], "posting-128", 128);
        r |= put_posting(argv[1], "posting-400", 400);
        lanemap_heap_free(heap);
        return r;
}
