/*
 * A small explorer of C11's memory orders: it tries every execution of a small program, also those
 * that no x86 shows.
 *
 * The machine is the operational one with views (Kang, Hur, Lahav, Vafeiadis, Dreyer: "A promising
 * semantics for relaxed-memory concurrency", POPL 2017), without promises. Each location has its
 * messages in modification order. A view says, for each location, which message is the oldest that
 * may still be read. A thread has three:
 *
 *   now         what its next load may not be older than
 *   acquirable  what an acquire fence would make of `now`: the views of all messages read so far
 *   released    what `now` was at the last release fence: a relaxed store carries it
 *
 *   load        any message at or after now[location]; acquire: joins the message's view into now
 *   store       anywhere after now[location]; release: the message carries now, else `released`
 *
 * EM1. Whatever RC11 allows, but for release sequences, this machine shows; it shows more where a
 * thread's later relaxed store follows its release store to the same location (C20 dropped those
 * too), so what is impossible here is impossible in C17.
 * EM2. What it does not show is load buffering (a load that sees a store which depends on it),
 * which no compiler or processor in use does to dependent accesses; and which takes two threads
 * that each load what the other stores: here readers store nothing, and the writer's threads hand
 * over under a lock.
 * EM3. Locks are steps of the machine, with the view handed over.
 *
 * Search: depth first over all threads and all choices, with a table of the states already seen (by
 * a 128-bit hash). A message that no thread can read any more is dropped, and views are counted
 * from the oldest one left, so that histories which no longer matter do not tell states apart.
 */
#ifndef LANEMAP_TESTS_EXPLORER_H
#define LANEMAP_TESTS_EXPLORER_H

#include "common/base.h"

#define EXPLORER_LOCATIONS_MAX 16
#define EXPLORER_MESSAGES_MAX  8
#define EXPLORER_THREADS_MAX   3
#define EXPLORER_REGISTERS_MAX 12
#define EXPLORER_GHOSTS_MAX    4

enum explorer_order { EXPLORER_RELAXED, EXPLORER_ACQUIRE, EXPLORER_RELEASE };

struct explorer_view {
        uint8_t at[EXPLORER_LOCATIONS_MAX];
};

struct explorer_message {
        uint8_t value;
        struct explorer_view view;
};

struct explorer_thread {
        uint8_t pc;
        uint8_t is_done;
        uint8_t registers[EXPLORER_REGISTERS_MAX];
        struct explorer_view now, acquirable, released;
};

/* Bytes only, so that there is no padding between equal states. */
struct explorer_world {
        uint8_t n_messages[EXPLORER_LOCATIONS_MAX];
        struct explorer_message messages[EXPLORER_LOCATIONS_MAX][EXPLORER_MESSAGES_MAX];
        struct explorer_thread threads[EXPLORER_THREADS_MAX];
        struct explorer_view lock_view;
        uint8_t lock_turn;                   /* the thread that may take the lock */
        uint8_t ghosts[EXPLORER_GHOSTS_MAX]; /* what only the judge knows */
};

struct explorer_step;

struct explorer_program {
        const char *name;
        uint32_t n_threads;
        uint32_t n_locations;
        const char *const *location_names;
        const void *arg;
        void (*init)(const struct explorer_program *program, struct explorer_world *world);
        bool (*is_enabled)(const struct explorer_program *program,
                           const struct explorer_world *world, uint32_t thread);
        /* One step of a thread: at most one load or one store, then pc and registers. */
        void (*run)(struct explorer_step *step);
        /* All threads are done. NULL: nothing to judge then. */
        void (*finish)(struct explorer_step *step);
};

/* A step being made. */
struct explorer_step {
        const struct explorer_program *program;
        struct explorer_world *world;
        uint32_t thread;
        uint32_t choice;
        uint32_t n_choices;
        bool is_violation;
        char text[128]; /* for the trace */
};

uint8_t explorer_load(struct explorer_step *step, uint32_t location, enum explorer_order order);
void explorer_store(struct explorer_step *step, uint32_t location, uint8_t value,
                    enum explorer_order order);
void explorer_fence(struct explorer_step *step, enum explorer_order order);
void explorer_lock(struct explorer_step *step);
void explorer_unlock(struct explorer_step *step, uint32_t next_thread);
/* Ends the search: what was seen is a lie. */
void explorer_violate(struct explorer_step *step, const char *format, ...) LANEMAP_PRINTF(2, 3);

struct explorer_result {
        bool is_violated;
        uint64_t n_states;
        uint64_t n_ends; /* distinct states in which every thread is done */
};

/* Tries everything, or until the first violation, whose steps are printed on stdout. */
void explorer_run(const struct explorer_program *program, struct explorer_result *ret_result);

#endif
