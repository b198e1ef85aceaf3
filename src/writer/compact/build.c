/*
 * From inputs (a frozen overlay and segments, newest first) to a segment file on the disk with a
 * section for every lane, synced, renamed and mapped. Everything that it reads is immutable while
 * it runs; no lock is held.
 *
 * One section at a time is in memory, in a heap of its own, which is destroyed whole. The job runs
 * in a thread of its own, so that the allocator keeps nothing of it either; what outlives it is
 * allocated outside.
 */
#include "writer/compact/compact.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"
#include "segment/build.h"
#include "segment/file_write.h"
#include "segment/merge.h"
#include "verify/mapping.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

#define LEVEL_BOTTOM 2
#define IDS_ROOM     1024 /* for the short lists of a batch, besides the longest */

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

int lanemap_engine_segment_cursor(const struct lanemap_segment *segment, struct lanemap_heap *heap,
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
                r = lanemap_engine_segment_cursor(lanemap_load_acquire(&lane->segments[i]->segment),
                                                  heap, &inputs->segments[i]);
                if (r < 0)
                        return r;
                /* Merged without one of its inputs, a lane would lose it. */
                lanemap_check(n < LANEMAP_SEGMENT_MERGE_INPUTS_MAX);
                cursors[n++] = &inputs->segments[i].cursor;
        }

        return lanemap_segment_merge_init(&inputs->merge, cursors, n, &options);
}

void lanemap_engine_inputs_take(struct writer_lane *lane, struct writer_build_lane *build,
                                struct writer_edit *edit)
{
        edit->n_old = build->n_segments;
        for (uint32_t i = 0; i < build->n_segments; i++) {
                build->segments[i] = edit->olds[i] = lane->segments[i];
                lane->segments[i]->busy = true;
                lanemap_engine_segment_ref(lane->segments[i]);
        }
}

void lanemap_engine_inputs_release(struct lanemap_writer *writer,
                                   const struct writer_build_lane *lanes,
                                   const struct writer_edit *edits, uint32_t n_lanes)
{
        for (uint32_t i = 0; i < n_lanes; i++) {
                for (uint32_t s = 0; s < lanes[i].n_segments; s++) {
                        lanes[i].segments[s]->busy = false;
                        lanemap_engine_segment_unref(writer, lanes[i].segments[s]);
                }
                if (edits[i].new_segment)
                        lanemap_engine_segment_unref(writer, edits[i].new_segment);
        }
}

/* Each segment says its own kind, so a lane may hold any mix of them. */
static uint32_t kind_of(const struct lanemap_writer *writer, uint32_t level)
{
        uint32_t kind = level == LEVEL_BOTTOM ? writer->options.segment_kind_bottom
                                              : writer->options.segment_kind_young;

        return kind ? kind : LANEMAP_SEGMENT_KIND_PACKED;
}

/* The number of entries the section can have at most, which is what it will have, or nearly. */
static uint64_t inputs_count(const struct writer_build_lane *lane, const struct lane_inputs *inputs)
{
        uint64_t n = lane->frozen ? inputs->overlay.n_sorted : 0;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                n += lanemap_load_acquire(&lane->segments[i]->segment)->n_keys;

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
        if (__atomic_exchange_n(&writer->commit.filter_failure_logged, true, __ATOMIC_RELAXED))
                return;

        lanemap_engine_log(writer, LOG_WARNING,
                           "lane %u: no seed of %d makes a filter of its %" PRIu64
                           " keys: this segment goes without one, and others may, silently",
                           lane, LANEMAP_FILTER_ATTEMPTS, n_keys);
}

struct build {
        struct lanemap_writer *writer;
        const struct writer_build_lane *lanes;
        uint32_t n_lanes;
        uint32_t part;                                  /* whose progress it is */
        struct lanemap_rate *rate;                      /* NULL: as fast as it goes */
        struct lanemap_segment_write_section *sections; /* a lane each; their bytes are gone */
        bool *has_section;
        uint64_t file_number;
        uint64_t n_hits; /* of guards, when it began */
        struct lanemap_segment_written written;
};

/* UM2: whether a page that this job, or another, was reading could not be read since it began. */
static bool build_is_void(const struct build *build)
{
        return lanemap_mapping_n_hits() != build->n_hits;
}

static int lane_open(struct lanemap_writer *writer, const struct writer_build_lane *lane,
                     uint64_t *slot_bitmap, struct lanemap_heap *heap,
                     struct lane_inputs **ret_inputs)
{
        struct lane_inputs *inputs = lanemap_heap_alloc(heap, sizeof(*inputs));
        int r;

