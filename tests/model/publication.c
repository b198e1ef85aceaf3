/*
 * The litmus cases of src/FORMAT.md section 4, and protocol P0 as a whole, under every execution
 * that C11's orders allow (explorer.h). Each program is tried as it is, where no lie may be
 * believed, and with each weakening that it must notice, where one has to be found: a judge that
 * never condemns proves nothing.
 *
 * The writers are scripts. The reader of the whole protocol is a function that mirrors
 * shm/read.c: E, the generation, the view word, the cell's value, its hash, the posting, fence,
 * W. Memory is blocks of two words, used as a table of one cell (hash, value) or as a posting (two
 * halves, both its version); a block that goes is written over with something else at once.
 *
 * A version is what the key says after an operation. `published` is how many have been published,
 * in the order of the steps. A believed outcome is true if some version gives it that was not older
 * than what the reader knew when the lookup began (by an acknowledgement, by another reader, by its
 * own last answer) and that was published before it ended. So bytes of another key, mixtures, "bad
 * bytes", a present key taken for absent, and answers that go back in time are all lies.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "explorer.h"

enum { TRIES_MAX = 2 };

/* What is done to a program. The first is nothing. */
enum weakening {
        NONE,
        EPOCH_STORE_RELAXED,
        EPOCH_LOAD_RELAXED,
        WATERMARK_LATE,
        NO_RELEASE_FENCE,
        NO_ACQUIRE_FENCE,
        VIEW_STORE_RELAXED,
        VALUE_STORE_RELAXED,
        VALUE_BEFORE_HASH,
        NO_END_CHECK,
        GENERATION_UNCHECKED,
        GENERATION_STORE_RELAXED,
        EPOCH_RESTARTS,
        UNLINK_AFTER_EPOCH,
        KEPT_WITHOUT_EPOCH,
        N_WEAKENINGS,
};

static const char *const weakening_names[N_WEAKENINGS] = {
        [NONE] = "as it is",
        [EPOCH_STORE_RELAXED] = "E stored relaxed",
        [EPOCH_LOAD_RELAXED] = "E loaded relaxed",
        [WATERMARK_LATE] = "W raised after the overwriting",
        [NO_RELEASE_FENCE] = "no release fence in the thread that overwrites",
        [NO_ACQUIRE_FENCE] = "no acquire fence",
        [VIEW_STORE_RELAXED] = "view word stored relaxed",
        [VALUE_STORE_RELAXED] = "value word stored relaxed",
        [VALUE_BEFORE_HASH] = "value stored before hash",
        [NO_END_CHECK] = "no check of W at the end",
        [GENERATION_UNCHECKED] = "generation not checked",
        [GENERATION_STORE_RELAXED] = "generation stored relaxed",
        [EPOCH_RESTARTS] = "E and W begin again after a new generation",
        [UNLINK_AFTER_EPOCH] = "unlinked after the epoch that says so",
        [KEPT_WITHOUT_EPOCH] = "a kept view believed at the epoch of the lookup that uses it",
};

enum location {
        E,
        W,
        GENERATION,
        ACKNOWLEDGED,
        ANSWERED, /* what one reader tells another */
        VIEW_1,   /* of generation 1, and of 2 */
        VIEW_2,
        BLOCK, /* two locations for each of four blocks */
        N_LOCATIONS = BLOCK + 8,
};

static const char *const location_names[N_LOCATIONS] = {
        "E",       "W",      "generation", "acknowledged", "answered",
        "view 1",  "view 2", "0.hash",     "0.value",      "1.hash",
        "1.value", "2.hash", "2.value",    "3.hash",       "3.value",
};
static_assert(N_LOCATIONS <= EXPLORER_LOCATIONS_MAX, "");

/* Words: 0 empty, 1..4 a block, then what is written over, a tombstone, ids. */
#define HASH       7
#define FOREIGN    9
#define TOMBSTONE  15
#define INLINE(id) (16 + (id))
#define AT(block)  ((block) + 1)

/* Outcomes: 0 absent, an id, or */
#define BAD_BYTES 200
#define MIXTURE   201

