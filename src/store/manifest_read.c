/*
 * A manifest in memory. Parsing is in manifest_parse.c, since it is as long as all the rest. See
 * manifest_read.h and manifest_format.h.
 */
#include "store/manifest_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/slot.h"
#include "store/error.h"

int lanemap_manifest_init(uint32_t n_lanes, struct lanemap_manifest *ret_manifest)
{
        struct lanemap_manifest manifest = {
                .fingerprint_bits = 64,
                .n_lanes = n_lanes,
                .slot_table = LANEMAP_MANIFEST_SLOT_TABLE,
                .next_file_number = 1,
                .next_log_number = 1,
        };

        if (n_lanes == 0 || n_lanes > LANEMAP_N_LANES_MAX)
                return -EINVAL;

        manifest.lanes = lanemap_alloc_zero(n_lanes * sizeof(*manifest.lanes));
        if (!manifest.lanes)
                return -ENOMEM;

        *ret_manifest = manifest;
        return 0;
}

void lanemap_manifest_deinit(struct lanemap_manifest *manifest)
{
        if (manifest->lanes)
                for (uint32_t i = 0; i < manifest->n_lanes; i++)
                        lanemap_free(manifest->lanes[i].segments);
        lanemap_free(manifest->lanes);
        lanemap_free(manifest->files);
        *manifest = (struct lanemap_manifest){0};
}

static int array_copy(const void *from, size_t bytes, void *ret_copy)
{
        void *copy = NULL;

        if (bytes > 0) {
                copy = lanemap_alloc(bytes);
                if (!copy)
                        return -ENOMEM;
                memcpy(copy, from, bytes);
        }

        memcpy(ret_copy, &copy, sizeof(copy));
        return 0;
}

int lanemap_manifest_set_segments(struct lanemap_manifest *manifest, uint32_t lane,
                                  const struct lanemap_manifest_segment *segments,
                                  uint32_t n_segments)
{
        struct lanemap_manifest_segment *copy;
        int r;

        r = array_copy(segments, n_segments * sizeof(*segments), &copy);
        if (r < 0)
                return r;

        lanemap_free(manifest->lanes[lane].segments);
        manifest->lanes[lane].segments = copy;
        manifest->lanes[lane].n_segments = n_segments;
        return 0;
}

/* The first file whose number is not below `number`. */
static uint32_t file_index(const struct lanemap_manifest *manifest, uint64_t number)
{
        uint32_t low = 0, high = manifest->n_files;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (manifest->files[middle].number < number)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low;
}

int lanemap_manifest_add_file(struct lanemap_manifest *manifest,
                              const struct lanemap_manifest_file *file)
{
        uint32_t at = file_index(manifest, file->number);
        struct lanemap_manifest_file *files;

        if (at < manifest->n_files && manifest->files[at].number == file->number)
                return -EEXIST;

        files = lanemap_realloc(manifest->files, (manifest->n_files + 1) * sizeof(*files));
        if (!files)
                return -ENOMEM;

        memmove(&files[at + 1], &files[at], (manifest->n_files - at) * sizeof(*files));
        files[at] = *file;
        manifest->files = files;
        manifest->n_files++;
        return 0;
}

uint32_t lanemap_manifest_forget_unnamed_files(struct lanemap_manifest *manifest)
{
        uint32_t n_kept = 0, n_files = manifest->n_files;

        for (uint32_t i = 0; i < n_files; i++) {
                bool named = false;

                for (uint32_t l = 0; l < manifest->n_lanes && !named; l++)
                        for (uint32_t s = 0; s < manifest->lanes[l].n_segments; s++)
                                named |= manifest->lanes[l].segments[s].file_number ==
                                         manifest->files[i].number;
                if (named)
                        manifest->files[n_kept++] = manifest->files[i];
        }

        manifest->n_files = n_kept;
        return n_files - n_kept;
}

const struct lanemap_manifest_file *
lanemap_manifest_find_file(const struct lanemap_manifest *manifest, uint64_t number)
{
        uint32_t at = file_index(manifest, number);

        if (at == manifest->n_files || manifest->files[at].number != number)
                return NULL;

        return &manifest->files[at];
}

uint64_t lanemap_manifest_lowest_position(const struct lanemap_manifest *manifest)
{
        uint64_t lowest = UINT64_MAX;

        for (uint32_t i = 0; i < manifest->n_lanes; i++)
                lowest = LANEMAP_MIN(lowest, manifest->lanes[i].position);

        return lowest;
}

uint64_t lanemap_manifest_highest_position(const struct lanemap_manifest *manifest)
{
        uint64_t highest = LANEMAP_MAX(manifest->clear_position, manifest->mark_position);

        for (uint32_t i = 0; i < manifest->n_lanes; i++)
                highest = LANEMAP_MAX(highest, manifest->lanes[i].position);

        return highest;
}

