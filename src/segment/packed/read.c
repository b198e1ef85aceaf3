/*
 * The forms of the tag compare that are not inline in the lookup, and the choice among all of them.
 * See packed/tag_match_read.h.
 */
#include "segment/packed/read.h"

/* Atomic: a test may force a form while other threads open sections. 0: choose. */
static uint32_t forced;

bool lanemap_tag_match_has(uint32_t form)
{
        switch (form) {
        case LANEMAP_TAG_MATCH_PLAIN:
        case LANEMAP_TAG_MATCH_INLINE:
                return true;
#if defined(__x86_64__)
        case LANEMAP_TAG_MATCH_AVX2:
                return __builtin_cpu_supports("avx2");
#endif
        default:
                return false;
        }
}

uint32_t lanemap_tag_match_choose(void)
{
        uint32_t form = __atomic_load_n(&forced, __ATOMIC_RELAXED);

        return form ? form : LANEMAP_TAG_MATCH_INLINE;
}

int lanemap_tag_match_force(uint32_t form)
{
        if (form != 0 && !lanemap_tag_match_has(form))
                return -EINVAL;

        __atomic_store_n(&forced, form, __ATOMIC_RELAXED);
        return 0;
}

static uint32_t match_plain(const unsigned char *tags, uint8_t tag)
{
        return lanemap_tag_match_plain(tags, tag);
}

static int find_plain(const struct lanemap_packed *packed, uint64_t dense, uint32_t ext,
                      uint64_t *ret_value)
{
        return lanemap_packed_find_by(packed, dense, ext, match_plain, ret_value);
}

#if defined(__x86_64__)
/* The compiler turns the pointer into a call, and the call into two instructions, since the functions
 * are for the same processor. */
__attribute__((target("avx2"))) static inline uint32_t match_avx2(const unsigned char *tags,
                                                                  uint8_t tag)
{
        __m256i all = _mm256_loadu_si256((const __m256i *)(const void *)tags);

        return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(all, _mm256_set1_epi8((char)tag)));
}

__attribute__((target("avx2"))) static int
find_avx2(const struct lanemap_packed *packed, uint64_t dense, uint32_t ext, uint64_t *ret_value)
{
        return lanemap_packed_find_by(packed, dense, ext, match_avx2, ret_value);
}
#endif

int lanemap_packed_find_other(const struct lanemap_packed *packed, uint64_t dense, uint32_t ext,
                              uint64_t *ret_value)
{
#if defined(__x86_64__)
        if (LANEMAP_LIKELY(packed->tag_match == LANEMAP_TAG_MATCH_AVX2))
                return find_avx2(packed, dense, ext, ret_value);
#endif
        return find_plain(packed, dense, ext, ret_value);
}

uint32_t lanemap_tag_match_by(uint32_t form, const unsigned char *tags, uint8_t tag)
{
#if defined(__x86_64__)
        if (form == LANEMAP_TAG_MATCH_AVX2)
                return match_avx2(tags, tag);
#endif
        return form == LANEMAP_TAG_MATCH_INLINE ? lanemap_tag_match(tags, tag)
                                                : lanemap_tag_match_plain(tags, tag);
}
