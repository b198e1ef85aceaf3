/* See directory/salvage.h. */
#include "directory/salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "segment/filter/build.h"
#include "segment/verify.h"
#include "directory/salvage_entries.h"

#define PAGE_BYTES 4096
#define TABLE_BYTES_MAX \
        (128 * sizeof(struct lanemap_segment_table_file)) /* that bytes are tried in */

#define HEADER_BYTES  sizeof(struct lanemap_segment_header_file)
#define SECTION_BYTES sizeof(struct lanemap_segment_section_file)

struct image {
        unsigned char *bytes;
        uint64_t n_bytes;
        struct lanemap_salvage_holes holes;
        const struct lanemap_verify_file *file;
};

/* ---- reading ---- */

/* Reads what can be read; the rest stays zero, and is a hole. */
static void image_read(struct image *image, int fd)
{
        uint64_t at = 0;

        while (at < image->n_bytes) {
                uint64_t page_end = LANEMAP_MIN((at / PAGE_BYTES + 1) * PAGE_BYTES, image->n_bytes);
                ssize_t n = pread(fd, image->bytes + at, page_end - at, (off_t)at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n > 0) {
                        at += (uint64_t)n;
                        continue;
                }
                image->holes.pages[at / PAGE_BYTES] = 1;
                image->holes.any = true;
                at = page_end;
        }
}

static int image_open(struct image *image, const struct lanemap_files *files, int dir_fd,
                      struct lanemap_heap *heap)
{
        uint64_t n_pages = image->n_bytes / PAGE_BYTES + 1;
        int fd;

        image->bytes = lanemap_heap_alloc(heap, image->n_bytes + LANEMAP_SEGMENT_ALIGN);
        image->holes.pages = lanemap_heap_alloc(heap, n_pages);
        if (!image->bytes || !image->holes.pages)
                return -ENOMEM;
        memset(image->bytes, 0, image->n_bytes + LANEMAP_SEGMENT_ALIGN);
        memset(image->holes.pages, 0, n_pages);

        fd = files->open(files, dir_fd, image->file->name, O_RDONLY, 0);
        if (fd < 0)
                return fd;
        image_read(image, fd);
        files->close(files, fd);
        return 0;
}

/* ---- putting headers right ---- */

/* The check value at check_off covers all n_bytes, itself as zeros. */
static bool header_is_right(unsigned char *bytes, size_t n_bytes, size_t check_off)
{
        uint64_t check = lanemap_load_le64(bytes + check_off), want;

        memset(bytes + check_off, 0, sizeof(check));
        want = lanemap_segment_check_of(bytes, n_bytes);
        memcpy(bytes + check_off, &(uint64_t){htole64(check)}, sizeof(check));
        return want == check;
}

/* Tries each value of each byte: one damaged byte is found, with the certainty of 64 bits. */
static bool header_correct(unsigned char *bytes, size_t n_bytes, size_t check_off)
{
        if (header_is_right(bytes, n_bytes, check_off))
                return true;

        for (size_t at = 0; at < n_bytes; at++) {
                unsigned char was = bytes[at];

                for (uint32_t flip = 1; flip < 256; flip++) {
                        bytes[at] = (unsigned char)(was ^ flip);
                        if (header_is_right(bytes, n_bytes, check_off))
                                return true;
                }
                bytes[at] = was;
        }

        return false;
}

static bool table_correct(unsigned char *table, size_t n_bytes, uint64_t check)
{
        if (lanemap_segment_check_of(table, n_bytes) == check)
                return true;

        for (size_t at = 0; at < n_bytes && n_bytes <= TABLE_BYTES_MAX; at++) {
                unsigned char was = table[at];

                for (uint32_t flip = 1; flip < 256; flip++) {
                        table[at] = (unsigned char)(was ^ flip);
                        if (lanemap_segment_check_of(table, n_bytes) == check)
                                return true;
                }
                table[at] = was;
        }

        return false;
}

static bool section_correct(unsigned char *section)
{
        return header_correct(section, SECTION_BYTES,
                              offsetof(struct lanemap_segment_section_file, check));
}

