/*
 * Building a section around a minimal perfect hash, a bucket at a time. See perfect/mph_build.h
 * and, for the bytes, format.h.
 *
 * Entries come in the order of their fingerprints, and buckets are ranges of them: so the entries
 * of one bucket are gathered, placed, and written. Lists are written as they come, in the order of
 * the fingerprints, whatever the order of the entries that point to them.
 *
 * Some buckets are gathered, then placed and packed by all threads of the executor, then appended
 * in their order. All memory that this takes is there before the threads begin, so nothing fails in
 * them but the search for a seed.
 */
#include "segment/perfect/mph_build.h"

#include <string.h>

#include "segment/read.h"

#define ROUND_BUCKETS_MAX  64
#define BUCKETS_PER_THREAD 8 /* of a round: so that threads end nearly together */

/* Whose entries are gathered: [at, at + n) of them. */
struct bucket {
        uint64_t first; /* its first entry in the section */
        uint32_t at;
        uint32_t n;
        int64_t piece_bytes; /* or what went wrong */
        struct lanemap_build_buffer piece;
        struct lanemap_build_buffer packed; /* its entries, from the bit that its first one has */
};

/* The entries of the buckets at hand, in the order of their fingerprints. */
struct gathered {
        uint64_t *dense;
        uint64_t *keys;
        uint64_t *values;
        uint32_t *exts;
        uint32_t *positions;
        uint32_t *order; /* the other way: which entry goes to a position */
        uint32_t n;
        uint32_t capacity;
        uint32_t n_buckets; /* the last one is being gathered */
        struct bucket buckets[ROUND_BUCKETS_MAX];
};

struct builder {
        struct lanemap_build_intake intake;
        struct lanemap_build_intake counted; /* by the first pass */
        struct lanemap_build_values values;
        struct lanemap_mph_method *method;
        struct lanemap_executor *executor;
        struct lanemap_mph mph; /* its pointers are not used */
        struct gathered gathered;
        struct lanemap_build_buffer entries;
        struct lanemap_build_buffer postings;
        unsigned char *workspaces; /* one per thread */
        uint64_t first;            /* entry of the bucket that is being gathered */
        uint32_t bucket;           /* which it is */
        uint32_t round_buckets;
        uint32_t fullest;
};

static int census_entry(void *arg, uint64_t dense, const struct lanemap_entry *entry)
{
        struct builder *builder = arg;

        lanemap_build_values_count(&builder->values, entry);
        return 0;
}

static int census_take(struct builder *builder, struct lanemap_cursor *cursor)
{
        int r;

        r = lanemap_build_intake_pass(&builder->intake, cursor, census_entry, builder);
        if (r < 0)
                return r;

        builder->counted = builder->intake;
        lanemap_build_intake_restart(&builder->intake);
        return lanemap_build_values_settle(&builder->values, builder->counted.n_tombstones);
}

static void shape_init(struct builder *builder)
{
        const struct lanemap_build_intake *counted = &builder->counted;
        struct lanemap_mph *mph = &builder->mph;

        mph->n_entries = (uint32_t)counted->n_keys;
        mph->ext_bits = (uint8_t)lanemap_fingerprint_ext_bits(counted->fingerprint_bits);
        mph->value_bits = (uint8_t)(builder->values.value_bits + builder->values.flagged);
        lanemap_mph_shape(mph, builder->method->bucket_entries, counted->n_slots);
}

/* For a round and the bucket that may overshoot it, but not for more than there is. */
static int gathered_reserve(struct builder *builder)
{
        uint64_t most = builder->method->bucket_entries_max;
        struct gathered *gathered = &builder->gathered;

        most += (uint64_t)(builder->round_buckets - 1) * builder->method->bucket_entries;
        most = LANEMAP_MIN(most, builder->counted.n_keys);
        gathered->dense = lanemap_alloc((most + 1) * sizeof(*gathered->dense));
        gathered->keys = lanemap_alloc((most + 1) * sizeof(*gathered->keys));
        gathered->values = lanemap_alloc((most + 1) * sizeof(*gathered->values));
        gathered->exts = lanemap_alloc((most + 1) * sizeof(*gathered->exts));
        gathered->positions = lanemap_alloc((most + 1) * sizeof(*gathered->positions));
        gathered->order = lanemap_alloc((most + 1) * sizeof(*gathered->order));
        gathered->capacity = (uint32_t)most;
        gathered->n_buckets = 1;
        return gathered->dense && gathered->keys && gathered->values && gathered->exts &&
                               gathered->positions && gathered->order
                       ? 0
                       : -ENOMEM;
}

