/* lanemap restore: a backup becomes a data directory. */
#include <stdio.h>

#include "cmd/commands.h"
#include "directory/restore.h"

static int restore(const void *values, int n_words, char **words)
{
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_restore_directory(&lanemap_files_owned, words[0], words[1], &error);
        if (r == 0)
                return LANEMAP_TOOL_DONE;

        lanemap_tool_say("nothing was restored: %s",
                         error.text[0] ? error.text : lanemap_tool_strerror(r));
        lanemap_tool_owner_say(words[0], r);
        lanemap_tool_owner_say(words[1], r);
        return LANEMAP_TOOL_FAILURE;
}

const struct lanemap_tool_command lanemap_tool_restore = {
        .name = "restore",
        .summary = "bring a backup back",
        .program =
                {
                        .name = "lanemap restore",
                        .synopsis = "lanemap restore SRC DIR",
                        .about = "Verify the backup SRC, copy it into the data directory DIR, "
                                 "which is empty or does not exist yet, and verify the copy. Then "
                                 "a lanemapd can be started on DIR.",
                        .epilog = "Exit codes: 0 done, and durable; 1 failure; 2 usage.",
                        .arguments = "DIR",
                },
        .n_words_min = 2,
        .n_words_max = 2,
        .wants = "wants SRC and DIR",
        .run = restore,
};
