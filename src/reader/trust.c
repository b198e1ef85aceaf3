/*
 * Trust: a reader maps only what one owner, or root, may write. A mapped file that another user can
 * truncate could end this process by SIGBUS.
 */
#include "reader/private.h"

#include <errno.h>
#include <sys/stat.h>

int lanemap_reader_trust_check(const struct reader_attachment *attachment, const char *what,
                               const struct stat *st)
{
        const struct reader_trust *trust = &attachment->trust;

        if (trust->kind == LANEMAP_TRUST_ANYONE)
                return 0;

        if ((st->st_mode & (S_IWGRP | S_IWOTH)) || (st->st_uid != trust->uid && st->st_uid != 0))
                return lanemap_reader_detail(attachment, -EPERM,
                                             "%s belongs to user %u, mode %03o; user %u is trusted",
                                             what, (unsigned)st->st_uid,
                                             (unsigned)st->st_mode & 0777, (unsigned)trust->uid);
        return 0;
}
