/*
 * Every publication instruction: a writer is stepped through one act at a time, and after every
 * instruction a reader in another process looks at all keys. Each answer has to be the truth before
 * the act or the truth after it, and once it is the latter it stays so.
 *
 * Then the writer is killed at sampled instructions of each act, the directory is opened again, and
 * everything compared: it has to be, as a whole, the truth before or the truth after, and the
 * reader that was attached all the while has to follow.
 *
 *         publication_steps [--every] [--kills N]
 *
 *   --every    step also what the writer does to private memory only (tables,
 *              building a segment, reading the log)
 *   --kills N  for each act (default 3), spread evenly over its instructions
 *
 * Exit status: 0, 1 a lie, 77 where processes may not be traced.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/slot.h"
#include "overlay/write.h"
#include "scene.h"
#include "segment/build.h"
#include "segment/file_read.h"
#include "stepper.h"
#include "store/log_scan.h"

#define IDS_MAX  1024
#define ACTS_MAX 64

/* Every one that the acts touch, and one that they do not. */
static const char *const keys[] = {"k", "s", "one", "other", "f0", "f7", "absent"};

#define N_KEYS LANEMAP_N_ELEMENTS(keys)

/* One process' life from an empty directory. */
static const struct act life[] = {
        {ACT_OPEN, .what = "open a new index"},
        {ACT_ADD, "other", 1, 3, NULL},
        {ACT_ADD, "one", 5, 1, NULL},
        {ACT_ADD, "s", 1, 1, "add: a new key, inline"},
        {ACT_ADD, "s", 2, 1, "add: inline to short"},
        {ACT_ADD, "s", 3, 1, "add: short to short"},
        {ACT_REMOVE, "s", 2, 1, "remove: short to short"},
        {ACT_REMOVE, "s", 1, 1, "remove: short to inline"},
        {ACT_REMOVE, "s", 3, 1, "remove: the last id"},
        {ACT_ADD, "s", 4, 1, "add: over a tombstone"},
        {ACT_ADD, "k", 1, 126, NULL},
        {ACT_ADD, "k", 400, 1, "add: short to long"},
        {ACT_ADD, "k", 401, 1, "add: long"},
        {ACT_ADD, "k", 200, 126, NULL},
        {ACT_ADD, "k", 190, 1, "add: a leaf is split"},
        {ACT_ADD, "k", 191, 1, "add: a path of two nodes is copied"},
        {ACT_REMOVE, "k", 210, 1, "remove: long"},
        {ACT_ADD, "f0", 7, 1, NULL},
        {ACT_ADD, "f7", 7, 1, "add: the overlay grows"},
        {ACT_MIX, .what = "a batch over three keys"},
        {ACT_FLUSH, .what = "flush: freeze, segment, manifest, view swap"},
        {ACT_ADD, "s", 11, 1, "add: the key is in a segment"},
        {ACT_ADD, "k", 600, 1, "add: a long posting is in a segment"},
        {ACT_DELETE, "other", .what = "delete: a tombstone over a segment"},
        {ACT_FLUSH, .what = "flush: an older segment is taken in and retired"},
        {ACT_ADD, "one", 6, 1, NULL},
        {ACT_FLIP, .what = "flip"},
        {ACT_ADD, "one", 8, 1, "add: after the flip"},
        {ACT_CLEAR, .what = "clear"},
        {ACT_ADD, "one", 8, 1, "add: after the clear"},
        {ACT_END},
};
#define ACT_OF_LIFE_FLIP 26
static_assert(LANEMAP_N_ELEMENTS(life) == 31, "the flip is where ACT_OF_LIFE_FLIP says");

/* What a successor finds: segments, a log, a predecessor's object, perhaps a leftover. */
static const struct act succession[] = {
        {ACT_OPEN, .what = NULL},
        {ACT_ADD, "other", 1, 3, NULL},
        {ACT_ADD, "k", 1, 200, NULL},
        {ACT_FLUSH, .what = NULL},
        {ACT_ADD, "s", 1, 5, NULL},
        {ACT_REMOVE, "k", 7, 1, NULL},
        {ACT_DELETE, "other", .what = NULL},
        {ACT_FLIP, .what = NULL},
        {ACT_OPEN, .what = "takeover"},
        {ACT_REMOVE, "s", 2, 1, "remove: by the successor"},
        {ACT_END},
};
#define SUCCESSION_DEATH 7 /* the predecessor dies in this act */

