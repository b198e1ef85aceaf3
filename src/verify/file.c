/*
 * One segment file against what the manifest says of it. See verify/verify.h.
 *
 * The checksum decides whether there is damage; the structure says where. They are taken from
 * different reads: the checksum from the disk, where that is asked for, the structure from the
 * mapping that lookups use. So either can be wrong alone, and each is said.
 */
#include "verify/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "segment/merge.h"
#include "segment/verify.h"
#include "verify/mapping.h"

#define CHUNK_BYTES    (UINT64_C(1) << 20)
#define PAGE_BYTES     4096
#define CHECKSUM_OFF   offsetof(struct lanemap_segment_header_file, checksum)
#define UNSIGNED_BYTES (LANEMAP_SEGMENT_CHECKSUM_BYTES + sizeof(uint64_t)) /* and `check` */

static_assert(offsetof(struct lanemap_segment_header_file, check) ==
                      CHECKSUM_OFF + LANEMAP_SEGMENT_CHECKSUM_BYTES,
              "one range that the checksum leaves out");

int lanemap_findings_add(struct lanemap_findings *findings, const char *file, uint64_t offset,
                         uint32_t lane, uint64_t n_keys, const char *format, ...)
{
        struct lanemap_finding *finding;
        va_list args;

        if (findings->n == findings->capacity) {
                size_t capacity = findings->capacity ? 2 * findings->capacity : 16;
                void *items = lanemap_realloc(findings->items, capacity * sizeof(*findings->items));

                if (!items)
                        return -ENOMEM;
                findings->items = items;
                findings->capacity = capacity;
        }

        finding = &findings->items[findings->n++];
        *finding = (struct lanemap_finding){.offset = offset, .lane = lane, .n_keys = n_keys};
        snprintf(finding->file, sizeof(finding->file), "%s", file);
        va_start(args, format);
        vsnprintf(finding->what, sizeof(finding->what), format, args);
        va_end(args);
        return 0;
}

void lanemap_findings_deinit(struct lanemap_findings *findings)
{
        lanemap_free(findings->items);
        *findings = (struct lanemap_findings){0};
}

/* ---- what the manifest says ---- */

int lanemap_verify_file_init(const struct lanemap_manifest *manifest, uint32_t i,
                             struct lanemap_verify_file *ret_file)
{
        const struct lanemap_manifest_file *entry = &manifest->files[i];
        struct lanemap_verify_file file = {
                .number = entry->number,
                .n_bytes = entry->bytes,
                .n_sections = entry->n_sections,
                .fingerprint_bits = manifest->fingerprint_bits,
        };

        memcpy(file.checksum, entry->checksum, sizeof(file.checksum));
        memcpy(file.uuid, manifest->uuid, sizeof(file.uuid));
        lanemap_segment_file_name(entry->number, entry->checksum, file.name);

        for (int pass = 0; pass < 2; pass++) {
                uint32_t n = 0;

                for (uint32_t l = 0; l < manifest->n_lanes; l++) {
                        const struct lanemap_manifest_lane *lane = &manifest->lanes[l];

                        for (uint32_t s = 0; s < lane->n_segments; s++) {
                                const struct lanemap_manifest_segment *segment = &lane->segments[s];

                                if (segment->file_number != file.number)
                                        continue;
                                if (pass == 1)
                                        file.uses[n] = (struct lanemap_verify_use){
                                                .lane = l,
                                                .section = segment->section,
                                                .n_keys = segment->n_keys,
                                                .n_pairs = segment->n_pairs,
                                                .n_bytes = segment->bytes,
                                                .level = segment->level,
                                                .kind = segment->kind,
                                        };
                                n++;
                        }
                }
                if (pass == 0) {
                        file.uses = lanemap_alloc((n + 1) * sizeof(*file.uses));
                        if (!file.uses)
                                return -ENOMEM;
                        file.n_uses = n;
                }
        }

        *ret_file = file;
        return 0;
}

void lanemap_verify_file_deinit(struct lanemap_verify_file *file)
{
        lanemap_free(file->uses);
        *file = (struct lanemap_verify_file){0};
}

uint64_t lanemap_verify_file_keys(const struct lanemap_verify_file *file)
{
        uint64_t n_keys = 0;

        for (uint32_t i = 0; i < file->n_uses; i++)
                n_keys += file->uses[i].n_keys;

        return n_keys;
}

/* A finding about the whole file: its lane, where there is only one. */
static int file_finding(struct lanemap_findings *findings, const struct lanemap_verify_file *file,
                        uint64_t offset, const char *what)
{
        return lanemap_findings_add(
                findings, file->name, offset,
                file->n_uses == 1 ? file->uses[0].lane : LANEMAP_FINDING_NO_LANE,
                lanemap_verify_file_keys(file), file->n_uses == 1 ? "%s" : "%s; it serves %u lanes",
                what, file->n_uses);
}

