/*
 * The command line of a benchmark: a table of its options, from which --help is printed as well, so
 * that the two cannot differ.
 */
#ifndef LANEMAP_PERF_COMMAND_H
#define LANEMAP_PERF_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PERF_SIZES_MAX 8

/* What `N[,N...]` gives. */
struct perf_sizes {
        size_t n;
        uint64_t values[PERF_SIZES_MAX];
};

enum perf_option_kind {
        PERF_OPTION_FLAG,   /* to: bool */
        PERF_OPTION_NUMBER, /* to: uint64_t */
        PERF_OPTION_COUNT,  /* to: uint32_t */
        PERF_OPTION_REAL,   /* to: double, above 0 */
        PERF_OPTION_SIZES,  /* to: struct perf_sizes */
        PERF_OPTION_TEXT,   /* to: const char * */
};

struct perf_option {
        const char *name;
        enum perf_option_kind kind;
        void *to;          /* unchanged where the option is not given */
        const char *shown; /* what stands for its argument; NULL: as its kind is shown */
        const char *help;
        uint64_t least, most; /* of numbers; most 0: no bound but the type's */
};

/* Options that mean the same everywhere. */
#define PERF_OPTION_CSV(variable)                                                             \
        {                                                                                     \
                "csv", PERF_OPTION_TEXT, (variable), "FILE|-",                                \
                        "also one row per measure: name,value,unit (-: only that, on stdout)" \
        }
#define PERF_OPTION_QUICK(variable)                                       \
        {                                                                 \
                "quick", PERF_OPTION_FLAG, (variable), NULL,              \
                        "seconds instead of minutes; numbers of no value" \
        }
#define PERF_OPTION_NAME(variable)                                            \
        {                                                                     \
                "name", PERF_OPTION_TEXT, (variable), "NAME",                 \
                        "published names begin with this (default: perf-PID)" \
        }
#define PERF_OPTION_DIR(variable)                                                        \
        {                                                                                \
                "dir", PERF_OPTION_TEXT, (variable), "DIR",                              \
                        "folders of the run are made in here (default: $TMPDIR or /tmp)" \
        }

/* Reads argv. --help: on stdout, and exit status 0; what cannot be read: on stderr, and 2. */
void perf_command_parse(const struct perf_option *options, size_t n_options, int argc, char **argv);

/* Ends the program as what cannot be read does: for what one option says of another. */
void perf_command_refuse(const char *why) __attribute__((noreturn));

/* Where folders of a run are made when --dir does not say it. */
const char *perf_command_dir(const char *dir);

#endif
