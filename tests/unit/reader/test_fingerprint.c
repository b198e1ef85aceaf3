/* Lookups by fingerprint: as those by key, and of one index only. */
#include <criterion/criterion.h>
#include <errno.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <string.h>

#include "support/engine_fixture.h"

TestSuite(reader_fingerprint, .timeout = 60);

enum { KEYS = 100, IDS_MAX = 16 };

static size_t key_text(uint32_t number, char text[32])
{
        return (size_t)snprintf(text, 32, "field=%u", number);
}

/* Even keys only; every tenth one has three ids. */
static void keys_add(struct fixture *fixture)
{
        char text[32];

        for (uint32_t i = 0; i < KEYS; i += 2) {
                (void)key_text(i, text);
                for (uint32_t id = 0; id < (i % 10 ? 1 : 3); id++)
                        cr_assert_eq(engine_add(fixture->writer, text, 1000 * id + i), 0);
        }
}

static void prints_make(struct lanemap_reader *reader, struct lanemap_reader_fingerprint *prints)
{
        char text[32];

        for (uint32_t i = 0; i < KEYS; i++) {
                size_t bytes = key_text(i, text);

                cr_assert_eq(lanemap_reader_fingerprint(reader, text, bytes, &prints[i]), 0);
        }
}

static void expect_as_by_key(struct lanemap_reader *reader,
                             const struct lanemap_reader_fingerprint *prints)
{
        uint32_t ids[IDS_MAX], same[IDS_MAX], pool[KEYS * 3];
        struct lanemap_span spans[KEYS];
        size_t n_ids, n_same;
        char text[32];

        cr_assert_eq(
                lanemap_reader_lookup_fingerprints(reader, prints, KEYS, pool, KEYS * 3, spans), 0);
        for (uint32_t i = 0; i < KEYS; i++) {
                cr_assert_eq(lanemap_reader_lookup(reader, text, key_text(i, text), ids, IDS_MAX,
                                                   &n_ids),
                             0);
                cr_assert_eq(n_ids, i % 2 ? 0 : i % 10 ? 1 : 3);
                cr_assert_eq(lanemap_reader_lookup_fingerprint(reader, &prints[i], same, IDS_MAX,
                                                               &n_same),
                             0);
                cr_expect(n_same == n_ids && memcmp(ids, same, 4 * n_ids) == 0, "%u", i);
                cr_expect(spans[i].n_ids == n_ids &&
                                  memcmp(ids, pool + spans[i].offset, 4 * n_ids) == 0,
                          "%u", i);
        }
}

static void expect_stale(struct lanemap_reader *reader,
                         const struct lanemap_reader_fingerprint *prints)
{
        uint32_t ids[KEYS] = {77};
        struct lanemap_span spans[KEYS];
        size_t n_ids = 77;

        cr_expect_eq(lanemap_reader_lookup_fingerprint(reader, prints, ids, 1, &n_ids), -ESTALE);
        cr_expect(n_ids == 77 && ids[0] == 77);
        cr_expect_eq(lanemap_reader_lookup_fingerprints(reader, prints, KEYS, ids, KEYS, spans),
                     -ESTALE);
}

static void tried_with(uint32_t fingerprint_bits)
{
        struct lanemap_reader_fingerprint prints[KEYS], others[KEYS];
        struct fixture fixture, other;

        fixture_init(&fixture, "print");
        fixture_init(&other, "other");
        fixture.options.fingerprint_bits = other.options.fingerprint_bits = fingerprint_bits;
        fixture_open(&fixture);
        fixture_open(&other);
        keys_add(&fixture);
        fixture_attach(&fixture, NULL);
        fixture_attach(&other, NULL);
        prints_make(fixture.reader, prints);
        prints_make(other.reader, others);
        expect_as_by_key(fixture.reader, prints);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_as_by_key(fixture.reader, prints);

        expect_stale(fixture.reader, others);
        expect_stale(other.reader, prints);

        /* Another generation, another writer: the same index. */
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        expect_as_by_key(fixture.reader, prints);
        fixture_close(&fixture);
        fixture_open(&fixture);
        expect_as_by_key(fixture.reader, prints);
        expect_stale(fixture.reader, others);
        fixture_deinit(&other);
        fixture_deinit(&fixture);
}

Test(reader_fingerprint, of_64_bits)
{
        tried_with(64);
}

Test(reader_fingerprint, of_96_bits)
{
        tried_with(96);
}

Test(reader_fingerprint, misuse)
{
        struct lanemap_reader_fingerprint print = {.hash = 1};
        struct fixture fixture;
        size_t n_ids;

        fixture_init(&fixture, "print");
        fixture_open(&fixture);
        fixture_attach(&fixture, NULL);
        cr_expect_eq(lanemap_reader_fingerprint(NULL, "a", 1, &print), -EINVAL);
        cr_expect_eq(lanemap_reader_fingerprint(fixture.reader, "a", 0, &print), -EINVAL);
        cr_expect_eq(lanemap_reader_fingerprint(fixture.reader, "a", 1, NULL), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup_fingerprint(fixture.reader, NULL, NULL, 0, &n_ids),
                     -EINVAL);
        cr_expect_eq(lanemap_reader_lookup_fingerprint(fixture.reader, &print, NULL, 1, &n_ids),
                     -EINVAL);
        cr_expect_eq(lanemap_reader_lookup_fingerprints(fixture.reader, &print, 1, NULL, 0, NULL),
                     -EINVAL);
        fixture_deinit(&fixture);
}
