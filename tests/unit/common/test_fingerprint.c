/* SipHash-2-4 against the published vectors and, over many lengths, against libsodium. */
#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

#include "common/bits.h"
#include "common/fingerprint.h"

static const unsigned char key_bytes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

TestSuite(fingerprint, .timeout = 60);

Test(fingerprint, siphash24_gives_the_papers_vector)
{
        unsigned char input[15];
        struct lanemap_hash_key key;

        for (unsigned i = 0; i < sizeof(input); i++)
                input[i] = (unsigned char)i;

        lanemap_hash_key_init(&key, key_bytes, 64);
        cr_assert_eq(lanemap_siphash24(&key, input, sizeof(input)), UINT64_C(0xa129ca6149be45e5));
}

/* The first entries of the vectors that the authors publish with the reference code, for inputs 00,
 * 0001, ... */
Test(fingerprint, siphash24_gives_the_published_vectors)
{
        static const uint64_t vectors[] = {
                UINT64_C(0x726fdb47dd0e0e31), UINT64_C(0x74f839c593dc67fd),
                UINT64_C(0x0d6c8009d9a94f5a), UINT64_C(0x85676696d7fb7e2d),
                UINT64_C(0xcf2794e0277187b7), UINT64_C(0x18765564cd99a68d),
                UINT64_C(0xcbc9466e58fee3ce), UINT64_C(0xab0200f58b01d137),
        };
        unsigned char input[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        struct lanemap_hash_key key;

        lanemap_hash_key_init(&key, key_bytes, 64);
        for (size_t n = 0; n < LANEMAP_N_ELEMENTS(vectors); n++)
                cr_expect_eq(lanemap_siphash24(&key, input, n), vectors[n], "length %zu", n);
}

Test(fingerprint, agrees_with_libsodium_at_every_length)
{
        unsigned char input[300], out[16], random_key[16];
        uint64_t first, second;

        cr_assert_geq(sodium_init(), 0);
        for (unsigned round = 0; round < 20; round++) {
                struct lanemap_hash_key key;

                randombytes_buf(random_key, sizeof(random_key));
                randombytes_buf(input, sizeof(input));
                lanemap_hash_key_init(&key, random_key, 64);

                for (size_t n = 0; n < sizeof(input); n++) {
                        crypto_shorthash_siphash24(out, input, n, random_key);
                        cr_assert_eq(lanemap_siphash24(&key, input, n), lanemap_load_le64(out),
                                     "64 bits, length %zu", n);

                        crypto_shorthash_siphashx24(out, input, n, random_key);
                        lanemap_siphash24_128(&key, input, n, &first, &second);
                        cr_assert_eq(first, lanemap_load_le64(out), "128 bits, length %zu", n);
                        cr_assert_eq(second, lanemap_load_le64(out + 8), "128 bits, length %zu", n);
                }
        }
}

Test(fingerprint, width_decides_the_bits_past_64)
{
        static const uint32_t widths[] = {64, 80, 96};
        uint32_t seen[3] = {0};

        for (size_t w = 0; w < 3; w++) {
                struct lanemap_hash_key key;

                lanemap_hash_key_init(&key, key_bytes, widths[w]);
                for (uint32_t i = 0; i < 1000; i++)
                        seen[w] |= lanemap_fingerprint_of(&key, &i, sizeof(i)).ext;
        }

        cr_expect_eq(seen[0], 0);
        cr_expect_eq(seen[1], 0xffff);
        cr_expect_eq(seen[2], 0xffffffff);
}

Test(fingerprint, order_is_by_hash_and_then_by_the_extra_bits)
{
        struct lanemap_fingerprint a = {1, 7}, b = {1, 8}, c = {2, 0};

        cr_expect_lt(lanemap_fingerprint_compare(a, b), 0);
        cr_expect_lt(lanemap_fingerprint_compare(b, c), 0);
        cr_expect_gt(lanemap_fingerprint_compare(c, a), 0);
        cr_expect_eq(lanemap_fingerprint_compare(b, b), 0);
}
