/*
 * Opening sections: the only place where the bytes of their header are believed, after they have
 * been checked. See read.h and format.h; the files around them are in
 * file_read.c.
 *
 * Every length is compared with what is left, never added to an offset first, so nothing overflows.
 */
#include "segment/read.h"

#include <string.h>

#define SECTION32(bytes, member) \
        lanemap_load_le32((bytes) + offsetof(struct lanemap_segment_section_file, member))
#define SECTION16(bytes, member)                                          \
        ((bytes)[offsetof(struct lanemap_segment_section_file, member)] | \
         (uint32_t)(bytes)[offsetof(struct lanemap_segment_section_file, member) + 1] << 8)
#define SECTION64(bytes, member) \
        lanemap_load_le64((bytes) + offsetof(struct lanemap_segment_section_file, member))

uint64_t lanemap_segment_check_of(const void *bytes, size_t n_bytes)
{
        struct lanemap_hash_key key;

        lanemap_hash_key_init(&key, (const unsigned char *)LANEMAP_SEGMENT_CHECK_KEY, 64);
        return lanemap_siphash24(&key, bytes, n_bytes);
}

static bool kind_known(uint32_t kind)
{
        return kind >= LANEMAP_SEGMENT_KIND_PACKED && kind <= LANEMAP_SEGMENT_KIND_BBHASH;
}

static int section_validate(const unsigned char *p, size_t n_bytes, uint32_t fingerprint_bits)
{
        struct lanemap_segment_section_file header;
        uint64_t section_bytes;

        if (n_bytes < sizeof(header) || SECTION64(p, magic) != LANEMAP_SEGMENT_SECTION_MAGIC)
                return -EBADMSG;

        memcpy(&header, p, sizeof(header));
        header.check = 0;
        if (lanemap_segment_check_of(&header, sizeof(header)) != SECTION64(p, check))
                return -EBADMSG;
        if (SECTION32(p, version) != LANEMAP_SEGMENT_FORMAT_VERSION ||
            SECTION32(p, incompatible) & ~(uint32_t)LANEMAP_SEGMENT_INCOMPATIBLE_KNOWN ||
            SECTION32(p, value_flags) & ~LANEMAP_SEGMENT_VALUE_FLAGS_KNOWN ||
            !kind_known(SECTION32(p, kind)))
                return -EPROTONOSUPPORT;

        section_bytes = SECTION64(p, section_bytes);
        if (!lanemap_fingerprint_bits_known(fingerprint_bits) ||
            SECTION32(p, fingerprint_bits) != fingerprint_bits || section_bytes > n_bytes ||
            section_bytes < sizeof(header) || section_bytes % LANEMAP_SEGMENT_ALIGN != 0)
                return -EBADMSG;

        return 0;
}

/* The counts and widths that all kinds share. */
static int section_parse(const unsigned char *p, struct lanemap_segment *ret_segment)
{
        uint64_t n_keys = SECTION64(p, n_keys), n_tombstones = SECTION64(p, n_tombstones);
        uint32_t n_slots = SECTION32(p, n_slots), value_bits = SECTION32(p, value_bits);
        uint32_t flagged = SECTION32(p, value_flags) & LANEMAP_SEGMENT_VALUE_FLAGGED;
        uint32_t ids_max = SECTION32(p, ids_max);

        if (n_keys > UINT32_MAX || n_tombstones > n_keys || n_slots > LANEMAP_N_SLOTS ||
            (n_keys > 0 && n_slots == 0) ||
            value_bits > (flagged ? LANEMAP_SEGMENT_VALUE_BITS_MAX : 32) ||
            (ids_max > 1 && ids_max > SECTION64(p, postings_bytes)))
                return -EBADMSG;

        *ret_segment = (struct lanemap_segment){
                .section = p,
                .section_bytes = SECTION64(p, section_bytes),
                .postings_bytes = SECTION64(p, postings_bytes),
                .n_pairs = SECTION64(p, n_pairs),
                .n_keys = (uint32_t)n_keys,
                .n_tombstones = (uint32_t)n_tombstones,
                .ids_max = ids_max,
                .n_slots = (uint16_t)n_slots,
                .kind = (uint8_t)SECTION32(p, kind),
                .fingerprint_bits = (uint8_t)SECTION32(p, fingerprint_bits),
                .value_flagged = (uint8_t)flagged,
                .value_bits = (uint8_t)value_bits,
        };
        return 0;
}

