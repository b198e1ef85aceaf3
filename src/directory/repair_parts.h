/*
 * The parts of a repair, inside the room: what they share, and what repair.c asks each for. They do
 * not call repair.c. See directory/repair.h for the order of things.
 */
#ifndef LANEMAP_DIRECTORY_REPAIR_PARTS_H
#define LANEMAP_DIRECTORY_REPAIR_PARTS_H

#include "directory/repair.h"

struct lanemap_repair {
        const struct lanemap_repair_options *options;
        struct lanemap_repair_report *report;
        struct lanemap_error *error;
        int dir_fd;
        struct lanemap_manifest manifest; /* in the making */
        bool manifest_changed;
        char (*quarantined)[64]; /* names that go to quarantine/ */
        size_t n_quarantined;

        /* directory/repair_segments.c */
        struct lanemap_slot *slots;
        struct lanemap_repair_damaged *damaged;
        bool *lane_changed;
};

/* directory/repair_say.c: one line for whoever repairs; why it fails, with what it returns. */
void lanemap_repair_say(const struct lanemap_repair *repair, const char *format, ...)
        LANEMAP_PRINTF(2, 3);
int lanemap_repair_fail(const struct lanemap_repair *repair, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);
/* directory/repair_files.c: notes a file to be moved (0, -ENOMEM); links what is to be moved;
 * unlinks the old names of it. */
int lanemap_repair_quarantine(struct lanemap_repair *repair, const char *name);
int lanemap_repair_link(struct lanemap_repair *repair, const char *name);
int lanemap_repair_link_all(struct lanemap_repair *repair);
int lanemap_repair_unlink_all(struct lanemap_repair *repair);

/* directory/repair_segments.c: what can be had of damaged files, in memory; in the manifest, lanes
 * counted again; on the disk. */
int lanemap_repair_segments_take(struct lanemap_repair *repair,
                                 const struct lanemap_findings *findings);
int lanemap_repair_segments_replace(struct lanemap_repair *repair);
int lanemap_repair_segments_write(struct lanemap_repair *repair);
void lanemap_repair_segments_deinit(struct lanemap_repair *repair);

/* directory/repair_log.c: what is in front of the hole into a new file, which the manifest
 * names. */
int lanemap_repair_log(struct lanemap_repair *repair);

/* directory/repair_manifest.c: a manifest with one flipped bit. Return: 0 it was put right (or
 * would be), -EBADMSG. */
int lanemap_repair_manifest(struct lanemap_repair *repair);

#endif
