/*
 * Command lines: one table of options, from which everything about them comes: parsing, --help,
 * the settings that a running program reports and lets change (CONFIG), and completion by the
 * shell.
 *
 * A new option is a row, and a member of the struct that the row fills in. Nothing here prints: it
 * returns text.
 *
 *         struct options { uint32_t n_workers; const char *socket; bool json; };
 *
 *         #define TO(member) LANEMAP_OPTION_TO(struct options, member)
 *         static const struct lanemap_option rows[] = {
 *                 {"workers", "N", "compaction threads (default 1)", TO(n_workers), 1, 64},
 *                 {"socket", "PATH", "where the daemon listens", TO(socket)},
 *                 {"json", NULL, "one JSON object", TO(json)},
 *         };
 */
#ifndef LANEMAP_COMMON_OPTION_H
#define LANEMAP_COMMON_OPTION_H

#include <lanemap/lanemap.h>

#include "common/base.h"

#define LANEMAP_OPTIONS_MAX      64
#define LANEMAP_OPTION_SIZES_MAX 8

/* The parsed form of `N[,N...]`. */
struct lanemap_option_sizes {
        size_t n;
        uint64_t values[LANEMAP_OPTION_SIZES_MAX];
};

enum lanemap_option_kind {
        LANEMAP_OPTION_CALL = 0, /* take() does it, and the value is not one member */
        LANEMAP_OPTION_FLAG,     /* bool: true; the option has no value */
        LANEMAP_OPTION_U32,      /* uint32_t: a decimal number or a choice */
        LANEMAP_OPTION_U64,      /* uint64_t: the same */
        LANEMAP_OPTION_REAL,     /* double, above 0 */
        LANEMAP_OPTION_SIZES,    /* struct lanemap_option_sizes */
        LANEMAP_OPTION_TEXT,     /* const char *: points into argv */
        LANEMAP_OPTION_ARRAY,    /* char[]: a copy, which has to fit */
};

/* Kind, offset and size of a member: for the row of the option that fills it in. */
#define LANEMAP_OPTION_TO(type, member) \
        _Generic(((type *)NULL)->member, bool                             \
                 : LANEMAP_OPTION_FLAG, uint32_t                          \
                 : LANEMAP_OPTION_U32, uint64_t                           \
                 : LANEMAP_OPTION_U64, double                             \
                 : LANEMAP_OPTION_REAL, struct lanemap_option_sizes       \
                 : LANEMAP_OPTION_SIZES, const char *                     \
                 : LANEMAP_OPTION_TEXT, char *                            \
                 : LANEMAP_OPTION_ARRAY),                                 \
                offsetof(type, member), sizeof(((type *)NULL)->member)

/* A word that stands for a number. Of two with one value the first is shown. */
struct lanemap_choice {
        const char *text; /* NULL ends a table */
        uint64_t value;
};

struct lanemap_option {
        const char *name;  /* without its dashes */
        const char *value; /* how its value is shown; NULL: it has none. FILE, DIR, PATH complete */
        const char *help;
        enum lanemap_option_kind kind; /* these three: LANEMAP_OPTION_TO() */
        size_t off, bytes;
        uint64_t min, max; /* of numbers; max 0: what the type holds. min 1 of a text: not empty */
        const struct lanemap_choice *choices; /* of numbers: the words allowed, in any case */
        bool choices_only;                    /* and no other number */
        char letter;                          /* the same as -x, or 0 */
        /* Instead of what the kind says. `text` is argv's and may be overwritten. Return: 0, or
         * -EINVAL after writing ret_error. */
        int (*take)(void *values, char *text, struct lanemap_error *ret_error);

        const char *config; /* its name in CONFIG GET; NULL: it has none */
        /* What a change while the program runs (CONFIG SET, SIGHUP) has to do besides storing the
         * value, which is in `values`; NULL: it needs a restart. Not of a text. Return: 0, or a
         * negative errno. */
        int (*change)(void *program, const void *values);
};

struct lanemap_program {
        const char *name;     /* "lanemap stat" */
        const char *synopsis; /* after "Usage: ", without a newline at its end */
        const char *about;    /* paragraphs, wrapped unless they begin with a blank; may be NULL */
        const struct lanemap_option *options;
        size_t n_options;
        const char *epilog;    /* as about */
        const char *arguments; /* completion of words that are no options: FILE, DIR or NULL */
        const char *version;   /* --version is an option; else NULL */
        bool completes;        /* --completion is an option */
        bool options_first;    /* from the first word on that is no option there are none */
};

enum lanemap_option_outcome {
        LANEMAP_OPTION_HELP = 1,   /* --help or -h was there; what follows was not looked at */
        LANEMAP_OPTION_VERSION,    /* --version or -V */
        LANEMAP_OPTION_COMPLETION, /* --completion */
};

/*
 * Reads argv into `values`; members of options that are not there stay as they are.
 *
 * ret_first  the index of the first word that is no option; words are reordered as by
 *            getopt_long(3)
 *
 * Return: 0 or an outcome. Errors: -EINVAL a value; -ENOENT there is no such option. ret_error says
 * what is wrong in one line, without the value of an option that is not known: it may be a
 * password.
 * Thread: one at a time, since getopt_long(3) has state.
 */
int lanemap_option_parse(const struct lanemap_program *program, void *values, int argc, char **argv,
                         int *ret_first, struct lanemap_error *ret_error);

/* One value, as after `--name=`. Return: 0, or -EINVAL; ret_error says what is wrong. */
int lanemap_option_take(const struct lanemap_option *option, void *values, char *text,
                        struct lanemap_error *ret_error);

/* The program's rows, then those of every program (--help). Return: NULL after the last. */
const struct lanemap_option *lanemap_option_row(const struct lanemap_program *program, size_t i);

/* The row of that name, without its dashes, or NULL. */
const struct lanemap_option *lanemap_option_find(const struct lanemap_program *program,
                                                 const char *name);

/* The value that the last option of that name has on the command line, or NULL; NULL also when
 * parsing it ends with --help or the like. Nothing is taken. Thread: as lanemap_option_parse(). */
const char *lanemap_option_last(const struct lanemap_program *program, const char *name, int argc,
                                char **argv);

/* Return: true if both have the same value; also for LANEMAP_OPTION_CALL. */
bool lanemap_option_equal(const struct lanemap_option *option, const void *a, const void *b);

/* The value as text; nothing of LANEMAP_OPTION_CALL. */
void lanemap_option_format(const struct lanemap_option *option, const void *values, char *text,
                           size_t n_text);

/* The text of --help. Owner: the caller, free(3). Return: NULL without memory. */
char *lanemap_option_help(const struct lanemap_program *program);

/* A function for bash by this name that completes what follows the program's name. Owner and
 * return: as above. */
char *lanemap_option_completion(const struct lanemap_program *program, const char *function);

/* Return: the word of a value, or "unknown". */
const char *lanemap_choice_text(const struct lanemap_choice *choices, uint64_t value);

/* "a, b or c" when `last` is " or ". */
void lanemap_choice_list(const struct lanemap_choice *choices, const char *last, char *text,
                         size_t n_text);

/* Decimal, nothing else, at most `max`. Return: 0, -EINVAL, -ERANGE. */
int lanemap_number_parse(const char *text, size_t n_bytes, uint64_t max, uint64_t *ret_number);

#endif
