/*
 * Keys in lines of text: `load` reads them and `get` writes them.
 *
 *   key<TAB>id[,id...]
 *
 * In the key a tab is written \t, a newline \n, a backslash \\; every other byte stands for itself.
 */
#ifndef LANEMAP_TOOLS_ESCAPE_H
#define LANEMAP_TOOLS_ESCAPE_H

#include "text.h"

void lanemap_escape_key(struct lanemap_slice key, struct lanemap_text *text);

/* In place. Return: 0, -EINVAL a backslash with something else behind it. */
int lanemap_unescape_key(char *key, size_t *bytes);

#endif
