/*
 * lanemap repair: make a damaged data directory one that a writer opens, and say what was lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cmd/commands.h"
#include "directory/repair.h"

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

struct arguments {
        bool dry_run, accept_log_loss;
};

#define TO(member) LANEMAP_OPTION_TO(struct arguments, member)
static const struct lanemap_option options[] = {
        {"dry-run", NULL, "say what would be done; change nothing", TO(dry_run)},
        {"accept-log-loss", NULL,
         "go on when acknowledged records of the log are lost, without them", TO(accept_log_loss)},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        struct lanemap_repair_options repair_options = {
                .files = &lanemap_files_owned,
                .say = line_print,
                .directory = words[0],
                .dry_run = arguments->dry_run,
                .accept_log_loss = arguments->accept_log_loss,
        };

        return repair(&repair_options);
}

const struct lanemap_tool_command lanemap_tool_repair = {
        .name = "repair",
        .summary = "make a damaged data directory usable, and say what was lost",
        .program =
                {
                        .name = "lanemap repair",
                        .synopsis = "lanemap repair [--dry-run] [--accept-log-loss] DIR",
                        .about = "Repair the data directory DIR, which no writer may have open. "
                                 "What can be put right is; of what cannot, every entry that "
                                 "validates is kept; damaged files are moved to DIR/quarantine. "
                                 "Prints what was found, done and lost, a line each.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 sound, or repaired without loss; 1 not repaired; "
                                  "2 usage; 6 repaired, and something was lost or may be wrong.",
                        .arguments = "DIR",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one DIR",
        .run = run,
};
