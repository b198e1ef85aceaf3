/*
 * What the programs of tests/crash and tests/concurrency share: a directory and a name of their own
 * that go at the end, a seeded generator, and must(), which ends the program: these tests have no
 * framework, their exit status is the verdict.
 */
#ifndef LANEMAP_TESTS_CRASH_SUPPORT_H
#define LANEMAP_TESTS_CRASH_SUPPORT_H

#include <lanemap/writer.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define must(expr)                                                                 \
        do {                                                                       \
                if (!(expr)) {                                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr); \
                        abort();                                                   \
                }                                                                  \
        } while (0)

struct scratch {
        char directory[128];
        char name[LANEMAP_NAME_BYTES_MAX + 1];
};

/* A fresh directory under $TMPDIR and a name that nobody else has. */
void scratch_init(struct scratch *scratch);
/* Removes the directory with all that is in it, and the shared objects. */
void scratch_deinit(struct scratch *scratch);
void directory_empty(const char *directory);

/*
 * Opens a writer there. options: NULL, or what is to be different; name and directory are filled
 * in. A failure is told on stderr and ends the program.
 */
struct lanemap_writer *scratch_writer_open(const struct scratch *scratch,
                                           const struct lanemap_writer_options *options);

/* xoshiro would be finer; splitmix64 is enough to be unpredictable to the code under test. */
struct random {
        uint64_t state;
};

uint64_t random_next(struct random *random);
static inline uint64_t random_below(struct random *random, uint64_t n)
{
        return random_next(random) % n;
}

/* --name VALUE among the arguments, or `otherwise`. Unknown arguments are the caller's business. */
uint64_t argument_u64(int argc, char **argv, const char *name, uint64_t otherwise);
bool argument_flag(int argc, char **argv, const char *name);
/* --seed, or one of the moment's, printed either way. */
uint64_t argument_seed(int argc, char **argv);

uint64_t now_ns(void);

#endif
