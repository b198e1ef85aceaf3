/* SipHash-2-4 against the published vectors and, over many lengths, against libsodium. */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/bits.h"
#include "common/fingerprint.h"
#include "common/siphash_many.h"

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

/* Keys whose first byte follows a page that cannot be read, and whose last byte stands before one.
 */
static unsigned char *fenced_page(void)
{
        unsigned char *pages =
                mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        cr_assert(pages != MAP_FAILED);
        cr_assert_eq(mprotect(pages, 4096, PROT_NONE), 0);
        cr_assert_eq(mprotect(pages + 2 * 4096, 4096, PROT_NONE), 0);
        return pages + 4096;
}

/* Groups of keys of all lengths together, by every kind of vectors that this processor has. */
Test(fingerprint, many_at_once_are_as_one_by_one)
{
        enum { KEYS = 35, ROUNDS = 3000 };
        static const uint32_t widths[] = {64, 80, 96};
        struct lanemap_fingerprint fps[KEYS], fp;
        unsigned char *page = fenced_page();
        struct lanemap_key keys[KEYS];
        struct lanemap_hash_key key;

        for (size_t i = 0; i < 4096; i++)
                page[i] = (unsigned char)(i * 167 + i / 256);
        for (uint32_t round = 0; round < ROUNDS; round++) {
                size_t n_keys = round % (KEYS + 1), bytes_max = round % 3 ? 40 : 300;

                lanemap_hash_key_init(&key, key_bytes, widths[round % 7 ? 0 : round % 3]);
                key.vectors = round % (lanemap_sip_vectors_best() + 1u);
                for (size_t i = 0; i < n_keys; i++) {
                        keys[i].bytes = 1 + (size_t)rand() % bytes_max;
                        keys[i].data = rand() % 2 ? page : page + 4096 - keys[i].bytes;
                }
                memset(fps, 0xee, sizeof(fps));
                lanemap_fingerprints_of(&key, keys, n_keys, fps);
                for (size_t i = 0; i < n_keys; i++) {
                        fp = lanemap_fingerprint_of(&key, keys[i].data, keys[i].bytes);
                        cr_assert(lanemap_fingerprint_equal(fps[i], fp),
                                  "round %u, vectors %u, key %zu of %zu, %zu bytes", round,
                                  key.vectors, i, n_keys, keys[i].bytes);
                }
        }
        munmap(page - 4096, 3 * 4096);
}