/* Room for what the census says, no more. */
static int builder_reserve(struct builder *builder)
{
        uint64_t entries_bytes = (builder->counted.n_keys * builder->mph.entry_bits + 7) / 8;
        uint32_t n_threads = lanemap_executor_n_threads(builder->executor);
        int r;

        r = lanemap_build_buffer_extend(&builder->entries, entries_bytes + LANEMAP_BITS_PADDING);
        if (r == 0)
                r = lanemap_build_buffer_extend(&builder->postings, builder->values.postings_bytes);
        if (r < 0)
                return r;

        builder->entries.n_bytes = entries_bytes;
        builder->values.postings = builder->postings.bytes;
        builder->workspaces = lanemap_alloc(n_threads * builder->method->workspace_bytes);
        if (!builder->workspaces)
                return -ENOMEM;

        builder->round_buckets =
                n_threads > 1 ? LANEMAP_MIN(n_threads * BUCKETS_PER_THREAD, ROUND_BUCKETS_MAX) : 1;
        return gathered_reserve(builder);
}

static void builder_deinit(struct builder *builder)
{
        struct gathered *gathered = &builder->gathered;

        lanemap_free(gathered->dense);
        lanemap_free(gathered->keys);
        lanemap_free(gathered->values);
        lanemap_free(gathered->exts);
        lanemap_free(gathered->positions);
        lanemap_free(gathered->order);
        for (uint32_t i = 0; i < ROUND_BUCKETS_MAX; i++) {
                lanemap_free(gathered->buckets[i].piece.bytes);
                lanemap_free(gathered->buckets[i].packed.bytes);
        }
        lanemap_free(builder->workspaces);
        lanemap_free(builder->entries.bytes);
        lanemap_free(builder->postings.bytes);
        builder->method->free(builder->method);
}

/* The entries of a bucket, in the order of their positions. */
static void bucket_pack(const struct builder *builder, const struct bucket *bucket)
{
        const struct gathered *gathered = &builder->gathered;
        const struct lanemap_mph *mph = &builder->mph;
        uint32_t low_bits = LANEMAP_MIN(mph->remainder_bits, 32);
        uint32_t high_bits = mph->remainder_bits - low_bits;
        struct lanemap_bits_writer writer = {
                .at = bucket->packed.bytes,
                .n_bits = (uint32_t)(bucket->first * mph->entry_bits & 7),
        };

        for (uint32_t i = 0; i < bucket->n; i++)
                gathered->order[bucket->at + gathered->positions[bucket->at + i]] = bucket->at + i;
        for (uint32_t i = bucket->at; i < bucket->at + bucket->n; i++) {
                uint32_t entry = gathered->order[i];
                uint64_t remainder = lanemap_mph_remainder(mph, gathered->dense[entry]);

                lanemap_bits_write(&writer, low_bits, remainder & lanemap_bits_mask(low_bits));
                lanemap_bits_write(&writer, high_bits, remainder >> low_bits);
                lanemap_bits_write(&writer, mph->ext_bits, gathered->exts[entry]);
                lanemap_bits_write(&writer, mph->value_bits, gathered->values[entry]);
        }
}

