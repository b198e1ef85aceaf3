/* See damage.h. */
#include "damage.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "store/log_scan.h"

static void step(struct lanemap_writer *writer, struct model *model, uint32_t code, const char *key,
                 uint32_t id)
{
        struct lanemap_op op = {code, id, key, key ? strlen(key) : 0};

        if (writer)
                lanemap_check(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) == 0);
        if (model)
                (void)model_apply(model, &op);
}

void damage_index_apply(struct lanemap_writer *writer, struct model *model, uint32_t part)
{
        char key[32];

        for (uint32_t i = 0; i < 1200; i++) {
                snprintf(key, sizeof(key), "key-%u", i);
                if (part == 0)
                        for (uint32_t id = 0; id <= i % 3; id++)
                                step(writer, model, LANEMAP_OP_ADD, key, 7 * i + id);
                else if (part == 1 && i % 59 == 0)
                        step(writer, model, LANEMAP_OP_DELETE, key, 0);
                else if (part == 1 && i % 61 == 0)
                        step(writer, model, LANEMAP_OP_ADD, key, 99);
                else if (part == 3 && i % 59 == 0)
                        step(writer, model, LANEMAP_OP_ADD, key, 2000 + i);
                else if (part == 3 && i % 61 == 0)
                        step(writer, model, LANEMAP_OP_DELETE, key, 0);
                else if (part == 2 && i % 13 == 0)
                        step(writer, model, LANEMAP_OP_ADD, key, 1000 + i);
                /* Each of the last records says that the one before is durable. */
                if (part == 2 && i % 13 == 0 && writer)
                        lanemap_check(
                                lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0);
        }
        for (uint32_t id = 0; id < 300 && part == 0; id++)
                step(writer, model, LANEMAP_OP_ADD, "a long one", 3 * id);
        if (part == 2)
                step(writer, model, LANEMAP_OP_MARK, "mark", 0);
}

/* Which lane a key is in depends on the random hash key: now and then a section of the newer file
 * has next to no keys, or no list. */
static bool has_something_of_everything(const char *directory)
{
        struct damage_section section;
        char path[512];

        for (uint32_t file = 0; file < 2; file++) {
                lanemap_check(damage_segment_path(directory, file, path, sizeof(path)));
                for (uint32_t i = 0; i < DAMAGE_LANES; i++) {
                        damage_section_of(path, i, &section);
                        if (section.n_beside < DAMAGE_LANES ||
                            section.n_keys < DAMAGE_SECTION_KEYS_MIN || section.postings_bytes < 4)
                                return false;
                }
        }

        return true;
}

#define INDEX_AGAIN 4

static int index_main(void *arg)
{
        const struct scratch *scratch = arg;
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;

        engine_options_init(&options, scratch, NULL);
        options.flush_bytes = UINT64_C(1) << 30;
        options.log_file_bytes = 1 << 20;
        options.scrub_bytes_per_second = UINT64_MAX;
        if (lanemap_writer_open(&options, &writer) != 0)
                return 1;
        for (uint32_t part = 0; part < 3; part++) {
                /* Before the hundred syncs of the last part. */
                if (part == 2 && !has_something_of_everything(scratch->directory))
                        return INDEX_AGAIN;
                damage_index_apply(writer, NULL, part);
                if (part < 2 && engine_request(writer, LANEMAP_REQUEST_FLUSH) != 0)
                        return 2;
        }
        return lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0 ? 0 : 3;
}

void damage_index_make(const struct scratch *scratch, struct model *model)
{
        int r;

        while ((r = engine_crash_after(index_main, (void *)(uintptr_t)scratch)) == INDEX_AGAIN) {
                scratch_remove_shared(scratch->name);
                scratch_empty(scratch->directory);
        }
        lanemap_check(r == 0);
        model_init(model);
        for (uint32_t part = 0; part < 3; part++)
                damage_index_apply(NULL, model, part);
}

