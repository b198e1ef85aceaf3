/* Bit fields of every width at every phase. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/bits.h"

TestSuite(bits, .timeout = 60);

Test(bits, fields_of_every_width_come_back)
{
        for (uint32_t width = 0; width <= 64; width++) {
                unsigned char bytes[64 * 100 / 8 + LANEMAP_BITS_PADDING] = {0};
                uint64_t x = 88172645463325252u;
                uint64_t expected[100];

                for (uint32_t i = 0; i < 100; i++) {
                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        expected[i] = x & lanemap_bits_mask(width);
                        lanemap_bits_put(bytes, (uint64_t)i * width, width, expected[i]);
                }
                for (uint32_t i = 0; i < 100; i++)
                        cr_assert_eq(lanemap_bits_get(bytes, (uint64_t)i * width, width),
                                     expected[i], "width %u, field %u", width, i);
        }
}

Test(bits, width_of_a_maximum)
{
        cr_expect_eq(lanemap_bits_width(0), 0);
        cr_expect_eq(lanemap_bits_width(1), 1);
        cr_expect_eq(lanemap_bits_width(255), 8);
        cr_expect_eq(lanemap_bits_width(256), 9);
        cr_expect_eq(lanemap_bits_width(UINT64_MAX), 64);
}
