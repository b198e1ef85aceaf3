/*
 * What the golden indexes hold: the same operations for the program that makes them and for the
 * tests that look at them. Never changed; a later format version gets a file of its own.
 *
 * Stages 0, 1 and 2 are flushed, in segments of one kind. Stage 3 is in the log only, with
 * tombstones over segments and a mark. Stage 4 is one operation whose record is torn: shared memory
 * has it, the directory does not.
 */
#ifndef LANEMAP_TESTS_GOLDEN_H
#define LANEMAP_TESTS_GOLDEN_H

#include <lanemap/writer.h>
#include <stdio.h>
#include <string.h>

#include "common/base.h"

#define GOLDEN_STAGES    5
#define GOLDEN_TORN      4 /* the stage */
#define GOLDEN_KEY_BYTES 16

static const struct golden {
        const char *name;
        uint32_t kind;
        uint32_t fingerprint_bits;
} goldens[] = {
        {"packed-64", LANEMAP_SEGMENT_PACKED, 64},
        {"recsplit-80", LANEMAP_SEGMENT_RECSPLIT, 80},
        {"bbhash-96", LANEMAP_SEGMENT_BBHASH, 96},
};

/* The keys of stage n are the numbers from [n] to below [n + 1]. */
static const uint32_t golden_keys[] = {0, 300, 340, 350, 380};

static inline uint32_t golden_n_ids(uint32_t key)
{
        return key == 7 || key == 303 || key == 370 ? 300 : key % 50 == 3 ? 5 : 1;
}

/* Calls apply with every operation of a stage, in order. */
static inline void golden_stage(uint32_t stage,
                                void (*apply)(void *arg, const struct lanemap_op *op), void *arg)
{
        struct lanemap_op op = {.code = LANEMAP_OP_ADD};
        char text[GOLDEN_KEY_BYTES];

        op.key = text;
        if (stage == GOLDEN_TORN) {
                op.key_bytes = (size_t)snprintf(text, sizeof(text), "torn");
                op.id = 7;
                apply(arg, &op);
                return;
        }
        for (uint32_t key = golden_keys[stage]; key < golden_keys[stage + 1]; key++) {
                op.key_bytes = (size_t)snprintf(text, sizeof(text), "key-%u", key);
                for (uint32_t i = 0; i < golden_n_ids(key); i++) {
                        op.id = key * 1000 + 3 * i;
                        apply(arg, &op);
                }
        }
        if (stage < 3)
                return;

        for (uint32_t key = 9; key < golden_keys[stage]; key += 50) {
                op.code = key % 100 == 9 ? LANEMAP_OP_DELETE : LANEMAP_OP_REMOVE;
                op.key_bytes = (size_t)snprintf(text, sizeof(text), "key-%u", key);
                op.id = key * 1000;
                apply(arg, &op);
        }
        op = (struct lanemap_op){.code = LANEMAP_OP_MARK, .key = "lsn 0/16B3748", .key_bytes = 13};
        apply(arg, &op);
}

#endif
