/*
 * Pages of mapped segment files that cannot be read (UM1 to UM7 in verify/mapping.h): a file is cut
 * short under its mapping, so that the kernel sends SIGBUS as it does for a media error. No
 * lookup may say "absent" of a key that is there, no job may write what it has not read, and
 * everything that lies elsewhere goes on.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/order.h"
#include "damage.h"
#include "support/engine_fixture.h"

TestSuite(writer_bus_error, .timeout = 120);

#define N_KEYS 20000
#define PAGE   4096

struct place {
        struct fixture fixture;
        char serve_from[300];
        struct lanemap_files files;

        /* The file that is cut short when the next segment file is begun. */
        bool cut_at_build; /* atomic */
        bool was_cut;      /* atomic */
        char path[512];
        uint64_t n_left;
};

/* ---- the program's part ---- */

static void bus_error(int number, siginfo_t *info, void *context)
{
        if (!lanemap_writer_bus_error(info->si_addr))
                _exit(77);
}

static void handler_install(void)
{
        struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO};

        sigemptyset(&action.sa_mask);
        cr_assert_eq(sigaction(SIGBUS, &action, NULL), 0);
}

/* ---- the place ---- */

static int open_and_cut(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                        mode_t mode)
{
        struct place *place =
                LANEMAP_CONTAINER_OF((struct lanemap_files *)(uintptr_t)files, struct place, files);

        if (strncmp(name, "tmp-seg", 7) == 0 && (flags & O_CREAT) &&
            __atomic_exchange_n(&place->cut_at_build, false, __ATOMIC_ACQ_REL)) {
                cr_assert_eq(truncate(place->path, (off_t)place->n_left), 0);
                lanemap_store_release(&place->was_cut, true);
        }
        return lanemap_files_posix.open(files, dir_fd, name, flags, mode);
}

static void key_of(uint32_t i, char key[16])
{
        snprintf(key, 16, "key-%06u", i);
}

/* The keys of [0, n) whose number is a multiple of step get the id. */
static void keys_add(struct place *place, uint32_t n, uint32_t step, uint32_t id)
{
        char keys[500][16];
        struct lanemap_op ops[500];
        uint32_t n_ops = 0;

        for (uint32_t i = 0; i < n; i += step) {
                key_of(i, keys[n_ops]);
                ops[n_ops] = (struct lanemap_op){LANEMAP_OP_ADD, id, keys[n_ops], 10};
                if (++n_ops < 500 && i + step < n)
                        continue;
                cr_assert_eq(engine_apply_durably(place->fixture.writer, ops, n_ops), 0);
                n_ops = 0;
        }
}

static void place_make(struct place *place, uint32_t n_lanes)
{
        *place = (struct place){.files = lanemap_files_posix};
        fixture_init(&place->fixture, "bus");
        place->fixture.options.n_lanes = n_lanes;
        place->fixture.options.flush_bytes = UINT64_C(1) << 30;
        place->fixture.options.scrub_bytes_per_second = UINT64_MAX;
        fixture_log(&place->fixture, LOG_CRIT);
        place->files.open = open_and_cut;
        place->fixture.hooks.files = &place->files;
        handler_install();
        fixture_open(&place->fixture);
}

static void place_init(struct place *place)
{
        place_make(place, 4);
        keys_add(place, N_KEYS, 1, 7);
        cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(damage_segment_path(place->fixture.scratch.directory, 0, place->path,
                                      sizeof(place->path)));
}

static void place_deinit(struct place *place)
{
        fixture_close(&place->fixture);
        if (place->serve_from[0])
                scratch_remove_tree(place->serve_from);
        fixture_deinit(&place->fixture);
}

/* ---- damage, and its repair by whoever did it ---- */

