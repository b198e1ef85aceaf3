/* Postings against a sorted array, with failing allocations, and against bytes that are anything.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/posting_node_write.h"
#include "overlay/posting_write.h"
#include "plain_arena.h"

#define IDS_MAX 40000

static struct plain_arena arena;
static uint32_t model[IDS_MAX];
static size_t n_model;
static uint64_t seed;

static uint64_t random_next(void)
{
        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
        return seed;
}

static void setup(void)
{
        plain_arena_init(&arena);
        n_model = 0;
        seed = UINT64_C(0x5eed0000) + 1;
}

static void teardown(void)
{
        plain_arena_deinit(&arena);
}

TestSuite(posting, .init = setup, .fini = teardown, .timeout = 120);

static size_t model_find(uint32_t id)
{
        size_t low = 0, high = n_model;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (model[middle] < id)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static bool model_toggle(uint32_t id)
{
        size_t at = model_find(id);
        bool there = at < n_model && model[at] == id;

        if (there)
                memmove(&model[at], &model[at + 1], (--n_model - at) * sizeof(*model));
        else {
                memmove(&model[at + 1], &model[at], (n_model++ - at) * sizeof(*model));
                model[at] = id;
        }
        return !there;
}

/* The ids of a value word where they are, from the leaf of `from` on. Return: how many, or a
 * negative errno. */
static int64_t walk(const struct lanemap_window *window, uint64_t value, uint32_t from,
                    uint32_t *ids, size_t capacity)
{
        struct lanemap_overlay_walk walk;
        const uint32_t *chunk = NULL;
        int64_t n_ids = 0;
        uint32_t n = 0;
        int r;

        r = lanemap_overlay_walk_begin(window, value, &walk);
        if (r == 0 && from > 0)
                r = lanemap_overlay_walk_seek(window, &walk, from);
        if (r < 0)
                return r;
        while ((r = lanemap_overlay_walk_next(window, &walk, &chunk, &n)) == 1) {
                cr_assert(n > 0 && n <= LANEMAP_OVERLAY_LEAF_IDS_MAX);
                for (uint32_t i = 0; i < n && (size_t)n_ids + i < capacity; i++)
                        ids[n_ids + i] = chunk[i];
                n_ids += n;
        }
        return r < 0 ? r : n_ids;
}

/* From the leaf of `from` on: the first chunk has it or its place, and all that is more comes. */
static void expect_suffix(const struct lanemap_window *window, uint64_t value, uint32_t from)
{
        struct lanemap_overlay_walk walk;
        const uint32_t *chunk = NULL;
        size_t at = model_find(from);
        uint32_t n = 0;
        int r;

        cr_assert_eq(lanemap_overlay_walk_begin(window, value, &walk), 0);
        cr_assert_eq(lanemap_overlay_walk_seek(window, &walk, from), 0);
        for (bool first = true; (r = lanemap_overlay_walk_next(window, &walk, &chunk, &n)) == 1;
             first = false)
                for (uint32_t i = 0; i < n; i++) {
                        if (chunk[i] < from)
                                cr_assert(first);
                        else
                                cr_assert(at < n_model && chunk[i] == model[at++]);
                }
        cr_assert_eq(r, 0);
        cr_assert_eq(at, n_model);
}

static void expect_equals_model(uint64_t value)
{
        static uint32_t ids[IDS_MAX];
        struct lanemap_window window = {.base = arena.arena.base, .bytes = arena.used_bytes};
        uint64_t count;
        size_t n_ids;

        cr_assert_eq(lanemap_overlay_posting_count(&window, value, &count), 0);
        cr_assert_eq(count, n_model);
        cr_assert_eq(lanemap_overlay_posting_copy(&window, value, ids, IDS_MAX, &n_ids), 0);
        cr_assert_eq(n_ids, n_model);
        cr_assert_eq(memcmp(ids, model, n_model * sizeof(*ids)), 0);
        memset(ids, 0, n_ids * sizeof(*ids));
        cr_assert_eq(walk(&window, value, 0, ids, IDS_MAX), (int64_t)n_model);
        cr_assert_eq(memcmp(ids, model, n_model * sizeof(*ids)), 0);
        for (int i = 0; i < 20; i++) {
                uint32_t id = (uint32_t)(random_next() % (2 * IDS_MAX));
                size_t at = model_find(id);

                cr_assert_eq(lanemap_overlay_posting_contains(&window, value, id),
                             at < n_model && model[at] == id);
                expect_suffix(&window, value, id);
        }
        expect_suffix(&window, value, 0);
        expect_suffix(&window, value, UINT32_MAX);
}

