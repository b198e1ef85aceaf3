/* lanemap get: one line per key, in load's format. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "escape.h"
#include "cmd/commands.h"

struct answer {
        uint32_t *ids;
        size_t capacity;
        size_t n_ids;
};

/* Comes back with more room until the ids fit: the posting may grow in between. */
static int lookup(struct lanemap_reader *reader, struct lanemap_slice key, struct answer *answer)
{
        for (;;) {
                int r = lanemap_reader_lookup(reader, key.data, key.bytes, answer->ids,
                                              answer->capacity, &answer->n_ids);

                if (r < 0 || answer->n_ids <= answer->capacity)
                        return r;
                answer->capacity = answer->n_ids + answer->n_ids / 8;
                answer->ids =
                        lanemap_tool_realloc(answer->ids, answer->capacity, sizeof(answer->ids[0]));
        }
}

static void line_append(struct lanemap_slice key, const struct answer *answer,
                        struct lanemap_text *line)
{
        lanemap_escape_key(key, line);
        lanemap_text_append_char(line, '\t');
        for (size_t i = 0; i < answer->n_ids; i++) {
                if (i > 0)
                        lanemap_text_append_char(line, ',');
                lanemap_text_append_u64(line, answer->ids[i]);
        }
        lanemap_text_append_char(line, '\n');
}

/* Return: the exit code. */
static int get_keys(struct lanemap_reader *reader, char **keys, size_t n_keys)
{
        struct lanemap_text line = {0};
        struct answer answer = {0};
        bool found = false;
        int r = 0;

        for (size_t i = 0; i < n_keys && r == 0; i++) {
                struct lanemap_slice key = {.data = keys[i], .bytes = strlen(keys[i])};

                if (key.bytes == 0 || key.bytes > LANEMAP_KEY_BYTES_MAX) {
                        lanemap_tool_say("key %zu has %zu bytes; 1 to %d are allowed", i + 1,
                                         key.bytes, LANEMAP_KEY_BYTES_MAX);
                        r = -EINVAL;
                        break;
                }
                r = lookup(reader, key, &answer);
                if (r < 0) {
                        lanemap_tool_say("cannot look up '%s': %s", keys[i],
                                         lanemap_tool_strerror(r));
                        break;
                }
                found |= answer.n_ids > 0;
                line.bytes = 0;
                line_append(key, &answer, &line);
                fwrite(line.data, 1, line.bytes, stdout);
        }
        if (lanemap_tool_flush() < 0)
                r = -EIO;

        lanemap_text_deinit(&line);
        free(answer.ids);
        if (r < 0)
                return LANEMAP_TOOL_FAILURE;
        return found ? LANEMAP_TOOL_DONE : LANEMAP_TOOL_NOT_FOUND;
}

static int get(const void *values, int n_words, char **words)
{
        struct lanemap_reader *reader;
        int exit_code;

        if (lanemap_tool_attach(words[0], 0, &reader) < 0)
                return LANEMAP_TOOL_FAILURE;

        exit_code = get_keys(reader, words + 1, (size_t)n_words - 1);
        lanemap_reader_detach(reader);
        return exit_code;
}

const struct lanemap_tool_command lanemap_tool_get = {
        .name = "get",
        .summary = "look keys up",
        .program =
                {
                        .name = "lanemap get",
                        .synopsis = "lanemap get NAME KEY...",
                        .about =
                                "Look each KEY up in the index that is published as NAME and print "
                                "one line for it: the key, a tab, and its ids, ascending, "
                                "separated by commas. A key without ids has nothing after the tab. "
                                "Tab, newline and backslash in a key print as \\t, \\n and \\\\.",
                        .epilog = "Exit codes: 0 some key was found; 1 failure; 2 usage; 3 none "
                                  "was found.",
                        .options_first = true,
                },
        .n_words_min = 2,
        .wants = "wants a NAME and at least one KEY",
        .run = get,
};
