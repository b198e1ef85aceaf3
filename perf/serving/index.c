/*
 * What new segments cost a reader of a real index: lookups of several threads while a writer
 * process flushes at a steady rate, so that every lane gets a new file each time and loses an old
 * one.
 *
 *   quiet    the writer does nothing
 *   adds     it adds and removes as in the others, without flushes: what its share of the
 *            processors and of the caches costs
 *   alone    flushes; lookups map what is new themselves
 *   helper   flushes; the library's thread maps, populates and unmaps
 */
#include <errno.h>
#include <lanemap/writer.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serving/private.h"
#include "support/engine.h"
#include "support/keys.h"

enum { MODE_QUIET, MODE_ADDS, MODE_ALONE, MODE_HELPER, N_MODES };
static const char *const mode_names[N_MODES] = {"quiet", "adds", "alone", "helper"};

/* ---- the writer process ---- */

struct side {
        const struct serving_options *options;
        const struct perf_place *place;
        struct lanemap_writer *writer;
        uint64_t at; /* of the churned keys */
        int from, to;
};

/* One step of churn: a two-hundredth of the keys. The first half is looked up and stays; the other
 * half comes and goes. */
static void side_churn(struct side *side, bool flush)
{
        uint64_t half = side->options->n_keys / 2, n = half / 100 + 1;
        uint64_t first = half + side->at % half;
        bool remove = side->at / half % 2 == 0;

        if (first + n > 2 * half)
                n = 2 * half - first;
        perf_engine_apply(side->writer, remove ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD, first, n);
        side->at += n;
        if (flush)
                (void)perf_engine_request(side->writer, LANEMAP_REQUEST_FLUSH);
}

/* Waits for a command; while it churns, until a step is due. */
static bool side_is_told(const struct side *side, bool churns, uint64_t due_ns)
{
        struct pollfd fd = {.fd = side->from, .events = POLLIN};
        uint64_t now = perf_now_ns();
        int timeout_ms = due_ns > now ? (int)((due_ns - now) / 1000000) : 0;

        return poll(&fd, 1, churns ? timeout_ms : -1) != 0;
}

/* Commands of one byte: a mode, or 'e'. */
static void side_serve(struct side *side)
{
        uint64_t due = perf_now_ns();
        char command = 'q';

        while (command != 'e') {
                bool churns = command == 'a' || command == 'f';

                if (side_is_told(side, churns, due)) {
                        if (read(side->from, &command, 1) != 1)
                                return;
                        if (command == 'c')
                                (void)perf_engine_request(side->writer, LANEMAP_REQUEST_COMPACT);
                        if (write(side->to, &command, 1) != 1)
                                return;
                        due = perf_now_ns();
                        continue;
                }
                side_churn(side, command == 'f');
                due += (uint64_t)(1e9 / side->options->rate);
        }
}

static int side_main(struct side *side)
{
        const struct lanemap_writer_options options = {
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
                .flush_bytes = UINT64_C(1) << 32,
                .scrub_bytes_per_second = UINT64_MAX,
        };

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        side->writer = perf_engine_open(side->place, &options);
        perf_engine_apply(side->writer, LANEMAP_OP_ADD, 0, side->options->n_keys);
        (void)perf_engine_request(side->writer, LANEMAP_REQUEST_COMPACT);
        if (write(side->to, "r", 1) != 1)
                return 1;
        side_serve(side);
        lanemap_writer_close(side->writer);
        return 0;
}

/* ---- the reader process: this one ---- */

struct looker {
        pthread_t thread;
        struct lanemap_reader *reader;
        uint64_t seed, n_keys;
        const bool *stop;
        struct lanemap_histogram histogram;
};

static void *looker_main(void *arg)
{
        struct looker *looker = arg;
        uint64_t state = looker->seed;
        char text[PERF_KEY_BYTES_MAX];

        while (!__atomic_load_n(looker->stop, __ATOMIC_RELAXED)) {
                uint64_t number = perf_mix64(state++) % looker->n_keys, ticks;
                bool absent = number % 4 == 0;
                size_t n_bytes, n_ids = 0;
                uint32_t id = 0;
                int r;

                if (absent)
                        number += PERF_KEYS_ABSENT;
                n_bytes = perf_key_text(PERF_MIX_SINGLE, number, text);
                ticks = perf_ticks_begin();
                r = lanemap_reader_lookup(looker->reader, text, n_bytes, &id, 1, &n_ids);
                ticks = perf_ticks_end() - ticks;
                lanemap_histogram_record(&looker->histogram, ticks, 1);
                if (r < 0 || n_ids != !absent ||
                    (!absent && id != perf_key_route(PERF_MIX_SINGLE, number).first))
                        perf_die("a lookup is wrong", r);
        }

        return NULL;
}

