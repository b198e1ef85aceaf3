/*
 * Populating binary fuse and xor filters. See filter/build.h, and format.h for the bytes.
 *
 * Each key names three bytes. A byte that only one key names can be given to this key last of all:
 * take the key away, and look again. When that takes all keys away, giving them their bytes in the
 * opposite order makes all of them right; when it stops early, another seed is tried. So a byte of
 * state for each place counts its keys, and the xor of their numbers names the last one.
 *
 * The numbers of segments that the paper gives fail often for some numbers of keys, where rounding
 * leaves too little room; so every few attempts there is one segment more. Attempts are bounded, so
 * nothing that is fed to this loops: two keys that agree in all 64 bits that are mixed end it
 * without a filter.
 *
 * A fuse filter's segments follow the order of the hashes, and keys come in that order: what is
 * touched next is near.
 */
#include "segment/filter/build.h"

#include <errno.h>
#include <string.h>

#include "common/order.h"
#include "segment/read.h"

#define ATTEMPTS_PER_SIZE 4
#define COUNT_MAX         255

static uint32_t attempts_max = LANEMAP_FILTER_ATTEMPTS; /* atomic */

struct populator {
        struct lanemap_heap *heap;
        struct lanemap_segment segment;
        struct lanemap_filter filter;
        uint64_t n_bytes;    /* of the filter's array */
        uint64_t n_room;     /* the largest that it can become */
        uint64_t n_gathered; /* keys */
        uint64_t *dense;
        uint32_t *exts;  /* NULL: all 0 */
        uint8_t *counts; /* per place: how many keys name it */
        uint32_t *xors;  /* and the xor of their numbers */
        uint32_t
                *places; /* that one key names: to be looked at, then in the order of taking away */
        unsigned char *bytes;
};

/* ---- sizes ---- */

/* log2 in 65536ths, by squaring: the same on every machine. x: 1 or more. */
static uint64_t log2_of(uint64_t x)
{
        uint32_t whole = lanemap_bits_width(x) - 1;
        uint64_t log = (uint64_t)whole << 16,
                 y = whole > 31 ? x >> (whole - 31) : x << (31 - whole);

        for (uint32_t bit = 1u << 15; bit; bit >>= 1) {
                y = y * y >> 31;
                if (y >> 32) {
                        y >>= 1;
                        log += bit;
                }
        }

        return log;
}

/* The paper's lengths of segments: 2^floor(log(n) / log(3.33) + 2.25). */
static uint32_t fuse_shift(uint64_t n_keys)
{
        const uint64_t log2_of_3_33 = 113739; /* in 65536ths */
        uint64_t shift = (log2_of(n_keys) * 4 + 9 * log2_of_3_33) / (4 * log2_of_3_33);

        return (uint32_t)LANEMAP_MIN(shift, LANEMAP_FILTER_SHIFT_MAX);
}

/* And its room for n keys: n * max(1.125, 0.875 + 0.25 log(10^6) / log(n)). */
static uint64_t fuse_capacity(uint64_t n_keys)
{
        const uint64_t log2_of_million = 1306235; /* in 65536ths */
        uint64_t log = LANEMAP_MAX(log2_of(n_keys), UINT64_C(65536));
        uint64_t factor = 57344 + log2_of_million * 16384 / log; /* in 65536ths */

        return n_keys * LANEMAP_MAX(factor, UINT64_C(73728)) >> 16;
}

static uint32_t fuse_blocks(uint64_t n_keys, uint32_t shift)
{
        uint64_t n = (fuse_capacity(n_keys) + (UINT64_C(1) << shift) - 1) >> shift;

        return (uint32_t)(n > 3 ? n - 2 : 1);
}

/* The parameters of one attempt; returns the size of the array. */
static uint64_t filter_shape(uint32_t kind, uint64_t n_keys, uint32_t attempt,
                             struct lanemap_filter *ret_filter)
{
        uint32_t larger = attempt / ATTEMPTS_PER_SIZE;
        struct lanemap_filter filter = {.kind = (uint8_t)kind, .seed = (uint16_t)attempt};

        if (kind == LANEMAP_FILTER_FUSE8) {
                filter.shift = (uint8_t)fuse_shift(n_keys);
                filter.n_blocks = fuse_blocks(n_keys, filter.shift) + larger;
        } else {
                /* 1.23 n + 32, in three parts: the paper's. */
                filter.n_blocks = (uint32_t)((n_keys * 123 / 100 + 32) / 3 + 1) + larger;
        }

