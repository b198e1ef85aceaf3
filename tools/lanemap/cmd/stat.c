/*
 * lanemap stat: what an index holds, what it costs, and how likely a lookup is to be wrong.
 *
 * Identity of a key is its fingerprint; odds.h has what follows from that.
 */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "odds.h"
#include "stat_writer.h"
#include "cmd/commands.h"

#define LOOKUPS_MAX     UINT64_C(1000000000000000)
#define ALIVE_WITHIN_NS UINT64_C(1000000000)

/* What an index can be created with. */
static const uint32_t widths[] = {64, 80, 96};

static const char *state_name(uint32_t state, bool alive)
{
        if (!alive && state != LANEMAP_STATE_CLOSED)
                return "silent";
        switch (state) {
        case LANEMAP_STATE_STARTING:
                return "starting";
        case LANEMAP_STATE_RUNNING:
                return "running";
        case LANEMAP_STATE_CLOSED:
                return "closed";
        default:
                return "unknown";
        }
}

/* What a person wants to know of the writer. */
static const char *writer_words(uint32_t state, bool alive)
{
        if (state == LANEMAP_STATE_CLOSED)
                return "closed: stopped in good order";
        if (!alive)
                return "dead: no sign of life for a second";
        return state_name(state, alive);
}

/*
 * Return: whether the writer gives a sign of life within a second; it does so several times in one.
 * A state of its own says nothing when it was killed. An age shorter than the time since the first
 * look means that the heartbeat moved in between.
 */
static int writer_alive(struct lanemap_reader *reader, struct lanemap_status *ret_status,
                        bool *ret_alive)
{
        uint64_t start_ns, elapsed_ns = 0;
        int r = lanemap_reader_status(reader, ret_status);

        start_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        *ret_alive = false;
        while (r == 0 && !*ret_alive && elapsed_ns < ALIVE_WITHIN_NS &&
               ret_status->state != LANEMAP_STATE_CLOSED) {
                struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

                nanosleep(&pause, NULL);
                elapsed_ns = lanemap_now_ns(&lanemap_clock_monotonic) - start_ns;
                r = lanemap_reader_status(reader, ret_status);
                *ret_alive = ret_status->heartbeat_age_ns < elapsed_ns;
        }
        return r;
}

/* Groups of three digits. */
static void count_format(uint64_t count, char room[32])
{
        char digits[24];
        int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)count);
        size_t at = 0;

        for (int i = 0; i < n; i++) {
                if (i > 0 && (n - i) % 3 == 0)
                        room[at++] = ',';
                room[at++] = digits[i];
        }
        room[at] = '\0';
}

static void print_kinds(const struct lanemap_status *status)
{
        const struct {
                const char *name;
                uint32_t n;
        } kinds[] = {
                {"packed", status->n_segments_packed},
                {"recsplit", status->n_segments_recsplit},
                {"bbhash", status->n_segments_bbhash},
                {"with a filter", status->n_segments_filtered},
        };
        const char *between = "kinds            ";

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                if (kinds[i].n == 0)
                        continue;
                printf("%s%u %s", between, kinds[i].n, kinds[i].name);
                between = ", ";
        }
        if (status->n_segment_files > 0)
                putchar('\n');
}

static void print_table(const char *name, const struct lanemap_status *status, bool alive,
                        uint64_t lookups_per_second, json_t *counters)
{
        uint32_t bits = status->fingerprint_bits;
        uint64_t bytes = status->shared_bytes + status->segment_bytes;
        char room[40], rate[32];

        lanemap_tool_uuid_format(status->uuid, room);
        printf("name             %s\n", name);
        printf("index            %s\n", room);
        printf("writer           %s%s\n", writer_words(status->state, alive),
               status->degraded ? "; DEGRADED: run 'lanemap verify'" : "");
        printf("generation       %016llx\n", (unsigned long long)status->generation);
        printf("lanes            %u\n", status->n_lanes);
        count_format(status->n_keys, room);
        printf("keys             %s\n", room);
        count_format(status->n_pairs, room);
        printf("(key, id) pairs  %s\n", room);
        lanemap_tool_bytes_format(status->shared_bytes, room, sizeof(room));
        printf("shared memory    %s\n", room);
        lanemap_tool_bytes_format(status->segment_bytes, room, sizeof(room));
        printf("segments         %s in %llu files\n", room,
               (unsigned long long)status->n_segment_files);
        print_kinds(status);
        if (status->n_keys > 0)
                printf("per key          %.2f bytes, shared memory and segments\n",
                       (double)bytes / (double)status->n_keys);
        if (counters)
                lanemap_stat_writer_print(counters);
        printf("false route      %.2g per lookup of an absent key (n / 2^%u)\n",
               lanemap_odds_false_route(status->n_keys, bits), bits);
        printf("collision        %.2g that any two live keys share a posting (n^2 / 2^%u)\n",
               lanemap_odds_collision(status->n_keys, bits), bits + 1);
        for (size_t i = 0; lookups_per_second && i < LANEMAP_N_ELEMENTS(widths); i++) {
                count_format(lookups_per_second, rate);
                lanemap_odds_time_format(
                        lanemap_odds_seconds_between(status->n_keys, widths[i], lookups_per_second),
                        room, sizeof(room));
                printf("%s  %u bits: one expected every %s%s\n",
                       i == 0 ? "false routes   " : "               ", widths[i], room,
                       widths[i] == bits ? " (this index)" : "");
                if (i + 1 == LANEMAP_N_ELEMENTS(widths))
                        printf("                 at %s lookups of absent keys a second\n", rate);
        }
}

