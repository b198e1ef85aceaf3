/*
 * Sections and files that are wrong but signed: check values and checksum are right, so only the
 * check under test stands between the bytes and a wrong answer.
 */
#include "file_bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segment/file_write.h"
#include "segment/verify.h"

TestSuite(hostile, .timeout = 60);

static uint32_t scratch[8192];

struct victim {
        struct model model;
        struct built built;
        struct lanemap_segment segment;
};

/* n entries at even distances in 8 slots; n_ids of entry i is lengths[i % n_lengths]. */
static void victim_init(struct victim *victim, uint32_t n, const uint32_t *lengths,
                        uint32_t n_lengths)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0xff}, seed = 1;

        model_init(&victim->model, 64, slots, n);
        for (uint64_t i = 0; i < n; i++) {
                uint64_t hash = (UINT64_C(1) << 55) / n * i;
                uint32_t n_ids = lengths[i % n_lengths];

                model_add(&victim->model, (struct lanemap_fingerprint){.hash = hash}, n_ids,
                          ids_random(n_ids, 100000, &seed));
        }
        cr_assert_eq(model_build(&victim->model, &victim->built), 0);
        cr_assert_eq(lanemap_segment_open(&victim->segment, victim->built.bytes,
                                          victim->built.n_bytes, 64),
                     0);
}

static void victim_deinit(struct victim *victim)
{
        free(victim->built.bytes);
        model_deinit(&victim->model);
}

static unsigned char *victim_at(struct victim *victim, const unsigned char *place)
{
        return victim->built.bytes + (place - victim->built.bytes);
}

/* Where the value field of an entry begins, in bits of the payload. */
static uint64_t value_at(const struct victim *victim, uint32_t position)
{
        const struct lanemap_packed *packed = &victim->segment.packed;

        return (uint64_t)position * packed->entry_bits + packed->tag_shift;
}

static void value_put(struct victim *victim, uint32_t position, uint64_t value)
{
        const struct lanemap_packed *packed = &victim->segment.packed;
        unsigned char *payload = victim_at(victim, packed->payload);
        uint64_t at = value_at(victim, position);

        for (uint32_t i = 0; i < packed->value_bits; i++, at++) {
                payload[at >> 3] &= (unsigned char)~(1u << (at & 7));
                payload[at >> 3] |= (unsigned char)((value >> i & 1) << (at & 7));
        }
}

static uint64_t value_get(const struct victim *victim, uint32_t position)
{
        return lanemap_packed_field(victim->segment.packed.payload, value_at(victim, position),
                                    victim->segment.packed.value_bits);
}

static int victim_iterate(const struct victim *victim)
{
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;
        int r;

        cr_assert_eq(cursor_init(&cursor, &victim->segment), 0);
        do {
                r = cursor.cursor.next(&cursor.cursor, &entry);
        } while (r == 0);

        cursor_deinit(&cursor);
        return r;
}

static int victim_open(const struct victim *victim)
{
        struct lanemap_segment segment;

        return lanemap_segment_open(&segment, victim->built.bytes, victim->built.n_bytes, 64);
}

static void expect_wrong(const struct victim *victim, const char *what)
{
        struct lanemap_segment_report report;

        cr_expect_eq(
                lanemap_segment_verify(victim->built.bytes, victim->built.n_bytes, 64, &report),
                -EBADMSG, "%s", what);
        cr_expect_str_eq(report.what, what);
}

static const uint32_t singles[] = {1}, lists[] = {5}, mixed[] = {1, 0, 2, 1, 200};

Test(hostile, a_wider_fingerprint_is_not_found_in_a_narrow_section)
{
        struct lanemap_segment_posting posting;
        struct lanemap_fingerprint fp;
        struct victim victim;

        victim_init(&victim, 10, singles, 1);
        fp = victim.model.entries[3].fingerprint;
        cr_expect_eq(
                lanemap_segment_find(&victim.segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN, &posting),
                0);
        fp.ext = 1;
        cr_expect_eq(
                lanemap_segment_find(&victim.segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN, &posting),
                LANEMAP_SEGMENT_E_ABSENT);
        victim_deinit(&victim);
}

/* 2^32 - 1 is no id: readers use it for nothing, and must not see it. */
Test(hostile, an_id_above_the_limit_is_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {1};
        struct lanemap_segment_posting posting;
        uint32_t *ids = malloc(sizeof(*ids));
        struct victim victim;

        ids[0] = UINT32_MAX - 1;
        model_init(&victim.model, 64, slots, 1);
        model_add(&victim.model, (struct lanemap_fingerprint){.hash = 9}, 1, ids);
        cr_assert_eq(model_build(&victim.model, &victim.built), 0);
        cr_assert_eq(
                lanemap_segment_open(&victim.segment, victim.built.bytes, victim.built.n_bytes, 64),
                0);
        cr_assert_eq(lanemap_segment_find(&victim.segment, (struct lanemap_fingerprint){.hash = 9},
                                          0, &posting),
                     0);
        value_put(&victim, 0, UINT32_MAX);
        cr_expect_eq(lanemap_segment_find(&victim.segment, (struct lanemap_fingerprint){.hash = 9},
                                          0, &posting),
                     -EBADMSG);
        cr_expect_eq(victim_iterate(&victim), -EBADMSG);
        victim_deinit(&victim);
}

