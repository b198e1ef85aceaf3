/*
 * lanemap repair: make a damaged data directory one that a writer opens, and say what was lost.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "tool.h"
#include "directory/repair.h"

static const char help[] =
        "Usage: lanemap repair [--dry-run] [--accept-log-loss] DIR\n"
        "\n"
        "Repair the data directory DIR, which no writer may have open. What can be put right is;\n"
        "of what cannot, every entry that validates is kept; damaged files are moved to\n"
        "DIR/quarantine. Prints what was found, done and lost, a line each.\n"
        "\n"
        "  --dry-run          say what would be done; change nothing\n"
        "  --accept-log-loss  go on when acknowledged records of the log are lost, without them\n"
        "\n"
        "Exit codes: 0 sound, or repaired without loss; 1 not repaired; 2 usage; 6 repaired, and\n"
        "something was lost or may be wrong.\n";

static void line_print(void *arg, const char *line)
{
        printf("%s\n", line);
}

static int repair(const struct lanemap_repair_options *options)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_repair_report report;
        const char *would = options->dry_run ? "would be " : "";
        int r;

        r = lanemap_repair_directory(options, &report, &error);
        if (r < 0) {
                if (lanemap_tool_flush() == 0)
                        lanemap_tool_say("'%s' is not repaired: %s", options->directory,
                                         error.text[0] ? error.text : strerror(-r));
                lanemap_tool_owner_say(options->directory, r);
                return LANEMAP_TOOL_FAILURE;
        }

        if (report.n_findings == 0)
                printf("sound; nothing to do\n");
        else if (!report.lossy)
                printf("%srepaired; nothing lost\n", would);
        else
                printf("%srepaired; lost: %" PRIu64 " keys, %" PRIu64
                       " log records; kept without proof: %" PRIu64 " keys\n",
                       would, report.n_keys_lost, report.n_records_lost, report.n_keys_suspect);
        if (lanemap_tool_flush() < 0)
                return LANEMAP_TOOL_FAILURE;

        return report.lossy ? LANEMAP_TOOL_LOSS : LANEMAP_TOOL_DONE;
}

int lanemap_tool_repair(int argc, char **argv)
{
        static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                                {"dry-run", no_argument, NULL, 'n'},
                                                {"accept-log-loss", no_argument, NULL, 'l'},
                                                {0}};
        struct lanemap_repair_options repair_options = {
                .files = &lanemap_files_owned,
                .say = line_print,
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                switch (c) {
                case 'h':
                        return lanemap_tool_help(help);
                case 'n':
                        repair_options.dry_run = true;
                        break;
                case 'l':
                        repair_options.accept_log_loss = true;
                        break;
                default:
                        return lanemap_tool_usage("repair");
                }
        }
        if (argc - optind != 1) {
                lanemap_tool_say("repair wants one DIR");
                return lanemap_tool_usage("repair");
        }

        repair_options.directory = argv[optind];
        return repair(&repair_options);
}