/* An array of `need` bytes and the zeros behind it lie between the header and the section's end. */
static int array_place(const struct lanemap_segment *segment, uint64_t offset, uint64_t need,
                       const unsigned char **ret_array)
{
        uint64_t end = segment->section_bytes;

        if (need == 0) {
                *ret_array = segment->section;
                return offset == 0 ? 0 : -EBADMSG;
        }
        if (offset < sizeof(struct lanemap_segment_section_file) ||
            offset % LANEMAP_SEGMENT_ALIGN != 0 || offset > end || need > end - offset ||
            end - offset - need < LANEMAP_BITS_PADDING)
                return -EBADMSG;

        *ret_array = segment->section + offset;
        return 0;
}

uint64_t lanemap_packed_n_groups(uint32_t n_slots, uint32_t group_shift)
{
        uint64_t last = ((uint64_t)n_slots << LANEMAP_SLOT_LOW_BITS) - 1;

        return (last >> (group_shift - LANEMAP_PACKED_SUB_BITS) >> LANEMAP_PACKED_SUB_BITS) + 1;
}

static int packed_open(const unsigned char *p, struct lanemap_segment *segment)
{
        uint32_t shift = SECTION32(p, group_shift), entry_bits = SECTION32(p, entry_bits);
        uint32_t ext_bits = lanemap_fingerprint_ext_bits(segment->fingerprint_bits);
        struct lanemap_packed *packed = &segment->packed;
        uint64_t n = segment->n_keys;
        int r;

        if (shift < LANEMAP_PACKED_GROUP_SHIFT_MIN || shift > LANEMAP_PACKED_GROUP_SHIFT_MAX)
                return -EBADMSG;

        packed->n_entries = segment->n_keys;
        packed->n_groups = n == 0 ? 0 : lanemap_packed_n_groups(segment->n_slots, shift);
        packed->sub_shift = (uint8_t)(shift - LANEMAP_PACKED_SUB_BITS);
        packed->tag_shift = (uint8_t)(packed->sub_shift - LANEMAP_PACKED_TAG_BITS);
        packed->ext_bits = (uint8_t)ext_bits;
        packed->value_bits = (uint8_t)(segment->value_bits + segment->value_flagged);
        packed->entry_bits = (uint8_t)(packed->tag_shift + ext_bits + packed->value_bits);
        if (entry_bits != packed->entry_bits)
                return -EBADMSG;

        r = array_place(segment, SECTION64(p, index_off),
                        packed->n_groups * LANEMAP_PACKED_RECORD_BYTES, &packed->directory);
        if (r < 0)
                return r;

        r = array_place(segment, SECTION64(p, tags_off), n, &packed->tags);
        if (r < 0)
                return r;

        return array_place(segment, SECTION64(p, payload_off), (n * entry_bits + 7) / 8,
                           &packed->payload);
}

/* Buckets and entries of the kinds that have them. */
static int mph_open(const unsigned char *p, const struct lanemap_segment *segment,
                    uint32_t bucket_entries_limit, uint32_t fullest_limit, struct lanemap_mph *mph)
{
        uint32_t bucket_entries = SECTION32(p, bucket_entries);
        uint32_t fullest = SECTION32(p, bucket_entries_max), entry_bits = SECTION32(p, entry_bits);
        uint64_t n = segment->n_keys;
        int r;

        if (bucket_entries == 0 || bucket_entries > bucket_entries_limit ||
            fullest > fullest_limit || SECTION32(p, group_shift) != 0)
                return -EBADMSG;

        *mph = (struct lanemap_mph){
                .n_entries = segment->n_keys,
                .bucket_entries_max = (uint16_t)fullest,
                .ext_bits = (uint8_t)lanemap_fingerprint_ext_bits(segment->fingerprint_bits),
                .value_bits = (uint8_t)(segment->value_bits + segment->value_flagged),
        };
        lanemap_mph_shape(mph, bucket_entries, segment->n_slots);
        if (entry_bits != mph->entry_bits)
                return -EBADMSG;

        r = array_place(segment, SECTION64(p, index_off), SECTION64(p, index_bytes), &mph->index);
        if (r < 0)
                return r;
        if (SECTION64(p, tags_off) != 0)
                return -EBADMSG;

        return array_place(segment, SECTION64(p, payload_off), (n * entry_bits + 7) / 8,
                           &mph->entries);
}