        *ret_filter = filter;
        return lanemap_filter_bytes(kind, filter.shift, filter.n_blocks);
}

static uint64_t array_room(uint64_t n_bytes)
{
        return LANEMAP_ALIGN_UP(n_bytes + LANEMAP_BITS_PADDING, (uint64_t)LANEMAP_SEGMENT_ALIGN);
}

uint64_t lanemap_filter_room(uint32_t kind, uint64_t n_keys)
{
        struct lanemap_filter filter;

        if (kind == LANEMAP_FILTER_NONE || n_keys == 0)
                return 0;

        return array_room(filter_shape(kind, n_keys, LANEMAP_FILTER_ATTEMPTS - 1, &filter));
}

/* ---- keys ---- */

static int key_gather(void *arg, struct lanemap_fingerprint fp)
{
        struct populator *populator = arg;
        uint64_t i = populator->n_gathered++;
        int r;

        r = lanemap_segment_dense(&populator->segment, fp.hash, LANEMAP_SEGMENT_RANK_UNKNOWN,
                                  &populator->dense[i]);
        if (populator->exts)
                populator->exts[i] = fp.ext;
        return r == 0 ? 0 : -EINVAL;
}

static int populator_init(struct populator *populator, uint32_t kind, unsigned char *bytes,
                          size_t n_bytes)
{
        const struct lanemap_segment_section_file *header = (const void *)bytes;
        struct lanemap_segment *segment = &populator->segment;
        uint64_t n;
        int r;

        r = lanemap_segment_open(segment, bytes, n_bytes, le32toh(header->fingerprint_bits));
        if (r < 0)
                return -EINVAL;

        n = segment->n_keys;
        populator->n_room = filter_shape(kind, n, LANEMAP_FILTER_ATTEMPTS - 1, &populator->filter);
        if (populator->n_room > UINT32_MAX)
                return LANEMAP_FILTER_E_UNPOPULATED;

        populator->bytes = bytes + n_bytes;
        populator->heap = lanemap_heap_new();
        if (!populator->heap)
                return -ENOMEM;

        populator->dense = lanemap_heap_alloc(populator->heap, n * sizeof(uint64_t));
        populator->counts = lanemap_heap_alloc(populator->heap, populator->n_room);
        populator->xors = lanemap_heap_alloc(populator->heap, populator->n_room * sizeof(uint32_t));
        populator->places =
                lanemap_heap_alloc(populator->heap, populator->n_room * sizeof(uint32_t));
        if (!populator->dense || !populator->counts || !populator->xors || !populator->places)
                return -ENOMEM;

        if (segment->fingerprint_bits > 64) {
                populator->exts = lanemap_heap_alloc(populator->heap, n * sizeof(uint32_t));
                if (!populator->exts)
                        return -ENOMEM;
        }

        return lanemap_segment_walk(segment, key_gather, populator);
}

static struct lanemap_filter_places key_places(const struct populator *populator, uint32_t key)
{
        return lanemap_filter_places(&populator->filter, populator->dense[key],
                                     populator->exts ? populator->exts[key] : 0);
}

/* ---- one attempt ---- */

/* Return: true if no place is named by more keys than can be counted. */
static bool places_count(struct populator *populator)
{
        memset(populator->counts, 0, populator->n_bytes);
        memset(populator->xors, 0, populator->n_bytes * sizeof(uint32_t));
        for (uint32_t key = 0; key < populator->segment.n_keys; key++) {
                struct lanemap_filter_places places = key_places(populator, key);

                for (int i = 0; i < 3; i++) {
                        if (populator->counts[places.at[i]]++ == COUNT_MAX)
                                return false;
                        populator->xors[places.at[i]] ^= key;
                }
        }

        return true;
}

/* Takes the key of a place away from all its places; those that are left with one key go on the
 * stack. Return: where the stack ends now. */
static uint32_t *key_take(struct populator *populator, uint32_t place, uint32_t *stack)
{
        uint32_t key = populator->xors[place];
        struct lanemap_filter_places places = key_places(populator, key);

        for (int i = 0; i < 3; i++) {
                uint64_t other = places.at[i];

                populator->counts[other]--;
                if (other == place)
                        continue;
                populator->xors[other] ^= key;
                if (populator->counts[other] == 1)
                        *--stack = (uint32_t)other;
        }

        return stack;
}