bool damage_segment_path(const char *directory, uint32_t i, char *ret_path, size_t path_bytes)
{
        char *listing = scratch_listing(directory), *line = listing, *next;
        bool found = false;

        for (; line && *line && !found; line = next) {
                next = strchr(line, '\n');
                if (next)
                        *next++ = '\0';
                if (strncmp(line, "seg-", 4) != 0 || i-- > 0)
                        continue;
                snprintf(ret_path, path_bytes, "%s/%.*s", directory, (int)strcspn(line, " "), line);
                found = true;
        }

        free(listing);
        return found;
}

void damage_section_of(const char *path, uint32_t index, struct damage_section *ret_section)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_section_file header;
        struct lanemap_segment_file file;
        uint64_t n_bytes = damage_file_bytes(path);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        void *bytes = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);

        lanemap_check(fd >= 0 && bytes != MAP_FAILED);
        lanemap_check(lanemap_segment_file_open(&file, bytes, n_bytes) == 0);
        lanemap_check(lanemap_segment_file_section(&file, index, &section) == 0);
        memcpy(&header, file.bytes + section.offset, sizeof(header));
        *ret_section = (struct damage_section){
                .lane = section.lane,
                .offset = section.offset,
                .directory_off = section.offset + le64toh(header.index_off),
                .tags_off = section.offset + le64toh(header.tags_off),
                .payload_off = section.offset + le64toh(header.payload_off),
                .postings_off = section.offset + le64toh(header.postings_off),
                .postings_bytes = le64toh(header.postings_bytes),
                .filter_off = header.filter_off ? section.offset + le64toh(header.filter_off) : 0,
                .end_off = section.offset + section.n_bytes,
                .n_keys = section.n_keys,
                .n_beside = file.n_sections,
        };
        munmap(bytes, n_bytes);
        close(fd);
}

void damage_record_find(const char *directory, uint32_t n, struct damage_record *ret_record)
{
        struct lanemap_log_scan scan = {.files = &lanemap_files_posix, .fd = -1};
        int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct lanemap_log_header header;
        struct lanemap_log_record record;
        struct lanemap_manifest manifest;
        const unsigned char *bytes;
        unsigned long long number;

        lanemap_check(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &manifest, NULL) == 0 &&
                      scratch_find(directory, "log-", ret_record->path, sizeof(ret_record->path)) &&
                      sscanf(strrchr(ret_record->path, '/'), "/log-%16llx", &number) == 1 &&
                      lanemap_log_scan_open(&scan, dir_fd, number) == 0 &&
                      lanemap_log_scan_header(&scan, &header) == 0);
        ret_record->seq = lanemap_manifest_lowest_position(&manifest) + 1 + n;
        do
                lanemap_check(lanemap_log_scan_next(&scan, &record, &bytes) == 0);
        while (record.seq != ret_record->seq);
        ret_record->offset = scan.at - record.bytes;
        lanemap_log_scan_deinit(&scan);
        lanemap_manifest_deinit(&manifest);
        close(dir_fd);
}

void damage_flip(const char *path, uint64_t offset, unsigned char bits)
{
        int fd = open(path, O_RDWR | O_CLOEXEC);
        unsigned char byte;

        lanemap_check(fd >= 0 && pread(fd, &byte, 1, (off_t)offset) == 1);
        byte ^= bits;
        lanemap_check(pwrite(fd, &byte, 1, (off_t)offset) == 1);
        close(fd);
}

uint64_t damage_file_bytes(const char *path)
{
        struct stat st;

        lanemap_check(stat(path, &st) == 0);
        return (uint64_t)st.st_size;
}

void damage_verify(const char *directory, struct lanemap_verify_report *ret_report)
{
        struct lanemap_error error = {.text = ""};
        int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = lanemap_verify_directory(&lanemap_files_posix, fd, ret_report, &error);

        if (r < 0)
                fprintf(stderr, "verify: %d, %s\n", r, error.text);
        lanemap_check(r == 0);
        close(fd);
}
