/* lanemap remove: what an index leaves in shared memory, and its directory. */
#include <getopt.h>
#include <stdio.h>

#include "tool.h"
#include "directory/remove.h"

static const char help[] =
        "Usage: lanemap remove [--dir DIR] NAME\n"
        "\n"
        "Remove what the index NAME, whose writer is stopped, has in shared memory: it outlives\n"
        "the writer, so that readers go on while it restarts. With --dir also remove its data\n"
        "directory, for good.\n"
        "\n"
        "  --dir DIR  the data directory; files in it that are not the index's stay\n"
        "\n"
        "Exit codes: 0 nothing of it is left; 1 something is, and why; 2 usage.\n";

static int index_remove(const struct lanemap_remove_options *options)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_remove_report report;
        char objects[32], files[32];
        int r;

        r = lanemap_remove_index(options, &report, &error);
        lanemap_tool_bytes_format(report.object_bytes, objects, sizeof(objects));
        lanemap_tool_bytes_format(report.file_bytes, files, sizeof(files));
        printf("%s: removed %u objects of shared memory, %s", options->name, report.n_objects,
               objects);
        if (options->directory)
                printf("; %u files, %s", report.n_files, files);
        printf("\n");
        if (lanemap_tool_flush() < 0)
                return LANEMAP_TOOL_FAILURE;
        if (r == 0)
                return LANEMAP_TOOL_DONE;

        lanemap_tool_say("'%s' is not removed: %s", options->name,
                         error.text[0] ? error.text : lanemap_tool_strerror(r));
        return LANEMAP_TOOL_FAILURE;
}

int lanemap_tool_remove(int argc, char **argv)
{
        static const struct option options[] = {
                {"help", no_argument, NULL, 'h'}, {"dir", required_argument, NULL, 'd'}, {0}};
        struct lanemap_remove_options remove_options = {.files = &lanemap_files_posix};
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                switch (c) {
                case 'h':
                        return lanemap_tool_help(help);
                case 'd':
                        remove_options.directory = optarg;
                        break;
                default:
                        return lanemap_tool_usage("remove");
                }
        }
        if (argc - optind != 1) {
                lanemap_tool_say("remove wants one NAME");
                return lanemap_tool_usage("remove");
        }

        remove_options.name = argv[optind];
        return index_remove(&remove_options);
}