/* Places and packs one bucket, in any thread. Touches nothing that another bucket has. */
static void bucket_run(void *arg, uint32_t i, uint32_t thread)
{
        struct builder *builder = arg;
        struct gathered *gathered = &builder->gathered;
        struct bucket *bucket = &gathered->buckets[i];
        const struct lanemap_mph_method *method = builder->method;

        for (uint32_t k = bucket->at; k < bucket->at + bucket->n; k++)
                gathered->keys[k] = lanemap_mph_key(gathered->dense[k], gathered->exts[k]);

        bucket->piece_bytes = method->place(method, gathered->keys + bucket->at, bucket->n,
                                            builder->workspaces + thread * method->workspace_bytes,
                                            gathered->positions + bucket->at, bucket->piece.bytes);
        if (bucket->piece_bytes >= 0)
                bucket_pack(builder, bucket);
}

static int buffer_reserve(struct lanemap_build_buffer *buffer, uint64_t n_bytes)
{
        return n_bytes > buffer->n_bytes
                       ? lanemap_build_buffer_extend(buffer, n_bytes - buffer->n_bytes)
                       : 0;
}

static int bucket_reserve(const struct builder *builder, struct bucket *bucket)
{
        uint64_t packed_bits = (uint64_t)bucket->n * builder->mph.entry_bits + 7;
        int r;

        r = buffer_reserve(&bucket->piece,
                           builder->method->piece_bytes(builder->method, bucket->n));
        if (r < 0)
                return r;

        return buffer_reserve(&bucket->packed, packed_bits / 8 + LANEMAP_BITS_PADDING);
}

/* Its bytes, after those of the bucket before it: they may share one. */
static int bucket_append(struct builder *builder, const struct bucket *bucket)
{
        uint64_t at = bucket->first * builder->mph.entry_bits;
        uint64_t n_bits = (at & 7) + (uint64_t)bucket->n * builder->mph.entry_bits;
        unsigned char *to = builder->entries.bytes + (at >> 3);
        unsigned char before = *to;

        if (bucket->piece_bytes < 0)
                return (int)bucket->piece_bytes;

        if (bucket->n > 0) {
                memcpy(to, bucket->packed.bytes, (n_bits + 7) / 8);
                *to |= before;
        }
        builder->fullest = LANEMAP_MAX(builder->fullest, bucket->n);
        return builder->method->append(builder->method, bucket->n, bucket->piece.bytes,
                                       (uint64_t)bucket->piece_bytes);
}

/* Places and writes the buckets that are gathered. */
static int round_run(struct builder *builder, uint32_t n_buckets)
{
        struct gathered *gathered = &builder->gathered;
        int r = 0;

        for (uint32_t i = 0; i < n_buckets && r == 0; i++)
                r = bucket_reserve(builder, &gathered->buckets[i]);
        if (r < 0)
                return r;

        lanemap_executor_run(builder->executor, bucket_run, builder, n_buckets);
        for (uint32_t i = 0; i < n_buckets && r == 0; i++)
                r = bucket_append(builder, &gathered->buckets[i]);

        gathered->n = 0;
        gathered->n_buckets = 0;
        return r;
}

static struct bucket *bucket_at_hand(struct builder *builder)
{
        return &builder->gathered.buckets[builder->gathered.n_buckets - 1];
}

/* Ends the bucket at hand, and begins the next. */
static int bucket_end(struct builder *builder)
{
        struct gathered *gathered = &builder->gathered;
        uint32_t room = gathered->capacity - gathered->n;
        uint64_t left = builder->counted.n_keys - builder->first - bucket_at_hand(builder)->n;
        struct bucket *next;
        int r;

        builder->first += bucket_at_hand(builder)->n;
        builder->bucket++;
        if (gathered->n_buckets == builder->round_buckets ||
            builder->bucket == builder->mph.n_buckets ||
            room < LANEMAP_MIN(left, builder->method->bucket_entries_max)) {
                r = round_run(builder, gathered->n_buckets);
                if (r < 0)
                        return r;
        }

        next = &gathered->buckets[gathered->n_buckets++];
        next->first = builder->first;
        next->at = gathered->n;
        next->n = 0;
        return 0;
}

