/* See escape.h. */
#include "escape.h"

#include <errno.h>

void lanemap_escape_key(struct lanemap_slice key, struct lanemap_text *text)
{
        for (size_t i = 0; i < key.bytes; i++) {
                char c = key.data[i];

                if (c == '\t')
                        lanemap_text_append(text, "\\t", 2);
                else if (c == '\n')
                        lanemap_text_append(text, "\\n", 2);
                else if (c == '\\')
                        lanemap_text_append(text, "\\\\", 2);
                else
                        lanemap_text_append_char(text, c);
        }
}

int lanemap_unescape_key(char *key, size_t *bytes)
{
        size_t to = 0;

        for (size_t i = 0; i < *bytes; i++) {
                char c = key[i];

                if (c == '\\') {
                        if (++i == *bytes)
                                return -EINVAL;
                        c = key[i];
                        if (c == 't')
                                c = '\t';
                        else if (c == 'n')
                                c = '\n';
                        else if (c != '\\')
                                return -EINVAL;
                }
                key[to++] = c;
        }
        *bytes = to;
        return 0;
}
