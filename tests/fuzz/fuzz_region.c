/*
 * A control object and a data object of any bytes, as a reader maps them (R5): the head, the slot
 * table, lanes, views and overlays, with no segment mapped.
 *
 * Beyond not crashing: a lookup and a batch agree about a key, since nothing changes here, and
 * every answer is a documented one, within the room that was given.
 *
 * An input: one byte for the mode, then what is in use of the control object (136 bytes), then the
 * data object: whole, or, with 4 in the mode, without what says nothing, so that damage meets what
 * counts: its size (4 bytes), the head's first 512 bytes, and from then on lines of 64 bytes, each
 * behind its number (2 bytes). The slot table is made here. Modes, in their lowest bits:
 *
 *      0  as it is
 *      1  magic, version and generation made right, so that what lies behind is reached
 *      2  the watermark at the epoch, so that answers are believed
 *      3  both
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shm/question_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define CONTROL_BYTES    136 /* what is in use of it */
#define HEAD_BYTES       512
#define LINE_BYTES       64
#define OBJECT_BYTES_MAX ((size_t)1 << 20)
#define SLOTS_OFF        sizeof(struct lanemap_shm_data)
#define SLOTS_END        (SLOTS_OFF + LANEMAP_N_SLOTS * sizeof(struct lanemap_slot))
#define N_IDS            2000
#define N_KEYS           300 /* of the seeds: their numbers, four bytes each */

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

static uint32_t ids[N_IDS], batch_ids[LANEMAP_SHM_CHUNK_KEYS * 8];

static void head_mend(struct lanemap_shm_data *head, uint64_t n_bytes, uint64_t generation)
{
        if (n_bytes < sizeof(*head))
                return;

        head->magic = LANEMAP_SHM_DATA_MAGIC;
        head->version = LANEMAP_SHM_DATA_VERSION;
        head->incompatible = 0;
        head->layout_hash = LANEMAP_SHM_LAYOUT_HASH;
        head->generation = generation;
}

static bool is_answer(int r)
{
        return r == 0 || r == LANEMAP_SHM_E_GENERATION || r == LANEMAP_SHM_E_UNMAPPED ||
               r == -EBADMSG || r == -EAGAIN;
}

/* A view of the key has the ids that the lookup before it copied, or is refused as well. */
static void view(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp, int looked,
                 size_t n_looked)
{
        struct lanemap_shm_view view;
        const uint32_t *chunk = NULL;
        uint64_t n_tries = 0, n_said = 0, n_ids = 0;
        uint32_t n = 0;
        int r = lanemap_shm_view_begin(region, fp, &view, &n_said, &n_tries);

        MUST(is_answer(r) && (r != 0 || looked != 0 || n_said == n_looked));
        while (r == 0 && (r = lanemap_shm_view_next(&view, &chunk, &n)) == 1) {
                MUST(n > 0 && n <= LANEMAP_OVERLAY_LEAF_IDS_MAX && n <= n_said - n_ids);
                for (uint32_t i = 0; i < n; i++)
                        MUST(looked != 0 || n_looked > N_IDS || chunk[i] == ids[n_ids + i]);
                n_ids += n;
                r = 0;
        }
        MUST(is_answer(r));
        MUST(r != 0 || n_ids == n_said);
        MUST((r == 0) == (looked == 0) || n_looked > N_IDS);
}

/* The first try, when it answers, says what all tries say. */
static void first_try(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                      int looked, size_t n_looked)
{
        static uint32_t same[N_IDS];
        uint64_t n_tries = 0;
        size_t n_ids = 0;

        if (!region->kept || region->hash_key.fingerprint_bits != 64 ||
            !lanemap_shm_lookup_simple(region, fp.hash, same, N_IDS, &n_ids, &n_tries))
                return;

        MUST(looked == 0 && n_ids == n_looked);
        MUST(n_ids > N_IDS || memcmp(same, ids, n_ids * sizeof(ids[0])) == 0);
}

static int look_up(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                   size_t *ret_n_ids)
{
        uint64_t n_tries = 0;
        size_t n_ids = 0;
        bool found = false;
        uint32_t part_ids[64];
        size_t n_part = 0;
        uint64_t n_bytes = 0, n_weighed = 0;
        int r, contains, part, bytes;

        r = lanemap_shm_lookup(region, fp, ids, N_IDS, &n_ids, &n_tries);
        MUST(is_answer(r) && n_tries <= LANEMAP_SHM_TRIES_MAX);
        *ret_n_ids = n_ids;
        first_try(region, fp, r, n_ids);
        view(region, fp, r, n_ids);
        part = lanemap_shm_lookup_from(region, fp, 5, part_ids, 64, &n_part, &n_tries);
        MUST(is_answer(part) && n_part <= 64);
        bytes = lanemap_shm_posting_bytes(region, fp, 3, &n_bytes, &n_weighed, &n_tries);
        MUST(is_answer(bytes) && (bytes != 0 || r != 0 || n_weighed == n_ids));
        contains = lanemap_shm_contains(region, fp, n_ids && r == 0 ? ids[0] : 7, &found, &n_tries);
        MUST(is_answer(contains));
        return r;
}

/* The keys of the seeds, then hashes spread over all slots. */
static struct lanemap_fingerprint fingerprint(const struct lanemap_shm_region *region, uint32_t i)
{
        struct lanemap_fingerprint fp = {.hash = (uint64_t)i << 54 | i, .ext = i};

