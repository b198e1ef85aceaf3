/* lanemap backup: ask a running writer for a copy of its index, or copy a directory without one. */
#include <stdio.h>

#include "backup_socket.h"
#include "cmd/commands.h"
#include "directory/restore.h"

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

struct arguments {
        const char *socket, *directory;
};

#define TO(member) LANEMAP_OPTION_TO(struct arguments, member)
static const struct lanemap_option options[] = {
        {"socket", "PATH",
         "of the running lanemapd that listens there, as of now; the environment "
         "variable LANEMAP_PASSWORD holds its password if it wants one",
         TO(socket)},
        {"dir", "DIR", "of a data directory that no writer serves now", TO(directory)},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;

        if (!arguments->socket == !arguments->directory) {
                lanemap_tool_say("backup %s", lanemap_tool_backup.wants);
                return lanemap_tool_usage("backup");
        }
        if (arguments->socket)
                return lanemap_tool_backup_socket(arguments->socket, words[0]) < 0
                               ? LANEMAP_TOOL_FAILURE
                               : LANEMAP_TOOL_DONE;
        return backup_directory(arguments->directory, words[0]);
}

const struct lanemap_tool_command lanemap_tool_backup = {
        .name = "backup",
        .summary = "copy an index into an empty directory",
        .program =
                {
                        .name = "lanemap backup",
                        .synopsis = "lanemap backup --socket PATH DEST\n"
                                    "       lanemap backup --dir DIR DEST",
                        .about = "Copy an index into the directory DEST, which is empty or does "
                                 "not exist yet.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 done, and durable; 1 failure; 2 usage.",
                        .arguments = "DIR",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants --socket PATH or --dir DIR, and one DEST",
        .run = run,
};