static const struct lanemap_verify_use *use_of(const struct lanemap_verify_file *file,
                                               uint32_t section)
{
        for (uint32_t i = 0; i < file->n_uses; i++)
                if (file->uses[i].section == section)
                        return &file->uses[i];

        return NULL;
}

/* The sections are adjacent: each header says where the next one is. */
static void table_rebuild(struct image *image)
{
        const struct lanemap_verify_file *file = image->file;
        struct lanemap_segment_table_file *table = (void *)(image->bytes + HEADER_BYTES);
        uint64_t at = LANEMAP_ALIGN_UP(HEADER_BYTES + (uint64_t)file->n_sections * sizeof(*table),
                                       (uint64_t)LANEMAP_SEGMENT_ALIGN);

        for (uint32_t i = 0; i < file->n_sections; i++) {
                const struct lanemap_verify_use *use = use_of(file, i);
                struct lanemap_segment_section_file header = {0};
                uint64_t n_bytes = use ? use->n_bytes : 0;

                if (at + SECTION_BYTES <= image->n_bytes && section_correct(image->bytes + at)) {
                        memcpy(&header, image->bytes + at, sizeof(header));
                        n_bytes = le64toh(header.section_bytes);
                }
                if (n_bytes > image->n_bytes - LANEMAP_MIN(at, image->n_bytes))
                        n_bytes = 0;
                table[i] = (struct lanemap_segment_table_file){
                        .lane = htole32(use ? use->lane : 0),
                        .kind = use ? htole32(use->kind) : header.kind,
                        .level = htole32(use ? use->level : 0),
                        .offset = htole64(LANEMAP_MIN(at, image->n_bytes)),
                        .bytes = htole64(n_bytes),
                        .n_keys = header.n_keys,
                        .n_pairs = header.n_pairs,
                };
                at += n_bytes;
        }
}

/* Everything in the header is known but the table's check, and that is known when the table is. */
static void head_correct(struct image *image)
{
        const struct lanemap_verify_file *file = image->file;
        struct lanemap_segment_header_file *header = (void *)image->bytes;
        size_t table_bytes = file->n_sections * sizeof(struct lanemap_segment_table_file);
        unsigned char *table = image->bytes + HEADER_BYTES;
        bool right = header_correct(image->bytes, HEADER_BYTES,
                                    offsetof(struct lanemap_segment_header_file, check));

        if (right && !table_correct(table, table_bytes, le64toh(header->table_check)))
                table_rebuild(image);
        if (!right && lanemap_segment_check_of(table, table_bytes) != le64toh(header->table_check))
                table_rebuild(image);

        *header = (struct lanemap_segment_header_file){
                .magic = htole64(LANEMAP_SEGMENT_FILE_MAGIC),
                .version = htole32(LANEMAP_SEGMENT_FORMAT_VERSION),
                .n_sections = htole32(file->n_sections),
                .fingerprint_bits = htole32(file->fingerprint_bits),
                .file_number = htole64(file->number),
                .file_bytes = htole64(file->n_bytes),
                .table_check = htole64(lanemap_segment_check_of(table, table_bytes)),
        };
        memset(table + table_bytes, 0, -(HEADER_BYTES + table_bytes) % LANEMAP_SEGMENT_ALIGN);
        memcpy(header->uuid, file->uuid, sizeof(header->uuid));
        memcpy(header->checksum, file->checksum, sizeof(header->checksum));
        header->check = htole64(lanemap_segment_check_of(header, HEADER_BYTES));
}

static bool image_is_exact(const struct image *image)
{
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];

        return lanemap_verify_checksum(image->bytes, image->n_bytes, checksum) == 0 &&
               memcmp(checksum, image->file->checksum, sizeof(checksum)) == 0;
}

/* ---- sections ---- */

/* X1. bytes: n_bytes of the section at `place`, there or in a copy. */
static bool section_keep(const struct image *image, const struct lanemap_verify_use *use,
                         const struct lanemap_segment_file_section *place,
                         const unsigned char *bytes, size_t n_bytes,
                         struct lanemap_salvage_section *ret_section)
{
        struct lanemap_segment_report report;

