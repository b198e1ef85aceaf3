/*
 * Errors in words: a call that fails keeps the object or file that it failed at, and attaching
 * makes one sentence of it.
 */
#include "reader/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int lanemap_reader_detail(const struct reader_attachment *attachment, int r, const char *format,
                          ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(attachment->detail, READER_DETAIL_BYTES, format, args);
        va_end(args);
        return r;
}

int lanemap_reader_map_error(const struct reader_attachment *attachment, int error,
                             const char *what, uint64_t bytes)
{
        if (error != ENOMEM && error != EINVAL)
                return -error;
        return lanemap_reader_detail(attachment, -ENOMEM,
                                     "%s: %" PRIu64 " bytes of address space are needed", what,
                                     bytes);
}

void lanemap_reader_explain(const char *name, int r, const char *detail,
                            struct lanemap_error *error)
{
        const char *what;

        if (!error)
                return;

        switch (r) {
        case -EINVAL:
                what = "not a valid name or option: a name is 1 to 64 characters of A-Z a-z 0-9 _ "
                       "-";
                break;
        case -ENOENT:
                what = "no writer has published this name on this machine, or its segment files "
                       "cannot be found: is "
                       "lanemapd running with --name, and is its data directory visible here?";
                break;
        case -ETIMEDOUT:
                what = "a writer is starting, or its first start was cut off, and nothing has been "
                       "published yet: try again, or wait longer; if lanemapd is not running, "
                       "start it";
                break;
        case -EACCES:
                what = "permission denied: the reader must be in the group that owns the shared "
                       "objects and the data "
                       "directory";
                break;
        case -EPERM:
                what = "an object or segment file of it belongs to another user than the one that "
                       "is trusted, or others than its owner may write to it, and who can truncate "
                       "it can kill this process: look with ls -l at /dev/shm/lanemap.NAME* and at "
                       "the data directory, remove what is not the writer's, take the write "
                       "permission from others (options.trust says whom to trust)";
                break;
        case -EBADMSG:
                what = "what is published under this name fails validation";
                break;
        case -EPROTONOSUPPORT:
                what = "the writer uses a format that this library does not know: upgrade the "
                       "older of the two";
                break;
        case -ENOMEM:
                what = "no memory or no address space for the index: raise the limit (ulimit -v, "
                       "MemoryMax)";
                break;
        default:
                what = strerror(-r);
                break;
        }
        snprintf(error->text, sizeof(error->text), "%.64s: %s%s%s%s", name ? name : "(no name)",
                 what, detail[0] ? " (" : "", detail, detail[0] ? ")" : "");
}