static uint32_t n_kills = 3;
static uint64_t n_looks, n_instructions, n_killed;

/* ---- the truth ---- */

struct truth {
        struct model before, after;
        bool seen_after[N_KEYS];
};

static void truth_init(struct truth *truth, const struct act *acts, size_t at)
{
        memset(truth, 0, sizeof(*truth));
        model_init(&truth->before);
        for (size_t i = 0; i < at; i++)
                act_apply(&acts[i], &truth->before);
        model_copy(&truth->before, &truth->after);
        act_apply(&acts[at], &truth->after);
}

static void truth_deinit(struct truth *truth)
{
        model_deinit(&truth->before);
        model_deinit(&truth->after);
}

static bool is_truth(const struct model *model, const char *key, const uint32_t *ids, size_t n_ids)
{
        const uint32_t *expected;
        size_t n = model_lookup(model, key, strlen(key), &expected);

        return n == n_ids && (n == 0 || memcmp(ids, expected, n * sizeof(*ids)) == 0);
}

/* All keys, once. Return: whether every answer is a true one. */
static bool look(struct lanemap_reader *reader, struct truth *truth)
{
        for (size_t i = 0; i < N_KEYS; i++) {
                uint32_t ids[IDS_MAX];
                size_t n_ids = SIZE_MAX;
                bool is_before, is_after;
                int r;

                r = lanemap_reader_lookup(reader, keys[i], strlen(keys[i]), ids, IDS_MAX, &n_ids);
                if (r != 0 || n_ids > IDS_MAX) {
                        printf("%s: lookup answers %d, %zu ids\n", keys[i], r, n_ids);
                        return false;
                }

                is_before = is_truth(&truth->before, keys[i], ids, n_ids);
                is_after = is_truth(&truth->after, keys[i], ids, n_ids);
                if (!is_after && (!is_before || truth->seen_after[i])) {
                        printf("%s: %zu ids, %s\n", keys[i], n_ids,
                               is_before ? "the old truth after the new one"
                                         : "which was never true");
                        return false;
                }
                truth->seen_after[i] |= is_after && !is_before;
        }

        n_looks++;
        return true;
}

static bool all_new(const struct truth *truth)
{
        for (size_t i = 0; i < N_KEYS; i++) {
                const uint32_t *ids;
                size_t n = model_lookup(&truth->after, keys[i], strlen(keys[i]), &ids);

                if (!truth->seen_after[i] && !is_truth(&truth->before, keys[i], ids, n))
                        return false;
        }
        return true;
}

static struct lanemap_reader *attach(const struct scene *scene)
{
        struct lanemap_reader_options options = {.size = sizeof(options)};
        struct lanemap_error error = {{0}};
        struct lanemap_reader *reader = NULL;
        int r;

        options.error = &error;
        r = lanemap_reader_attach(scene->scratch.name, &options, &reader);
        if (r < 0)
                printf("attach: %d: %s\n", r, error.text);
        return reader;
}

/* ---- lives ---- */

/* How many instructions each act has, as the last walk counted them. */
static uint64_t act_steps[ACTS_MAX];

/* On to the point before act number `at`. The reader is attached as soon as something is
 * published. */
static bool life_lead_up(struct scene *scene, struct stepper *stepper, size_t at,
                         struct lanemap_reader **reader)
{
        if (stepper_start(stepper, scene_perform, scene) < 0)
                return false;
        for (size_t i = scene->first; i < at; i++)
                if (stepper_continue(stepper) < 0)
                        return false;
        if (!*reader && at > 0)
                *reader = attach(scene);
        return *reader || at == 0;
}