        if (lanemap_segment_verify(bytes, n_bytes, image->file->fingerprint_bits, &report) < 0 ||
            !lanemap_salvage_readable(&image->holes, place->offset, n_bytes))
                return false;

        ret_section->built = (struct lanemap_segment_built){
                .bytes = bytes,
                .n_bytes = n_bytes,
                .n_keys = report.n_keys,
                .n_pairs = report.n_pairs,
                .n_tombstones = report.n_tombstones,
        };
        ret_section->n_lost = use->n_keys > report.n_keys ? use->n_keys - report.n_keys : 0;
        ret_section->intact = true;
        return true;
}

/* X1, in a copy without its filter. Return: true if it was kept. */
static bool section_keep_unfiltered(const struct image *image, const struct lanemap_verify_use *use,
                                    const struct lanemap_segment_file_section *place,
                                    struct lanemap_heap *heap,
                                    struct lanemap_salvage_section *ret_section)
{
        const unsigned char *from = image->bytes + place->offset;
        unsigned char *bytes;
        size_t n_bytes;

        if (lanemap_load_le64(from + offsetof(struct lanemap_segment_section_file, filter_off)) ==
            0)
                return false;

        bytes = lanemap_heap_alloc(heap, place->n_bytes);
        if (!bytes)
                return false;

        memcpy(bytes, from, place->n_bytes);
        return lanemap_filter_drop(bytes, place->n_bytes, &n_bytes) == 0 &&
               section_keep(image, use, place, bytes, n_bytes, ret_section);
}

/* X2, X3: what is left becomes a packed section. */
static int section_sift(const struct image *image, const struct lanemap_verify_use *use,
                        const struct lanemap_segment_file_section *place,
                        const struct lanemap_slot *slots, struct lanemap_heap *heap,
                        struct lanemap_salvage_section *ret_section)
{
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        struct lanemap_segment_build_options options = {
                .kind = LANEMAP_SEGMENT_KIND_PACKED,
                .fingerprint_bits = image->file->fingerprint_bits,
                .slot_bitmap = slot_bitmap,
        };
        struct lanemap_salvage_entries *entries;
        struct lanemap_segment segment;
        int r;

        if (lanemap_segment_open(&segment, image->bytes + place->offset, place->n_bytes,
                                 options.fingerprint_bits) < 0)
                return 0;

        lanemap_slot_bitmap(slots, use->lane, slot_bitmap);
        r = lanemap_salvage_entries_new(heap, &segment, place->offset, &image->holes, slot_bitmap,
                                        &entries);
        if (r == 0)
                r = lanemap_segment_build(heap, &options, &entries->cursor, &ret_section->built);
        if (r < 0)
                return r == -ENOMEM ? r : 0;

        ret_section->n_lost =
                segment.n_keys > entries->n_good ? segment.n_keys - entries->n_good : 0;
        return 0;
}

static int section_salvage(const struct image *image, const struct lanemap_verify_use *use,
                           const struct lanemap_slot *slots, struct lanemap_heap *heap,
                           struct lanemap_salvage_section *ret_section)
{
        struct lanemap_segment_file_section place;
        struct lanemap_segment_file opened;

        *ret_section = (struct lanemap_salvage_section){
                .lane = use->lane,
                .kind = use->kind,
                .level = use->level,
                .n_lost = use->n_keys,
        };
        if (lanemap_segment_file_open(&opened, image->bytes, image->n_bytes) < 0 ||
            lanemap_segment_file_section(&opened, use->section, &place) < 0 ||
            place.n_bytes < SECTION_BYTES ||
            !lanemap_salvage_readable(&image->holes, place.offset, SECTION_BYTES))
                return 0;
        if (section_keep(image, use, &place, image->bytes + place.offset, place.n_bytes,
                         ret_section) ||
            section_keep_unfiltered(image, use, &place, heap, ret_section))
                return 0;

