/*
 * The command line of a benchmark: rows of common/option.h, read into a struct of the program.
 */
#ifndef LANEMAP_PERF_COMMAND_H
#define LANEMAP_PERF_COMMAND_H

#include "common/option.h"

/* Options that mean the same everywhere; the member is that of `type` that they fill in. */
#define PERF_OPTION_CSV(type, member)                                                          \
        {                                                                                      \
                "csv", "FILE",                                                                 \
                        "also one row per measure: name,value,unit (-: only that, on stdout)", \
                        LANEMAP_OPTION_TO(type, member)                                        \
        }
#define PERF_OPTION_QUICK(type, member)                                           \
        {                                                                         \
                "quick", NULL, "seconds instead of minutes; numbers of no value", \
                        LANEMAP_OPTION_TO(type, member)                           \
        }
#define PERF_OPTION_NAME(type, member)                                                 \
        {                                                                              \
                "name", "NAME", "published names begin with this (default: perf-PID)", \
                        LANEMAP_OPTION_TO(type, member)                                \
        }
#define PERF_OPTION_DIR(type, member)                                                           \
        {                                                                                       \
                "dir", "DIR", "folders of the run are made in here (default: $TMPDIR or /tmp)", \
                        LANEMAP_OPTION_TO(type, member)                                         \
        }

/* Reads argv into `values`. --help: on stdout, and exit status 0; what cannot be read: on stderr,
 * and 2. */
void perf_command_parse(const struct lanemap_option *options, size_t n_options, void *values,
                        int argc, char **argv);

/* Ends the program as what cannot be read does: for what one option says of another. */
void perf_command_refuse(const char *why) __attribute__((noreturn));

/* Where folders of a run are made when --dir does not say it. */
const char *perf_command_dir(const char *dir);

#endif
