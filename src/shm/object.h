/*
 * Shared objects as files of /dev/shm, where shm_open(3) keeps them on Linux. Opened by name
 * relative to that directory, so that links are not followed and a writer can rename and link.
 *
 * Both sides use this. Thread: any.
 */
#ifndef LANEMAP_SHM_OBJECT_H
#define LANEMAP_SHM_OBJECT_H

#include <sys/stat.h>

#include "shm/format.h"

#define LANEMAP_SHM_DIRECTORY "/dev/shm"

/* Return: true if a name is 1 .. LANEMAP_NAME_BYTES_MAX of [A-Za-z0-9_-]. */
bool lanemap_shm_name_is_valid(const char *name);

/* The names of a tenant's objects; `name` is valid, the buffers have LANEMAP_SHM_OBJECT_NAME_BYTES.
 */
void lanemap_shm_control_name(const char *name, char *ret_object);
void lanemap_shm_data_name(const char *name, uint64_t generation, char *ret_object);
void lanemap_shm_lock_name(const char *name, char *ret_object);
void lanemap_shm_spare_name(const char *name, char *ret_object);

/* A descriptor of /dev/shm, or a negative errno. Owner: the caller. */
int lanemap_shm_open_directory(void);

/*
 * Opens an object for reading: a regular file, no link followed. Return: a descriptor, or -ENOENT,
 * -EACCES, -EBADMSG (not a regular file), ... Owner: the caller. ret_st gives its size and whose it
 * is.
 */
int lanemap_shm_open_object(int dir_fd, const char *object, struct stat *ret_st);

#endif