        if (!inputs)
                return -ENOMEM;

        lanemap_slot_bitmap(writer->identity.slots, lane->lane, slot_bitmap);
        r = inputs_open(lane, slot_bitmap, heap, inputs);
        if (r == 0)
                *ret_inputs = inputs;
        return r;
}

/* Return: true if anything is left of a lane. The file's table comes before its first section, so
 * it has to be known how many there will be. */
static int lane_look(struct lanemap_writer *writer, const struct writer_build_lane *lane,
                     bool *ret_has_section)
{
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_inputs *inputs;
        struct lanemap_entry entry;
        int r;

        if (!heap)
                return -ENOMEM;

        r = lane_open(writer, lane, slot_bitmap, heap, &inputs);
        if (r == 0)
                r = inputs->merge.cursor.next(&inputs->merge.cursor, &entry);
        lanemap_heap_free(heap);
        if (r != 0 && r != LANEMAP_CURSOR_END)
                return r;

        *ret_has_section = r == 0;
        return 0;
}

static int lane_write(struct build *build, uint32_t i, struct lanemap_segment_file_writer *file)
{
        const struct writer_build_lane *lane = &build->lanes[i];
        struct lanemap_segment_write_section *section = &build->sections[i];
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS], offset;
        struct lanemap_segment_build_options options = {
                .kind = section->kind,
                .fingerprint_bits = build->writer->identity.hash_key.fingerprint_bits,
                .slot_bitmap = slot_bitmap,
                .executor = &build->writer->workers.executor,
        };
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_inputs *inputs;
        int r;

        if (!heap)
                return -ENOMEM;

        r = lane_open(build->writer, lane, slot_bitmap, heap, &inputs);
        if (r == 0) {
                options.filter = filter_of(build->writer, options.kind, inputs_count(lane, inputs));
                r = lanemap_segment_build(heap, &options, &inputs->merge.cursor, &section->built);
        }
        if (r == 0 && section->built.filter_unpopulated)
                filter_failed(build->writer, lane->lane, section->built.n_keys);
        if (r == 0)
                r = lanemap_segment_file_writer_add(file, section, &offset);
        section->built.bytes = NULL;
        lanemap_heap_free(heap);

        if (lane->frozen)
                lanemap_add_relaxed(&build->writer->pressure.n_sections_built, 1);
        if (r == 0 && build->rate) {
                lanemap_engine_idle(build->writer, build->part);
                r = lanemap_engine_pace(build->writer, build->rate, section->built.n_bytes);
        }
        lanemap_engine_progress(build->writer, build->part);
        return r;
}

static int build_write(struct build *build, uint32_t n_sections)
{
        struct lanemap_segment_write_options options = {
                .file_number = build->file_number,
                .fingerprint_bits = build->writer->identity.hash_key.fingerprint_bits,
                .mode = 0640,
        };
        struct lanemap_segment_file_writer file;
        int r;

        memcpy(options.uuid, build->writer->identity.uuid, sizeof(options.uuid));
        r = lanemap_segment_file_writer_open(&file, build->writer->files,
                                             build->writer->place.dir_fd, &options, n_sections);
        if (r < 0)
                return r;

        for (uint32_t i = 0; i < build->n_lanes && r == 0; i++) {
                if (build->has_section[i])
                        r = lane_write(build, i, &file);
                if (r == -EBADMSG && !build_is_void(build))
                        r = lanemap_engine_inputs_failed(build->writer, &build->lanes[i]);
        }
        if (build_is_void(build))
                r = WRITER_E_DAMAGED;
        if (r != 0) {
                lanemap_segment_file_writer_abandon(&file);
                return r;
        }

        return lanemap_segment_file_writer_finish(&file, &build->written);
}

/* Return: 0, WRITER_E_DAMAGED; written.n_bytes is 0 when nothing was left of all lanes. */
static int build_run(void *arg)
{
        struct build *build = arg;
        uint32_t n_sections = 0;
        int r;

        r = lanemap_engine_inputs_check(build->writer, build->lanes, build->n_lanes, false);
        for (uint32_t i = 0; i < build->n_lanes && r == 0; i++) {
                const struct writer_build_lane *lane = &build->lanes[i];

                lanemap_engine_progress(build->writer, build->part);
                build->sections[i] = (struct lanemap_segment_write_section){
                        .lane = lane->lane,
                        .level = lane->level,
                        .kind = kind_of(build->writer, lane->level),
                };
                r = lane_look(build->writer, lane, &build->has_section[i]);
                if (build_is_void(build))
                        r = WRITER_E_DAMAGED;
                if (r == -EBADMSG)
                        r = lanemap_engine_inputs_failed(build->writer, lane);
                n_sections += r == 0 && build->has_section[i];
        }

        return r == 0 && n_sections > 0 ? build_write(build, n_sections) : r;
}

