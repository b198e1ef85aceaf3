/*
 * From inputs (a frozen overlay and segments, newest first) to a segment file on the disk with a
 * section for every lane, synced, renamed and mapped. Everything that it reads is immutable while
 * it runs; no lock is held.
 *
 * Each job has a heap of its own, which is destroyed whole.
 */
#include "writer/writer_private.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"
#include "segment/segment_build.h"
#include "segment/segment_file_write.h"
#include "segment/segment_merge.h"

#define LEVEL_BOTTOM 2
#define IDS_ROOM     1024 /* for the short lists of a batch, beside the longest */

static_assert((int)LANEMAP_SEGMENT_PACKED == LANEMAP_SEGMENT_KIND_PACKED &&
                      (int)LANEMAP_SEGMENT_RECSPLIT == LANEMAP_SEGMENT_KIND_RECSPLIT &&
                      (int)LANEMAP_SEGMENT_BBHASH == LANEMAP_SEGMENT_KIND_BBHASH,
              "the options name what the disk has");
static_assert((int)LANEMAP_FILTER_NEVER == LANEMAP_LANE_FILTER_NEVER &&
                      (int)LANEMAP_FILTER_AUTO == LANEMAP_LANE_FILTER_AUTO &&
                      (int)LANEMAP_FILTER_ALWAYS == LANEMAP_LANE_FILTER_ALWAYS,
              "the options name what the policy knows");

/* The cursors of one lane's inputs; they stay where they are. */
struct lane_inputs {
        struct lanemap_overlay_cursor overlay;
        struct lanemap_segment_cursor segments[LANEMAP_LANE_SEGMENTS_MAX];
        struct lanemap_segment_merge merge;
};

int lanemap_writer_segment_cursor(const struct lanemap_segment *segment, struct lanemap_heap *heap,
                                  struct lanemap_segment_cursor *cursor)
{
        size_t scratch_bytes = lanemap_segment_cursor_scratch_bytes(segment);
        size_t ids_capacity = IDS_ROOM;
        uint32_t *ids = NULL;
        void *scratch = NULL;

        if (segment->ids_max > 0) {
                ids_capacity += segment->ids_max;
                ids = lanemap_heap_alloc(heap, ids_capacity * sizeof(*ids));
                if (!ids)
                        return -ENOMEM;
        }
        if (scratch_bytes > 0) {
                scratch = lanemap_heap_alloc(heap, scratch_bytes);
                if (!scratch)
                        return -ENOMEM;
        }

        return lanemap_segment_cursor_init(cursor, segment, NULL, ids, ids_capacity, scratch);
}

static int inputs_open(const struct writer_build_lane *lane, const uint64_t *slot_bitmap,
                       struct lanemap_heap *heap, struct lane_inputs *inputs)
{
        struct lanemap_segment_merge_options options = {
                .drop_tombstones = lane->drop_tombstones,
                .slot_mask = slot_bitmap,
        };
        struct lanemap_cursor *cursors[LANEMAP_SEGMENT_MERGE_INPUTS_MAX];
        uint32_t n = 0;
        int r;

        if (lane->frozen) {
                r = lanemap_overlay_cursor_init(&inputs->overlay, lane->frozen, heap);
                if (r < 0)
                        return r;
                cursors[n++] = &inputs->overlay.cursor;
        }
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                /* A copy may take the original's place at any moment; both stay readable (F3). */
                r = lanemap_writer_segment_cursor(lanemap_load_acquire(&lane->segments[i]->segment),
                                                  heap, &inputs->segments[i]);
                if (r < 0)
                        return r;
                lanemap_check(n < LANEMAP_SEGMENT_MERGE_INPUTS_MAX);
                cursors[n++] = &inputs->segments[i].cursor;
        }

        return lanemap_segment_merge_init(&inputs->merge, cursors, n, &options);
}

