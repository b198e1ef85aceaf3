/* Patterns as Redis has them: * ? [a-z] [^a] and a backslash before what is meant as it is. */
#ifndef LANEMAP_DAEMON_COMMAND_GLOB_H
#define LANEMAP_DAEMON_COMMAND_GLOB_H

#include "common/base.h"

/* Return: whether the whole text matches. Cost: at most n_pattern * n_text steps. */
bool lanemap_glob_match(const char *pattern, size_t n_pattern, const char *text, size_t n_text);

/* The same of a name of ours, in any case (A is a). Names are short: a pattern of more than
 * LANEMAP_GLOB_NAME_BYTES_MAX bytes matches none (LP3). */
#define LANEMAP_GLOB_NAME_BYTES_MAX ((size_t)128)
bool lanemap_glob_match_name(const char *pattern, size_t n_pattern, const char *name);

#endif
