/*
 * Which of 32 consecutive tag bytes equal a given one: the compare that replaces a search within a
 * sub-block. It is inline in the lookup, in the instructions that every processor of the build's
 * architecture has: SSE2, NEON, or plain C. Wider ones need a call, which costs more than they save
 * (perf/DECISIONS.md, "Tag compare").
 *
 * All forms agree bit for bit. LANEMAP_TAG_MATCH_PLAIN chooses plain C on any architecture: the
 * tests compare it with the others (tests/support/plain_segment.c).
 *
 * Reads 32 bytes whatever the number of entries; the caller masks what is not its own.
 */
#ifndef LANEMAP_SEGMENT_PACKED_TAG_MATCH_READ_H
#define LANEMAP_SEGMENT_PACKED_TAG_MATCH_READ_H

#include "common/bits.h"

#define LANEMAP_TAG_MATCH_BYTES 32

#if defined(__x86_64__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/* Bit i of the answer is set where byte i equals tag. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_tag_match_plain(const unsigned char *tags, uint8_t tag)
{
        const uint64_t low7 = UINT64_C(0x7f7f7f7f7f7f7f7f), ones = UINT64_C(0x0101010101010101);
        uint32_t mask = 0;

        for (uint32_t i = 0; i < LANEMAP_TAG_MATCH_BYTES / 8; i++) {
                uint64_t x = lanemap_load_le64(tags + 8 * i) ^ ones * tag;
                /* The top bit of each byte that is zero; exact, no carry crosses a byte. */
                uint64_t zero = ~(((x & low7) + low7) | x | low7);

                /* Gathers the eight top bits: each product lands on a bit of its own. */
                mask |= (uint32_t)((zero >> 7) * UINT64_C(0x0102040810204080) >> 56) << (8 * i);
        }

        return mask;
}

#if defined(__x86_64__)
LANEMAP_ALWAYS_INLINE uint32_t lanemap_tag_match_sse2(const unsigned char *tags, uint8_t tag)
{
        __m128i wanted = _mm_set1_epi8((char)tag);
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)tags);
        __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(tags + 16));

        return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(low, wanted)) |
               (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(high, wanted)) << 16;
}
#elif defined(__aarch64__)
LANEMAP_ALWAYS_INLINE uint32_t lanemap_tag_match_neon(const unsigned char *tags, uint8_t tag)
{
        static const uint8_t bit_of_byte[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                1, 2, 4, 8, 16, 32, 64, 128};
        uint8x16_t wanted = vdupq_n_u8(tag), bits = vld1q_u8(bit_of_byte);
        uint8x16_t low = vandq_u8(vceqq_u8(vld1q_u8(tags), wanted), bits);
        uint8x16_t high = vandq_u8(vceqq_u8(vld1q_u8(tags + 16), wanted), bits);

        return (uint32_t)vaddv_u8(vget_low_u8(low)) | (uint32_t)vaddv_u8(vget_high_u8(low)) << 8 |
               (uint32_t)vaddv_u8(vget_low_u8(high)) << 16 |
               (uint32_t)vaddv_u8(vget_high_u8(high)) << 24;
}
#endif

LANEMAP_ALWAYS_INLINE uint32_t lanemap_tag_match(const unsigned char *tags, uint8_t tag)
{
#if defined(__x86_64__) && !defined(LANEMAP_TAG_MATCH_PLAIN)
        return lanemap_tag_match_sse2(tags, tag);
#elif defined(__aarch64__) && !defined(LANEMAP_TAG_MATCH_PLAIN)
        return lanemap_tag_match_neon(tags, tag);
#else
        return lanemap_tag_match_plain(tags, tag);
#endif
}

#endif