static int builder_entry(void *arg, uint64_t dense, const struct lanemap_entry *entry)
{
        struct builder *builder = arg;
        struct gathered *gathered = &builder->gathered;
        uint32_t bucket;
        int r;

        if (builder->intake.n_keys > builder->counted.n_keys)
                return -EINVAL;

        bucket = lanemap_mph_bucket_of(&builder->mph, dense);
        while (builder->bucket < bucket) {
                r = bucket_end(builder);
                if (r < 0)
                        return r;
        }
        if (bucket_at_hand(builder)->n == builder->method->bucket_entries_max)
                return -ERANGE;

        r = lanemap_build_values_put(&builder->values, entry, &gathered->values[gathered->n]);
        if (r < 0)
                return r;

        gathered->dense[gathered->n] = dense;
        gathered->exts[gathered->n++] = entry->fingerprint.ext;
        bucket_at_hand(builder)->n++;
        return 0;
}

/* The second pass. */
static int encode(struct builder *builder, struct lanemap_cursor *cursor)
{
        int r;

        r = lanemap_build_intake_pass(&builder->intake, cursor, builder_entry, builder);
        if (r < 0)
                return r;

        while (builder->bucket < builder->mph.n_buckets) {
                r = bucket_end(builder);
                if (r < 0)
                        return r;
        }

        return lanemap_build_intake_agrees(&builder->intake, &builder->counted) &&
                               builder->values.postings_at == builder->values.postings_bytes
                       ? 0
                       : -EINVAL;
}

/* Index, entries and postings, one after the other. */
static int assemble(struct builder *builder, const struct lanemap_segment_build_options *options,
                    struct lanemap_heap *heap, struct lanemap_segment_built *ret_built)
{
        struct lanemap_segment_section_file header = {.kind = htole32(options->kind)};
        uint64_t postings_bytes = builder->values.postings_bytes;
        struct lanemap_segment_layout layout;
        struct lanemap_build_buffer index;
        unsigned char *bytes;
        int r;

        r = builder->method->seal(builder->method, &header, &index);
        if (r < 0)
                return r;

        lanemap_segment_layout_of(index.n_bytes, 0, builder->entries.n_bytes, postings_bytes,
                                  &layout);
        bytes = lanemap_build_block(heap, options, layout.section_bytes, builder->counted.n_keys);
        if (!bytes)
                return -ENOMEM;

        if (index.n_bytes > 0)
                memcpy(bytes + layout.index_off, index.bytes, index.n_bytes);
        if (builder->entries.n_bytes > 0)
                memcpy(bytes + layout.payload_off, builder->entries.bytes,
                       builder->entries.n_bytes);
        if (postings_bytes > 0)
                memcpy(bytes + layout.postings_off, builder->postings.bytes, postings_bytes);

        header.entry_bits = htole32(builder->mph.entry_bits);
        header.bucket_entries = htole32(builder->method->bucket_entries);
        header.bucket_entries_max = htole32(builder->fullest);
        header.index_bytes = htole64(index.n_bytes);
        lanemap_build_header_put(bytes, &header, &builder->counted, &builder->values, &layout);
        *ret_built = (struct lanemap_segment_built){
                .bytes = bytes,
                .n_bytes = layout.section_bytes,
                .n_keys = builder->counted.n_keys,
                .n_pairs = builder->counted.n_pairs,
                .n_tombstones = builder->counted.n_tombstones,
        };
        return 0;
}

static int builder_run(struct builder *builder, struct lanemap_cursor *cursor)
{
        int r;

        r = census_take(builder, cursor);
        if (r < 0)
                return r;

        shape_init(builder);
        r = builder_reserve(builder);
        if (r < 0)
                return r;

        return encode(builder, cursor);
}

int lanemap_mph_build(struct lanemap_heap *heap,
                      const struct lanemap_segment_build_options *options,
                      int (*method_new)(const struct lanemap_segment_build_options *options,
                                        struct lanemap_mph_method **ret_method),
                      struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        struct builder builder = {.executor = options->executor};
        int r;

        r = lanemap_build_intake_init(&builder.intake, options);
        if (r < 0)
                return r;

        r = method_new(options, &builder.method);
        if (r < 0)
                return r;

        r = builder_run(&builder, cursor);
        if (r == 0)
                r = assemble(&builder, options, heap, ret_built);

        builder_deinit(&builder);
        return r;
}
