/*
 * The n-th call that asks the system for something fails: memory, files, mappings, threads.
 *
 *         failing_calls_arm(7, false);        the 7th from now fails
 *         failing_calls_arm(7, true);         and every later call of its kind
 *         ... code under test ...
 *         n = failing_calls_disarm();         how many calls there were
 *
 * The linker puts these in the place of the functions (--wrap, see meson.build), for this library's
 * own code and the test's, but not inside other libraries. So nothing passes by, what goes through
 * the file layer (common/file.h) as little as shared objects and a reader's system calls. Threads:
 * all of them are counted together, while it is armed.
 *
 * Blocks that the read side takes from libc's allocator are counted all the time; the writer's own
 * door counts bytes (lanemap_alloc_bytes()).
 */
#ifndef LANEMAP_TESTS_FAILING_CALLS_H
#define LANEMAP_TESTS_FAILING_CALLS_H

#include <stdbool.h>
#include <stdint.h>

void failing_calls_arm(uint64_t n, bool and_all_later);
/* Only calls of that name are counted: the n-th from now fails, and so many in all. */
void failing_calls_arm_only(const char *name, uint64_t n, uint64_t n_failing);
uint64_t failing_calls_disarm(void);
/* The name of the call that has failed since it was armed; NULL: none. */
const char *failing_calls_failed(void);

/* Blocks of libc's allocator that were taken and not given back, by code that is wrapped. */
uint64_t failing_calls_n_blocks(void);

#endif
