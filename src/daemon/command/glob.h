/* Patterns as Redis has them: * ? [a-z] [^a] and a backslash before what is meant as it is. */
#ifndef LANEMAP_DAEMON_COMMAND_GLOB_H
#define LANEMAP_DAEMON_COMMAND_GLOB_H

#include "common/base.h"

/* Return: whether the whole text matches; in any case: A is a. Cost: at most n_pattern * n_text
 * steps. */
bool lanemap_glob_match(const char *pattern, size_t n_pattern, const char *text, size_t n_text);
bool lanemap_glob_match_any_case(const char *pattern, size_t n_pattern, const char *text,
                                 size_t n_text);

#endif
