/*
 * What the programs of tests/crash and tests/concurrency share beside scratch.h and rng.h: must(),
 * which ends the program (these tests have no framework, their exit status is the verdict), and
 * their arguments.
 */
#ifndef LANEMAP_TESTS_CRASH_SUPPORT_H
#define LANEMAP_TESTS_CRASH_SUPPORT_H

#include <lanemap/writer.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/file.h"
#include "rng.h"
#include "scratch.h"

#define must(expr)                                                                 \
        do {                                                                       \
                if (!(expr)) {                                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr); \
                        abort();                                                   \
                }                                                                  \
        } while (0)

/*
 * Opens a writer there. options: NULL, or what is to be different; name and directory are filled
 * in. A failure is told on stderr and ends the program.
 */
struct lanemap_writer *scratch_writer_open(const struct scratch *scratch,
                                           const struct lanemap_writer_options *options);

/* --name VALUE among the arguments, or `otherwise`. Unknown arguments are the caller's business. */
uint64_t argument_u64(int argc, char **argv, const char *name, uint64_t otherwise);
bool argument_flag(int argc, char **argv, const char *name);
/* --seed, or one of the moment's, printed either way. */
uint64_t argument_seed(int argc, char **argv);

/*
 * --kind packed|recsplit|bbhash|mixed: of every segment, or (mixed) bbhash above and recsplit in
 * the bottom level; --fingerprint-bits 64|80|96. For all indexes of this program and of its
 * children that index_shape() is asked for. Nonsense ends the program.
 */
void argument_shape(int argc, char **argv);
void index_shape(struct lanemap_writer_options *options);
/* Whether a segment of this kind can be in such an index. */
bool index_shape_has(uint32_t kind);

/* The real file layer, but for syncs, which are not executed: nothing here loses its power. */
struct lanemap_files files_without_sync(void);

uint64_t now_ns(void);

#endif