/* Each segment says its own kind, so a lane may hold any mix of them. */
static uint32_t kind_of(const struct lanemap_writer *writer, uint32_t level)
{
        uint32_t kind = level == LEVEL_BOTTOM ? writer->options.segment_kind_bottom
                                              : writer->options.segment_kind_young;

        return kind ? kind : LANEMAP_SEGMENT_KIND_PACKED;
}

/* How many entries the section can have at most, which is what it will have, or nearly. */
static uint64_t inputs_count(const struct writer_build_lane *lane, const struct lane_inputs *inputs)
{
        uint64_t n = lane->frozen ? inputs->overlay.n_sorted : 0;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                n += lane->segments[i]->segment->n_keys;

        return n;
}

static uint32_t filter_of(const struct lanemap_writer *writer, uint32_t kind, uint64_t n_keys)
{
        uint32_t policy = writer->options.filter ? writer->options.filter : LANEMAP_FILTER_AUTO;

        return lanemap_lane_policy_filter(policy, kind, n_keys) ? LANEMAP_FILTER_FUSE8
                                                                : LANEMAP_FILTER_NONE;
}

/* A section without the filter that it should have answers as well, only slower: said once. */
static void filter_failed(struct lanemap_writer *writer, uint32_t lane, uint64_t n_keys)
{
        if (__atomic_exchange_n(&writer->filter_failure_logged, true, __ATOMIC_RELAXED))
                return;

        lanemap_writer_log(writer, LOG_WARNING,
                           "lane %u: no seed of %d makes a filter of its %" PRIu64
                           " keys: this segment goes without one, and others may, silently",
                           lane, LANEMAP_FILTER_ATTEMPTS, n_keys);
}

/* One lane's section, in memory of the output heap. n_keys 0: nothing was left. */
static int lane_build(struct lanemap_writer *writer, const struct writer_build_lane *lane,
                      struct lanemap_heap *output, struct lanemap_segment_built *ret_built)
{
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        struct lanemap_segment_build_options options = {
                .kind = kind_of(writer, lane->level),
                .fingerprint_bits = writer->hash_key.fingerprint_bits,
                .slot_bitmap = slot_bitmap,
                .executor = &writer->executor,
        };
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_inputs *inputs;
        int r = -ENOMEM;

        if (!heap)
                return -ENOMEM;

        lanemap_slot_bitmap(writer->slots, lane->lane, slot_bitmap);
        inputs = lanemap_heap_alloc(heap, sizeof(*inputs));
        if (inputs)
                r = inputs_open(lane, slot_bitmap, heap, inputs);
        if (r == 0) {
                options.filter = filter_of(writer, options.kind, inputs_count(lane, inputs));
                r = lanemap_segment_build(output, &options, &inputs->merge.cursor, ret_built);
        }
        if (r == 0 && ret_built->filter_unpopulated)
                filter_failed(writer, lane->lane, ret_built->n_keys);

        lanemap_heap_free(heap);
        return r;
}

static int file_write(struct lanemap_writer *writer,
                      const struct lanemap_segment_write_section *sections, uint32_t n_sections,
                      uint64_t *offsets, struct writer_file **ret_file)
{
        struct lanemap_segment_write_options options = {
                .fingerprint_bits = writer->hash_key.fingerprint_bits,
                .mode = 0640,
        };
        struct lanemap_segment_written written;
        int r;

        options.file_number = __atomic_fetch_add(&writer->next_file_number, 1, __ATOMIC_RELAXED);
        memcpy(options.uuid, writer->uuid, sizeof(options.uuid));
        r = lanemap_segment_file_write(writer->files, writer->dir_fd, &options, sections,
                                       n_sections, offsets, &written);
        if (r < 0)
                return r;

        r = writer->files->sync_directory(writer->files, writer->dir_fd);
        if (r == 0)
                r = lanemap_writer_file_open(writer, options.file_number, written.checksum,
                                             ret_file);
        if (r == 0) {
                (*ret_file)->sound_ns = lanemap_now_ns(writer->clock);
                lanemap_writer_file_populate(*ret_file);
        }
        if (r < 0)
                (void)writer->files->unlink(writer->files, writer->dir_fd, written.name);

        return r;
}