Test(hostile, a_posting_whose_skip_records_do_not_fit_its_window)
{
        unsigned char bytes[8] = {0};
        struct lanemap_segment_posting posting = {.bytes = bytes, .n_bytes = 8, .n_ids = 300};

        cr_expect_eq(lanemap_segment_posting_copy(&posting, scratch), -EBADMSG);
        cr_expect_eq(lanemap_segment_posting_contains(&posting, 5), -EBADMSG);
}

Test(hostile, arrays_without_zeros_behind_them_are_refused)
{
        struct victim victim;

        victim_init(&victim, 100, mixed, 5);
        lanemap_store_le64(victim.built.bytes + SECTION_OFF(section_bytes),
                           victim.built.n_bytes - 64);
        section_sign(victim.built.bytes);
        cr_expect_eq(victim_open(&victim), -EBADMSG);
        lanemap_store_le64(victim.built.bytes + SECTION_OFF(section_bytes), victim.built.n_bytes);
        lanemap_store_le64(victim.built.bytes + SECTION_OFF(postings_bytes),
                           victim.segment.postings_bytes + 64);
        section_sign(victim.built.bytes);
        cr_expect_eq(victim_open(&victim), -EBADMSG);
        victim_deinit(&victim);
}

/* Whoever makes room for ids_max ids does so for no more than the section can hold. */
Test(hostile, the_longest_list_is_no_longer_than_the_postings)
{
        struct victim victim;

        victim_init(&victim, 100, mixed, 5);
        lanemap_store_le32(victim.built.bytes + SECTION_OFF(ids_max), 1u << 31);
        section_sign(victim.built.bytes);
        cr_expect_eq(victim_open(&victim), -EBADMSG);
        victim_deinit(&victim);
}

Test(hostile, a_directory_that_skips_or_repeats_entries)
{
        struct lanemap_segment_posting posting;
        unsigned char *record;
        struct victim victim;

        victim_init(&victim, 1000, singles, 1);
        cr_assert_gt(victim.segment.packed.n_groups, 4);
        record = victim_at(&victim, victim.segment.packed.directory) + 16;
        lanemap_store_le32(record, lanemap_load_le32(record) - 1);
        cr_expect_eq(victim_iterate(&victim), -EBADMSG);
        expect_wrong(&victim, "directory: a group does not begin where the last one ended");

        lanemap_store_le32(record, 999);
        for (size_t i = 0; i < victim.model.n_entries; i++) {
                int r = lanemap_segment_find(&victim.segment, victim.model.entries[i].fingerprint,
                                             LANEMAP_SEGMENT_RANK_UNKNOWN, &posting);

                cr_assert(r == 0 || r == LANEMAP_SEGMENT_E_ABSENT || r == -EBADMSG);
        }
        victim_deinit(&victim);
}

Test(hostile, entries_out_of_order_end_the_iteration)
{
        unsigned char *tags, tag;
        struct victim victim;

        victim_init(&victim, 1000, singles, 1);
        tags = victim_at(&victim, victim.segment.packed.tags);
        tag = tags[1];
        tags[1] = tags[2];
        tags[2] = tag;
        cr_expect_eq(victim_iterate(&victim), -EBADMSG);
        expect_wrong(&victim, "an entry is out of order or out of range");
        victim_deinit(&victim);
}

Test(hostile, padding_and_slots_are_verified)
{
        struct victim victim;

        victim_init(&victim, 10, mixed, 5);
        victim.built.bytes[victim.built.n_bytes - 1] = 1;
        expect_wrong(&victim, "padding is not zero");
        victim.built.bytes[victim.built.n_bytes - 1] = 0;

        victim_at(&victim, victim.segment.packed.tags)[10] = 1;
        expect_wrong(&victim, "padding is not zero");
        victim_at(&victim, victim.segment.packed.tags)[10] = 0;

        /* one group for 8 slots and for 7: only the recount tells */
        cr_assert_eq(victim.segment.packed.n_groups, 1);
        victim.built.bytes[SECTION_OFF(n_slots)]--;
        section_sign(victim.built.bytes);
        expect_wrong(&victim, "section header: wrong number of slots");
        victim_deinit(&victim);
}

Test(hostile, lists_lie_one_behind_the_other)
{
        struct victim victim;
        uint64_t a, b;

        victim_init(&victim, 10, lists, 1);
        a = value_get(&victim, 3), b = value_get(&victim, 4);
        value_put(&victim, 3, b);
        value_put(&victim, 4, a);
        cr_expect_eq(victim_iterate(&victim), LANEMAP_CURSOR_END, "a reader does not mind");
        expect_wrong(&victim, "a list does not lie behind the one before");
        victim_deinit(&victim);
}