static unsigned char *file_load(const char *path, uint64_t *ret_n_bytes)
{
        uint64_t n_bytes = damage_file_bytes(path);
        unsigned char *bytes = malloc(n_bytes);
        int fd = open(path, O_RDONLY);

        cr_assert(bytes && fd >= 0 && pread(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
        close(fd);
        *ret_n_bytes = n_bytes;
        return bytes;
}

static void file_store(const char *path, const unsigned char *bytes, uint64_t n_bytes)
{
        int fd = open(path, O_WRONLY);

        cr_assert(fd >= 0 && pwrite(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes);
        close(fd);
}

/* Half of it, to a page: no rest of a page without a signal. */
static void file_cut(struct place *place)
{
        place->n_left = damage_file_bytes(place->path) / 2 / PAGE * PAGE;
        cr_assert_gt(place->n_left, 0);
        cr_assert_eq(truncate(place->path, (off_t)place->n_left), 0);
}

/* ---- what is expected ---- */

struct outcome {
        uint32_t n_right;
        uint32_t n_refused; /* -EBADMSG */
        uint32_t n_wrong;
};

/* Every key has the id `other`, or not, by whether its number is a multiple of step; and 7. */
static struct outcome keys_look(struct place *place, uint32_t step, uint32_t other)
{
        struct outcome outcome = {0};
        char key[16];

        for (uint32_t i = 0; i < N_KEYS; i++) {
                size_t n_ids, n_want = step && i % step == 0 ? 2 : 1;
                uint32_t ids[4];
                int r, c;

                key_of(i, key);
                r = lanemap_writer_lookup(place->fixture.writer, key, 10, ids, 4, &n_ids, NULL);
                c = lanemap_writer_contains(place->fixture.writer, key, 10, 7, NULL);
                if (r == -EBADMSG && c == -EBADMSG)
                        outcome.n_refused++;
                else if (r == 0 && c == 1 && n_ids == n_want && ids[0] == 7 &&
                         (n_want == 1 || ids[1] == other))
                        outcome.n_right++;
                else
                        outcome.n_wrong++;
        }

        return outcome;
}

static uint64_t degraded(const struct place *place)
{
        struct lanemap_writer_stats stats;

        engine_stats(place->fixture.writer, &stats);
        return stats.degraded;
}

static bool becomes_degraded(const struct place *place, uint64_t what)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        for (uint32_t i = 0; i < 2000 && degraded(place) != what; i++)
                nanosleep(&pause, NULL);
        return degraded(place) == what;
}

/* ---- tests ---- */

Test(writer_bus_error, a_key_that_is_there_is_never_said_to_be_absent)
{
        struct place place;
        struct outcome outcome;
        const char *name;

        place_init(&place);
        file_cut(&place);
        outcome = keys_look(&place, 0, 0);
        cr_expect_eq(outcome.n_wrong, 0, "%u answers are wrong", outcome.n_wrong);
        cr_expect_gt(outcome.n_refused, 0);
        cr_expect_gt(outcome.n_right, 0, "what lies elsewhere is answered");

        cr_expect(becomes_degraded(&place, 1));
        name = strrchr(place.path, '/') + 1;
        pthread_mutex_lock(&place.fixture.lock);
        cr_expect(strstr(place.fixture.lines, name) && strstr(place.fixture.lines, "offset") &&
                          strstr(place.fixture.lines, "lane") &&
                          strstr(place.fixture.lines, "cut short"),
                  "%s", place.fixture.lines);
        pthread_mutex_unlock(&place.fixture.lock);
        place_deinit(&place);
}

Test(writer_bus_error, operations_on_damaged_keys_are_refused_and_others_applied)
{
        struct place place;
        uint32_t n_applied = 0, n_refused = 0, n_other = 0;
        char key[16];

        place_init(&place);
        file_cut(&place);
        for (uint32_t i = 0; i < N_KEYS; i += 10) {
                int r;

                key_of(i, key);
                r = engine_add(place.fixture.writer, key, 9);
                n_applied += r == 0;
                n_refused += r == -EBADMSG;
                n_other += r != 0 && r != -EBADMSG;
        }
        cr_expect_gt(n_applied, 0);
        cr_expect_gt(n_refused, 0);
        cr_expect_eq(n_other, 0);
        cr_expect_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);
        place_deinit(&place);
}

#define N_LIST 120
#define ID(i)  ((i)*40000)

/* An index whose one file ends with a list that goes over the last page's beginning, by some ten
 * bytes or more on either side: read as zeros, its rest is a list as well, of other ids. */
static void list_place(struct place *place)
{
        struct damage_section section;
        uint32_t n_keys = 0;

        for (uint32_t i = 0; i < N_LIST; i++)
                cr_assert_eq(engine_add(place->fixture.writer, "list", ID(i)), 0);
        do {
                cr_assert_lt(n_keys, 4000);
                keys_add(place, n_keys += 8, 1, 7);
                cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
                cr_assert(damage_segment_path(place->fixture.scratch.directory, 0, place->path,
                                              sizeof(place->path)));
                damage_section_of(place->path, 0, &section);
                place->n_left = section.end_off / PAGE * PAGE;
        } while (section.postings_off + 10 > place->n_left ||
                 section.postings_off + section.postings_bytes < place->n_left + 10);
}

static bool list_is_right(struct place *place)
{
        uint32_t ids[2 * N_LIST];
        size_t n_ids = 0;

        cr_assert_eq(lanemap_writer_lookup(place->fixture.writer, "list", 4, ids, 2 * N_LIST,
                                           &n_ids, NULL),
                     0);
        for (uint32_t i = 0; i < N_LIST && n_ids == N_LIST; i++)
                if (ids[i] != ID(i))
                        return false;
        return n_ids == N_LIST;
}

/* A file that was found sound a moment ago is not checked again before a flush takes it in: its
 * last page goes away while the flush runs. What was read as zeros must not take the file's
 * place. */
Test(writer_bus_error, a_build_that_met_such_a_page_is_void)
{
        struct place place;
        unsigned char *bytes;
        uint64_t n_bytes;

        place_make(&place, 1);
        list_place(&place);
        keys_add(&place, 4000, 1, 9);
        bytes = file_load(place.path, &n_bytes);
        lanemap_store_release(&place.cut_at_build, true);
        cr_expect_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLUSH), 0,
                     "without that file");
        cr_assert(lanemap_load_acquire(&place.was_cut), "a build has begun");
        cr_expect(becomes_degraded(&place, 1));
        fixture_close(&place.fixture);

        /* Nothing of it is lost: with the file as it was, all is there. */
        cr_assert_eq(access(place.path, F_OK), 0, "the file is still an input");
        file_store(place.path, bytes, n_bytes);
        free(bytes);
        fixture_open(&place.fixture);
        cr_expect(list_is_right(&place));
        place_deinit(&place);
}

