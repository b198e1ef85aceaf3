/* lanemap backup: ask a running writer for a copy of its index, or copy a directory without one. */
#include <getopt.h>
#include <stdio.h>

#include "backup_socket.h"
#include "tool.h"
#include "directory/restore.h"

static const char help[] =
        "Usage: lanemap backup --socket PATH DEST\n"
        "       lanemap backup --dir DIRECTORY DEST\n"
        "\n"
        "Copy an index into the directory DEST, which is empty or does not exist yet.\n"
        "\n"
        "  --socket PATH    of the running lanemapd that listens there, as of now; the "
        "environment\n"
        "                   variable LANEMAP_PASSWORD holds its password if it wants one\n"
        "  --dir DIRECTORY  of a data directory that no writer serves now\n"
        "\n"
        "Exit codes: 0 done, and durable; 1 failure; 2 usage.\n";

static int backup_directory(const char *directory, const char *destination)
{
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_restore_directory(&lanemap_files_owned, directory, destination, &error);
        if (r == 0)
                return LANEMAP_TOOL_DONE;

        lanemap_tool_say("no backup was made: %s",
                         error.text[0] ? error.text : lanemap_tool_strerror(r));
        return LANEMAP_TOOL_FAILURE;
}

int lanemap_tool_backup(int argc, char **argv)
{
        static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                                {"socket", required_argument, NULL, 's'},
                                                {"dir", required_argument, NULL, 'd'},
                                                {0}};
        const char *socket = NULL, *directory = NULL;
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                switch (c) {
                case 'h':
                        return lanemap_tool_help(help);
                case 's':
                        socket = optarg;
                        break;
                case 'd':
                        directory = optarg;
                        break;
                default:
                        return lanemap_tool_usage("backup");
                }
        }
        if (argc - optind != 1 || !socket == !directory) {
                lanemap_tool_say("backup wants --socket PATH or --dir DIRECTORY, and one DEST");
                return lanemap_tool_usage("backup");
        }

        if (socket)
                return lanemap_tool_backup_socket(socket, argv[optind]) < 0 ? LANEMAP_TOOL_FAILURE
                                                                            : LANEMAP_TOOL_DONE;
        return backup_directory(directory, argv[optind]);
}