Test(hostile, widths_are_the_least)
{
        struct victim victim;

        victim_init(&victim, 2, singles, 1);
        value_put(&victim, 0, 0);
        value_put(&victim, 1, 0);
        expect_wrong(&victim, "section header: the widths are not those of the entries");
        victim_deinit(&victim);
}

/* A file whose checksum is right whatever it says. */
static void file_sign(unsigned char *bytes, size_t n_bytes)
{
        struct lanemap_segment_header_file *header =
                (struct lanemap_segment_header_file *)(void *)bytes;

        memset(header->checksum, 0, sizeof(header->checksum));
        header->check = 0;
        header->table_check = htole64(lanemap_segment_check_of(
                bytes + sizeof(*header),
                le32toh(header->n_sections) * sizeof(struct lanemap_segment_table_file)));
        {
                unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];

                crypto_generichash(checksum, sizeof(checksum), bytes, n_bytes, NULL, 0);
                memcpy(header->checksum, checksum, sizeof(checksum));
        }
        header->check = htole64(lanemap_segment_check_of(header, sizeof(*header)));
}

Test(hostile, a_table_that_tells_another_story_than_the_sections)
{
        static const size_t fields[] = {offsetof(struct lanemap_segment_table_file, kind),
                                        offsetof(struct lanemap_segment_table_file, n_keys),
                                        offsetof(struct lanemap_segment_table_file, n_pairs)};
        struct lanemap_segment_report report;
        struct victim victim;
        unsigned char *bytes;
        size_t n_bytes;

        victim_init(&victim, 10, mixed, 5);
        bytes = file_of(&victim.built, LANEMAP_SEGMENT_KIND_PACKED, 64, &n_bytes);
        file_sign(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), 0, "%s", report.what);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(fields); i++) {
                size_t at = sizeof(struct lanemap_segment_header_file) + fields[i];

                bytes[at]++;
                file_sign(bytes, n_bytes);
                cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), -EBADMSG);
                cr_expect_str_eq(report.what, "table: not what the section holds");
                cr_expect_eq(report.lane, 5);
                bytes[at]--;
        }
        free(bytes);
        victim_deinit(&victim);
}

Test(hostile, sections_outside_the_file_or_over_each_other)
{
        const size_t at = sizeof(struct lanemap_segment_header_file);
        struct lanemap_segment_file file;
        struct victim victim;
        unsigned char *bytes;
        uint64_t offset;
        size_t n_bytes;

        victim_init(&victim, 10, mixed, 5);
        bytes = file_of(&victim.built, LANEMAP_SEGMENT_KIND_PACKED, 64, &n_bytes);
        offset = lanemap_load_le64(bytes + at + 16);
        {
                const uint64_t offsets[] = {0, 64, 128, offset + 64, UINT64_MAX - 63, offset + 1};

                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                        lanemap_store_le64(bytes + at + 16, offsets[i]);
                        file_sign(bytes, n_bytes);
                        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes), -EBADMSG,
                                     "offset %zu", i);
                }
        }
        lanemap_store_le64(bytes + at + 16, offset);
        file_sign(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes), 0);
        memset(bytes + n_bytes, 0, 64);
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes + 64), -EBADMSG, "grown");
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes - 64), -EBADMSG, "cut");
        free(bytes);
        victim_deinit(&victim);
}

/* The last page of a mapped file is followed by nothing: no load reaches behind it. */
Test(hostile, nothing_is_read_behind_the_last_page)
{
        long page = sysconf(_SC_PAGESIZE);
        struct lanemap_segment_posting posting;
        struct victim victim;
        size_t room;
        char *map;

        victim_init(&victim, 3000, mixed, 5);
        room = LANEMAP_ALIGN_UP(victim.built.n_bytes, (size_t)page);
        map = mmap(NULL, room + (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
        cr_assert_neq(map, MAP_FAILED);
        cr_assert_eq(mprotect(map + room, (size_t)page, PROT_NONE), 0);
        memcpy(map + room - victim.built.n_bytes, victim.built.bytes, victim.built.n_bytes);
        cr_assert_eq(lanemap_segment_open(&victim.segment, map + room - victim.built.n_bytes,
                                          victim.built.n_bytes, 64),
                     0);
        for (size_t i = 0; i < victim.model.n_entries; i++) {
                cr_assert_eq(lanemap_segment_find(&victim.segment,
                                                  victim.model.entries[i].fingerprint,
                                                  LANEMAP_SEGMENT_RANK_UNKNOWN, &posting),
                             0);
                cr_assert_eq(lanemap_segment_posting_copy(&posting, scratch), 0);
        }
        cr_expect_eq(victim_iterate(&victim), LANEMAP_CURSOR_END);
        munmap(map, room + (size_t)page);
        victim_deinit(&victim);
}