enum { PUBLISHED, LAST_EPOCH }; /* ghosts */

/* ---- scripts ---- */

enum verb { END, LOAD, STORE, FENCE, LOCK, UNLOCK };

struct line {
        uint8_t verb;
        uint8_t location;
        uint8_t value; /* LOAD: the register; STORE; UNLOCK: the next thread */
        uint8_t order;
        uint8_t publishes; /* STORE: the version that this one word publishes */
        uint8_t drop_when; /* weakenings that take the line away, put it in, or make it relaxed */
        uint8_t only_when;
        uint8_t relaxed_when;
};

#define RLX .order = EXPLORER_RELAXED
#define REL .order = EXPLORER_RELEASE
#define ACQ .order = EXPLORER_ACQUIRE

#define LINES_MAX 48

struct scene {
        const char *name;
        uint32_t n_scripts;
        uint32_t n_readers; /* of the whole protocol; they come after the scripts */
        uint32_t n_lookups; /* by the last reader; each one before it makes one */
        struct line scripts[EXPLORER_THREADS_MAX][LINES_MAX];
        uint8_t initial[N_LOCATIONS];
        uint8_t outcomes[6]; /* by version */
        /* A litmus case: registers of the last script that must never be seen together. */
        uint8_t forbidden_registers[2];
        bool is_litmus;
        bool looks_for_zero; /* the readers' key has hash 0 */
        bool keeps_views;    /* the word leads to a block that names the table; readers keep that */
        uint8_t must_notice[N_WEAKENINGS]; /* ends with NONE */
};

struct trial {
        const struct scene *scene;
        enum weakening weakening;
};

static const struct trial *trial_of(const struct explorer_program *program)
{
        return program->arg;
}

static bool line_is_there(const struct trial *trial, const struct line *line)
{
        return (line->drop_when == NONE || line->drop_when != trial->weakening) &&
               (line->only_when == NONE || line->only_when == trial->weakening);
}

static void script_skip(const struct trial *trial, const struct line *script,
                        struct explorer_thread *thread)
{
        while (script[thread->pc].verb != END && !line_is_there(trial, &script[thread->pc]))
                thread->pc++;
        thread->is_done = script[thread->pc].verb == END;
}

static void script_run(struct explorer_step *step)
{
        const struct trial *trial = trial_of(step->program);
        const struct line *script = trial->scene->scripts[step->thread];
        struct explorer_thread *thread = &step->world->threads[step->thread];
        const struct line *line = &script[thread->pc];
        enum explorer_order order = line->order;

        if (line->relaxed_when != NONE && line->relaxed_when == trial->weakening)
                order = EXPLORER_RELAXED;

        switch (line->verb) {
        case LOAD:
                thread->registers[line->value] = explorer_load(step, line->location, order);
                break;
        case STORE:
                explorer_store(step, line->location, line->value, order);
                if (line->publishes)
                        step->world->ghosts[PUBLISHED] = line->publishes;
                break;
        case FENCE:
                explorer_fence(step, order);
                break;
        case LOCK:
                explorer_lock(step);
                break;
        default:
                explorer_unlock(step, line->value);
                break;
        }

        thread->pc++;
        script_skip(trial, script, thread);
}

/* ---- the reader ---- */

enum {
        R_EPOCH,
        R_VIEW,
        R_VALUE,
        R_HALF,
        R_OUTCOME,
        R_KNOWN,
        R_TRIES,
        R_LOOKUPS,
        R_ATTACHED,
        R_KEPT_WORD,
        R_KEPT_TABLE,
        R_KEPT_EPOCH,
};
enum {
        AT_ACKNOWLEDGED,
        AT_ANSWERED,
        AT_EPOCH,
        AT_GENERATION,
        AT_VIEW,
        AT_DECODE,
        AT_VALUE,
        AT_HASH,
        AT_HALF,
        AT_OTHER_HALF,
        AT_FENCE,
        AT_WATERMARK,
        AT_TELL,
};

static uint32_t reader_n_lookups(const struct scene *scene, uint32_t thread)
{
        return thread + 1 == scene->n_scripts + scene->n_readers ? scene->n_lookups : 1;
}

