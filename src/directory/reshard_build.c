/*
 * The new lanes of a resharding: their entries as streams, and their files.
 *
 *   H5  A slot belongs to one lane before and to one afterwards, and all that is known of its keys
 *       is in the segments of the one before. So a new lane is its slots, in ascending order, each
 *       the merge of one old lane's segments: nothing older can hold any of these keys, and
 *       tombstones fall.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "common/alloc.h"
#include "lane/policy.h"
#include "segment/file_write.h"
#include "segment/merge.h"
#include "store/error.h"
#include "directory/reshard.h"

#define LEVEL_BOTTOM 2
#define IDS_ROOM     1024 /* for the short lists of a batch, besides the longest */

/* ---- a new lane as a stream ---- */

/* For one segment of the old lane at hand. */
struct room {
        struct lanemap_segment_cursor cursor;
        uint32_t *ids;
        void *scratch;
        size_t ids_capacity;
};

struct lane_stream {
        struct lanemap_cursor cursor; /* first */
        const struct lanemap_reshard *reshard;
        uint32_t lane; /* the new one */
        uint32_t slot; /* the next one to look at */
        bool in_slot;  /* `merge` is of the one before that */
        struct lanemap_segment_merge merge;
        struct room rooms[LANEMAP_LANE_SEGMENTS_MAX];
};

static_assert(LANEMAP_LANE_SEGMENTS_MAX <= LANEMAP_SEGMENT_MERGE_INPUTS_MAX,
              "a lane's segments are merged at once");

static const struct lanemap_segment *segment_of(const struct lanemap_reshard *reshard,
                                                const struct lanemap_manifest_segment *named)
{
        const struct lanemap_manifest_file *file =
                lanemap_manifest_find_file(&reshard->before, named->file_number);

        return &reshard->sources[file - reshard->before.files]->sections[named->section];
}

static int slot_enter(struct lane_stream *stream, uint32_t slot)
{
        const struct lanemap_segment_merge_options options = {.drop_tombstones = true};
        const struct lanemap_reshard *reshard = stream->reshard;
        const struct lanemap_manifest_lane *lane =
                &reshard->before.lanes[reshard->slots_before[slot].lane];
        struct lanemap_cursor *inputs[LANEMAP_LANE_SEGMENTS_MAX];
        int r;

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                struct room *room = &stream->rooms[i];

                r = lanemap_segment_cursor_init_slot(&room->cursor,
                                                     segment_of(reshard, &lane->segments[i]), slot,
                                                     room->ids, room->ids_capacity, room->scratch);
                if (r < 0)
                        return r;
                inputs[i] = &room->cursor.cursor;
        }

        return lanemap_segment_merge_init(&stream->merge, inputs, lane->n_segments, &options);
}

static int stream_next_batch(struct lanemap_cursor *base, struct lanemap_entry *entries,
                             uint32_t n_max, uint32_t *ret_n)
{
        struct lane_stream *stream = LANEMAP_CONTAINER_OF(base, struct lane_stream, cursor);
        int r;

        for (;;) {
                if (stream->in_slot) {
                        r = stream->merge.cursor.next_batch(&stream->merge.cursor, entries, n_max,
                                                            ret_n);
                        if (r != LANEMAP_CURSOR_END)
                                return r;
                        stream->in_slot = false;
                }

                while (stream->slot < LANEMAP_N_SLOTS &&
                       stream->reshard->slots_after[stream->slot].lane != stream->lane)
                        stream->slot++;
                if (stream->slot == LANEMAP_N_SLOTS)
                        return LANEMAP_CURSOR_END;

                r = slot_enter(stream, stream->slot);
                if (r < 0)
                        return r;
                stream->slot++;
                stream->in_slot = true;
        }
}

static int stream_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        uint32_t n;

        return stream_next_batch(base, ret_entry, 1, &n);
}

static int stream_rewind(struct lanemap_cursor *base)
{
        struct lane_stream *stream = LANEMAP_CONTAINER_OF(base, struct lane_stream, cursor);

        stream->slot = 0;
        stream->in_slot = false;
        return 0;
}

