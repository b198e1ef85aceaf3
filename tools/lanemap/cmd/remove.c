/* lanemap remove: what an index leaves in shared memory, and its directory. */
#include <stdio.h>

#include "cmd/commands.h"
#include "directory/remove.h"

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

struct arguments {
        const char *directory;
};

static const struct lanemap_option options[] = {
        {"dir", "DIR", "the data directory; files in it that are not the index's stay",
         LANEMAP_OPTION_TO(struct arguments, directory)},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        const struct lanemap_remove_options remove_options = {
                .files = &lanemap_files_posix,
                .name = words[0],
                .directory = arguments->directory,
        };

        return index_remove(&remove_options);
}

const struct lanemap_tool_command lanemap_tool_remove = {
        .name = "remove",
        .summary = "remove what a stopped index has in shared memory, and its directory",
        .program =
                {
                        .name = "lanemap remove",
                        .synopsis = "lanemap remove [--dir DIR] NAME",
                        .about = "Remove what the index NAME, whose writer is stopped, has in "
                                 "shared memory: it outlives the writer, so that readers go on "
                                 "while it restarts. With --dir also remove its data directory, "
                                 "for good.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 nothing of it is left; 1 something is, and why; 2 "
                                  "usage.",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one NAME",
        .run = run,
};