static void outcome_judge(struct explorer_step *step, struct explorer_thread *thread)
{
        const struct scene *scene = trial_of(step->program)->scene;
        uint8_t published = step->world->ghosts[PUBLISHED], outcome = thread->registers[R_OUTCOME];

        for (uint8_t v = thread->registers[R_KNOWN]; v <= published; v++)
                if (scene->outcomes[v] == outcome) {
                        thread->registers[R_KNOWN] = v;
                        return;
                }

        explorer_violate(step, "believes %u; true were versions %u to %u", outcome,
                         thread->registers[R_KNOWN], published);
}

static void lookup_end(const struct scene *scene, struct explorer_step *step,
                       struct explorer_thread *thread)
{
        uint8_t known = thread->registers[R_KNOWN], attached = thread->registers[R_ATTACHED];
        uint8_t n_lookups = thread->registers[R_LOOKUPS] + 1u;

        memset(thread->registers, 0, R_KEPT_WORD);
        thread->registers[R_KNOWN] = known;
        thread->registers[R_ATTACHED] = attached;
        thread->registers[R_LOOKUPS] = n_lookups;
        thread->pc = AT_ACKNOWLEDGED;
        if (n_lookups < reader_n_lookups(scene, step->thread))
                return;

        thread->is_done = true;
        if (step->thread + 1 < scene->n_scripts + scene->n_readers) {
                thread->is_done = false;
                thread->pc = AT_TELL;
        }
}

static void again(const struct scene *scene, struct explorer_step *step,
                  struct explorer_thread *thread)
{
        thread->registers[R_KEPT_WORD] = 0;
        thread->pc = AT_EPOCH;
        if (++thread->registers[R_TRIES] == TRIES_MAX)
                lookup_end(scene, step, thread); /* -EAGAIN is no answer */
}

static uint32_t block_at(uint8_t word)
{
        return BLOCK + 2u * (word - 1u);
}

static bool word_is_block(uint8_t word)
{
        return word >= 1 && word <= 4;
}

/* What a value word says without looking further; AT_HALF when it leads to a posting. */
static uint8_t value_follow(struct explorer_thread *thread)
{
        uint8_t value = thread->registers[R_VALUE];

        if (word_is_block(value))
                return AT_HALF;

        thread->registers[R_OUTCOME] = value == TOMBSTONE  ? 0
                                       : value > INLINE(0) ? (uint8_t)(value - INLINE(0))
                                                           : BAD_BYTES;
        return AT_FENCE;
}

/* P7: what is kept of this word is used at the epoch of its decoding. */
static uint8_t view_follow(const struct trial *trial, struct explorer_thread *thread)
{
        uint8_t *registers = thread->registers;

        if (!word_is_block(registers[R_VIEW]))
                return AT_FENCE;
        if (!trial->scene->keeps_views)
                return AT_VALUE;
        if (registers[R_KEPT_WORD] != registers[R_VIEW])
                return AT_DECODE;

        registers[R_VIEW] = registers[R_KEPT_TABLE];
        if (trial->weakening != KEPT_WITHOUT_EPOCH)
                registers[R_EPOCH] = registers[R_KEPT_EPOCH];
        return AT_VALUE;
}