static int room_init(const struct lanemap_reshard_room *needed, struct lanemap_heap *heap,
                     struct room *room)
{
        room->ids_capacity = needed->ids_capacity;
        room->ids = lanemap_heap_alloc(heap, needed->ids_capacity * sizeof(*room->ids));
        room->scratch = lanemap_heap_alloc(heap, needed->scratch_bytes);
        return room->ids && room->scratch ? 0 : -ENOMEM;
}

static int stream_new(const struct lanemap_reshard *reshard, uint32_t lane,
                      struct lanemap_heap *heap, struct lane_stream **ret_stream)
{
        struct lane_stream *stream = lanemap_heap_alloc(heap, sizeof(*stream));
        int r;

        if (!stream)
                return -ENOMEM;

        stream->cursor = (struct lanemap_cursor){
                .next = stream_next, .rewind = stream_rewind, .next_batch = stream_next_batch};
        stream->reshard = reshard;
        stream->lane = lane;
        for (uint32_t i = 0; i < LANEMAP_LANE_SEGMENTS_MAX; i++) {
                r = room_init(&reshard->rooms[i], heap, &stream->rooms[i]);
                if (r < 0)
                        return r;
        }

        *ret_stream = stream;
        return stream_rewind(&stream->cursor);
}

/* ---- a file ---- */

/* Lanes [first, first + n), of which those with keys have a section. */
struct group {
        uint32_t first;
        uint32_t n;
        uint32_t n_sections;
        uint32_t *n_keys; /* per lane, as far as anybody wants to know before it is built */
};

/* As many keys as decide whether there is a section, and whether it has a filter: the table of a
 * file comes before its first section, so the one has to be known before. */
static int lane_look(const struct lanemap_reshard *reshard, uint32_t lane, uint32_t *ret_n_keys)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_stream *stream;
        struct lanemap_entry entry;
        uint32_t n = 0;
        int r;

        if (!heap)
                return -ENOMEM;

        r = stream_new(reshard, lane, heap, &stream);
        while (r == 0 && n < LANEMAP_LANE_POLICY_FILTER_KEYS_MIN) {
                r = stream_next(&stream->cursor, &entry);
                n += r == 0;
        }
        lanemap_heap_free(heap);
        if (r < 0)
                return r;

        *ret_n_keys = n;
        return 0;
}

static int lane_write(struct lanemap_reshard *reshard, uint32_t lane, uint32_t n_keys,
                      struct lanemap_segment_file_writer *file, uint64_t file_number,
                      uint32_t index)
{
        struct lanemap_manifest *after = &reshard->after;
        uint32_t policy = after->filter ? after->filter : LANEMAP_LANE_FILTER_AUTO;
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS], offset;
        struct lanemap_segment_write_section section = {
                .lane = lane,
                .level = LEVEL_BOTTOM,
                .kind = after->segment_kind_bottom ? after->segment_kind_bottom
                                                   : LANEMAP_SEGMENT_KIND_PACKED,
        };
        struct lanemap_segment_build_options options = {
                .kind = section.kind,
                .fingerprint_bits = after->fingerprint_bits,
                .slot_bitmap = slot_bitmap,
                .filter = lanemap_lane_policy_filter(policy, section.kind, n_keys)
                                  ? LANEMAP_FILTER_FUSE8
                                  : LANEMAP_FILTER_NONE,
        };
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_stream *stream;
        int r;

        if (!heap)
                return -ENOMEM;

        lanemap_slot_bitmap(reshard->slots_after, lane, slot_bitmap);
        r = stream_new(reshard, lane, heap, &stream);
        if (r == 0)
                r = lanemap_segment_build(heap, &options, &stream->cursor, &section.built);
        if (r == 0)
                r = lanemap_segment_file_writer_add(file, &section, &offset);
        lanemap_heap_free(heap);
        if (r < 0)
                return lanemap_store_error(reshard->error, r, "lane %u cannot be written: %s", lane,
                                           strerror(-r));

        after->lanes[lane].n_keys = section.built.n_keys;
        after->lanes[lane].n_pairs = section.built.n_pairs;
        return lanemap_manifest_set_segments(after, lane,
                                             &(struct lanemap_manifest_segment){
                                                     .file_number = file_number,
                                                     .section = index,
                                                     .level = section.level,
                                                     .kind = section.kind,
                                                     .n_keys = section.built.n_keys,
                                                     .n_pairs = section.built.n_pairs,
                                                     .bytes = section.built.n_bytes,
                                             },
                                             1);
}