/* ---- the checksum ---- */

/* Adds bytes that lie at `offset` of the file: checksum and check value are read as zeros. */
static void checksum_add(crypto_generichash_state *state, unsigned char *bytes, uint64_t n_bytes,
                         uint64_t offset)
{
        if (offset == 0 && n_bytes >= CHECKSUM_OFF + UNSIGNED_BYTES)
                memset(bytes + CHECKSUM_OFF, 0, UNSIGNED_BYTES);
        crypto_generichash_update(state, bytes, n_bytes);
}

int lanemap_verify_checksum(const void *bytes, uint64_t n_bytes, unsigned char *ret_checksum)
{
        unsigned char header[sizeof(struct lanemap_segment_header_file)];
        crypto_generichash_state state;

        if (n_bytes < sizeof(header))
                return -EBADMSG;
        if (sodium_init() < 0 ||
            crypto_generichash_init(&state, NULL, 0, LANEMAP_SEGMENT_CHECKSUM_BYTES) < 0)
                return -EIO;

        memcpy(header, bytes, sizeof(header));
        checksum_add(&state, header, sizeof(header), 0);
        crypto_generichash_update(&state, (const unsigned char *)bytes + sizeof(header),
                                  n_bytes - sizeof(header));
        crypto_generichash_final(&state, ret_checksum, LANEMAP_SEGMENT_CHECKSUM_BYTES);
        return 0;
}

static void direct_set(int fd, bool direct)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0)
                (void)fcntl(fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT);
}

static ssize_t chunk_read(int fd, void *buffer, uint64_t n_bytes, uint64_t offset)
{
        ssize_t n;

        do
                n = pread(fd, buffer, n_bytes, (off_t)offset);
        while (n < 0 && errno == EINTR);
        if (n < 0 && errno == EINVAL) {
                direct_set(fd, false);
                n = pread(fd, buffer, n_bytes, (off_t)offset);
        }

        return n < 0 ? -errno : n;
}

/* The page of a chunk that cannot be read: its offset. If each can be read now, the chunk's. */
static uint64_t unreadable_find(int fd, void *buffer, uint64_t start, uint64_t n_bytes)
{
        for (uint64_t at = start; at < start + n_bytes; at += PAGE_BYTES)
                if (chunk_read(fd, buffer, PAGE_BYTES, at) <= 0)
                        return at;
        return start;
}

/*
 * Reads it all. Return: 0 and the checksum; 1 a finding was made of what cannot be read; a negative
 * errno.
 */
static int file_read(const struct lanemap_verify_options *options, int fd, uint64_t n_bytes,
                     const struct lanemap_verify_file *file, struct lanemap_findings *findings,
                     unsigned char *ret_checksum)
{
        uint64_t chunk = options->chunk_bytes ? options->chunk_bytes : CHUNK_BYTES;
        crypto_generichash_state state;
        unsigned char *buffer;
        uint64_t at = 0;
        int r = 0;

        if (sodium_init() < 0 ||
            crypto_generichash_init(&state, NULL, 0, LANEMAP_SEGMENT_CHECKSUM_BYTES) < 0)
                return -EIO;

        buffer = mmap(NULL, chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (buffer == MAP_FAILED)
                return -ENOMEM;

        direct_set(fd, options->from_disk);
        while (at < n_bytes && r == 0) {
                ssize_t n;

                r = options->pace
                            ? options->pace(options->pace_arg, LANEMAP_MIN(chunk, n_bytes - at))
                            : 0;
                if (r != 0)
                        break;

                n = chunk_read(fd, buffer, chunk, at);
                if (n <= 0) {
                        r = file_finding(findings, file,
                                         n == 0 ? at
                                                : unreadable_find(fd, buffer, at,
                                                                  LANEMAP_MIN(chunk, n_bytes - at)),
                                         n == 0 ? "the file ends while it is read"
                                                : "the file cannot be read (media error?)");
                        r = r == 0 ? 1 : r;
                        break;
                }
                checksum_add(&state, buffer, (uint64_t)n, at);
                at += (uint64_t)n;
                /* After a short read the next one would not be aligned. */
                if (at < n_bytes && (uint64_t)n < chunk)
                        direct_set(fd, false);
        }
        crypto_generichash_final(&state, ret_checksum, LANEMAP_SEGMENT_CHECKSUM_BYTES);
        munmap(buffer, chunk);
        return r;
}

/* ---- the structure ---- */

static bool header_is_sound(const unsigned char *bytes, uint64_t n_bytes)
{
        struct lanemap_segment_header_file header;
        uint64_t check;

        if (n_bytes < sizeof(header))
                return false;
        memcpy(&header, bytes, sizeof(header));
        check = le64toh(header.check);
        header.check = 0;
        return lanemap_segment_check_of(&header, sizeof(header)) == check;
}

/* Checks a section against the manifest's description of it. */
static int use_verify(const struct lanemap_verify_file *file, const struct lanemap_verify_use *use,
                      const struct lanemap_segment_file_section *section,
                      struct lanemap_findings *findings)
{
        if (section->n_keys == use->n_keys && section->n_pairs == use->n_pairs)
                return 0;

        return lanemap_findings_add(findings, file->name, section->offset, use->lane, use->n_keys,
                                    "section %u has %" PRIu64 " entries and %" PRIu64
                                    " pairs; the manifest says %" PRIu64 " and %" PRIu64,
                                    use->section, section->n_keys, section->n_pairs, use->n_keys,
                                    use->n_pairs);
}

static int section_verify(const struct lanemap_verify_file *file,
                          const struct lanemap_segment_file *opened,
                          const struct lanemap_verify_use *use, struct lanemap_findings *findings)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_report report;
        int r;

        r = lanemap_segment_file_section(opened, use->section, &section);
        if (r < 0)
                return lanemap_findings_add(findings, file->name,
                                            sizeof(struct lanemap_segment_header_file), use->lane,
                                            use->n_keys, "there is no section %u", use->section);

        r = lanemap_segment_verify(opened->bytes + section.offset, section.n_bytes,
                                   file->fingerprint_bits, &report);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return lanemap_findings_add(findings, file->name, section.offset + report.offset,
                                            use->lane, use->n_keys, "section %u: %s", use->section,
                                            report.what ? report.what : "unknown format");
        if (report.n_keys != section.n_keys || report.n_pairs != section.n_pairs)
                return lanemap_findings_add(
                        findings, file->name,
                        sizeof(struct lanemap_segment_header_file) +
                                use->section * sizeof(struct lanemap_segment_table_file),
                        use->lane, use->n_keys, "the table does not say what section %u holds",
                        use->section);

        return use_verify(file, use, &section, findings);
}