static void reader_search(struct explorer_step *step, struct explorer_thread *thread)
{
        uint8_t hash = trial_of(step->program)->scene->looks_for_zero ? 0 : HASH;
        uint8_t *registers = thread->registers, word;

        switch (thread->pc) {
        case AT_VIEW:
                word = explorer_load(step, registers[R_ATTACHED] == 1 ? VIEW_1 : VIEW_2,
                                     EXPLORER_ACQUIRE);
                registers[R_VIEW] = word;
                registers[R_OUTCOME] = BAD_BYTES;
                thread->pc = view_follow(trial_of(step->program), thread);
                break;
        case AT_DECODE:
                word = explorer_load(step, block_at(registers[R_VIEW]), EXPLORER_RELAXED);
                registers[R_KEPT_WORD] = registers[R_VIEW];
                registers[R_KEPT_TABLE] = registers[R_VIEW] = word;
                registers[R_KEPT_EPOCH] = registers[R_EPOCH];
                thread->pc = word_is_block(word) ? AT_VALUE : AT_FENCE;
                break;
        case AT_VALUE:
                word = explorer_load(step, block_at(registers[R_VIEW]) + 1, EXPLORER_ACQUIRE);
                registers[R_VALUE] = word;
                registers[R_OUTCOME] = 0;
                thread->pc = word == 0 ? AT_FENCE : AT_HASH;
                break;
        case AT_HASH:
                word = explorer_load(step, block_at(registers[R_VIEW]), EXPLORER_RELAXED);
                thread->pc = word == hash ? value_follow(thread) : AT_FENCE;
                break;
        case AT_HALF:
                word = explorer_load(step, block_at(registers[R_VALUE]), EXPLORER_RELAXED);
                registers[R_HALF] = word;
                thread->pc = AT_OTHER_HALF;
                break;
        default:
                word = explorer_load(step, block_at(registers[R_VALUE]) + 1, EXPLORER_RELAXED);
                registers[R_OUTCOME] = word == registers[R_HALF] ? word : MIXTURE;
                thread->pc = AT_FENCE;
                break;
        }
}

static void reader_run(struct explorer_step *step)
{
        const struct trial *trial = trial_of(step->program);
        struct explorer_thread *thread = &step->world->threads[step->thread];
        uint8_t *registers = thread->registers, word;

        switch (thread->pc) {
        case AT_ACKNOWLEDGED:
                word = explorer_load(step, ACKNOWLEDGED, EXPLORER_ACQUIRE);
                registers[R_KNOWN] = LANEMAP_MAX(registers[R_KNOWN], word);
                thread->pc = trial->scene->n_readers > 1 ? AT_ANSWERED : AT_EPOCH;
                break;
        case AT_ANSWERED:
                word = explorer_load(step, ANSWERED, EXPLORER_ACQUIRE);
                registers[R_KNOWN] = LANEMAP_MAX(registers[R_KNOWN], word);
                thread->pc = AT_EPOCH;
                break;
        case AT_EPOCH:
                registers[R_EPOCH] =
                        explorer_load(step, E,
                                      trial->weakening == EPOCH_LOAD_RELAXED ? EXPLORER_RELAXED
                                                                             : EXPLORER_ACQUIRE);
                thread->pc = trial->weakening == GENERATION_UNCHECKED ? AT_VIEW : AT_GENERATION;
                break;
        case AT_GENERATION:
                word = explorer_load(step, GENERATION, EXPLORER_ACQUIRE);
                thread->pc = AT_VIEW;
                if (word != registers[R_ATTACHED])
                        again(trial->scene, step, thread);
                registers[R_ATTACHED] = word;
                break;
        case AT_FENCE:
                if (trial->weakening != NO_ACQUIRE_FENCE)
                        explorer_fence(step, EXPLORER_ACQUIRE);
                thread->pc = AT_WATERMARK;
                break;
        case AT_WATERMARK:
                word = explorer_load(step, W, EXPLORER_RELAXED);
                if (word <= registers[R_EPOCH] || trial->weakening == NO_END_CHECK) {
                        outcome_judge(step, thread);
                        lookup_end(trial->scene, step, thread);
                } else {
                        again(trial->scene, step, thread);
                }
                break;
        case AT_TELL:
                explorer_store(step, ANSWERED, registers[R_KNOWN], EXPLORER_RELEASE);
                thread->is_done = true;
                break;
        default:
                reader_search(step, thread);
                break;
        }
}

/* ---- programs ---- */

static void scene_init(const struct explorer_program *program, struct explorer_world *world)
{
        const struct trial *trial = trial_of(program);
        const struct scene *scene = trial->scene;

        for (uint32_t l = 0; l < N_LOCATIONS; l++)
                world->messages[l][0].value = scene->initial[l];
        for (uint32_t t = 0; t < scene->n_scripts; t++)
                script_skip(trial, scene->scripts[t], &world->threads[t]);
        for (uint32_t t = scene->n_scripts; t < program->n_threads; t++)
                world->threads[t].registers[R_ATTACHED] = scene->initial[GENERATION];
}