static int group_write(struct lanemap_reshard *reshard, const struct group *group)
{
        const struct lanemap_files *files = reshard->options->files;
        struct lanemap_manifest_file entry = {.number = reshard->after.next_file_number++,
                                              .n_sections = group->n_sections};
        struct lanemap_segment_write_options options = {
                .file_number = entry.number,
                .fingerprint_bits = reshard->after.fingerprint_bits,
                .mode = 0640,
        };
        struct lanemap_segment_file_writer file;
        struct lanemap_segment_written written;
        uint32_t index = 0;
        int r;

        memcpy(options.uuid, reshard->after.uuid, sizeof(options.uuid));
        r = lanemap_segment_file_writer_open(&file, files, reshard->dir_fd, &options,
                                             group->n_sections);
        if (r < 0)
                return r;

        for (uint32_t i = 0; i < group->n && r == 0; i++)
                if (group->n_keys[i] > 0)
                        r = lane_write(reshard, group->first + i, group->n_keys[i], &file,
                                       entry.number, index++);
        if (r < 0) {
                lanemap_segment_file_writer_abandon(&file);
                return r;
        }

        r = lanemap_segment_file_writer_finish(&file, &written);
        if (r < 0)
                return r;

        entry.bytes = written.n_bytes;
        memcpy(entry.checksum, written.checksum, sizeof(entry.checksum));
        reshard->report->n_files++;
        reshard->report->n_bytes += written.n_bytes;
        r = lanemap_manifest_add_file(&reshard->after, &entry);
        if (r < 0)
                (void)files->unlink(files, reshard->dir_fd, written.name);
        return r;
}

static int group_build(struct lanemap_reshard *reshard, struct group *group)
{
        int r = 0;

        group->n_sections = 0;
        for (uint32_t i = 0; i < group->n && r == 0; i++) {
                r = lane_look(reshard, group->first + i, &group->n_keys[i]);
                group->n_sections += r == 0 && group->n_keys[i] > 0;
        }

        return r == 0 && group->n_sections > 0 ? group_write(reshard, group) : r;
}

/* Return: how many bytes of sections there are. */
static uint64_t before_measure(struct lanemap_reshard *reshard)
{
        uint64_t n_bytes = 0;

        for (uint32_t i = 0; i < LANEMAP_N_ELEMENTS(reshard->rooms); i++)
                reshard->rooms[i] = (struct lanemap_reshard_room){IDS_ROOM, 8};

        for (uint32_t l = 0; l < reshard->before.n_lanes; l++) {
                const struct lanemap_manifest_lane *lane = &reshard->before.lanes[l];

                for (uint32_t i = 0; i < lane->n_segments; i++) {
                        const struct lanemap_segment *segment =
                                segment_of(reshard, &lane->segments[i]);
                        struct lanemap_reshard_room *room = &reshard->rooms[i];

                        n_bytes += lane->segments[i].bytes;
                        room->ids_capacity = LANEMAP_MAX(room->ids_capacity,
                                                         (size_t)segment->ids_max + IDS_ROOM);
                        room->scratch_bytes = LANEMAP_MAX(
                                room->scratch_bytes, lanemap_segment_cursor_scratch_bytes(segment));
                }
        }

        return n_bytes;
}

/* The groups that merges make, so that the first merge of one ends its file. */
int lanemap_reshard_build(struct lanemap_reshard *reshard)
{
        uint32_t n_lanes = reshard->after.n_lanes, n_in_group;
        struct group group = {0};
        int r = 0;

        n_in_group = lanemap_lane_policy_group_lanes(before_measure(reshard), n_lanes);
        group.n_keys = lanemap_alloc(n_in_group * sizeof(*group.n_keys));
        if (!group.n_keys)
                return -ENOMEM;

        for (uint32_t first = 0; first < n_lanes && r == 0; first += n_in_group) {
                group.first = first;
                group.n = LANEMAP_MIN(n_in_group, n_lanes - first);
                r = group_build(reshard, &group);
        }

        lanemap_free(group.n_keys);
        return r;
}