static int verify_head(const struct lanemap_manifest *manifest, struct lanemap_error *error)
{
        if (manifest->fingerprint_bits != 64 && manifest->fingerprint_bits != 80 &&
            manifest->fingerprint_bits != 96)
                return lanemap_store_error(error, -EBADMSG,
                                           "fingerprint_bits is %u, not 64, 80 or 96",
                                           manifest->fingerprint_bits);
        if (manifest->n_lanes == 0 || manifest->n_lanes > LANEMAP_N_LANES_MAX)
                return lanemap_store_error(error, -EBADMSG, "n_lanes is %u, not 1 to %u",
                                           manifest->n_lanes, LANEMAP_N_LANES_MAX);
        if (strcmp(manifest->slot_table, LANEMAP_MANIFEST_SLOT_TABLE) != 0)
                return lanemap_store_error(error, -EPROTONOSUPPORT,
                                           "slot_table is \"%s\"; this program knows \"%s\"",
                                           manifest->slot_table, LANEMAP_MANIFEST_SLOT_TABLE);
        if (manifest->mark_bytes > LANEMAP_MARK_BYTES_MAX)
                return lanemap_store_error(error, -EBADMSG, "mark is longer than %u bytes",
                                           LANEMAP_MARK_BYTES_MAX);
        if (manifest->log_number >= manifest->next_log_number)
                return lanemap_store_error(error, -EBADMSG,
                                           "log_number %" PRIu64 " is not below next_log_number "
                                           "%" PRIu64,
                                           manifest->log_number, manifest->next_log_number);
        if (manifest->next_log_number > INT64_MAX)
                return lanemap_store_error(error, -EBADMSG, "next_log_number is too large");
        if (lanemap_manifest_highest_position(manifest) >= UINT64_MAX - 1)
                return lanemap_store_error(error, -EBADMSG, "no log position is that large");

        return 0;
}

static int verify_files(const struct lanemap_manifest *manifest, struct lanemap_error *error)
{
        for (uint32_t i = 0; i < manifest->n_files; i++) {
                const struct lanemap_manifest_file *file = &manifest->files[i];

                if (file->number >= manifest->next_file_number)
                        return lanemap_store_error(error, -EBADMSG,
                                                   "files[%u]: number %" PRIu64 " is not below "
                                                   "next_file_number %" PRIu64,
                                                   i, file->number, manifest->next_file_number);
                if (i > 0 && file->number <= file[-1].number)
                        return lanemap_store_error(error, -EBADMSG,
                                                   "files[%u]: numbers do not ascend", i);
                if (file->n_sections == 0)
                        return lanemap_store_error(error, -EBADMSG, "files[%u]: no sections", i);
        }

        return 0;
}

static int verify_lane(const struct lanemap_manifest *manifest, uint32_t at,
                       struct lanemap_error *error)
{
        const struct lanemap_manifest_lane *lane = &manifest->lanes[at];

        if (lane->n_keys > lane->n_pairs)
                return lanemap_store_error(error, -EBADMSG,
                                           "lanes[%u]: %" PRIu64 " keys with %" PRIu64 " pairs", at,
                                           lane->n_keys, lane->n_pairs);
        if (lane->n_segments > LANEMAP_MANIFEST_SEGMENTS_MAX)
                return lanemap_store_error(error, -EBADMSG, "lanes[%u]: %u segments, at most %u",
                                           at, lane->n_segments, LANEMAP_MANIFEST_SEGMENTS_MAX);

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_manifest_segment *segment = &lane->segments[i];
                const struct lanemap_manifest_file *file =
                        lanemap_manifest_find_file(manifest, segment->file_number);

                if (!file)
                        return lanemap_store_error(error, -EBADMSG,
                                                   "lanes[%u].segments[%u]: file %" PRIu64
                                                   " is not listed",
                                                   at, i, segment->file_number);
                if (segment->section >= file->n_sections || segment->bytes > file->bytes)
                        return lanemap_store_error(error, -EBADMSG,
                                                   "lanes[%u].segments[%u]: section %u of "
                                                   "%" PRIu64 " bytes is not in file %" PRIu64,
                                                   at, i, segment->section, segment->bytes,
                                                   segment->file_number);
                if (segment->level > LANEMAP_MANIFEST_LEVEL_MAX ||
                    segment->kind > LANEMAP_MANIFEST_KIND_MAX)
                        return lanemap_store_error(error, -EBADMSG,
                                                   "lanes[%u].segments[%u]: level %u or kind %u is "
                                                   "out of range",
                                                   at, i, segment->level, segment->kind);
        }

        return 0;
}

static int compare_segments(const void *a, const void *b)
{
        const struct lanemap_manifest_segment *x =
                *(const struct lanemap_manifest_segment *const *)a;
        const struct lanemap_manifest_segment *y =
                *(const struct lanemap_manifest_segment *const *)b;

        if (x->file_number != y->file_number)
                return x->file_number < y->file_number ? -1 : 1;
        return (x->section > y->section) - (x->section < y->section);
}

/* No section is named twice. */
static int verify_sections(const struct lanemap_manifest *manifest, struct lanemap_error *error)
{
        const struct lanemap_manifest_segment **all;
        size_t n = 0;
        int r = 0;

        for (uint32_t l = 0; l < manifest->n_lanes; l++)
                n += manifest->lanes[l].n_segments;
        if (n == 0)
                return 0;

        all = lanemap_alloc(n * sizeof(*all));
        if (!all)
                return -ENOMEM;

        n = 0;
        for (uint32_t l = 0; l < manifest->n_lanes; l++)
                for (uint32_t s = 0; s < manifest->lanes[l].n_segments; s++)
                        all[n++] = &manifest->lanes[l].segments[s];
        qsort(all, n, sizeof(*all), compare_segments);
        for (size_t i = 1; i < n && r == 0; i++)
                if (compare_segments(&all[i - 1], &all[i]) == 0)
                        r = lanemap_store_error(error, -EBADMSG,
                                                "section %u of file %" PRIu64 " is named twice",
                                                all[i]->section, all[i]->file_number);

        lanemap_free(all);
        return r;
}

int lanemap_manifest_verify(const struct lanemap_manifest *manifest, struct lanemap_error *error)
{
        int r;

        r = verify_head(manifest, error);
        if (r == 0)
                r = verify_files(manifest, error);
        for (uint32_t i = 0; r == 0 && i < manifest->n_lanes; i++)
                r = verify_lane(manifest, i, error);
        if (r == 0)
                r = verify_sections(manifest, error);

        return r;
}
