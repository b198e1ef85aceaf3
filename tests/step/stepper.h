/*
 * A child that is run one instruction at a time.
 *
 *         child                                parent
 *         stepper_point();  -----------------  stepper_start() returns
 *         ... work ...                         while (stepper_step() == 0)  look around
 *         stepper_point();  -----------------  STEPPER_POINT
 *         ... more ...                         stepper_continue(): runs freely to the next point
 *
 * Only instructions of this very program are single steps: what lies outside of it (libc, the
 * kernel, other shared libraries) runs to its return in one go. That is done by putting the address
 * of a breakpoint in place of the return address on the child's stack, so that the child's other
 * threads, which run freely, never meet it. Lazy binding would be met half way, so the program has
 * to be linked with -z now. x86-64 only: elsewhere STEPPER_IS_POSSIBLE is 0.
 */
#ifndef LANEMAP_TESTS_STEPPER_H
#define LANEMAP_TESTS_STEPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __x86_64__
#define STEPPER_IS_POSSIBLE 1
#else
#define STEPPER_IS_POSSIBLE 0
#endif

#define STEPPER_POINT 1 /* the work is over: the child is about to enter, or in, stepper_point() */

struct stepper {
        pid_t pid;
        uint64_t n_steps;   /* single instructions since the last point */
        uint64_t n_outside; /* calls that ran freely */
};

/* In the child. */
void stepper_point(void);

/* Functions of the program that are to run in one go as well, since what they do nobody else can
 * see. Not called: all of them are stepped. */
void stepper_skip(const uintptr_t *functions, size_t n);

/*
 * Runs fn in a traced child, freely, to its first point.
 *
 * Return: 0; -EPERM where the system forbids tracing; -ECHILD the child ended before its point.
 */
int stepper_start(struct stepper *stepper, void (*fn)(void *arg), void *arg);

/* One instruction, or one call that leads out of the program. Return: 0, STEPPER_POINT, -ECHILD. */
int stepper_step(struct stepper *stepper);

/* Return: 0 at the next point; -ECHILD. */
int stepper_continue(struct stepper *stepper);

/* SIGKILL, and its end. Fine after -ECHILD. */
void stepper_kill(struct stepper *stepper);

#endif
