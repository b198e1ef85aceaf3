/*
 * lanemap reshard: give the index of a data directory another number of lanes.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "tool.h"
#include "directory/reshard.h"

static const char help[] =
        "Usage: lanemap reshard DIR --lanes N\n"
        "\n"
        "Give the index in the data directory DIR, which no writer may have open, N lanes. Every\n"
        "segment is checked and written anew; until that is done the index stays as it is, and\n"
        "the disk needs room for both. What was written and not flushed stays in the log. The "
        "next\n"
        "start removes the old files; readers follow it, as any start.\n"
        "\n"
        "  --lanes N  1 to 1024\n"
        "\n"
        "Exit codes: 0 DIR has N lanes; 1 nothing was changed, and why; 2 usage.\n";

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

static bool lanes_parse(const char *text, uint32_t *ret_n_lanes)
{
        struct lanemap_slice slice = {text, strlen(text)};
        uint64_t n;

        if (!lanemap_tool_number(slice, LANEMAP_N_LANES_MAX, &n) || n == 0)
                return false;

        *ret_n_lanes = (uint32_t)n;
        return true;
}

int lanemap_tool_reshard(int argc, char **argv)
{
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'}, {"lanes", required_argument, NULL, 'n'}, {0}};
        struct lanemap_reshard_options reshard_options = {.files = &lanemap_files_owned};
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                switch (c) {
                case 'h':
                        return lanemap_tool_help(help);
                case 'n':
                        if (lanes_parse(optarg, &reshard_options.n_lanes))
                                break;
                        lanemap_tool_say("--lanes wants a number from 1 to %d, not '%s'",
                                         LANEMAP_N_LANES_MAX, optarg);
                        return lanemap_tool_usage("reshard");
                default:
                        return lanemap_tool_usage("reshard");
                }
        }
        if (argc - optind != 1 || reshard_options.n_lanes == 0) {
                lanemap_tool_say("reshard wants one DIR and --lanes N");
                return lanemap_tool_usage("reshard");
        }

        reshard_options.directory = argv[optind];
        return reshard(&reshard_options);
}