static uint64_t toggle(uint64_t value, uint32_t id)
{
        struct lanemap_posting_change change;
        uint64_t fail_after = 1;
        int r;

        /* Every allocation of the change fails once; nothing may be left behind. */
        for (bool inserted = model_toggle(id);; fail_after++) {
                uint64_t n_live = arena.n_live;

                arena.fail_after = fail_after;
                r = inserted ? lanemap_posting_prepare_insert(&arena.arena, value, id, &change)
                             : lanemap_posting_prepare_remove(&arena.arena, value, id, &change);
                arena.fail_after = 0;
                if (r == 0)
                        break;
                cr_assert_eq(r, -ENOSPC);
                cr_assert_eq(arena.n_live, n_live, "a failed change leaked blocks");
        }

        lanemap_posting_commit(&arena.arena, &change);
        return change.value;
}

/* Grows to thousands of ids and shrinks to none, by random ids: both conversions, splits and joins
 * at every height. */
Test(posting, random_inserts_and_removes_equal_a_sorted_array)
{
        uint64_t value = LANEMAP_OVERLAY_TAG_TOMBSTONE;

        for (uint32_t step = 0; step < 60000; step++) {
                bool shrink = step > 30000;
                uint32_t id = (uint32_t)(random_next() % (2 * IDS_MAX));

                if (shrink && n_model > 0)
                        id = model[random_next() % n_model];
                else if (shrink)
                        break;
                value = toggle(value, id);
                if (step % 500 == 0 || n_model < 3)
                        expect_equals_model(value);
        }

        expect_equals_model(value);
        cr_assert_eq(n_model, 0);
        cr_assert_eq(value & LANEMAP_OVERLAY_TAG_KIND_MASK, LANEMAP_OVERLAY_TAG_TOMBSTONE);
        cr_assert_eq(arena.n_live, 0, "an empty posting holds no block");
}

Test(posting, ascending_ids_fill_their_leaves)
{
        uint64_t value = LANEMAP_OVERLAY_TAG_TOMBSTONE;

        for (uint32_t id = 0; id < 30000; id++)
                value = toggle(value, id);
        expect_equals_model(value);
        cr_assert_lt(arena.live_bytes, 30000 * 4 * 11 / 10);
        cr_assert_eq(arena.live_bytes, lanemap_posting_bytes(&arena.arena, value));
}

/* The tree of the model. */
static uint64_t long_value_build(void)
{
        struct lanemap_posting_change change;

        cr_assert_eq(lanemap_posting_prepare_build(&arena.arena, 0, model, n_model, false, &change),
                     0);
        (void)lanemap_posting_commit(&arena.arena, &change);
        return change.value;
}

/* ---- many ids at once ---- */

static int ids_compare(const void *a, const void *b)
{
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return left < right ? -1 : left > right;
}

/* Distinct ids, ascending; each comes or goes, as the model has it. A third of the edits are a run
 * of neighbours; `leaves`: only what is there. */
static size_t edit_pick(size_t n, bool leaves, uint32_t *ids)
{
        uint32_t first = (uint32_t)(random_next() % (2 * IDS_MAX));
        bool is_run = random_next() % 3 == 0;
        size_t n_distinct = 0;

        for (size_t i = 0; i < n; i++)
                ids[i] = leaves   ? model[(is_run ? first + i : random_next()) % n_model]
                         : is_run ? (uint32_t)((first + i) % (2 * IDS_MAX))
                                  : (uint32_t)(random_next() % (2 * IDS_MAX));
        qsort(ids, n, sizeof(*ids), ids_compare);
        for (size_t i = 0; i < n; i++)
                if (n_distinct == 0 || ids[n_distinct - 1] != ids[i])
                        ids[n_distinct++] = ids[i];
        return n_distinct;
}