/* The same where a lookup or an operation meets the page. */
Test(writer_bus_error, a_list_whose_end_cannot_be_read_is_no_list)
{
        uint32_t ids[2 * N_LIST];
        struct place place;
        size_t n_ids;

        place_make(&place, 1);
        list_place(&place);
        cr_assert_eq(truncate(place.path, (off_t)place.n_left), 0);
        cr_expect_eq(lanemap_writer_contains(place.fixture.writer, "list", 4, ID(N_LIST - 1), NULL),
                     -EBADMSG);
        cr_expect_eq(lanemap_writer_lookup(place.fixture.writer, "list", 4, ids, 2 * N_LIST, &n_ids,
                                           NULL),
                     -EBADMSG);
        cr_expect_eq(engine_add(place.fixture.writer, "list", 5), -EBADMSG);
        place_deinit(&place);
}

Test(writer_bus_error, a_file_that_can_be_read_again_is_mapped_anew)
{
        struct lanemap_finding *findings;
        unsigned char *bytes;
        struct place place;
        struct outcome outcome;
        uint64_t n_bytes;
        size_t n;

        place_init(&place);
        bytes = file_load(place.path, &n_bytes);
        file_cut(&place);
        cr_expect_gt(keys_look(&place, 0, 0).n_refused, 0);
        cr_expect(becomes_degraded(&place, 1));
        file_store(place.path, bytes, n_bytes);
        free(bytes);

        /* The old mapping is never believed again; verify maps it anew, and takes the mark back. */
        cr_expect_gt(keys_look(&place, 0, 0).n_refused, 0);
        cr_assert_eq(lanemap_writer_verify(place.fixture.writer, &findings, &n), 0);
        cr_expect_eq(n, 0);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(degraded(&place), 0);
        outcome = keys_look(&place, 0, 0);
        cr_expect_eq(outcome.n_right, N_KEYS, "%u wrong, %u refused", outcome.n_wrong,
                     outcome.n_refused);
        cr_expect_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), 0);

        /* And again, in the new mapping. */
        cr_assert(damage_segment_path(place.fixture.scratch.directory, 0, place.path,
                                      sizeof(place.path)));
        file_cut(&place);
        outcome = keys_look(&place, 0, 0);
        cr_expect_eq(outcome.n_wrong, 0);
        cr_expect_gt(outcome.n_refused, 0);
        place_deinit(&place);
}