        return i < N_KEYS ? lanemap_shm_fingerprint(region, &i, sizeof(i)) : fp;
}

/* One chunk, compared with its keys one by one. */
static void chunk(const struct lanemap_shm_region *region, uint32_t first)
{
        struct lanemap_fingerprint fps[LANEMAP_SHM_CHUNK_KEYS];
        struct lanemap_span spans[LANEMAP_SHM_CHUNK_KEYS];
        size_t used = 0, n_ids;
        uint64_t n_tries = 0;
        int r;

        for (uint32_t i = 0; i < LANEMAP_SHM_CHUNK_KEYS; i++)
                fps[i] = fingerprint(region, first + i);
        r = lanemap_shm_lookup_chunk(region, fps, LANEMAP_SHM_CHUNK_KEYS, batch_ids,
                                     LANEMAP_N_ELEMENTS(batch_ids), 0, spans, &used, &n_tries);
        MUST(r > 0 || is_answer(r));
        for (uint32_t i = 0; i < LANEMAP_SHM_CHUNK_KEYS; i++) {
                int one = look_up(region, fps[i], &n_ids);

                if (r != 0 || one != 0)
                        continue;
                MUST(used <= LANEMAP_N_ELEMENTS(batch_ids) && spans[i].n_ids == n_ids);
                if (spans[i].offset == LANEMAP_SPAN_UNWRITTEN || n_ids == 0 || n_ids > N_IDS)
                        continue;
                MUST(spans[i].offset + n_ids <= used);
                MUST(memcmp(batch_ids + spans[i].offset, ids, n_ids * sizeof(ids[0])) == 0);
        }
}

static void exercise(const struct lanemap_shm_region *region)
{
        struct lanemap_lane_segment_shm segments[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n = 0;

        for (uint32_t first = 0; first < N_KEYS + 160; first += LANEMAP_SHM_CHUNK_KEYS)
                chunk(region, first);
        for (uint32_t lane = 0; lane < region->n_lanes && lane < 8; lane++) {
                int r = lanemap_shm_lane_segments(region, lane, segments, &n);

                MUST(is_answer(r));
                MUST(r != 0 || n <= LANEMAP_LANE_SEGMENTS_MAX);
        }
}

static unsigned char *block_new(size_t n_bytes)
{
        void *block = NULL;

        /* Mappings begin at a page. */
        MUST(posix_memalign(&block, 64, n_bytes ? n_bytes : 1) == 0);
        return block;
}

/* The data object that an input without zeros stands for, in a block of exactly its size. */
static unsigned char *object_expand(const uint8_t *bytes, size_t n_bytes, size_t *ret_n_bytes)
{
        size_t n = (bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16) % OBJECT_BYTES_MAX;
        unsigned char *object;

        n = LANEMAP_MAX(n, SLOTS_END);
        object = block_new(n);
        memset(object, 0, n);
        memcpy(object, bytes + 4, HEAD_BYTES);
        lanemap_slot_table_init((struct lanemap_slot *)(void *)(object + SLOTS_OFF),
                                1 + (((struct lanemap_shm_data *)(void *)object)->n_lanes - 1) %
                                                LANEMAP_N_LANES_MAX);
        for (size_t at = 4 + HEAD_BYTES; at + 2 + LINE_BYTES <= n_bytes; at += 2 + LINE_BYTES) {
                size_t line = (bytes[at] | (size_t)bytes[at + 1] << 8) * LINE_BYTES;

                if (line + LINE_BYTES <= n)
                        memcpy(object + line, bytes + at + 2, LINE_BYTES);
        }

        *ret_n_bytes = n;
        return object;
}

static unsigned char *object_new(const uint8_t *bytes, size_t n_bytes, bool is_whole,
                                 size_t *ret_n_bytes)
{
        unsigned char *object;

        if (!is_whole && n_bytes >= 4 + HEAD_BYTES)
                return object_expand(bytes, n_bytes, ret_n_bytes);

        object = block_new(n_bytes);
        memcpy(object, bytes, n_bytes);
        *ret_n_bytes = n_bytes;
        return object;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        static struct lanemap_shm_control control;
        struct lanemap_lane_files files = {.n_slots = 0};
        struct lanemap_shm_region region = {.control = &control, .files = &files};
        size_t object_bytes;
        unsigned char *object;

        if (n_bytes < 1 + CONTROL_BYTES)
                return 0;

        memset(&control, 0, sizeof(control));
        memcpy(&control, data + 1, CONTROL_BYTES);
        object = object_new(data + 1 + CONTROL_BYTES, n_bytes - 1 - CONTROL_BYTES, !(data[0] & 4),
                            &object_bytes);
        region.generation = control.generation;
        if (data[0] & 1)
                head_mend((void *)object, object_bytes, control.generation);
        if (data[0] & 2)
                control.watermark = control.epoch;
        if (lanemap_shm_region_init(&region, object, object_bytes) == 0) {
                exercise(&region);
                region.kept = lanemap_shm_kept_new(region.n_lanes);
                MUST(region.kept);
                exercise(&region);
                /* Other bytes under what was decoded (P8). */
                for (size_t i = 0; i < n_bytes; i++)
                        object[HEAD_BYTES + (i * 977 + data[i]) % (object_bytes - HEAD_BYTES)] ^=
                                data[i];
                exercise(&region);
        }
        free(region.kept);
        free(object);
        return 0;
}
