/* A reader of the storm: single lookups, views, batches, contains; attaches anew, forks, and judges
 * every answer. See storm.h. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storm.h"

#define BATCH_MAX 80
#define IDS_MAX   4000

struct state {
        struct storm *storm;
        struct lanemap_reader *reader;
        struct rng rng;
        struct storm_reader_counts counts;
        uint64_t n_retries_seen, n_reattachments_seen;
        uint32_t ids[IDS_MAX];
};

/* What was so before a lookup. */
struct before {
        uint32_t era;
        uint64_t finished;
        uint64_t durable;
};

void storm_wrong(struct storm *storm, const char *format, ...)
{
        char text[sizeof(storm->wrong)];
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        fprintf(stderr, "WRONG: %s\n", text);
        if (__atomic_fetch_add(&storm->n_wrong, 1, __ATOMIC_SEQ_CST) == 0)
                memcpy(storm->wrong, text, sizeof(text));
        lanemap_store_release(&storm->stop, 1);
}

static struct before before_get(const struct state *state, uint32_t key)
{
        struct before before = {.era = lanemap_load_acquire(&state->storm->era)};

        before.finished = lanemap_load_acquire(&state->storm->keys[key].finished);
        before.durable = lanemap_load_acquire(&state->storm->keys[key].durable);
        return before;
}

static void bounds_get(struct state *state, uint32_t key, const struct before *before,
                       uint64_t *ret_low, uint64_t *ret_high)
{
        const struct storm_key *now = &state->storm->keys[key];

        lanemap_fence_acquire();
        *ret_low = before->finished;
        *ret_high = lanemap_load_acquire(&now->started);
        if (!(before->era & 1) && lanemap_load_acquire(&state->storm->era) == before->era) {
                state->counts.n_strict++;
                return;
        }

        *ret_low = before->durable < before->finished ? before->durable : before->finished;
        *ret_high = lanemap_load_acquire(&now->highest);
}

static void answer_judge(struct state *state, uint32_t key, const struct before *before,
                         const uint32_t *ids, size_t n_ids)
{
        uint64_t low, high, version = 0;

        bounds_get(state, key, before, &low, &high);
        if (n_ids <= VERSIONS_IDS_MAX && versions_judge(key, ids, n_ids, low, high, &version))
                return;

        storm_wrong(state->storm,
                    "key %u: %zu ids from %u on are version %llu, or none; it was %llu to %llu",
                    key, n_ids, n_ids && n_ids <= VERSIONS_IDS_MAX ? ids[0] : 0,
                    (unsigned long long)version, (unsigned long long)low, (unsigned long long)high);
}

/* -EAGAIN is documented for a process that is stopped again and again. */
static bool error_is_fine(struct state *state, int r)
{
        if (r >= 0)
                return true;
        if (r == -EAGAIN)
                state->counts.n_again++;
        else
                storm_wrong(state->storm, "a lookup answers %d (%s)", r, strerror(-r));
        return false;
}

static uint32_t key_pick(struct state *state)
{
        if (rng_below(&state->rng, 4) == 0)
                return 7 + 64 * (uint32_t)rng_below(&state->rng, 6);

        return (uint32_t)rng_below(&state->rng, STORM_KEYS);
}

static void lookup_one(struct state *state)
{
        uint32_t key = key_pick(state);
        struct before before = before_get(state, key);
        char text[VERSIONS_KEY_BYTES];
        size_t n_ids = 0;
        int r = lanemap_reader_lookup(state->reader, text, versions_key(key, text), state->ids,
                                      IDS_MAX, &n_ids);

        state->counts.n_lookups++;
        state->counts.n_long += n_ids > 126;
        if (error_is_fine(state, r))
                answer_judge(state, key, &before, state->ids, n_ids);
}

static void lookup_batch(struct state *state)
{
        struct before befores[BATCH_MAX];
        char texts[BATCH_MAX][VERSIONS_KEY_BYTES];
        struct lanemap_span spans[BATCH_MAX];
        struct lanemap_key keys[BATCH_MAX];
        uint32_t numbers[BATCH_MAX];
        size_t n = 1 + rng_below(&state->rng, BATCH_MAX);
        int r;

        for (size_t i = 0; i < n; i++) {
                numbers[i] = key_pick(state);
                keys[i].data = texts[i];
                keys[i].bytes = versions_key(numbers[i], texts[i]);
                befores[i] = before_get(state, numbers[i]);
        }

        r = lanemap_reader_lookup_batch(state->reader, keys, n, state->ids, IDS_MAX, spans);
        state->counts.n_lookups += n;
        if (!error_is_fine(state, r))
                return;

        for (size_t i = 0; i < n; i++)
                if (spans[i].offset != LANEMAP_SPAN_UNWRITTEN)
                        answer_judge(state, numbers[i], &befores[i], state->ids + spans[i].offset,
                                     spans[i].n_ids);
}

static void lookup_contains(struct state *state)
{
        uint32_t key = key_pick(state), id, n, first;
        struct before before = before_get(state, key);
        char text[VERSIONS_KEY_BYTES];
        uint64_t low, high;
        int r;

        n = versions_ids(key, before.finished, &first);
        id = first + (uint32_t)rng_below(&state->rng, n + 2);
        r = lanemap_reader_contains(state->reader, text, versions_key(key, text), id);
        state->counts.n_lookups++;
        if (!error_is_fine(state, r))
                return;

        bounds_get(state, key, &before, &low, &high);
        if (!versions_judge_contains(key, id, r == 1, low, high))
                storm_wrong(state->storm, "key %u contains id %u: %d; it was version %llu to %llu",
                            key, id, r, (unsigned long long)low, (unsigned long long)high);
}