static int recsplit_open(const unsigned char *p, struct lanemap_segment *segment)
{
        struct lanemap_recsplit *recsplit = &segment->recsplit;
        struct lanemap_recsplit_numbers numbers;
        struct lanemap_recsplit_layout layout;
        uint32_t leaf = SECTION32(p, recsplit.leaf_entries);
        int r;

        r = mph_open(p, segment, LANEMAP_RECSPLIT_BUCKET_MAX, LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX,
                     &recsplit->mph);
        if (r < 0)
                return r;

        numbers = (struct lanemap_recsplit_numbers){
                .code_bits = SECTION64(p, recsplit.code_bits),
                .n_buckets = recsplit->mph.n_buckets,
                .n_keys = segment->n_keys,
                .cum_step = SECTION32(p, recsplit.cum_step),
                .pos_step = (int32_t)SECTION32(p, recsplit.pos_step),
                .pos_slope = SECTION16(p, recsplit.pos_slope),
                .cum_low_bits =
                        p[offsetof(struct lanemap_segment_section_file, recsplit.cum_low_bits)],
                .pos_low_bits =
                        p[offsetof(struct lanemap_segment_section_file, recsplit.pos_low_bits)],
        };
        r = lanemap_recsplit_layout(&numbers, &layout);
        if (r < 0)
                return r;
        if (leaf < LANEMAP_RECSPLIT_LEAF_MIN || leaf > LANEMAP_RECSPLIT_LEAF_MAX ||
            SECTION64(p, index_bytes) != (segment->n_keys ? layout.n_words * 8 : 0))
                return -EBADMSG;

        recsplit->mph.leaf = (uint8_t)leaf;
        recsplit->cum_high = (uint32_t)layout.cum_high;
        recsplit->pos_high = (uint32_t)layout.pos_high;
        recsplit->codes = (uint32_t)layout.codes;
        recsplit->codes_end = (uint32_t)layout.n_words;
        recsplit->pos_step = (int16_t)numbers.pos_step;
        recsplit->cum_step = (uint16_t)numbers.cum_step;
        recsplit->pos_slope = (uint16_t)numbers.pos_slope;
        recsplit->cum_low_bits = (uint8_t)numbers.cum_low_bits;
        recsplit->pos_low_bits = (uint8_t)numbers.pos_low_bits;
        return 0;
}

static int bbhash_open(const unsigned char *p, struct lanemap_segment *segment)
{
        uint32_t gamma = SECTION32(p, bbhash.gamma), shrink = SECTION32(p, bbhash.shrink);
        uint64_t index_bytes = SECTION64(p, index_bytes), records;
        struct lanemap_bbhash *bbhash = &segment->bbhash;
        int r;

        r = mph_open(p, segment, LANEMAP_BBHASH_BUCKET_MAX, LANEMAP_BBHASH_BUCKET_ENTRIES_MAX,
                     &bbhash->mph);
        if (r < 0)
                return r;

        records = segment->n_keys ? bbhash->mph.n_buckets + UINT64_C(1) : 0;
        records *= LANEMAP_BBHASH_RECORD_BYTES;
        if (gamma < LANEMAP_BBHASH_GAMMA_MIN || gamma > LANEMAP_BBHASH_GAMMA_MAX ||
            shrink >= 1u << LANEMAP_BBHASH_SHRINK_BITS || index_bytes < records ||
            (index_bytes - records) % LANEMAP_BBHASH_BLOCK_BYTES != 0 ||
            (index_bytes - records) / LANEMAP_BBHASH_BLOCK_BYTES > UINT32_MAX)
                return -EBADMSG;

        bbhash->n_blocks = (uint32_t)((index_bytes - records) / LANEMAP_BBHASH_BLOCK_BYTES);
        bbhash->gamma = (uint16_t)gamma;
        bbhash->shrink = shrink;
        return 0;
}