static int file_adopt(struct lanemap_writer *writer, const struct build *build,
                      struct writer_file **ret_file)
{
        int r;

        lanemap_engine_progress(writer, build->part);
        r = writer->files->sync_directory(writer->files, writer->place.dir_fd);
        lanemap_engine_progress(writer, build->part);
        if (r == 0)
                r = lanemap_engine_file_open(writer, build->file_number, build->written.checksum,
                                             ret_file);
        if (r == 0) {
                (*ret_file)->sound_ns = lanemap_now_ns(writer->clock);
                r = lanemap_engine_file_populate(*ret_file);
                if (r < 0)
                        lanemap_engine_file_free(*ret_file);
        }
        if (r < 0)
                (void)writer->files->unlink(writer->files, writer->place.dir_fd,
                                            build->written.name);

        return r;
}

/* Gives the file a slot, and a segment for every lane that has a section in it. */
static int segments_make(struct lanemap_writer *writer, struct writer_file *file,
                         const struct build *build, struct writer_segment **segments)
{
        uint32_t section = 0;
        int r;

        lanemap_mutex_lock(&writer->lanes.lock);
        r = lanemap_engine_file_install(writer, file);
        for (uint32_t i = 0; i < build->n_lanes && r == 0; i++)
                if (build->has_section[i]) {
                        const struct lanemap_segment_write_section *made = &build->sections[i];

                        r = lanemap_engine_segment_new(file, section++, made->level,
                                                       made->built.n_pairs, made->built.n_bytes,
                                                       &segments[i]);
                }
        lanemap_mutex_unlock(&writer->lanes.lock);

        return r;
}

/* After a failure: the file goes, by way of the list of the dead where segments name it already. */
static void segments_undo(struct lanemap_writer *writer, struct writer_file *file, uint32_t n_lanes,
                          struct writer_segment **segments)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        file->n_refs++;
        for (uint32_t i = 0; i < n_lanes; i++) {
                if (segments[i])
                        lanemap_engine_segment_unref(writer, segments[i]);
                segments[i] = NULL;
        }
        if (--file->n_refs == 0) {
                file->next_dead = writer->segments.dead;
                writer->segments.dead = file;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_files_reap(writer);
}

int lanemap_engine_build_file(struct lanemap_writer *writer, const struct writer_build_lane *lanes,
                              uint32_t n_lanes, uint32_t part, struct lanemap_rate *rate,
                              struct writer_built *ret_built, struct writer_segment **ret_segments)
{
        struct build build = {
                .writer = writer, .lanes = lanes, .n_lanes = n_lanes, .part = part, .rate = rate};
        struct writer_built built = {0};
        struct writer_file *file;
        int r = -ENOMEM;

        for (uint32_t i = 0; i < n_lanes; i++)
                ret_segments[i] = NULL;
        build.sections = lanemap_alloc(n_lanes * sizeof(*build.sections));
        build.has_section = lanemap_alloc_zero(n_lanes * sizeof(*build.has_section));
        if (build.sections && build.has_section) {
                build.file_number =
                        __atomic_fetch_add(&writer->commit.next_file_number, 1, __ATOMIC_RELAXED);
                build.n_hits = lanemap_mapping_n_hits();
                r = lanemap_alloc_in_thread(build_run, &build);
                if (build_is_void(&build))
                        lanemap_engine_hits_take(writer); /* the next plan goes without them */
        }

        if (r == 0 && build.written.n_bytes > 0) {
                r = file_adopt(writer, &build, &file);
                if (r == 0) {
                        r = segments_make(writer, file, &build, ret_segments);
                        if (r < 0)
                                segments_undo(writer, file, n_lanes, ret_segments);
                }
        }
        if (r == 0) {
                built.n_bytes = build.written.n_bytes;
                for (uint32_t i = 0; i < n_lanes; i++)
                        if (build.has_section[i])
                                built.n_entries += build.sections[i].built.n_keys;
                *ret_built = built;
        }

        lanemap_free(build.sections);
        lanemap_free(build.has_section);
        return r;
}