static bool scene_is_enabled(const struct explorer_program *program,
                             const struct explorer_world *world, uint32_t thread)
{
        const struct scene *scene = trial_of(program)->scene;

        return thread >= scene->n_scripts ||
               scene->scripts[thread][world->threads[thread].pc].verb != LOCK ||
               world->lock_turn == thread;
}

static void scene_run(struct explorer_step *step)
{
        if (step->thread < trial_of(step->program)->scene->n_scripts)
                script_run(step);
        else
                reader_run(step);
}

static void scene_finish(struct explorer_step *step)
{
        const struct scene *scene = trial_of(step->program)->scene;
        const uint8_t *registers = step->world->threads[scene->n_scripts - 1].registers;

        if (scene->is_litmus && registers[0] == scene->forbidden_registers[0] &&
            registers[1] == scene->forbidden_registers[1])
                explorer_violate(step, "seen together: %u and %u", registers[0], registers[1]);
}

/* What all scenes of the whole protocol begin with: the key is absent, an empty table in block 0.
 */
#define EMPTY_INDEX \
        .initial = {[E] = 1, [GENERATION] = 1, [VIEW_1] = AT(0)}, .outcomes = {0, 1, 2, 0}

/* Version 1: a posting in block 1, in a cell of block 0. */
#define ADD                                                                                          \
        {STORE, BLOCK + 2, 1, RLX}, {STORE, BLOCK + 3, 1, RLX},                                      \
                {STORE, BLOCK + 0, HASH, RLX, .drop_when = VALUE_BEFORE_HASH},                       \
                {STORE, BLOCK + 1, AT(1), REL, .publishes = 1, .relaxed_when = VALUE_STORE_RELAXED}, \
                {STORE, BLOCK + 0, HASH, REL, .only_when = VALUE_BEFORE_HASH},                       \
        {                                                                                            \
                STORE, ACKNOWLEDGED, 1, REL                                                          \
        }

/* The table moves to block 2; block 0 goes, by epoch 2. */
#define GROW                                                                     \
        {STORE, BLOCK + 4, HASH, RLX}, {STORE, BLOCK + 5, AT(1), REL},           \
                {STORE, E, 2, REL, .only_when = UNLINK_AFTER_EPOCH},             \
                {STORE, VIEW_1, AT(2), REL, .relaxed_when = VIEW_STORE_RELAXED}, \
        {                                                                        \
                STORE, E, 2, REL, .relaxed_when = EPOCH_STORE_RELAXED,           \
                                  .drop_when = UNLINK_AFTER_EPOCH                \
        }

#define RAISE_WATERMARK(r)                                    \
        {                                                     \
                STORE, W, r, RLX, .drop_when = WATERMARK_LATE \
        }
#define RAISE_LATE(r)                                         \
        {                                                     \
                STORE, W, r, RLX, .only_when = WATERMARK_LATE \
        }
#define RELEASE_FENCE                                     \
        {                                                 \
                FENCE, REL, .drop_when = NO_RELEASE_FENCE \
        }

/* Version 2: the posting is in block 0 now, which was a table; block 1 goes, by epoch 3. */
#define CHANGE                                                                               \
        {STORE, BLOCK + 0, 2, RLX}, {STORE, BLOCK + 1, 2, RLX},                              \
                RAISE_LATE(2), {STORE, BLOCK + 5,      AT(0),                                \
                                REL,   .publishes = 2, .relaxed_when = VALUE_STORE_RELAXED}, \
                {STORE, E, 3, REL, .relaxed_when = EPOCH_STORE_RELAXED},                     \
        {                                                                                    \
                STORE, ACKNOWLEDGED, 2, REL                                                  \
        }

/* Block 1 is another key's. */
#define OVERWRITE_1 \
        {STORE, BLOCK + 2, FOREIGN, RLX}, {STORE, BLOCK + 3, FOREIGN, RLX}, RAISE_LATE(3)