        ret_section->kind = LANEMAP_SEGMENT_KIND_PACKED;
        return section_sift(image, use, &place, slots, heap, ret_section);
}

/* The bytes between the arrays of a packed section are zero. */
static void padding_correct(unsigned char *bytes, uint64_t n_bytes, uint32_t fingerprint_bits)
{
        struct lanemap_segment segment;

        if (lanemap_segment_open(&segment, bytes, n_bytes, fingerprint_bits) < 0 ||
            segment.kind != LANEMAP_SEGMENT_KIND_PACKED)
                return;

        const struct lanemap_packed *packed = &segment.packed;
        uint64_t filter_bytes = lanemap_filter_bytes(segment.filter.kind, segment.filter.shift,
                                                     segment.filter.n_blocks);
        const struct {
                const unsigned char *at;
                uint64_t n_bytes;
        } arrays[] = {
                {packed->directory, packed->n_groups * LANEMAP_PACKED_RECORD_BYTES},
                {packed->tags, packed->n_entries},
                {packed->payload, ((uint64_t)packed->n_entries * packed->entry_bits + 7) / 8},
                {segment.postings, segment.postings_bytes},
                {segment.filter.bytes, filter_bytes},
        };
        uint64_t end = SECTION_BYTES;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(arrays); i++) {
                uint64_t from = (uint64_t)(arrays[i].at - bytes);

                if (arrays[i].n_bytes == 0)
                        continue;
                if (from < end)
                        return; /* not in order: nothing is known */
                memset(bytes + end, 0, from - end);
                end = from + arrays[i].n_bytes;
        }
        memset(bytes + end, 0, segment.section_bytes - end);
}

/* Puts right the headers of all sections that the table names, and the zeros in them. */
static void sections_correct(struct image *image)
{
        const struct lanemap_segment_table_file *table =
                (const void *)(image->bytes + HEADER_BYTES);

        for (uint32_t i = 0; i < image->file->n_sections; i++) {
                uint64_t offset = le64toh(table[i].offset);

                if (offset < image->n_bytes && image->n_bytes - offset >= SECTION_BYTES &&
                    lanemap_salvage_readable(&image->holes, offset, SECTION_BYTES) &&
                    section_correct(image->bytes + offset))
                        padding_correct(
                                image->bytes + offset,
                                LANEMAP_MIN(le64toh(table[i].bytes), image->n_bytes - offset),
                                image->file->fingerprint_bits);
        }
}

int lanemap_salvage_run(const struct lanemap_files *files, int dir_fd,
                        const struct lanemap_verify_file *file, const struct lanemap_slot *slots,
                        struct lanemap_salvage *ret_salvage)
{
        struct lanemap_salvage salvage = {.heap = lanemap_heap_new()};
        struct image image = {.n_bytes = file->n_bytes, .file = file};
        int r;

        if (!salvage.heap)
                return -ENOMEM;

        r = image_open(&image, files, dir_fd, salvage.heap);
        salvage.sections =
                lanemap_heap_alloc(salvage.heap, (file->n_uses + 1) * sizeof(*salvage.sections));
        if (r == 0 && !salvage.sections)
                r = -ENOMEM;
        if (r == 0 &&
            image.n_bytes <
                    HEADER_BYTES + file->n_sections * sizeof(struct lanemap_segment_table_file))
                r = -EBADMSG; /* a manifest that says so is no manifest */
        if (r == 0) {
                head_correct(&image);
                sections_correct(&image);
                salvage.image = image.bytes;
                salvage.exact = image_is_exact(&image);
        }
        for (uint32_t i = 0; i < file->n_uses && r == 0 && !salvage.exact; i++)
                r = section_salvage(&image, &file->uses[i], slots, salvage.heap,
                                    &salvage.sections[i]);
        if (r < 0) {
                lanemap_salvage_deinit(&salvage);
                return r;
        }

        *ret_salvage = salvage;
        return 0;
}

void lanemap_salvage_deinit(struct lanemap_salvage *salvage)
{
        lanemap_heap_free(salvage->heap);
        *salvage = (struct lanemap_salvage){0};
}