/*
 * Takes keys away for as long as some place is named by only one, what a key leaves behind next:
 * it is near. The places of those taken are listed in order from the front of populator->places,
 * and the stack of those to be looked at grows from its end: they never meet, since a place's count
 * falls to 1, or begins there, but once.
 *
 * Return: how many were taken.
 */
static uint64_t keys_peel(struct populator *populator)
{
        uint32_t *order = populator->places, *end = order + populator->n_bytes, *stack = end;

        for (uint64_t first = 0; first < populator->n_bytes; first++) {
                if (populator->counts[first] != 1)
                        continue;

                *--stack = (uint32_t)first;
                while (stack < end) {
                        uint32_t place = *stack++;

                        if (populator->counts[place] != 1)
                                continue; /* its key was taken by another of its places */
                        *order++ = place;
                        stack = key_take(populator, place, stack);
                }
        }

        return (uint64_t)(order - populator->places);
}

/* In the opposite order: each key's own byte makes the xor of its three what it has to be. */
static void bytes_assign(struct populator *populator)
{
        memset(populator->bytes, 0, populator->n_bytes);
        for (uint64_t i = populator->segment.n_keys; i-- > 0;) {
                uint32_t place = populator->places[i];
                struct lanemap_filter_places places = key_places(populator, populator->xors[place]);

                populator->bytes[place] = places.fingerprint ^ populator->bytes[places.at[0]] ^
                                          populator->bytes[places.at[1]] ^
                                          populator->bytes[places.at[2]];
        }
}

static int populate(struct populator *populator, uint32_t kind)
{
        const struct lanemap_segment *segment = &populator->segment;

        for (uint32_t attempt = 0; attempt < lanemap_load_relaxed(&attempts_max); attempt++) {
                struct lanemap_filter *filter = &populator->filter;

                populator->n_bytes = filter_shape(kind, segment->n_keys, attempt, filter);
                filter->multiplier = lanemap_segment_multiplier(filter->n_blocks, segment->n_slots);
                if (places_count(populator) && keys_peel(populator) == segment->n_keys) {
                        bytes_assign(populator);
                        return 0;
                }
        }

        return LANEMAP_FILTER_E_UNPOPULATED;
}

void lanemap_filter_limit_attempts(uint32_t n_attempts)
{
        lanemap_store_relaxed(&attempts_max,
                              LANEMAP_MIN(n_attempts, (uint32_t)LANEMAP_FILTER_ATTEMPTS));
}

static void header_sign(struct lanemap_segment_section_file *header, uint64_t section_bytes)
{
        header->section_bytes = htole64(section_bytes);
        header->check = 0;
        header->check = htole64(lanemap_segment_check_of(header, sizeof(*header)));
}

int lanemap_filter_append(uint32_t kind, unsigned char *bytes, size_t n_bytes, size_t *ret_n_bytes)
{
        struct lanemap_segment_section_file *header = (void *)bytes;
        struct populator populator = {0};
        int r;

        if ((kind != LANEMAP_FILTER_FUSE8 && kind != LANEMAP_FILTER_XOR8) ||
            n_bytes < sizeof(*header) || header->n_keys == 0 || header->filter_off != 0)
                return -EINVAL;

        r = populator_init(&populator, kind, bytes, n_bytes);
        if (r == 0)
                r = populate(&populator, kind);
        lanemap_heap_free(populator.heap);
        if (r != 0)
                return r;

        header->filter_off = htole64(n_bytes);
        header->filter_blocks = htole32(populator.filter.n_blocks);
        header->filter_kind = populator.filter.kind;
        header->filter_shift = populator.filter.shift;
        header->filter_seed = htole16(populator.filter.seed);
        *ret_n_bytes = n_bytes + array_room(populator.n_bytes);
        header_sign(header, *ret_n_bytes);
        return 0;
}

int lanemap_filter_drop(unsigned char *bytes, size_t n_bytes, size_t *ret_n_bytes)
{
        struct lanemap_segment_section_file *header = (void *)bytes;
        uint64_t filter_off;

        if (n_bytes < sizeof(*header))
                return -EINVAL;

        filter_off = le64toh(header->filter_off);
        if (filter_off < sizeof(*header) || filter_off > n_bytes ||
            filter_off % LANEMAP_SEGMENT_ALIGN != 0)
                return -EINVAL;

        header->filter_off = 0;
        header->filter_blocks = 0;
        header->filter_kind = LANEMAP_FILTER_NONE;
        header->filter_shift = 0;
        header->filter_seed = 0;
        header_sign(header, filter_off);
        *ret_n_bytes = filter_off;
        return 0;
}