/* Version 3: a tombstone; block 0 goes, by epoch 4, and is another key's. */
#define REMOVE                                                                    \
        {STORE, BLOCK + 5, TOMBSTONE, REL, .publishes = 3},                       \
                {STORE, E, 4, REL, .relaxed_when = EPOCH_STORE_RELAXED},          \
                {STORE, ACKNOWLEDGED, 3, REL}, RAISE_WATERMARK(4), RELEASE_FENCE, \
                {STORE, BLOCK + 0, FOREIGN, RLX}, {STORE, BLOCK + 1, FOREIGN, RLX}, RAISE_LATE(4)

static const struct scene scenes[] = {
        {
                .name = "litmus 1: message passing, unlink and epoch",
                .n_scripts = 2,
                .is_litmus = true,
                .scripts = {{{STORE, VIEW_1, 2, REL, .drop_when = UNLINK_AFTER_EPOCH},
                             {STORE, E, 1, REL, .relaxed_when = EPOCH_STORE_RELAXED},
                             {STORE, VIEW_1, 2, REL, .only_when = UNLINK_AFTER_EPOCH}},
                            {{LOAD, E, 0, ACQ, .relaxed_when = EPOCH_LOAD_RELAXED},
                             {LOAD, VIEW_1, 1, ACQ}}},
                .forbidden_registers = {1, 0},
                .must_notice = {EPOCH_STORE_RELAXED, EPOCH_LOAD_RELAXED, UNLINK_AFTER_EPOCH},
        },
        {
                .name = "litmus 2: fence to fence, watermark and bytes",
                .n_scripts = 2,
                .is_litmus = true,
                .scripts =
                        {{RAISE_WATERMARK(1), RELEASE_FENCE, {STORE, BLOCK, 2, RLX}, RAISE_LATE(1)},
                         {{LOAD, BLOCK, 0, RLX},
                          {FENCE, ACQ, .drop_when = NO_ACQUIRE_FENCE},
                          {LOAD, W, 1, RLX}}},
                .forbidden_registers = {2, 0},
                .must_notice = {WATERMARK_LATE, NO_RELEASE_FENCE, NO_ACQUIRE_FENCE},
        },
        {
                .name = "litmus 3: publication",
                .n_scripts = 2,
                .is_litmus = true,
                .scripts = {{{STORE, BLOCK, 2, RLX},
                             {STORE, VIEW_1, 1, REL, .relaxed_when = VIEW_STORE_RELAXED}},
                            {{LOAD, VIEW_1, 0, ACQ}, {LOAD, BLOCK, 1, RLX}}},
                .forbidden_registers = {1, 0},
                .must_notice = {VIEW_STORE_RELAXED},
        },
        {
                .name = "litmus 4: cell",
                .n_scripts = 2,
                .is_litmus = true,
                .scripts = {{{STORE, BLOCK, HASH, RLX, .drop_when = VALUE_BEFORE_HASH},
                             {STORE, BLOCK + 1, 1, REL, .relaxed_when = VALUE_STORE_RELAXED},
                             {STORE, BLOCK, HASH, REL, .only_when = VALUE_BEFORE_HASH}},
                            {{LOAD, BLOCK + 1, 0, ACQ}, {LOAD, BLOCK, 1, RLX}}},
                .forbidden_registers = {1, 0},
                .must_notice = {VALUE_BEFORE_HASH, VALUE_STORE_RELAXED},
        },
        {
                .name = "litmus 5: two threads of the writer",
                .n_scripts = 3,
                .is_litmus = true,
                .scripts = {{{LOCK}, {STORE, W, 1, RLX}, {FENCE, REL}, {UNLOCK, .value = 1}},
                            {{LOCK}, RELEASE_FENCE, {STORE, BLOCK, 2, RLX}, {UNLOCK}},
                            {{LOAD, BLOCK, 0, RLX},
                             {FENCE, ACQ, .drop_when = NO_ACQUIRE_FENCE},
                             {LOAD, W, 1, RLX}}},
                .forbidden_registers = {2, 0},
                .must_notice = {NO_RELEASE_FENCE, NO_ACQUIRE_FENCE},
        },
        {
                .name = "P0: one writer, one reader that looks twice",
                .n_scripts = 1,
                .n_readers = 1,
                .n_lookups = 2,
                EMPTY_INDEX,
                .scripts = {{ADD, GROW, RAISE_WATERMARK(2), RELEASE_FENCE, CHANGE,
                             RAISE_WATERMARK(3), RELEASE_FENCE, OVERWRITE_1, REMOVE}},
                .must_notice = {EPOCH_STORE_RELAXED, EPOCH_LOAD_RELAXED, WATERMARK_LATE,
                                NO_RELEASE_FENCE, NO_ACQUIRE_FENCE, VIEW_STORE_RELAXED,
                                VALUE_STORE_RELAXED, NO_END_CHECK, UNLINK_AFTER_EPOCH},
        },
        {
                .name = "P0: one writer, two readers, the second told what the first saw",
                .n_scripts = 1,
                .n_readers = 2,
                .n_lookups = 1,
                EMPTY_INDEX,
                .scripts = {{ADD, GROW, RAISE_WATERMARK(2), RELEASE_FENCE, CHANGE}},
                .must_notice = {EPOCH_STORE_RELAXED, WATERMARK_LATE, NO_RELEASE_FENCE,
                                NO_ACQUIRE_FENCE, VIEW_STORE_RELAXED, NO_END_CHECK},
        },
        {
                /* The word of an empty cell is a hash too. */
                .name = "P0: one writer, one reader of a key that is absent and has hash 0",
                .n_scripts = 1,
                .n_readers = 1,
                .n_lookups = 2,
                .looks_for_zero = true,
                .initial = {[E] = 1, [GENERATION] = 1, [VIEW_1] = AT(0)},
                .scripts = {{ADD, GROW, RAISE_WATERMARK(2), RELEASE_FENCE, CHANGE}},
                .must_notice = {VALUE_BEFORE_HASH, VALUE_STORE_RELAXED},
        },
        {
                .name = "P0: two threads of the writer, by a lock, one reader",
                .n_scripts = 2,
                .n_readers = 1,
                .n_lookups = 1,
                EMPTY_INDEX,
                .scripts = {{{LOCK},
                             ADD,
                             GROW,
                             {STORE, W, 2, RLX},
                             {FENCE, REL},
                             {UNLOCK, .value = 1}},
                            {{LOCK},
                             RELEASE_FENCE,
                             CHANGE,
                             {STORE, W, 3, RLX},
                             {FENCE, REL},
                             OVERWRITE_1,
                             {UNLOCK}}},
                .must_notice = {EPOCH_STORE_RELAXED, NO_RELEASE_FENCE, NO_ACQUIRE_FENCE,
                                NO_END_CHECK},
        },
        {
                /* Generation 2's table is block 1, then block 2; block 1 is written over. */
                .name = "P0: a new generation, one reader that looks twice",
                .n_scripts = 1,
                .n_readers = 1,
                .n_lookups = 2,
                .initial = {[E] = 3,
                            [W] = 2,
                            [GENERATION] = 1,
                            [VIEW_1] = AT(0),
                            [BLOCK] = HASH,
                            [BLOCK + 1] = INLINE(1)},
                .outcomes = {1, 2},
                .scripts = {{{STORE, BLOCK + 2, HASH, RLX},
                             {STORE, BLOCK + 3, INLINE(1), REL},
                             {STORE, VIEW_2, AT(1), REL},
                             {STORE, GENERATION, 2, REL, .relaxed_when = GENERATION_STORE_RELAXED},
                             {STORE, W, 0, RLX, .only_when = EPOCH_RESTARTS},
                             {STORE, E, 1, REL, .only_when = EPOCH_RESTARTS},
                             {STORE, BLOCK + 3, INLINE(2), REL, .publishes = 1},
                             {STORE, ACKNOWLEDGED, 1, REL},
                             {STORE, BLOCK + 4, HASH, RLX},
                             {STORE, BLOCK + 5, INLINE(2), REL},
                             {STORE, VIEW_2, AT(2), REL},
                             {STORE, E, 4, REL, .drop_when = EPOCH_RESTARTS},
                             {STORE, E, 2, REL, .only_when = EPOCH_RESTARTS},
                             {STORE, W, 4, RLX, .drop_when = EPOCH_RESTARTS},
                             {STORE, W, 2, RLX, .only_when = EPOCH_RESTARTS},
                             RELEASE_FENCE,
                             {STORE, BLOCK + 3, INLINE(3), RLX},
                             {STORE, BLOCK + 2, FOREIGN, RLX}}},
                .must_notice = {GENERATION_UNCHECKED, GENERATION_STORE_RELAXED, EPOCH_RESTARTS,
                                NO_RELEASE_FENCE, NO_END_CHECK},
        },
        {
                /* Block 0 is a view of table 1; then block 2, of table 3; then block 0 again, of
                 * table 3, under the same word. */
                .name = "P7: a view is kept, and its word comes again, one reader that looks twice",
                .n_scripts = 1,
                .n_readers = 1,
                .n_lookups = 2,
                .keeps_views = true,
                .initial = {[E] = 1,
                            [GENERATION] = 1,
                            [VIEW_1] = AT(0),
                            [BLOCK] = AT(1),
                            [BLOCK + 2] = HASH,
                            [BLOCK + 3] = INLINE(1)},
                .outcomes = {1, 2},
                .scripts = {{{STORE, BLOCK + 6, HASH, RLX},
                             {STORE, BLOCK + 7, INLINE(1), REL},
                             {STORE, BLOCK + 4, AT(3), RLX},
                             {STORE, VIEW_1, AT(2), REL, .relaxed_when = VIEW_STORE_RELAXED},
                             {STORE, E, 2, REL},
                             {STORE, BLOCK + 7, INLINE(2), REL, .publishes = 1},
                             {STORE, ACKNOWLEDGED, 1, REL},
                             RAISE_WATERMARK(2),
                             RELEASE_FENCE,
                             {STORE, BLOCK, AT(3), RLX},
                             RAISE_LATE(2),
                             {STORE, VIEW_1, AT(0), REL, .relaxed_when = VIEW_STORE_RELAXED}}},
                .must_notice = {KEPT_WITHOUT_EPOCH, NO_END_CHECK, VIEW_STORE_RELAXED},
        },
};