/* Every allocation of the edit fails once; nothing may be left behind. */
static uint64_t edit_prepare(uint64_t value, const struct lanemap_posting_edit *edit,
                             struct lanemap_posting_blocks *made,
                             struct lanemap_posting_blocks *dropped)
{
        uint64_t fail_after = 1, new_value = 0, n_live = arena.n_live;

        for (;; fail_after += 1 + fail_after / 8) {
                int r;

                arena.fail_after = fail_after;
                r = lanemap_posting_prepare_edit(&arena.arena, value, edit, made, dropped,
                                                 &new_value);
                arena.fail_after = 0;
                if (r == 0)
                        return new_value;
                cr_assert_eq(r, -ENOSPC);
                cr_assert_eq(arena.n_live, n_live, "a failed edit leaked blocks");
                cr_assert_eq(made->n + dropped->n, 0);
        }
}

/* Return: the value after an edit of about n ids. */
static uint64_t edit_run(uint64_t value, size_t n, bool leaves)
{
        static uint32_t ids[IDS_MAX], added[IDS_MAX], removed[IDS_MAX];
        struct lanemap_posting_blocks made = {0}, dropped = {0};
        struct lanemap_posting_edit edit = {.added = added, .removed = removed};
        struct lanemap_posting_change change;
        uint64_t n_retired = arena.n_retired;

        n = edit_pick(n, leaves, ids);
        for (size_t i = 0; i < n; i++) {
                if (model_toggle(ids[i]))
                        added[edit.n_added++] = ids[i];
                else
                        removed[edit.n_removed++] = ids[i];
        }
        cr_assert(lanemap_posting_edits_in_place(value, n_model));
        lanemap_posting_change_init(&change, value, false);
        change.value = edit_prepare(value, &edit, &made, &dropped);
        change.more_new = made.items;
        change.n_more_new = made.n;
        change.more_old = dropped.items;
        change.n_more_old = dropped.n;
        (void)lanemap_posting_commit(&arena.arena, &change);
        cr_assert_eq(arena.n_retired - n_retired, dropped.n);
        lanemap_posting_blocks_deinit(&made);
        lanemap_posting_blocks_deinit(&dropped);
        return change.value;
}

/* From hundreds of ids to tens of thousands and back, by edits of one id to thousands: splits and
 * joins at every height, and every block accounted for. */
Test(posting, edits_of_many_ids_equal_a_sorted_array)
{
        uint64_t value;

        for (n_model = 0; n_model < 500; n_model++)
                model[n_model] = (uint32_t)n_model * 3;
        value = long_value_build();
        for (uint32_t round = 0; round < 120; round++) {
                bool leaves = round > 70;
                size_t n = 1 + random_next() % (random_next() % 3 == 0 ? 3000 : 12);

                if (leaves && n_model < 200 + n)
                        break;
                value = edit_run(value, n, leaves);
                expect_equals_model(value);
                cr_assert_eq(arena.live_bytes, lanemap_posting_bytes(&arena.arena, value));
                /* Joined as by single removals: a node in four fuller than a quarter, at least. */
                cr_assert_leq(arena.live_bytes, 16 * 4 * n_model + 4096);
        }
}

/* Each touched node is copied once: so many ids of one leaf cost what one of them does. */
Test(posting, an_edit_copies_each_touched_node_once)
{
        struct lanemap_posting_blocks made = {0}, dropped = {0};
        uint32_t removed[64];
        struct lanemap_posting_edit edit = {.removed = removed};
        uint64_t value;

        for (n_model = 0; n_model < IDS_MAX; n_model++)
                model[n_model] = (uint32_t)n_model;
        value = long_value_build();
        for (; edit.n_removed < 64; edit.n_removed++)
                removed[edit.n_removed] = 20010 + (uint32_t)edit.n_removed;
        cr_assert_eq(
                lanemap_posting_prepare_edit(&arena.arena, value, &edit, &made, &dropped, &value),
                0);
        /* A leaf or two, two nodes above them, the head. */
        cr_expect_leq(made.n, 5, "%zu", made.n);
        cr_expect_leq(dropped.n, 5, "%zu", dropped.n);
        lanemap_posting_blocks_deinit(&made);
        lanemap_posting_blocks_deinit(&dropped);
}

/* A tree of the greatest height whose nodes on the way to one leaf are full: one id more would
 * split them all. What is beside that way is one and the same leaf. */
