/*
 * Whose a data directory is. A program that root runs in the directory of a service must leave
 * nothing behind there that the service cannot open: it becomes the directory's owner before it
 * makes anything, or writes by lanemap_files_owned (file.h). What was left behind all the same is
 * named, with the command that repairs it.
 */
#ifndef LANEMAP_COMMON_OWNER_H
#define LANEMAP_COMMON_OWNER_H

#include <sys/types.h>

#include "common/base.h"

/*
 * If this process is root's and the directory another user's: from here on it is that user's, with
 * the directory's group and those that the user has. For programs, before their first thread.
 *
 * Return: 1 and *ret_uid: it is; 0 there was nothing to do, or no such directory. Errors: what the
 * kernel says to setgroups(2), setresgid(2), setresuid(2).
 */
int lanemap_owner_become(const char *directory, uid_t *ret_uid);

/* "root (uid 0)", "uid 999". Return: room. */
const char *lanemap_owner_describe(uid_t uid, char room[32]);

/*
 * Why a process may be refused something in a data directory: a sentence that says whose what is,
 * and what to do. Return: whether there is such a reason; then it is in the room.
 */
bool lanemap_owner_explain(const char *directory, char *room, size_t room_bytes);

#endif