static int kind_open(const unsigned char *p, struct lanemap_segment *segment)
{
        switch (segment->kind) {
        case LANEMAP_SEGMENT_KIND_RECSPLIT:
                return recsplit_open(p, segment);
        case LANEMAP_SEGMENT_KIND_BBHASH:
                return bbhash_open(p, segment);
        default:
                return packed_open(p, segment);
        }
}

uint64_t lanemap_filter_bytes(uint32_t kind, uint32_t shift, uint32_t n_blocks)
{
        if (n_blocks == 0)
                return 0;
        if (kind == LANEMAP_FILTER_FUSE8)
                return shift < LANEMAP_FILTER_SHIFT_MIN || shift > LANEMAP_FILTER_SHIFT_MAX
                               ? 0
                               : (n_blocks + UINT64_C(2)) << shift;

        return kind == LANEMAP_FILTER_XOR8 && shift == 0 ? UINT64_C(3) * n_blocks : 0;
}

/* A kind that is not known is left alone: the feature is a compatible one. */
static int filter_open(const unsigned char *p, struct lanemap_segment *segment)
{
        uint32_t kind = p[offsetof(struct lanemap_segment_section_file, filter_kind)];
        uint32_t shift = p[offsetof(struct lanemap_segment_section_file, filter_shift)];
        uint32_t n_blocks = SECTION32(p, filter_blocks);
        struct lanemap_filter *filter = &segment->filter;
        uint64_t n_bytes = lanemap_filter_bytes(kind, shift, n_blocks);

        if (kind != LANEMAP_FILTER_FUSE8 && kind != LANEMAP_FILTER_XOR8)
                return 0;
        if (n_bytes == 0 || segment->n_slots == 0)
                return -EBADMSG;

        filter->multiplier = lanemap_mph_multiplier(n_blocks, segment->n_slots);
        filter->n_blocks = n_blocks;
        filter->seed = (uint16_t)SECTION16(p, filter_seed);
        filter->kind = (uint8_t)kind;
        filter->shift = (uint8_t)shift;
        segment->has_filter = 1;
        return array_place(segment, SECTION64(p, filter_off), n_bytes, &filter->bytes);
}

int lanemap_segment_open(struct lanemap_segment *ret_segment, const void *section, size_t n_bytes,
                         uint32_t fingerprint_bits)
{
        const unsigned char *p = section;
        struct lanemap_segment segment;
        int r;

        r = section_validate(p, n_bytes, fingerprint_bits);
        if (r < 0)
                return r;

        r = section_parse(p, &segment);
        if (r < 0)
                return r;

        r = array_place(&segment, SECTION64(p, postings_off), segment.postings_bytes,
                        &segment.postings);
        if (r < 0)
                return r;

        r = kind_open(p, &segment);
        if (r == 0)
                r = filter_open(p, &segment);
        if (r < 0)
                return r;

        *ret_segment = segment;
        return 0;
}

void lanemap_segment_prefetch_bits(const struct lanemap_segment *segment, uint64_t dense,
                                   uint32_t ext)
{
        if (segment->kind == LANEMAP_SEGMENT_KIND_RECSPLIT)
                lanemap_recsplit_prefetch_code(&segment->recsplit, dense);
        else
                lanemap_bbhash_prefetch_bits(&segment->bbhash, dense, ext);
}

void lanemap_segment_prefetch_place(const struct lanemap_segment *segment, uint64_t dense,
                                    uint32_t ext)
{
        if (segment->kind == LANEMAP_SEGMENT_KIND_RECSPLIT)
                lanemap_recsplit_prefetch_entry(&segment->recsplit, dense, ext);
        else
                lanemap_bbhash_prefetch_entry(&segment->bbhash, dense, ext);
}