static uint64_t highest_posting_make(void)
{
        struct lanemap_overlay_child_shm children[LANEMAP_OVERLAY_INNER_MAX], way, beside;
        uint32_t ids[LANEMAP_OVERLAY_LEAF_IDS_MAX];
        uint64_t head_off;

        for (uint32_t i = 0; i < LANEMAP_OVERLAY_LEAF_IDS_MAX; i++)
                ids[i] = 2 * i;
        cr_assert_eq(
                lanemap_posting_leaf_new(&arena.arena, ids, LANEMAP_OVERLAY_LEAF_IDS_MAX, &way), 0);
        ids[0] = 1000000;
        cr_assert_eq(lanemap_posting_leaf_new(&arena.arena, ids, 1, &beside), 0);
        for (uint32_t height = 1; height <= LANEMAP_OVERLAY_TREE_HEIGHT_MAX; height++) {
                for (uint32_t i = 0; i < LANEMAP_OVERLAY_INNER_MAX; i++)
                        children[i] = i == 0 ? way : beside;
                cr_assert_eq(lanemap_posting_inner_new(&arena.arena, height, children,
                                                       LANEMAP_OVERLAY_INNER_MAX, &way),
                             0);
        }
        cr_assert_eq(lanemap_posting_head_new(&arena.arena, 1 << 30, way.off, &head_off), 0);
        return head_off | LANEMAP_OVERLAY_TAG_LONG;
}

Test(posting, a_tree_that_would_be_too_high_takes_no_id_more)
{
        uint64_t value = highest_posting_make(), n_live = arena.n_live;
        struct lanemap_posting_change change;

        cr_expect_eq(lanemap_posting_prepare_insert(&arena.arena, value, 101, &change), -ENOSPC);
        cr_expect_eq(arena.n_live, n_live, "a refused change leaked blocks");

        /* One id less, and there is room for one more. */
        cr_assert_eq(lanemap_posting_prepare_remove(&arena.arena, value, 100, &change), 0);
        (void)lanemap_posting_commit(&arena.arena, &change);
        value = change.value;
        cr_expect_eq(lanemap_posting_prepare_insert(&arena.arena, value, 101, &change), 0);
        (void)lanemap_posting_commit(&arena.arena, &change);
}

/* What a change of a tree of three levels may make: two nodes a level and a head; dropped: as many,
 * since a neighbour may be taken in. */
#define CHANGE_BYTES_MAX                                                                    \
        (2 * (sizeof(struct lanemap_overlay_node_shm) + 4 * LANEMAP_OVERLAY_LEAF_IDS_MAX) + \
         2 * (sizeof(struct lanemap_overlay_node_shm) + 16 * LANEMAP_OVERLAY_INNER_MAX) +   \
         sizeof(struct lanemap_overlay_node_shm) + 16 * 8 +                                 \
         sizeof(struct lanemap_overlay_long_shm))

static uint64_t long_posting_build(uint32_t n_ids)
{
        struct lanemap_posting_change change;
        uint32_t *ids = malloc(n_ids * sizeof(*ids));

        for (uint32_t i = 0; i < n_ids; i++)
                ids[i] = 4 * i;
        cr_assert_eq(lanemap_posting_prepare_build(&arena.arena, 0, ids, n_ids, false, &change), 0);
        lanemap_posting_commit(&arena.arena, &change);
        free(ids);
        return change.value;
}

/* Return: bytes of the blocks that the change made. */
static uint64_t change_count(bool insert, uint32_t id, uint64_t *value)
{
        struct lanemap_posting_change change;
        uint64_t made = 0, dropped = 0, before = arena.used_bytes;

        cr_assert_eq(insert ? lanemap_posting_prepare_insert(&arena.arena, *value, id, &change)
                            : lanemap_posting_prepare_remove(&arena.arena, *value, id, &change),
                     0);
        cr_assert(!change.built_whole_new && !change.replaces_whole_old);
        for (uint32_t i = 0; i < change.n_new_blocks; i++)
                made += change.new_blocks[i].bytes;
        for (uint32_t i = 0; i < change.n_old_blocks; i++)
                dropped += change.old_blocks[i].bytes;
        cr_assert_leq(arena.used_bytes - before, made + change.n_new_blocks * LANEMAP_ARENA_ALIGN,
                      "blocks not accounted for");
        cr_assert_leq(made, CHANGE_BYTES_MAX, "id %u: %lu bytes made", id, made);
        cr_assert_leq(dropped, CHANGE_BYTES_MAX, "id %u: %lu bytes dropped", id, dropped);
        lanemap_posting_commit(&arena.arena, &change);
        *value = change.value;
        return made;
}