/* Gives the file a slot, and a segment for every lane that has a section in it. */
static int segments_make(struct lanemap_writer *writer, struct writer_file *file,
                         const struct lanemap_segment_write_section *sections,
                         const uint32_t *section_of, uint32_t n_lanes,
                         struct writer_segment **segments)
{
        int r;

        pthread_mutex_lock(&writer->lock);
        r = lanemap_writer_file_install(writer, file);
        for (uint32_t i = 0; i < n_lanes && r == 0; i++) {
                uint32_t section = section_of[i];

                if (section != UINT32_MAX)
                        r = lanemap_writer_segment_new(file, section, sections[section].level,
                                                       sections[section].built.n_pairs,
                                                       sections[section].built.n_bytes,
                                                       &segments[i]);
        }
        if (r == 0)
                writer->stats.segment_bytes_written += file->mapped->n_bytes;
        pthread_mutex_unlock(&writer->lock);

        return r;
}

/* After a failure: the file goes, by way of the list of the dead where segments name it already. */
static void segments_undo(struct lanemap_writer *writer, struct writer_file *file, uint32_t n_lanes,
                          struct writer_segment **segments)
{
        pthread_mutex_lock(&writer->lock);
        file->n_refs++;
        for (uint32_t i = 0; i < n_lanes; i++) {
                if (segments[i])
                        lanemap_writer_segment_unref(writer, segments[i]);
                segments[i] = NULL;
        }
        if (--file->n_refs == 0) {
                file->next_dead = writer->dead_files;
                writer->dead_files = file;
        }
        pthread_mutex_unlock(&writer->lock);
        lanemap_writer_files_reap(writer);
}

/*
 * Builds and writes. Return: 0, or WRITER_E_DAMAGED; *ret_segments has one entry per lane, NULL
 * where nothing was left, and is freed by the caller; *ret_file is NULL when nothing was left of
 * all of them.
 */
int lanemap_writer_build_file(struct lanemap_writer *writer, const struct writer_build_lane *lanes,
                              uint32_t n_lanes, struct writer_file **ret_file,
                              struct writer_segment **ret_segments)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_write_section *sections;
        struct writer_file *file = NULL;
        uint32_t *section_of, n_sections = 0;
        uint64_t *offsets;
        int r = 0;

        if (!heap)
                return -ENOMEM;

        sections = lanemap_heap_alloc(heap, n_lanes * sizeof(*sections));
        section_of = lanemap_heap_alloc(heap, n_lanes * sizeof(*section_of));
        offsets = lanemap_heap_alloc(heap, n_lanes * sizeof(*offsets));
        if (!sections || !section_of || !offsets)
                r = -ENOMEM;
        else
                r = lanemap_writer_inputs_check(writer, lanes, n_lanes, false);

        for (uint32_t i = 0; i < n_lanes && r == 0; i++) {
                struct lanemap_segment_write_section *section = &sections[n_sections];

                ret_segments[i] = NULL;
                section_of[i] = UINT32_MAX;
                *section = (struct lanemap_segment_write_section){
                        .lane = lanes[i].lane,
                        .level = lanes[i].level,
                        .kind = kind_of(writer, lanes[i].level),
                };
                r = lane_build(writer, &lanes[i], heap, &section->built);
                if (r == -EBADMSG)
                        r = lanemap_writer_inputs_failed(writer, &lanes[i]);
                if (r == 0 && section->built.n_keys > 0)
                        section_of[i] = n_sections++;
        }

        if (r == 0 && n_sections > 0) {
                r = file_write(writer, sections, n_sections, offsets, &file);
                if (r == 0) {
                        r = segments_make(writer, file, sections, section_of, n_lanes,
                                          ret_segments);
                        if (r < 0)
                                segments_undo(writer, file, n_lanes, ret_segments);
                }
        }

        lanemap_heap_free(heap);
        if (r == 0)
                *ret_file = file;
        return r;
}