/* UM7. */
Test(writer_bus_error, a_file_that_was_cut_short_is_noticed_though_nobody_reads_there)
{
        struct place place;
        struct outcome outcome;

        place_init(&place);
        place.n_left = damage_file_bytes(place.path) / 2 | 1;
        cr_assert_eq(truncate(place.path, (off_t)place.n_left), 0);
        cr_expect(becomes_degraded(&place, 1));
        outcome = keys_look(&place, 0, 0);
        cr_expect_eq(outcome.n_wrong, 0, "%u: also where the last page ends in zeros",
                     outcome.n_wrong);
        place_deinit(&place);
}

static bool copies_are_served(struct place *place)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
        struct lanemap_writer_stats stats;

        for (uint32_t i = 0; i < 2000; i++) {
                engine_stats(place->fixture.writer, &stats);
                if (stats.served_copies > 0)
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

Test(writer_bus_error, a_copy_that_cannot_be_read_is_given_up_for_its_original)
{
        char uuid_directory[512], copy[900];
        struct place place;
        struct outcome outcome;

        place_init(&place);
        fixture_close(&place.fixture);
        snprintf(place.serve_from, sizeof(place.serve_from), "/dev/shm/%s-copies",
                 place.fixture.scratch.name);
        cr_assert_eq(mkdir(place.serve_from, 0700), 0);
        place.fixture.options.serve_from = place.serve_from;
        fixture_open(&place.fixture);
        cr_assert(copies_are_served(&place));
        cr_assert(scratch_find(place.serve_from, "", uuid_directory, sizeof(uuid_directory)));
        cr_assert(damage_segment_path(uuid_directory, 0, copy, sizeof(copy)));
        cr_assert_eq(truncate(copy, PAGE), 0);

        outcome = keys_look(&place, 0, 0);
        cr_expect_eq(outcome.n_right, N_KEYS, "%u wrong, %u refused", outcome.n_wrong,
                     outcome.n_refused);
        cr_expect_eq(degraded(&place), 0);
        cr_assert_eq(truncate(copy, 0) == 0 || errno == ENOENT, 1);
        keys_add(&place, N_KEYS, 3, 9);
        cr_expect_eq(keys_look(&place, 3, 9).n_right, N_KEYS);
        cr_expect(copies_are_served(&place), "another one is made");
        place_deinit(&place);
}

/* UM4. */
Test(writer_bus_error, another_mapping_is_not_the_engines)
{
        struct place place;
        unsigned char *elsewhere;

        place_init(&place);
        elsewhere = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(elsewhere, MAP_FAILED);
        elsewhere[5] = 42;
        cr_expect_eq(lanemap_writer_bus_error(elsewhere + 5), 0);
        cr_expect_eq(lanemap_writer_bus_error(NULL), 0);
        cr_expect_eq(elsewhere[5], 42);
        munmap(elsewhere, PAGE);
        cr_expect_eq(keys_look(&place, 0, 0).n_right, N_KEYS);
        place_deinit(&place);
}
