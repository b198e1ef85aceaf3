/*
 * An index of damage.h that is damaged, repaired, and compared with the model of it, over and over.
 */
#ifndef LANEMAP_TESTS_REPAIR_PLACE_H
#define LANEMAP_TESTS_REPAIR_PLACE_H

#include <criterion/criterion.h>

#include "damage.h"
#include "directory/repair.h"

struct place {
        struct scratch scratch;
        struct model model;
        char kept[320]; /* as it was made */
        char said[65536];
};

void place_init(struct place *place);
/* The directory as it was made, again. */
void place_renew(struct place *place);
void place_deinit(struct place *place);

/* Return: what the repair returns; place->said is what it said, or its error. */
int repair(struct place *place, bool dry_run, bool accept_log_loss,
           struct lanemap_repair_report *ret_report);
bool quarantined(const struct place *place, const char *name);

/* Opens the index, and counts the keys that are not as the model has them. Counts and iteration
 * must agree with each other whatever was lost. */
uint64_t wrong_keys(struct place *place, uint64_t *ret_n_keys);
/* Verify finds nothing, and neither does a second repair. */
void expect_sound(struct place *place, const char *what);

/* The name at the end of a path. */
const char *base(const char *path);

#endif
