/*
 * What the golden segment files hold, as a function of the file's name and nothing else: read by
 * the program that makes them (golden_make.c) and by the test that reads them
 * (tests/unit/segment/test_golden.c).
 *
 * A file that is committed never changes, and neither does what is said of it here: it stands for
 * the files that are out in the world. A new format version, or a new feature, is a new row.
 */
#ifndef LANEMAP_TESTS_GOLDEN_H
#define LANEMAP_TESTS_GOLDEN_H

#include <string.h>

#include "segment/build.h"
#include "segment/file_write.h"

#define GOLDEN_ENTRIES_MAX  160
#define GOLDEN_IDS_MAX      150
#define GOLDEN_SECTIONS_MAX 3
#define GOLDEN_LANES        64

struct golden {
        const char *path; /* below tests/data/segments */
        uint32_t n_entries;
        uint32_t fingerprint_bits;
        uint32_t bucket_entries;             /* 0: the default */
        bool lists;                          /* and tombstones */
        uint32_t kinds[GOLDEN_SECTIONS_MAX]; /* one section for each, in lanes 5, 6, ... */
        uint32_t filter;
};

static const struct golden goldens[] = {
        {"v1/packed.lms", 150, 64, 0, false, {1}},
        {"v1/packed-lists.lms", 60, 64, 0, true, {1}},
        {"v1/packed-80.lms", 60, 80, 0, true, {1}},
        {"v1/packed-96.lms", 120, 96, 0, false, {1}},
        {"v1/packed-1.lms", 1, 64, 0, false, {1}},
        {"v1/recsplit.lms", 150, 64, 0, false, {2}},
        {"v1/recsplit-lists.lms", 60, 64, 20, true, {2}},
        {"v1/recsplit-80.lms", 60, 80, 0, true, {2}},
        {"v1/recsplit-96.lms", 120, 96, 30, false, {2}},
        {"v1/bbhash.lms", 150, 64, 0, false, {3}},
        {"v1/bbhash-lists.lms", 60, 64, 20, true, {3}},
        {"v1/bbhash-80.lms", 60, 80, 0, true, {3}},
        {"v1/bbhash-96.lms", 120, 96, 30, false, {3}},
        {"v1/mixed.lms", 40, 64, 0, true, {1, 2, 3}},
        {"v1/packed-fuse8.lms", 150, 64, 0, false, {1}, LANEMAP_FILTER_FUSE8},
        {"v1/packed-96-xor8.lms", 120, 96, 0, false, {1}, LANEMAP_FILTER_XOR8},
        {"v1/recsplit-80-fuse8.lms", 60, 80, 20, true, {2}, LANEMAP_FILTER_FUSE8},
        {"v1/bbhash-fuse8.lms", 150, 64, 0, false, {3}, LANEMAP_FILTER_FUSE8},
        {"v1/bbhash-xor8.lms", 100, 64, 0, false, {3}, LANEMAP_FILTER_XOR8},
};

/* The entries of one section, and a cursor over them. */
struct golden_section {
        struct lanemap_cursor cursor; /* first */
        uint32_t n_entries;
        uint32_t position;
        struct lanemap_entry entries[GOLDEN_ENTRIES_MAX];
        uint32_t ids[GOLDEN_ENTRIES_MAX][GOLDEN_IDS_MAX];
        uint64_t slots[LANEMAP_SLOT_WORDS];
        struct lanemap_segment_build_options options;
};

static inline uint64_t golden_random(uint64_t *state)
{
        *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (*state >> 33) * UINT64_C(0x9e3779b97f4a7c15) ^ *state >> 29;
}

static inline int golden_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct golden_section *section = (struct golden_section *)cursor;

        if (section->position == section->n_entries)
                return LANEMAP_CURSOR_END;

        *ret_entry = section->entries[section->position++];
        return 0;
}

