/*
 * Building a section around a minimal perfect hash, a bucket at a time. See mph_build.h and, for
 * the bytes, segment_format.h.
 *
 * Entries come in the order of their fingerprints, and buckets are ranges of them: so the entries
 * of one bucket are gathered, placed, and written. Lists are written as they come, in the order of
 * the fingerprints, whatever the order of the entries that point to them.
 */
#include "segment/mph_build.h"

#include <string.h>

#include "segment/segment_read.h"

/* The entries of the bucket at hand, in the order of their fingerprints. */
struct gathered {
        uint64_t *dense;
        uint64_t *keys;
        uint64_t *values;
        uint32_t *exts;
        uint32_t *positions;
        uint32_t n;
};

struct builder {
        struct lanemap_build_intake intake;
        struct lanemap_build_intake counted; /* by the first pass */
        struct lanemap_build_values values;
        struct lanemap_mph_method *method;
        struct lanemap_mph mph; /* its pointers are not used */
        struct gathered gathered;
        struct lanemap_build_buffer entries;
        struct lanemap_build_buffer postings;
        uint64_t first;  /* entry of the bucket at hand */
        uint32_t bucket; /* at hand */
        uint32_t fullest;
};

static int census_take(struct builder *builder, struct lanemap_cursor *cursor)
{
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
        uint64_t dense;
        uint32_t n;
        int r;

        r = cursor->rewind(cursor);
        if (r < 0)
                return r;

        while ((r = lanemap_cursor_next_batch(cursor, entries, &n)) == 0) {
                for (uint32_t i = 0; i < n; i++) {
                        r = lanemap_build_intake_take(&builder->intake, &entries[i], &dense);
                        if (LANEMAP_UNLIKELY(r < 0))
                                return r;

                        lanemap_build_values_count(&builder->values, &entries[i]);
                }
        }
        if (r != LANEMAP_CURSOR_END)
                return r;

        builder->counted = builder->intake;
        lanemap_build_intake_restart(&builder->intake);
        return lanemap_build_values_settle(&builder->values, builder->counted.n_tombstones);
}

static void shape_init(struct builder *builder)
{
        uint64_t n = builder->counted.n_keys;
        struct lanemap_mph *mph = &builder->mph;

        mph->ext_bits = (uint8_t)lanemap_fingerprint_ext_bits(builder->counted.fingerprint_bits);
        mph->value_bits = (uint8_t)(builder->values.value_bits + builder->values.flagged);
        mph->n_entries = (uint32_t)n;
        mph->n_buckets = (uint32_t)lanemap_mph_n_buckets(n, builder->method->bucket_entries);
        if (n > 0) {
                uint32_t n_slots = builder->counted.n_slots;

                mph->multiplier = lanemap_mph_multiplier(mph->n_buckets, n_slots);
                mph->remainder_bits = (uint8_t)lanemap_mph_remainder_bits(mph->n_buckets, n_slots);
        }
        mph->entry_bits = (uint8_t)(mph->remainder_bits + mph->ext_bits + mph->value_bits);
}

/* Room for what the census says, no more. */
static int builder_reserve(struct builder *builder)
{
        uint64_t entries_bytes = (builder->counted.n_keys * builder->mph.entry_bits + 7) / 8;
        uint32_t most = builder->method->bucket_entries_max;
        struct gathered *gathered = &builder->gathered;
        int r;

        r = lanemap_build_buffer_extend(&builder->entries, entries_bytes + LANEMAP_BITS_PADDING);
        if (r == 0)
                r = lanemap_build_buffer_extend(&builder->postings, builder->values.postings_bytes);
        if (r < 0)
                return r;

        builder->entries.n_bytes = entries_bytes;
        builder->values.postings = builder->postings.bytes;
        most = (uint32_t)LANEMAP_MIN(most, builder->counted.n_keys);
        gathered->dense = lanemap_alloc(((size_t)most + 1) * sizeof(uint64_t));
        gathered->keys = lanemap_alloc(((size_t)most + 1) * sizeof(uint64_t));
        gathered->values = lanemap_alloc(((size_t)most + 1) * sizeof(uint64_t));
        gathered->exts = lanemap_alloc(((size_t)most + 1) * sizeof(uint32_t));
        gathered->positions = lanemap_alloc(((size_t)most + 1) * sizeof(uint32_t));
        return gathered->dense && gathered->keys && gathered->values && gathered->exts &&
                               gathered->positions
                       ? 0
                       : -ENOMEM;
}