static int structure_verify(const struct lanemap_verify_options *options,
                            const struct lanemap_verify_file *file, const unsigned char *bytes,
                            uint64_t n_bytes, struct lanemap_findings *findings)
{
        struct lanemap_segment_file opened;
        int r;

        r = lanemap_segment_file_open(&opened, bytes, n_bytes);
        if (r == -EPROTONOSUPPORT)
                return file_finding(findings, file, 0, "the file has a format of another version");
        if (r < 0) {
                bool header = !header_is_sound(bytes, n_bytes);

                return file_finding(
                        findings, file, header ? 0 : sizeof(struct lanemap_segment_header_file),
                        header ? "the file's header is damaged" : "the file's table is damaged");
        }

        if (opened.file_number != file->number || opened.n_sections != file->n_sections ||
            opened.fingerprint_bits != file->fingerprint_bits ||
            memcmp(opened.uuid, file->uuid, sizeof(opened.uuid)) != 0 ||
            memcmp(opened.checksum, file->checksum, sizeof(opened.checksum)) != 0)
                return file_finding(findings, file, 0,
                                    "this is another file than the manifest names here");

        for (uint32_t i = 0; i < file->n_uses; i++) {
                r = options->pace ? options->pace(options->pace_arg, 0) : 0;
                if (r == 0)
                        r = section_verify(file, &opened, &file->uses[i], findings);
                if (r != 0)
                        return r;
        }

        return 0;
}

/* Where the checksum is wrong and no section in use is: one that no lane uses any more? */
static int unused_verify(const struct lanemap_verify_file *file, const unsigned char *bytes,
                         uint64_t n_bytes, struct lanemap_findings *findings)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_report report;
        struct lanemap_segment_file opened;

        if (lanemap_segment_file_open(&opened, bytes, n_bytes) < 0)
                return 0;
        for (uint32_t i = 0; i < opened.n_sections; i++) {
                (void)lanemap_segment_file_section(&opened, i, &section);
                if (lanemap_segment_verify(bytes + section.offset, section.n_bytes,
                                           file->fingerprint_bits, &report) == -EBADMSG)
                        return lanemap_findings_add(
                                findings, file->name, section.offset + report.offset,
                                LANEMAP_FINDING_NO_LANE, 0, "section %u, which no lane uses: %s", i,
                                report.what);
        }

        return file_finding(findings, file, LANEMAP_FINDING_NO_OFFSET,
                            "the checksum is wrong: some byte changed, and no structure shows "
                            "which");
}