static inline int golden_rewind(struct lanemap_cursor *cursor)
{
        ((struct golden_section *)cursor)->position = 0;
        return 0;
}

/* Slots of every eighth kind, and in each the same number of entries, in ascending order; with wide
 * fingerprints every third hash comes twice, with another ext. */
static inline void golden_fill(const struct golden *golden, uint32_t index,
                               struct golden_section *section)
{
        static const uint32_t lengths[] = {1, 0, 2, 1, 3, 1, 129, 1, 1, 128};
        uint64_t state = golden->n_entries * 1000 + golden->fingerprint_bits + index, hash = 0;
        uint32_t ext_bits = golden->fingerprint_bits - 64, n = golden->n_entries;

        memset(section->slots, 0, sizeof(section->slots));
        for (uint32_t slot = index; slot < LANEMAP_N_SLOTS; slot += 64)
                section->slots[slot >> 6] |= UINT64_C(1) << (slot & 63);

        for (uint32_t i = 0; i < n; i++) {
                struct lanemap_entry *entry = &section->entries[i];
                uint32_t slot = i * 64 / n * 64 + index, ext = 0;

                if (i % 3 != 2 || ext_bits == 0)
                        hash = (uint64_t)slot << LANEMAP_SLOT_LOW_BITS | (uint64_t)(i + 1) << 40 |
                               (golden_random(&state) & 0xffffffffff);
                if (ext_bits > 0)
                        ext = (i % 3) << (ext_bits - 4) | (uint32_t)(golden_random(&state) & 0xfff);
                entry->fingerprint = (struct lanemap_fingerprint){.hash = hash, .ext = ext};
                entry->n_ids = golden->lists ? lengths[i % LANEMAP_N_ELEMENTS(lengths)] : 1;
                entry->ids = section->ids[i];
                for (uint32_t k = 0; k < entry->n_ids; k++)
                        section->ids[i][k] = (golden->lists ? 0 : UINT32_C(0xf0000000)) +
                                             k * (i + 1) * 700 +
                                             (uint32_t)(golden_random(&state) % 700);
        }
}

static inline void golden_section_init(const struct golden *golden, uint32_t index,
                                       struct golden_section *section)
{
        *section = (struct golden_section){
                .cursor = {.next = golden_next, .rewind = golden_rewind},
                .n_entries = golden->n_entries,
                .options = {.kind = golden->kinds[index],
                            .fingerprint_bits = golden->fingerprint_bits,
                            .slot_bitmap = section->slots,
                            .bucket_entries = golden->bucket_entries,
                            .filter = golden->filter},
        };
        golden_fill(golden, index, section);
}

/* The file, through the code that writes real ones. Return: 0 or what that code answers. */
static inline int golden_write(const struct golden *golden, int dir_fd,
                               struct lanemap_segment_written *ret_written)
{
        struct lanemap_segment_write_options options = {
                .file_number = 77,
                .fingerprint_bits = golden->fingerprint_bits,
                .uuid = "golden uuid 123",
        };
        struct lanemap_segment_write_section sections[GOLDEN_SECTIONS_MAX];
        static struct golden_section section;
        struct lanemap_heap *heap = lanemap_heap_new();
        uint64_t offsets[GOLDEN_SECTIONS_MAX];
        uint32_t n = 0;
        int r = heap ? 0 : -ENOMEM;

        for (; r == 0 && n < GOLDEN_SECTIONS_MAX && golden->kinds[n]; n++) {
                golden_section_init(golden, n, &section);
                sections[n] = (struct lanemap_segment_write_section){
                        .lane = 5 + n, .level = n, .kind = golden->kinds[n]};
                r = lanemap_segment_build(heap, &section.options, &section.cursor,
                                          &sections[n].built);
        }
        if (r == 0)
                r = lanemap_segment_file_write(&lanemap_files_posix, dir_fd, &options, sections, n,
                                               offsets, ret_written);
        lanemap_heap_free(heap);
        return r;
}

#endif
