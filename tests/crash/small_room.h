/*
 * File systems with little room, which nobody outside of this process sees: for
 * full_disk_and_memory.c and takeover_full.c.
 */
#ifndef LANEMAP_TESTS_SMALL_ROOM_H
#define LANEMAP_TESTS_SMALL_ROOM_H

#include "crash_support.h"

#define ROOM_SKIPPED 77 /* what meson takes for "skipped" */
#define ROOM_FILLER  "/dev/shm/filler"

/* A mount namespace of this process's own. Return: false, and said so: there is none to be had. */
bool room_private(void);

/* A tmpfs, as in "size=1m". Return: 0 or a negative errno. */
int room_mount(const char *at, const char *options);

/* Takes every byte that is left of the file system, by a file that is made or grows. */
void room_fill(const char *path);

/* What takes the room of /dev/shm, for who has to find out why there is none. */
void room_print(void);

/* Waits for the spare object of a name. The readers have let go of the object before, so there is
 * room for it: within a second, since the flusher looks that often, and before the object in force
 * grows (S5). */
void spare_await(const char *name);

#endif