/* A place of its own, and a dead predecessor if there is to be one. */
static bool life_begin(struct scene *scene, struct lanemap_reader **reader)
{
        struct stepper stepper;
        bool good = true;

        *reader = NULL;
        scratch_init(&scene->scratch, "step");
        scene->first = 0;
        if (scene->n_predecessor == 0)
                return true;

        good = life_lead_up(scene, &stepper, scene->n_predecessor - 1, reader);
        while (good && stepper.n_steps < scene->death_step && stepper_step(&stepper) == 0)
                ;
        stepper_kill(&stepper);
        scene->first = scene->n_predecessor;
        return good;
}

static void life_end(struct scene *scene, struct stepper *stepper, struct lanemap_reader *reader)
{
        stepper_kill(stepper);
        lanemap_reader_detach(reader);
        scratch_deinit(&scene->scratch);
}

/* ---- stepping and looking ---- */

/* Steps to the end of an act, looking every `stride` instructions. reader: NULL while nothing is
 * published. */
static bool act_step(struct stepper *stepper, struct lanemap_reader *reader, struct truth *truth,
                     uint32_t stride)
{
        int r;

        while ((r = stepper_step(stepper)) == 0)
                if (reader && stepper->n_steps % stride == 0 && !look(reader, truth)) {
                        printf("  after instruction %" PRIu64 "\n", stepper->n_steps);
                        return false;
                }
        if (r < 0)
                return false;

        n_instructions += stepper->n_steps;
        if (reader && (!look(reader, truth) || !all_new(truth))) {
                printf("  when the act was over\n");
                return false;
        }
        return true;
}

static bool act_walk(struct scene *scene, size_t at, struct stepper *stepper,
                     struct lanemap_reader *reader)
{
        const struct act *act = &scene->acts[at];
        uint64_t n_before = n_looks;
        struct truth truth;
        bool good;

        if (!act->what)
                return true;

        truth_init(&truth, scene->acts, at);
        good = act_step(stepper, reader, &truth, 1);
        act_steps[at] = stepper->n_steps;
        printf("  %-48s %6" PRIu64 " instructions, %4" PRIu64 " calls, %6" PRIu64 " looks\n",
               act->what, stepper->n_steps, stepper->n_outside, n_looks - n_before);
        fflush(stdout);
        truth_deinit(&truth);
        return good;
}

static bool life_walk(struct scene *scene)
{
        struct stepper stepper = {.pid = -1};
        struct lanemap_reader *reader;
        bool good;

        printf("%s\n", scene->name);
        good = life_begin(scene, &reader) && life_lead_up(scene, &stepper, scene->first, &reader);
        for (size_t i = scene->first; good && scene->acts[i].kind != ACT_END; i++) {
                good = act_walk(scene, i, &stepper, reader) && stepper_continue(&stepper) == 0;
                if (good && !reader)
                        good = (reader = attach(scene)) != NULL;
                if (!good)
                        printf("%s: act %zu\n", scene->name, i);
        }
        life_end(scene, &stepper, reader);
        return good;
}

/* ---- killing ---- */

/* Whether exactly one data object has a name: what crashes left is gone. */
static bool one_object_is_left(const struct scene *scene)
{
        char *listing = scratch_shared_listing(scene->scratch.name);
        size_t n = 0;

        for (const char *line = listing; *line; line = strchr(line, '\n') + 1) {
                const char *rest = line + strlen("lanemap.") + strlen(scene->scratch.name);

                n += rest[0] == '.' && strncmp(rest, ".lock", 5) != 0;
        }
        free(listing);
        return n == 1;
}

/* Opens what a dead writer left. It is the truth before, or after, as a whole, also to the reader
 * that has been attached all the while. */
static bool recovery_is_true(struct scene *scene, struct lanemap_reader *reader,
                             struct truth *truth)
{
        char why_before[256] = "", why_after[256] = "";
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer;
        bool good;

        if (scene_open(scene, &error, &writer) < 0) {
                printf("the successor does not start: %s\n", error.text);
                return false;
        }

        good = engine_matches(writer, reader, &truth->after, why_after, sizeof(why_after)) ||
               engine_matches(writer, reader, &truth->before, why_before, sizeof(why_before));
        if (!good)
                printf("it is not the truth before (%s), nor after (%s)\n", why_before, why_after);
        else if (!one_object_is_left(scene))
                good = printf("an object is left over\n") < 0;
        lanemap_writer_close(writer);
        return good;
}