/* {"64": seconds, ...}; null where it never happens. */
static json_t *json_seconds_between(uint64_t n_keys, uint64_t lookups_per_second)
{
        json_t *json = json_object();

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(widths); i++) {
                double seconds =
                        lanemap_odds_seconds_between(n_keys, widths[i], lookups_per_second);
                char bits[12];

                snprintf(bits, sizeof(bits), "%u", widths[i]);
                json_object_set_new(json, bits, isinf(seconds) ? json_null() : json_real(seconds));
        }
        return json;
}

static void json_kinds(json_t *json, const struct lanemap_status *status)
{
        json_object_set_new(json, "segments_packed", json_integer(status->n_segments_packed));
        json_object_set_new(json, "segments_recsplit", json_integer(status->n_segments_recsplit));
        json_object_set_new(json, "segments_bbhash", json_integer(status->n_segments_bbhash));
        json_object_set_new(json, "segments_filtered", json_integer(status->n_segments_filtered));
}

static void print_json(const char *name, const struct lanemap_status *status, bool alive,
                       uint64_t lookups_per_second, json_t *counters)
{
        uint32_t bits = status->fingerprint_bits;
        char uuid[37], generation[17];
        json_t *json;

        lanemap_tool_uuid_format(status->uuid, uuid);
        snprintf(generation, sizeof(generation), "%016llx", (unsigned long long)status->generation);
        json = json_pack(
                "{s:s, s:s, s:s, s:b, s:b, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:f}",
                "name", name, "uuid", uuid, "state", state_name(status->state, alive), "degraded",
                (int)status->degraded, "writer_alive", (int)alive, "generation", generation,
                "lanes", (int)status->n_lanes, "fingerprint_bits", (int)status->fingerprint_bits,
                "keys", (json_int_t)status->n_keys, "pairs", (json_int_t)status->n_pairs,
                "shared_bytes", (json_int_t)status->shared_bytes, "segment_bytes",
                (json_int_t)status->segment_bytes, "segment_files",
                (json_int_t)status->n_segment_files, "false_route_per_lookup",
                lanemap_odds_false_route(status->n_keys, bits), "collision_per_index",
                lanemap_odds_collision(status->n_keys, bits));
        json_kinds(json, status);
        if (lookups_per_second) {
                json_object_set_new(json, "lookups_per_second",
                                    json_integer((json_int_t)lookups_per_second));
                json_object_set_new(json, "seconds_between_false_routes",
                                    json_seconds_between(status->n_keys, lookups_per_second));
        }
        if (counters)
                json_object_set(json, "writer", counters);
        json_dumpf(json, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
        putchar('\n');
        json_decref(json);
}

struct arguments {
        const char *socket;
        uint64_t lookups_per_second;
        bool json;
};

#define TO(member) LANEMAP_OPTION_TO(struct arguments, member)
static const struct lanemap_option options[] = {
        {"json", NULL, "one JSON object; sizes in bytes", TO(json)},
        {"lookups-per-second", "N",
         "how long until a false route is to be expected, when so many absent "
         "keys are looked up in a second; for 64, 80 and 96 bits",
         TO(lookups_per_second), 1, LOOKUPS_MAX},
        {"socket", "PATH",
         "also ask the index's lanemapd, which listens there, for what only it knows: "
         "write and read amplification; with --json all counters; the environment variable "
         "LANEMAP_PASSWORD holds its password if it wants one",
         TO(socket)},
};

static int status_read(const char *name, struct lanemap_status *ret_status, bool *ret_alive)
{
        struct lanemap_reader *reader;
        int r = lanemap_tool_attach(name, 0, &reader);

        if (r < 0)
                return r;
        r = lanemap_reader_poll(reader);
        if (r >= 0)
                r = writer_alive(reader, ret_status, ret_alive);
        lanemap_reader_detach(reader);
        if (r < 0)
                lanemap_tool_say("cannot read the status of '%s': %s", name,
                                 lanemap_tool_strerror(r));
        return r;
}

static int run(const void *values, int n_words, char **words)
{
        struct lanemap_status status = {.size = sizeof(status)};
        const struct arguments *arguments = values;
        json_t *counters = NULL;
        bool alive = false;
        char uuid[37];

        if (status_read(words[0], &status, &alive) < 0)
                return LANEMAP_TOOL_FAILURE;
        lanemap_tool_uuid_format(status.uuid, uuid);
        if (arguments->socket && lanemap_stat_writer_read(arguments->socket, uuid, &counters) < 0)
                return LANEMAP_TOOL_FAILURE;

        (arguments->json ? print_json : print_table)(words[0], &status, alive,
                                                     arguments->lookups_per_second, counters);
        json_decref(counters);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

const struct lanemap_tool_command lanemap_tool_stat = {
        .name = "stat",
        .summary = "what an index holds and uses",
        .program =
                {
                        .name = "lanemap stat",
                        .synopsis = "lanemap stat [--json] [--lookups-per-second N] [--socket "
                                    "PATH] NAME",
                        .about = "Print what the index published as NAME holds: keys, (key, id) "
                                 "pairs, memory, the state of its writer, and the odds of a false "
                                 "route.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 done; 1 failure; 2 usage.",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one NAME",
        .run = run,
};
