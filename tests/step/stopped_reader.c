/*
 * Every instruction of a lookup: a reader is stopped after each one in turn, the writer changes the
 * key twice meanwhile, which writes over the very block that the reader may be looking at, and the
 * reader goes on. What it answers has to be true at some moment of the call (P3); in at least one
 * of the places it has to have noticed (a try not believed), or nothing was tested.
 *
 * The key has three ids, {p, p+1, p+2}. One act adds p+3, the next removes p: both postings are of
 * one size class, and blocks are given out again at once, so the second act's posting lies where
 * the one before both acts lay.
 *
 * Then the same with a view (R9), after every third instruction: what it has read when it is said
 * to be true has to be, and in some places it has to be told that it may not be.
 *
 * Exit status: 0, 1 a lie, 77 where processes may not be traced.
 */
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/check.h"
#include "scene.h"
#include "stepper.h"

#define N_PLACES_MAX 5000
#define N_IDS        3
#define VIEW_STRIDE  3 /* a view has more instructions, and each place costs a walk to it */

/* What the reader says, in memory shared with the parent. */
struct answer {
        int r;
        size_t n_ids;
        uint32_t ids[8];
        uint64_t n_retries;
};

struct reading {
        const struct scene *scene;
        struct answer *answer;
        bool view;
};

/* As lanemap_reader_lookup(), but LANEMAP_VIEW_AGAIN is an answer. */
static int view_read(struct lanemap_reader *reader, struct answer *answer)
{
        struct lanemap_view view;
        const uint32_t *ids;
        size_t n;
        int r = lanemap_reader_view_begin(reader, "s", 1, &view);

        if (r < 0)
                return r;

        answer->n_ids = 0;
        while ((n = lanemap_reader_view_next(&view, &ids)) > 0)
                for (size_t i = 0; i < n && answer->n_ids < LANEMAP_N_ELEMENTS(answer->ids); i++)
                        answer->ids[answer->n_ids++] = *(const volatile uint32_t *)&ids[i];
        return lanemap_reader_view_end(&view);
}

static void reader_perform(void *arg)
{
        const struct reading *reading = arg;
        struct lanemap_reader_options options = {.size = sizeof(options), .statistics = 1};
        struct lanemap_status status = {.size = sizeof(status)};
        struct answer *answer = reading->answer;
        struct lanemap_reader *reader;

        if (lanemap_reader_attach(reading->scene->scratch.name, &options, &reader) < 0)
                _exit(1);

        for (;;) {
                stepper_point();
                answer->r = reading->view ? view_read(reader, answer)
                                          : lanemap_reader_lookup(reader, "s", 1, answer->ids,
                                                                  LANEMAP_N_ELEMENTS(answer->ids),
                                                                  &answer->n_ids);
                stepper_point();
                if (lanemap_reader_status(reader, &status) < 0)
                        _exit(1);
                answer->n_retries = status.n_retries;
        }
}

static struct act *acts_make(void)
{
        struct act *acts = calloc(2 * N_PLACES_MAX + 3, sizeof(*acts));
        size_t n = 0;

        lanemap_check(acts);
        acts[n++] = (struct act){.kind = ACT_OPEN};
        acts[n++] = (struct act){ACT_ADD, "s", 0, N_IDS, NULL};
        for (uint32_t p = 0; p < N_PLACES_MAX; p++) {
                acts[n++] = (struct act){ACT_ADD, "s", p + N_IDS, 1, NULL};
                acts[n++] = (struct act){ACT_REMOVE, "s", p, 1, NULL};
        }
        return acts;
}

/* {first, ... , first + n - 1} */
static bool is_run(const struct answer *answer, uint32_t first, size_t n)
{
        if (answer->n_ids != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (answer->ids[i] != first + i)
                        return false;
        return true;
}

static bool is_true(const struct answer *answer, uint32_t p)
{
        return answer->r == LANEMAP_VIEW_AGAIN ||
               (answer->r == 0 && (is_run(answer, p, N_IDS) || is_run(answer, p, N_IDS + 1) ||
                                   is_run(answer, p + 1, N_IDS)));
}

/* Stops the reader after `place` instructions, for the p-th change. Return: 1 done, 0 its lookup is
 * shorter, -1 a lie. */
static int place_try(struct stepper *writer, struct stepper *reader, const struct answer *answer,
                     uint32_t place, uint32_t p)
{
        int r = 0;

        while (reader->n_steps < place && r == 0)
                r = stepper_step(reader);
        if (r != 0)
                return r == STEPPER_POINT ? 0 : -1;

        for (int i = 0; i < 2; i++)
                if (stepper_continue(writer) < 0)
                        return -1;
        if (stepper_continue(reader) < 0)
                return -1;
        if (!is_true(answer, p)) {
                printf("stopped after instruction %u: %d, %zu ids from %u, which was never true\n",
                       place, answer->r, answer->n_ids, answer->ids[0]);
                return -1;
        }
        return stepper_continue(reader) < 0 ? -1 : 1;
}

static int places_try(struct scene *scene, struct stepper *writer, struct stepper *reader,
                      struct answer *answer, bool view)
{
        struct reading reading = {.scene = scene, .answer = answer, .view = view};
        uint32_t p = 0, stride = view ? VIEW_STRIDE : 1;
        int r = 1;

        if (stepper_start(writer, scene_perform, scene) < 0 || stepper_continue(writer) < 0 ||
            stepper_continue(writer) < 0 || stepper_start(reader, reader_perform, &reading) < 0)
                return 1;

        for (; r == 1 && p < N_PLACES_MAX; p++)
                r = place_try(writer, reader, answer, p * stride, p);
        if (r != 0)
                return 1;

        printf("stopped in %u places of a %s, %llu tries were not believed\n", p - 1,
               view ? "view" : "lookup", (unsigned long long)answer->n_retries);
        return answer->n_retries == 0;
}

static void nothing(void *arg)
{
        (void)arg;
        stepper_point();
}

static int kind_try(bool view)
{
        struct stepper writer = {.pid = -1}, reader = {.pid = -1};
        struct scene scene = {.name = "stopped", .immediate_reuse = true};
        struct answer *answer;
        int r;

        answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        lanemap_check(answer != MAP_FAILED);
        scene.acts = acts_make();
        scratch_init(&scene.scratch, "stop");
        r = places_try(&scene, &writer, &reader, answer, view);
        stepper_kill(&reader);
        stepper_kill(&writer);
        scratch_deinit(&scene.scratch);
        return r;
}

int main(void)
{
        struct stepper writer = {.pid = -1};
        int r;

        r = stepper_start(&writer, nothing, NULL);
        stepper_kill(&writer);
        if (r < 0) {
                printf("skipped: processes may not be traced here\n");
                return 77;
        }

        r = kind_try(false);
        return r == 0 ? kind_try(true) : r;
}
