/*
 * lanemap reshard: give the index of a data directory another number of lanes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "cmd/commands.h"
#include "directory/reshard.h"

static int reshard(const struct lanemap_reshard_options *options)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_reshard_report report;
        uint64_t start_ns = lanemap_now_ns(&lanemap_clock_monotonic), elapsed_ns;
        char bytes[32];
        int r;

        r = lanemap_reshard_directory(options, &report, &error);
        if (r < 0) {
                lanemap_tool_say("'%s' is not resharded: %s", options->directory,
                                 error.text[0] ? error.text : strerror(-r));
                lanemap_tool_owner_say(options->directory, r);
                return LANEMAP_TOOL_FAILURE;
        }

        elapsed_ns = lanemap_now_ns(&lanemap_clock_monotonic) - start_ns;
        lanemap_tool_bytes_format(report.n_bytes, bytes, sizeof(bytes));
        if (r == LANEMAP_RESHARD_E_SAME)
                printf("%u lanes already; nothing to do\n", report.n_lanes_before);
        else
                printf("%u lanes, were %u: %" PRIu64 " keys, %" PRIu64
                       " pairs, %s in %u files, %.3f s\n",
                       options->n_lanes, report.n_lanes_before, report.n_keys, report.n_pairs,
                       bytes, report.n_files, (double)elapsed_ns / 1e9);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

struct arguments {
        uint32_t n_lanes;
};

static const struct lanemap_option options[] = {
        {"lanes", "N", "1 to 1024", LANEMAP_OPTION_TO(struct arguments, n_lanes), 1,
         LANEMAP_N_LANES_MAX},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        struct lanemap_reshard_options reshard_options = {
                .files = &lanemap_files_owned,
                .directory = words[0],
                .n_lanes = arguments->n_lanes,
        };

        if (reshard_options.n_lanes == 0) {
                lanemap_tool_say("reshard wants one DIR and --lanes N");
                return lanemap_tool_usage("reshard");
        }
        return reshard(&reshard_options);
}

const struct lanemap_tool_command lanemap_tool_reshard = {
        .name = "reshard",
        .summary = "give a data directory another number of lanes",
        .program =
                {
                        .name = "lanemap reshard",
                        .synopsis = "lanemap reshard DIR --lanes N",
                        .about = "Give the index in the data directory DIR, which no writer may "
                                 "have open, N lanes. Every segment is checked and written anew; "
                                 "until that is done the index stays as it is, and the disk needs "
                                 "room for both. What was written and not flushed stays in the "
                                 "log. The next start removes the old files; readers follow it, as "
                                 "any start.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 DIR has N lanes; 1 nothing was changed, and why; "
                                  "2 usage.",
                        .arguments = "DIR",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one DIR and --lanes N",
        .run = run,
};
