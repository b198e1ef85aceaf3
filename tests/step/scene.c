/* See scene.h. */
#include "scene.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "stepper.h"
#include "writer/core/engine.h"
#include "writer/compact/compact.h"

#define OPS_MAX 256

/* One operation for each key: a batch is published word by word. */
static const struct lanemap_op mix[] = {
        {LANEMAP_OP_ADD, 9, "s", 1},
        {LANEMAP_OP_REMOVE, 5, "one", 3},
        {LANEMAP_OP_ADD, 4, "other", 5},
        {LANEMAP_OP_DELETE, 0, "f0", 2},
};

static size_t act_ops(const struct act *act, struct lanemap_op *ops)
{
        size_t n = act->n ? act->n : 1;

        lanemap_check(n <= OPS_MAX);
        if (act->kind == ACT_MIX) {
                memcpy(ops, mix, sizeof(mix));
                return LANEMAP_N_ELEMENTS(mix);
        }

        for (size_t i = 0; i < n; i++)
                ops[i] = (struct lanemap_op){
                        .code = act->kind == ACT_ADD      ? LANEMAP_OP_ADD
                                : act->kind == ACT_REMOVE ? LANEMAP_OP_REMOVE
                                : act->kind == ACT_DELETE ? LANEMAP_OP_DELETE
                                                          : LANEMAP_OP_CLEAR,
                        .id = act->first + (uint32_t)i,
                        .key = act->key,
                        .key_bytes = act->key ? strlen(act->key) : 0,
                };
        return n;
}

void act_apply(const struct act *act, struct model *model)
{
        struct lanemap_op ops[OPS_MAX];
        size_t n;

        if (act->kind == ACT_OPEN || act->kind == ACT_FLUSH || act->kind == ACT_FLIP)
                return;

        n = act_ops(act, ops);
        for (size_t i = 0; i < n; i++)
                (void)model_apply(model, &ops[i]);
}

int scene_open(const struct scene *scene, struct lanemap_error *error,
               struct lanemap_writer **ret_writer)
{
        struct lanemap_writer_options options;

        engine_options_init(&options, &scene->scratch, error);
        options.n_lanes = 1;
        options.flush_bytes = 64 << 20; /* a flush is an act, not the flusher's idea */
        options.shared_bytes_max = 16 << 20;
        options.immediate_reuse = scene->immediate_reuse;
        return lanemap_writer_open(&options, ret_writer);
}

static int act_perform(const struct act *act, const struct scene *scene,
                       struct lanemap_writer **writer)
{
        struct lanemap_op ops[OPS_MAX];
        struct lanemap_error error;
        int r;

        switch (act->kind) {
        case ACT_OPEN:
                r = scene_open(scene, &error, writer);
                if (r < 0)
                        fprintf(stderr, "%s\n", error.text);
                return r;
        case ACT_FLUSH:
                return lanemap_engine_flush_run(*writer, true);
        case ACT_FLIP:
                return lanemap_engine_flip_run(*writer, WRITER_FLIP_ASKED);
        default:
                return engine_apply_durably(*writer, ops, act_ops(act, ops));
        }
}

void scene_perform(void *arg)
{
        const struct scene *scene = arg;
        struct lanemap_writer *writer = NULL;

        for (const struct act *act = scene->acts + scene->first; act->kind != ACT_END; act++) {
                stepper_point();
                if (act_perform(act, scene, &writer) != 0) {
                        fprintf(stderr, "%s: act %zu failed\n", scene->name,
                                (size_t)(act - scene->acts));
                        _exit(1);
                }
        }
        stepper_point();
}