static void window_run(const struct serving_options *options, struct lanemap_reader *reader,
                       uint32_t n_threads, struct serving_series *series)
{
        static struct looker lookers[SERVING_THREADS_MAX];
        static struct lanemap_histogram sum;
        static uint64_t seed;
        bool stop = false;

        memset(&sum, 0, sizeof(sum));
        for (uint32_t i = 0; i < n_threads; i++) {
                lookers[i] = (struct looker){.reader = reader,
                                             .seed = perf_mix64(++seed),
                                             .n_keys = options->n_keys / 2,
                                             .stop = &stop};
                if (pthread_create(&lookers[i].thread, NULL, looker_main, &lookers[i]) != 0)
                        perf_die("pthread_create", -errno);
        }
        perf_sleep_ns((uint64_t)(options->seconds * 1e9));
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        for (uint32_t i = 0; i < n_threads; i++) {
                pthread_join(lookers[i].thread, NULL);
                lanemap_histogram_merge(&sum, &lookers[i].histogram);
        }
        serving_series_add(series, &sum);
}

static void tell(int to, int from, char command)
{
        char answer;

        if (write(to, &command, 1) != 1 || read(from, &answer, 1) != 1)
                perf_die("the writer process is gone", 0);
}

static void mode_run(const struct serving_options *options, const struct perf_place *place, int to,
                     int from, uint32_t n_threads, int mode, struct serving_series *series)
{
        struct lanemap_reader_options attach = {.size = sizeof(attach),
                                                .helper_thread = mode == MODE_HELPER};
        struct lanemap_reader *reader;
        int r;

        tell(to, from, 'c');
        r = lanemap_reader_attach(place->name, &attach, &reader);
        if (r < 0)
                perf_die("attach", r);
        (void)lanemap_reader_poll(reader);
        tell(to, from, mode == MODE_QUIET ? 'q' : mode == MODE_ADDS ? 'a' : 'f');
        window_run(options, reader, n_threads, series);
        tell(to, from, 'q');
        lanemap_reader_detach(reader);
}

static void modes_measure(const struct serving_options *options, const struct perf_place *place,
                          int to, int from, uint32_t n_threads, struct perf_table *table)
{
        static struct serving_series series[N_MODES];
        char prefix[40];

        memset(series, 0, sizeof(series));
        for (uint32_t round = 0; round < options->n_rounds; round++)
                for (int i = 0; i < N_MODES; i++) {
                        int mode = (int)((round + (uint32_t)i) % N_MODES);

                        mode_run(options, place, to, from, n_threads, mode, &series[mode]);
                }
        for (int mode = 0; mode < N_MODES; mode++) {
                snprintf(prefix, sizeof(prefix), "index_t%u_%s", n_threads, mode_names[mode]);
                serving_series_report(&series[mode], prefix, table);
        }
}

void serving_measure_index(const struct serving_options *options, struct perf_table *table)
{
        struct perf_place place;
        int down[2], up[2], status;
        char ready;
        pid_t pid;

        perf_place_make(options->name, options->dir, &place);
        if (pipe(down) < 0 || pipe(up) < 0)
                perf_die("pipe", -errno);
        pid = fork();
        if (pid < 0)
                perf_die("fork", -errno);
        if (pid == 0) {
                struct side side = {
                        .options = options, .place = &place, .from = down[0], .to = up[1]};

                close(down[1]);
                close(up[0]);
                _exit(side_main(&side));
        }

        close(down[0]);
        close(up[1]);
        if (read(up[0], &ready, 1) != 1)
                perf_die("the writer process is gone", 0);
        for (size_t i = 0; i < options->n_threads; i++)
                modes_measure(options, &place, down[1], up[0], options->threads[i], table);
        tell(down[1], up[0], 'e');
        close(down[1]);
        close(up[0]);
        if (waitpid(pid, &status, 0) != pid || status != 0)
                perf_die("the writer process", 0);
        perf_place_remove(&place);
}
