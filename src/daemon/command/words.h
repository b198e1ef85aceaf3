/*
 * The arguments of a command, as COMMAND DOCS has them, from the words of its row:
 *
 *         key                a value. Its type is that of its name (words.c has a table)
 *         MATCH              a token: it stands as it is
 *         ON|OFF             one of several
 *         [x y]              may be left out
 *         [MATCH pattern]    a value with a token before it; with several values a block
 *         x y [x y ...]      once or more often
 *         [x ...]            as often as one likes
 */
#ifndef LANEMAP_DAEMON_COMMAND_WORDS_H
#define LANEMAP_DAEMON_COMMAND_WORDS_H

#include "daemon/resp/write.h"

/* The array of arguments. */
void lanemap_words_reply(struct lanemap_reply *reply, const char *words);

#endif