static bool act_kill(struct scene *scene, size_t at, uint64_t n_steps)
{
        struct stepper stepper = {.pid = -1};
        struct lanemap_reader *reader;
        struct truth truth;
        bool good;

        truth_init(&truth, scene->acts, at);
        good = life_begin(scene, &reader) && life_lead_up(scene, &stepper, at, &reader);
        while (good && stepper.n_steps < n_steps && stepper_step(&stepper) == 0)
                ;
        stepper_kill(&stepper);
        /* What the reader saw last may be undone by the recovery: it was not acknowledged. */
        good = good && (!reader || look(reader, &truth)) && recovery_is_true(scene, reader, &truth);
        if (!good)
                printf("%s: killed in act %zu (%s) after instruction %" PRIu64
                       ", its predecessor after %" PRIu64 "\n",
                       scene->name, at, scene->acts[at].what, n_steps, scene->death_step);
        n_killed++;
        life_end(scene, &stepper, reader);
        truth_deinit(&truth);
        return good;
}

static bool life_kill(struct scene *scene)
{
        uint64_t flip_steps = act_steps[ACT_OF_LIFE_FLIP];

        for (size_t i = scene->n_predecessor; scene->acts[i].kind != ACT_END; i++)
                for (uint32_t k = 0; k < n_kills && scene->acts[i].what; k++) {
                        if (scene->n_predecessor)
                                scene->death_step = flip_steps * (k + 1) / n_kills;
                        if (!act_kill(scene, i, act_steps[i] * (2 * k + 1) / (2 * n_kills)))
                                return false;
                }
        return true;
}

/* ---- the verdict ---- */

/* What these do is private to the writer. */
static const uintptr_t private_functions[] = {
        (uintptr_t)lanemap_slot_table_init,     (uintptr_t)lanemap_slot_bitmap,
        (uintptr_t)lanemap_overlay_cursor_init, (uintptr_t)lanemap_segment_cursor_init,
        (uintptr_t)lanemap_segment_build,       (uintptr_t)lanemap_log_scan_next,
};

static int arguments_read(int argc, char **argv)
{
        bool every = false;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--every") == 0)
                        every = true;
                else if (strcmp(argv[i], "--kills") == 0 && i + 1 < argc)
                        n_kills = (uint32_t)strtoul(argv[++i], NULL, 10);
                else
                        return -EINVAL;
        }
        if (!every)
                stepper_skip(private_functions, LANEMAP_N_ELEMENTS(private_functions));
        return 0;
}

static void nothing(void *arg)
{
        (void)arg;
        stepper_point();
}

static bool tracing_is_possible(void)
{
        struct stepper stepper;
        int r = stepper_start(&stepper, nothing, NULL);

        stepper_kill(&stepper);
        return r == 0;
}

int main(int argc, char **argv)
{
        struct scene at_once = {.name = "blocks are given out again at once",
                                .acts = life,
                                .immediate_reuse = true};
        struct scene takeover = {.name = "a writer that died in a flip has a successor",
                                 .acts = succession,
                                 .immediate_reuse = true,
                                 .n_predecessor = SUCCESSION_DEATH + 1};
        bool good;

        if (arguments_read(argc, argv) < 0) {
                fprintf(stderr, "usage: publication_steps [--every] [--kills N]\n");
                return 2;
        }
        if (!tracing_is_possible()) {
                printf("skipped: processes may not be traced here\n");
                return 77;
        }

        good = life_walk(&at_once) && life_kill(&at_once);
        takeover.death_step = act_steps[ACT_OF_LIFE_FLIP] / 2;
        good = good && life_walk(&takeover) && life_kill(&takeover);
        printf("%" PRIu64 " instructions stepped, %" PRIu64 " looks of %zu keys, %" PRIu64
               " killed and recovered%s\n",
               n_instructions, n_looks, N_KEYS, n_killed, good ? "" : ": WRONG");
        return good ? 0 : 1;
}