/* Counted, not timed: every change of a posting of 100,000 ids copies at most two nodes a level,
 * and a node and a half a level on the average; ids at random, in order, and all into one place. */
Test(posting, a_change_of_a_long_posting_copies_a_bounded_path)
{
        uint64_t value = long_posting_build(100000), made = 0;
        uint32_t n = 0;

        for (uint32_t i = 0; i < 3000; i++, n += 2) {
                uint32_t id = 4 * (uint32_t)(random_next() % 100000) + 1;

                made += change_count(true, id, &value);
                made += change_count(false, id, &value);
        }
        for (uint32_t i = 0; i < 3000; i++, n++)
                made += change_count(true, 400000 + i, &value);
        for (uint32_t i = 0; i < 20000; i++, n++)
                made += change_count(true, 4 * i + 2, &value);
        for (uint32_t i = 0; i < 20000; i++, n++)
                made += change_count(false, 4 * i, &value);

        cr_expect_leq(made / n, CHANGE_BYTES_MAX * 3 / 4, "%lu bytes a change", made / n);
        cr_assert_eq(arena.live_bytes, lanemap_posting_bytes(&arena.arena, value));
}

/* The first touch after a flush: the ids once, and a twentieth for the nodes. */
Test(posting, a_long_posting_is_built_once_over)
{
        uint64_t value = long_posting_build(100000);

        cr_assert_eq(arena.live_bytes, lanemap_posting_bytes(&arena.arena, value));
        cr_assert_leq(arena.used_bytes, 100000 * sizeof(uint32_t) * 21 / 20);
        cr_assert_eq(arena.n_retired, 0);
}

Test(posting, building_survives_a_failure_of_every_allocation)
{
        static const size_t lengths[] = {0, 1, 2, 126, 127, 254, 255, 5000, 20000};
        struct lanemap_posting_change change;

        for (size_t l = 0; l < LANEMAP_N_ELEMENTS(lengths); l++) {
                n_model = lengths[l];
                for (uint32_t i = 0; i < n_model; i++)
                        model[i] = 2 * i + 1;
                for (uint64_t n = 1;; n++) {
                        int r;

                        arena.fail_after = n;
                        r = lanemap_posting_prepare_build(&arena.arena, 0, model, n_model, true,
                                                          &change);
                        arena.fail_after = 0;
                        if (r == 0)
                                break;
                        cr_assert_eq(arena.n_live, 0, "length %zu, allocation %lu", n_model, n);
                }
                cr_assert(change.value & LANEMAP_OVERLAY_TAG_FRESH);
                expect_equals_model(change.value);
                lanemap_posting_abort(&arena.arena, &change);
                cr_assert_eq(arena.n_live, 0);
        }
}

/* O2: any bytes give an answer or -EBADMSG, inside the window, after a bounded number of steps. */
Test(posting, bytes_that_are_anything_never_leave_the_window)
{
        static uint32_t out[4096];
        size_t bytes = 4096, n_ids;
        unsigned char *block = malloc(bytes);
        struct lanemap_window window = {.base = block, .bytes = bytes};
        uint64_t count;

        for (int round = 0; round < 300000; round++) {
                uint64_t value = random_next() % (2 * bytes), word;

                for (size_t i = 0; i < 8; i++) {
                        size_t at = random_next() % (bytes / 8) * 8;

                        word = round % 3 ? random_next() % 4096 : random_next();
                        if (round % 2)
                                word = (random_next() % 64) | (random_next() % 4) << 32;
                        memcpy(block + at, &word, 8);
                }
                lanemap_overlay_posting_count(&window, value, &count);
                lanemap_overlay_posting_copy(&window, value, out, 4096, &n_ids);
                walk(&window, value, 0, out, 4096);
                walk(&window, value, (uint32_t)random_next(), out, 4096);
                lanemap_overlay_posting_contains(&window, value, (uint32_t)random_next());
        }
        free(block);
}
