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

/* Both ways of writing give the same bytes, and the writer none past what it says. */
Test(bits, fields_written_one_behind_the_other_are_fields_put)
{
        for (uint32_t most = 1; most <= 56; most++) {
                unsigned char put[64 * 100 / 8 + LANEMAP_BITS_PADDING] = {0};
                unsigned char written[sizeof(put)];
                struct lanemap_bits_writer writer = {.at = written};
                uint64_t x = 88172645463325252u + most, at = 0;

                memset(written, 0xff, sizeof(written));
                for (uint32_t i = 0; i < 100; i++) {
                        uint32_t width = (uint32_t)(x >> 40) % (most + 1);

                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        lanemap_bits_put(put, at, width, x & lanemap_bits_mask(width));
                        lanemap_bits_write(&writer, width, x & lanemap_bits_mask(width));
                        at += width;
                }
                cr_assert_arr_eq(written, put, (at + 7) / 8, "up to %u", most);
                for (size_t i = at / 8 + 9; i < sizeof(written); i++)
                        cr_assert_eq(written[i], 0xff);
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