/* ---- the verdict ---- */

static bool trial_run(const struct scene *scene, enum weakening weakening)
{
        struct trial trial = {.scene = scene, .weakening = weakening};
        struct explorer_program program = {
                .name = scene->name,
                .n_threads = scene->n_scripts + scene->n_readers,
                .n_locations = N_LOCATIONS,
                .location_names = location_names,
                .arg = &trial,
                .init = scene_init,
                .is_enabled = scene_is_enabled,
                .run = scene_run,
                .finish = scene_finish,
        };
        struct explorer_result result;
        clock_t start = clock();
        bool is_expected;

        explorer_run(&program, &result);
        is_expected =
                weakening == NONE ? !result.is_violated && result.n_ends > 0 : result.is_violated;
        printf("  %-48s %s after %llu states, %.1f s%s\n", weakening_names[weakening],
               result.is_violated ? "a lie is believed" : "nothing wrong",
               (unsigned long long)result.n_states, (double)(clock() - start) / CLOCKS_PER_SEC,
               is_expected ? "" : "   WRONG");
        return is_expected;
}

int main(void)
{
        uint32_t n_wrong = 0, n_trials = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(scenes); i++) {
                const struct scene *scene = &scenes[i];

                printf("%s\n", scene->name);
                n_wrong += !trial_run(scene, NONE);
                n_trials++;
                for (uint32_t w = 0; scene->must_notice[w] != NONE; w++, n_trials++)
                        n_wrong += !trial_run(scene, scene->must_notice[w]);
        }

        printf("%u trials, %u with the wrong verdict\n", n_trials, n_wrong);
        return n_wrong ? 1 : 0;
}
