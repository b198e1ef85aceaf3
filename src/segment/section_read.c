/*
 * See section_read.h. Every length is compared with what is left, never added to an offset first,
 * so nothing overflows.
 */
#include "segment/section_read.h"

uint64_t lanemap_segment_check_of(const void *bytes, size_t n_bytes)
{
        struct lanemap_hash_key key;

        lanemap_hash_key_init(&key, (const unsigned char *)LANEMAP_SEGMENT_CHECK_KEY, 64);
        return lanemap_siphash24(&key, bytes, n_bytes);
}

int lanemap_segment_array_place(const struct lanemap_segment *segment, uint64_t offset,
                                uint64_t n_bytes, const unsigned char **ret_array)
{
        uint64_t end = segment->section_bytes;

        if (n_bytes == 0) {
                *ret_array = segment->section;
                return offset == 0 ? 0 : -EBADMSG;
        }
        if (offset < sizeof(struct lanemap_segment_section_file) ||
            offset % LANEMAP_SEGMENT_ALIGN != 0 || offset > end || n_bytes > end - offset ||
            end - offset - n_bytes < LANEMAP_BITS_PADDING)
                return -EBADMSG;

        *ret_array = segment->section + offset;
        return 0;
}

int lanemap_segment_slot_of_rank(const struct lanemap_segment *segment, uint32_t rank,
                                 uint32_t *ret_slot)
{
        const unsigned char *bitmap =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_bitmap);
        const unsigned char *ranks =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_ranks);
        uint32_t word = 0, before;
        uint64_t bits;

        for (uint32_t step = LANEMAP_SLOT_WORDS / 2; step > 0; step /= 2)
                if ((uint32_t)(ranks[(word + step) * 2] | ranks[(word + step) * 2 + 1] << 8) <=
                    rank)
                        word += step;

        before = (uint32_t)(ranks[word * 2] | ranks[word * 2 + 1] << 8);
        bits = lanemap_load_le64(bitmap + word * 8);
        if (before > rank || rank - before >= (uint32_t)__builtin_popcountll(bits))
                return -EBADMSG;

        for (uint32_t i = before; i < rank; i++)
                bits &= bits - 1;
        *ret_slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
        return 0;
}
