/*
 * What the writer does while it is stepped: a list of acts, each with the truth before and after
 * it, so that whoever looks in the midst of one can judge the answer.
 *
 * The engine's functions are called in the stepped thread itself (a flush and a flip are the
 * flusher's otherwise); the engine's own threads are there, but have nothing to do.
 */
#ifndef LANEMAP_TESTS_SCENE_H
#define LANEMAP_TESTS_SCENE_H

#include "engine.h"
#include "model.h"
#include "scratch.h"

enum act_kind {
        ACT_END,
        ACT_OPEN, /* the takeover itself */
        ACT_ADD,  /* ids first .. first + n - 1 to key, in one batch */
        ACT_REMOVE,
        ACT_DELETE,
        ACT_MIX, /* several keys in one batch */
        ACT_CLEAR,
        ACT_FLUSH,
        ACT_FLIP,
};

struct act {
        enum act_kind kind;
        const char *key;
        uint32_t first;
        uint32_t n;
        const char *what; /* NULL: it only leads up to the next ones, and is not stepped */
};

struct scene {
        const char *name;
        const struct act *acts;
        bool immediate_reuse; /* freed blocks are given out again at once */
        size_t n_predecessor; /* acts of a writer that dies in the last one of them; 0: there is
                                 none */
        uint64_t death_step;  /* ... after so many instructions of it */

        struct scratch scratch;
        size_t first; /* the act that the process at hand begins with */
};

/* The acts, one after the other, with a stepper_point() before each and one at the end; each is
 * durable before the next. Ends the process when something fails. */
void scene_perform(void *scene);

/* A writer over the scene's directory. */
int scene_open(const struct scene *scene, struct lanemap_error *error,
               struct lanemap_writer **ret_writer);

/* What an act does to the truth. */
void act_apply(const struct act *act, struct model *model);

#endif
