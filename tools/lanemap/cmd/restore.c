/* lanemap restore: a backup becomes a data directory. */
#include <getopt.h>
#include <stdio.h>

#include "tool.h"
#include "directory/restore.h"

static const char help[] =
        "Usage: lanemap restore SRC DIR\n"
        "\n"
        "Verify the backup SRC, copy it into the data directory DIR, which is empty or does not\n"
        "exist yet, and verify the copy. Then a lanemapd can be started on DIR.\n"
        "\n"
        "Exit codes: 0 done, and durable; 1 failure; 2 usage.\n";

int lanemap_tool_restore(int argc, char **argv)
{
        static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
        struct lanemap_error error = {.text = ""};
        int c, r;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
                return c == 'h' ? lanemap_tool_help(help) : lanemap_tool_usage("restore");
        if (argc - optind != 2) {
                lanemap_tool_say("restore wants SRC and DIR");
                return lanemap_tool_usage("restore");
        }

        r = lanemap_restore_directory(&lanemap_files_owned, argv[optind], argv[optind + 1], &error);
        if (r == 0)
                return LANEMAP_TOOL_DONE;

        lanemap_tool_say("nothing was restored: %s",
                         error.text[0] ? error.text : lanemap_tool_strerror(r));
        lanemap_tool_owner_say(argv[optind], r);
        lanemap_tool_owner_say(argv[optind + 1], r);
        return LANEMAP_TOOL_FAILURE;
}