int lanemap_verify_file_run(const struct lanemap_verify_options *options, int fd,
                            const struct lanemap_verify_file *file,
                            struct lanemap_findings *findings)
{
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        struct lanemap_mapping *guard = NULL;
        size_t n_before = findings->n;
        uint64_t n_bytes, offset;
        struct stat st;
        void *bytes;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        n_bytes = (uint64_t)st.st_size;
        if (!S_ISREG(st.st_mode) || n_bytes != file->n_bytes) {
                char what[96];

                snprintf(what, sizeof(what), "the file has %" PRIu64 " bytes and had %" PRIu64,
                         n_bytes, file->n_bytes);
                return file_finding(findings, file, LANEMAP_MIN(n_bytes, file->n_bytes), what);
        }

        r = file_read(options, fd, n_bytes, file, findings, checksum);
        if (r != 0)
                return r < 0 ? r : 0;

        bytes = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED)
                return -errno;

        r = lanemap_mapping_new(bytes, n_bytes, &guard);
        if (r == 0)
                r = structure_verify(options, file, bytes, n_bytes, findings);
        if (r == 0 && findings->n == n_before &&
            memcmp(checksum, file->checksum, sizeof(checksum)) != 0)
                r = unused_verify(file, bytes, n_bytes, findings);
        if (r == 0 && lanemap_mapping_is_hit(guard, &offset)) {
                /* It could be read before: what was found in zeros is not what is wrong. */
                findings->n = n_before;
                r = file_finding(findings, file, offset, "the file cannot be read (media error?)");
        }
        lanemap_mapping_free(guard);
        munmap(bytes, n_bytes);
        return r;
}

/* ---- a lane ---- */

int lanemap_verify_section_map(int fd, uint64_t n_bytes, uint32_t index,
                               struct lanemap_verify_section *ret_section)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_file opened;
        struct lanemap_mapping *guard = NULL;
        struct lanemap_segment segment;
        void *bytes;
        int r;

        bytes = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED)
                return -errno;

        r = lanemap_mapping_new(bytes, n_bytes, &guard);
        if (r == 0)
                r = lanemap_segment_file_open(&opened, bytes, n_bytes);
        if (r == 0)
                r = lanemap_segment_file_section(&opened, index, &section);
        if (r == 0)
                r = lanemap_segment_open(&segment, opened.bytes + section.offset, section.n_bytes,
                                         opened.fingerprint_bits);
        if (r < 0) {
                lanemap_mapping_free(guard);
                munmap(bytes, n_bytes);
                return r;
        }

        *ret_section = (struct lanemap_verify_section){bytes, n_bytes, segment, guard};
        return 0;
}

bool lanemap_verify_section_is_read(const struct lanemap_verify_section *section)
{
        return !section->guard || !lanemap_mapping_is_hit(section->guard, NULL);
}

void lanemap_verify_section_unmap(struct lanemap_verify_section *section)
{
        lanemap_mapping_free(section->guard);
        munmap(section->bytes, section->n_bytes);
}

int lanemap_verify_lane_count(const struct lanemap_segment *const *segments, uint32_t n_segments,
                              const uint64_t *slot_bitmap, uint64_t *ret_n_keys,
                              uint64_t *ret_n_pairs)
{
        struct lanemap_segment_cursor cursors[LANEMAP_SEGMENT_MERGE_INPUTS_MAX];
        struct lanemap_cursor *inputs[LANEMAP_SEGMENT_MERGE_INPUTS_MAX];
        struct lanemap_segment_merge_options options = {
                .drop_tombstones = true,
                .slot_mask = slot_bitmap,
        };
        struct lanemap_segment_merge merge;
        uint64_t n_keys = 0, n_pairs = 0;
        struct lanemap_entry entry;
        struct lanemap_heap *heap;
        int r = 0;

        if (n_segments > LANEMAP_SEGMENT_MERGE_INPUTS_MAX)
                return -EINVAL;

        heap = lanemap_heap_new();
        if (!heap)
                return -ENOMEM;
        for (uint32_t i = 0; i < n_segments && r == 0; i++) {
                size_t n_ids = (size_t)segments[i]->ids_max + 1;
                uint32_t *ids = lanemap_heap_alloc(heap, n_ids * sizeof(*ids));
                void *scratch = lanemap_heap_alloc(
                        heap, lanemap_segment_cursor_scratch_bytes(segments[i]) + 8);

                r = ids && scratch ? lanemap_segment_cursor_init(&cursors[i], segments[i], NULL,
                                                                 ids, n_ids, scratch)
                                   : -ENOMEM;
                inputs[i] = &cursors[i].cursor;
        }
        if (r == 0)
                r = lanemap_segment_merge_init(&merge, inputs, n_segments, &options);
        while (r == 0) {
                r = merge.cursor.next(&merge.cursor, &entry);
                n_keys += r == 0;
                n_pairs += r == 0 ? entry.n_ids : 0;
        }

        lanemap_heap_free(heap);
        if (r < 0)
                return r;
        *ret_n_keys = n_keys;
        *ret_n_pairs = n_pairs;
        return 0;
}
