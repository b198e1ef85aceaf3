/* Views that are kept decoded: P7 to P9 of shm/kept_read.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/guard.h"
#include "shm/kept_read.h"
#include "shm/read.h"

TestSuite(shm_kept, .timeout = 60);

#define WORD   UINT64_C(4096)
#define SERIAL UINT64_C(3)

static const unsigned char bytes[64];
static struct lanemap_segment segments[2];

static const struct lanemap_lane_levels some = {
        .active = {.first = bytes, .mask = 7},
        .cell_bytes = 16,
        .n_segments = 2,
        .has_frozen = true,
        .segments = {&segments[0], &segments[1]},
        .frozen = {.first = bytes + 16, .mask = 15},
};

static bool is_some(const struct lanemap_lane_levels *levels)
{
        return levels->active.first == bytes && levels->active.mask == 7 &&
               levels->cell_bytes == 16 && levels->n_segments == 2 && levels->has_frozen &&
               levels->segments[0] == &segments[0] && levels->segments[1] == &segments[1] &&
               levels->frozen.first == bytes + 16 && levels->frozen.mask == 15;
}

Test(shm_kept, is_of_one_word_and_one_table)
{
        struct lanemap_shm_kept *kept = lanemap_shm_kept_new(3);
        struct lanemap_lane_levels levels = {.n_segments = 0};
        uint64_t epoch;

        cr_assert(kept);
        for (uint64_t serial = 0; serial < 2; serial++)
                cr_expect(!lanemap_shm_kept_get(&kept[2], 0, serial, &levels, &epoch),
                          "a lane without a view");

        lanemap_shm_kept_put(&kept[1], WORD, SERIAL, 9, &some);
        cr_assert(lanemap_shm_kept_get(&kept[1], WORD, SERIAL, &levels, &epoch));
        cr_expect(is_some(&levels));
        cr_expect_eq(epoch, 9);
        cr_expect(!lanemap_shm_kept_get(&kept[1], WORD + 64, SERIAL, &levels, &epoch));
        cr_expect(!lanemap_shm_kept_get(&kept[1], WORD, SERIAL + 1, &levels, &epoch));
        cr_expect(!lanemap_shm_kept_get(&kept[0], WORD, SERIAL, &levels, &epoch));

        lanemap_shm_kept_put(&kept[1], WORD, SERIAL + 1, 10, &some);
        cr_expect(!lanemap_shm_kept_get(&kept[1], WORD, SERIAL, &levels, &epoch));
        cr_expect(lanemap_shm_kept_get(&kept[1], WORD, SERIAL + 1, &levels, &epoch));
        cr_expect_eq(epoch, 10);
        free(kept);
}

Test(shm_kept, is_not_seen_while_it_is_written)
{
        struct lanemap_shm_kept *kept = lanemap_shm_kept_new(1);
        struct lanemap_lane_levels levels = {.n_segments = 0};
        uint64_t epoch;

        lanemap_shm_kept_put(kept, WORD, SERIAL, 9, &some);
        kept->sequence++;
        cr_expect(!lanemap_shm_kept_get(kept, WORD, SERIAL, &levels, &epoch));

        /* Nobody else writes meanwhile. */
        lanemap_shm_kept_put(kept, WORD + 64, SERIAL, 10, &some);
        cr_expect_eq(kept->word, WORD);
        cr_expect_eq(kept->sequence & 1, 1);
        kept->sequence++;
        cr_expect(lanemap_shm_kept_get(kept, WORD, SERIAL, &levels, &epoch));
        free(kept);
}

/* Two decodings, put by turns under one word until `stop`: each has one number in all its words. */
struct putter {
        struct lanemap_shm_kept *kept;
        bool stop;
};

static void *put_by_turns(void *arg)
{
        struct putter *putter = arg;

        for (uint64_t i = 0; !lanemap_load_relaxed(&putter->stop); i++) {
                struct lanemap_lane_levels levels = {
                        .active = {.first = bytes + i % 2, .mask = i % 2},
                        .n_segments = 2,
                        .has_frozen = true,
                        .segments = {&segments[i % 2], &segments[i % 2]},
                        .frozen = {.first = bytes + i % 2, .mask = i % 2},
                };

                lanemap_shm_kept_put(putter->kept, WORD, SERIAL, i % 2, &levels);
        }
        return NULL;
}

Test(shm_kept, words_of_two_decodings_are_never_mixed)
{
        struct putter putter = {.kept = lanemap_shm_kept_new(1)};
        struct lanemap_lane_levels levels = {.n_segments = 0};
        uint64_t n_seen[2] = {0}, epoch;
        pthread_t thread;

        cr_assert_eq(pthread_create(&thread, NULL, put_by_turns, &putter), 0);
        while (n_seen[0] < 5000000 || n_seen[1] < 5000000) {
                if (!lanemap_shm_kept_get(putter.kept, WORD, SERIAL, &levels, &epoch))
                        continue;

                cr_assert(levels.active.mask == epoch && levels.frozen.mask == epoch &&
                          levels.active.first == bytes + epoch &&
                          levels.frozen.first == bytes + epoch &&
                          levels.segments[0] == &segments[epoch] &&
                          levels.segments[1] == &segments[epoch]);
                n_seen[epoch]++;
        }
        lanemap_store_relaxed(&putter.stop, true);
        pthread_join(thread, NULL);
        free(putter.kept);
}

/* The thread that was writing is not in the child; the place is. */
Test(shm_kept, a_vanished_writer_is_replaced_after_a_fork)
{
        struct lanemap_shm_kept *kept = lanemap_shm_kept_new(1);
        struct lanemap_lane_levels levels = {.n_segments = 0};
        uint64_t epoch, parents;
        int status;
        pid_t pid;

        lanemap_guard_init();
        lanemap_shm_kept_put(kept, WORD, SERIAL, 9, &some);
        kept->sequence++;
        parents = kept->sequence;
        pid = fork();
        cr_assert(pid >= 0);
        if (pid == 0) {
                lanemap_guard_fork_child();
                lanemap_shm_kept_put(kept, WORD + 64, SERIAL, 10, &some);
                if (kept->sequence == parents ||
                    !lanemap_shm_kept_get(kept, WORD + 64, SERIAL, &levels, &epoch))
                        _exit(1);
                lanemap_shm_kept_put(kept, WORD, SERIAL, 11, &some);
                _exit(!lanemap_shm_kept_get(kept, WORD, SERIAL, &levels, &epoch) || epoch != 11);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect_eq(status, 0);
        cr_expect_eq(kept->sequence, parents);
        free(kept);
}