static void builder_deinit(struct builder *builder)
{
        struct gathered *gathered = &builder->gathered;

        lanemap_free(gathered->dense);
        lanemap_free(gathered->keys);
        lanemap_free(gathered->values);
        lanemap_free(gathered->exts);
        lanemap_free(gathered->positions);
        lanemap_free(builder->entries.bytes);
        lanemap_free(builder->postings.bytes);
        builder->method->free(builder->method);
}

static void entry_put(struct builder *builder, uint64_t position, uint32_t i)
{
        const struct gathered *gathered = &builder->gathered;
        const struct lanemap_mph *mph = &builder->mph;
        uint64_t at = position * mph->entry_bits;

        lanemap_bits_put(builder->entries.bytes, at, mph->remainder_bits,
                         lanemap_mph_remainder(mph, gathered->dense[i]));
        at += mph->remainder_bits;
        lanemap_bits_put(builder->entries.bytes, at, mph->ext_bits, gathered->exts[i]);
        at += mph->ext_bits;
        lanemap_bits_put(builder->entries.bytes, at, mph->value_bits, gathered->values[i]);
}

/* Places and writes the bucket at hand, and begins the next. */
static int bucket_end(struct builder *builder)
{
        struct gathered *gathered = &builder->gathered;
        int r;

        for (uint32_t i = 0; i < gathered->n; i++)
                gathered->keys[i] = lanemap_mph_key(gathered->dense[i], gathered->exts[i]);

        r = builder->method->place(builder->method, gathered->keys, gathered->n,
                                   gathered->positions);
        if (r < 0)
                return r;

        for (uint32_t i = 0; i < gathered->n; i++)
                entry_put(builder, builder->first + gathered->positions[i], i);

        builder->fullest = LANEMAP_MAX(builder->fullest, gathered->n);
        builder->first += gathered->n;
        builder->bucket++;
        gathered->n = 0;
        return 0;
}

static int builder_put(struct builder *builder, uint64_t dense, const struct lanemap_entry *entry)
{
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
        if (gathered->n == builder->method->bucket_entries_max)
                return -ERANGE;

        r = lanemap_build_values_put(&builder->values, entry, &gathered->values[gathered->n]);
        if (r < 0)
                return r;

        gathered->dense[gathered->n] = dense;
        gathered->exts[gathered->n++] = entry->fingerprint.ext;
        return 0;
}

/* The second pass. */
static int encode(struct builder *builder, struct lanemap_cursor *cursor)
{
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
        uint64_t dense;
        uint32_t n;
        int r;

        r = cursor->rewind(cursor);
        if (r < 0)
                return r;

        while ((r = lanemap_cursor_next_batch(cursor, entries, &n)) == 0) {
                for (uint32_t i = 0; i < n; i++) {
                        r = lanemap_build_intake_take(&builder->intake, &entries[i], &dense);
                        if (LANEMAP_UNLIKELY(r < 0))
                                return r;

                        r = builder_put(builder, dense, &entries[i]);
                        if (LANEMAP_UNLIKELY(r < 0))
                                return r;
                }
        }
        if (r != LANEMAP_CURSOR_END)
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

/* Index, entries and postings, one behind the other. */
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
                      struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        struct builder builder = {0};
        int r;

        r = lanemap_build_intake_init(&builder.intake, options);
        if (r < 0)
                return r;

        r = options->kind == LANEMAP_SEGMENT_KIND_RECSPLIT
                    ? lanemap_recsplit_method_new(options, &builder.method)
                    : lanemap_bbhash_method_new(options, &builder.method);
        if (r < 0)
                return r;

        r = builder_run(&builder, cursor);
        if (r == 0)
                r = assemble(&builder, options, heap, ret_built);

        builder_deinit(&builder);
        return r;
}