/* Takes its time over a chunk, so that the writer may reuse it. */
static void dawdle(struct state *state)
{
        uint64_t what = state->storm->views ? rng_below(&state->rng, 32) : 1;

        if (what == 0)
                (void)usleep(100 + (useconds_t)rng_below(&state->rng, 400));
        else if (what < 4)
                for (int i = 0; i < 2000; i++)
                        lanemap_fence_acquire();
}

/* The ids of a view, one look at each. Return: how many; more than IDS_MAX are not kept. */
static size_t view_read(struct state *state, struct lanemap_view *view)
{
        const uint32_t *ids;
        size_t n_ids = 0, n;

        while ((n = lanemap_reader_view_next(view, &ids)) > 0) {
                dawdle(state);
                for (size_t i = 0; i < n && n_ids + i < IDS_MAX; i++)
                        state->ids[n_ids + i] = lanemap_load_relaxed(&ids[i]);
                n_ids += n;
        }
        return n_ids;
}

/*
 * A view that is said to be true has the ids of a version that was in force when it began (R9); one
 * that is not is forgotten.
 */
static void lookup_view(struct state *state)
{
        uint32_t key = key_pick(state);
        struct before before = before_get(state, key);
        uint64_t low, high, version = 0;
        char text[VERSIONS_KEY_BYTES];
        struct lanemap_view view;
        size_t n_ids;
        int r = lanemap_reader_view_begin(state->reader, text, versions_key(key, text), &view);

        state->counts.n_lookups++;
        if (!error_is_fine(state, r))
                return;

        bounds_get(state, key, &before, &low, &high);
        n_ids = view_read(state, &view);
        r = lanemap_reader_view_end(&view);
        state->counts.n_views++;
        state->counts.n_long += view.n_ids > 126;
        state->counts.n_views_void += r == LANEMAP_VIEW_AGAIN;
        if (!error_is_fine(state, r) || r == LANEMAP_VIEW_AGAIN)
                return;
        if (n_ids != view.n_ids || n_ids > VERSIONS_IDS_MAX ||
            !versions_judge(key, state->ids, n_ids, low, high, &version))
                storm_wrong(state->storm,
                            "a view of key %u: %zu ids of %zu from %u on are version %llu, or "
                            "none; it was %llu to %llu",
                            key, n_ids, view.n_ids, n_ids ? state->ids[0] : 0,
                            (unsigned long long)version, (unsigned long long)low,
                            (unsigned long long)high);
}

static void lookups_run(struct state *state, uint64_t n)
{
        for (uint64_t i = 0; i < n && !lanemap_load_relaxed(&state->storm->stop); i++) {
                uint64_t what = rng_below(&state->rng, 16);

                if (what < (state->storm->views ? 12 : 1))
                        lookup_view(state);
                else if (what < 12)
                        lookup_one(state);
                else if (what < 14)
                        lookup_contains(state);
                else
                        lookup_batch(state);
        }
}

/* Told often, since a killed process tells nothing more. */
static void counts_report(struct state *state)
{
        uint64_t *to = (uint64_t *)&state->storm->readers, *from = (uint64_t *)&state->counts;
        struct lanemap_status status = {.size = sizeof(status)};

        must(lanemap_reader_status(state->reader, &status) == 0);
        state->counts.n_retries += status.n_retries - state->n_retries_seen;
        state->counts.n_reattachments += status.n_reattachments - state->n_reattachments_seen;
        state->n_retries_seen = status.n_retries;
        state->n_reattachments_seen = status.n_reattachments;
        for (size_t i = 0; i < sizeof(state->counts) / sizeof(uint64_t); i++)
                __atomic_fetch_add(&to[i], from[i], __ATOMIC_RELAXED);
        memset(&state->counts, 0, sizeof(state->counts));
}

static void attach(struct state *state)
{
        struct lanemap_error error = {{0}};
        struct lanemap_reader_options options = {
                .size = sizeof(options),
                .attach_timeout_ns = UINT64_C(10) * 1000 * 1000 * 1000,
                .helper_thread = rng_below(&state->rng, 4) == 0,
                .error = &error,
        };
        int r = lanemap_reader_attach(state->storm->scratch.name, &options, &state->reader);

        if (r < 0) {
                storm_wrong(state->storm, "attach: %d, %s", r, error.text);
                _exit(1);
        }
        state->n_retries_seen = state->n_reattachments_seen = 0;
        state->counts.n_attaches++;
}

/* The child looks up with what it inherited (R6). */
static void fork_run(struct state *state)
{
        pid_t pid = fork();
        int status;

        must(pid >= 0);
        if (pid == 0) {
                rng_init(&state->rng, rng_next(&state->rng) ^ 0x5bd1e995);
                memset(&state->counts, 0, sizeof(state->counts));
                lookups_run(state, 500);
                counts_report(state);
                lanemap_reader_detach(state->reader);
                _exit(0);
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                storm_wrong(state->storm, "a forked reader ended with status 0x%x", status);
        state->counts.n_forks++;
}

void storm_reader_main(struct storm *storm, uint64_t seed)
{
        static struct state state;

        state.storm = storm;
        rng_init(&state.rng, seed);
        attach(&state);
        while (!lanemap_load_relaxed(&storm->stop)) {
                uint64_t what = rng_below(&state.rng, 64);

                lookups_run(&state, 200);
                counts_report(&state);
                if (what == 0) {
                        lanemap_reader_detach(state.reader);
                        attach(&state);
                } else if (what == 1) {
                        fork_run(&state);
                } else if (what < 8) {
                        int r = lanemap_reader_poll(state.reader);

                        if (r < 0 && r != -EAGAIN)
                                storm_wrong(storm, "a poll answers %d (%s)", r, strerror(-r));
                }
        }

        counts_report(&state);
        lanemap_reader_detach(state.reader);
        _exit(0);
}
