/*
 * The options file: one option in a line, its name without the dashes, then its value. See
 * options.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "daemon/options.h"

static int refuse(struct lanemap_error *ret_error, const char *format, ...) LANEMAP_PRINTF(2, 3);

static int refuse(struct lanemap_error *ret_error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return -EINVAL;
}

#define FILE_BYTES_MAX 65536

static int file_load(int fd, const char *path, char *text, struct lanemap_error *ret_error)
{
        size_t n_bytes = 0;
        ssize_t n;

        while ((n = read(fd, text + n_bytes, FILE_BYTES_MAX + 1 - n_bytes)) > 0)
                n_bytes += (size_t)n;
        if (n < 0)
                return refuse(ret_error, "--options-file: cannot read %s: %s", path,
                              strerror(errno));
        if (n_bytes > FILE_BYTES_MAX || memchr(text, 0, n_bytes))
                return refuse(ret_error, "--options-file: %s has more than %d bytes, or a NUL",
                              path, FILE_BYTES_MAX);
        text[n_bytes] = 0;
        return 0;
}

/* NUL-terminated. Owner: the caller, lanemap_free(). */
static int file_read(const char *path, char **ret_text, struct lanemap_error *ret_error)
{
        bool may_be_absent = *path == '-';
        char *text;
        int fd, r;

        path += may_be_absent;
        text = lanemap_alloc_zero(FILE_BYTES_MAX + 2);
        if (!text)
                return refuse(ret_error, "--options-file: no memory");
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && may_be_absent && errno == ENOENT) {
                *ret_text = text;
                return 0;
        }
        if (fd < 0) {
                r = refuse(ret_error, "--options-file: cannot open %s: %s", path, strerror(errno));
        } else {
                r = file_load(fd, path, text, ret_error);
                close(fd);
        }
        if (r < 0) {
                explicit_bzero(text, FILE_BYTES_MAX + 2);
                lanemap_free(text);
                return r;
        }
        *ret_text = text;
        return 0;
}

/* The next line that says something, cut into an option (no -- before it) and its value, NULL if
 * there is none. Return: false after the last one. */
static bool file_next(char **text, uint32_t *line, char **ret_name, char **ret_value)
{
        static const char blanks[] = " \t\r";

        while (**text) {
                char *name = *text + strspn(*text, blanks);
                size_t n_line = strcspn(*text, "\n");
                char *end = *text + n_line, *value;

                *text = *end ? end + 1 : end;
                *end = 0;
                ++*line;
                while (end > name && strchr(blanks, end[-1]))
                        *--end = 0;
                if (!*name || *name == '#')
                        continue;
                if (strncmp(name, "--", 2) == 0)
                        name += 2;
                value = name + strcspn(name, " \t=");
                *ret_name = name;
                *ret_value = NULL;
                if (*value) {
                        *value++ = 0;
                        *ret_value = value + strspn(value, blanks);
                }
                return true;
        }
        return false;
}

/* One line, as if it stood on the command line. */
static int line_take(struct lanemap_options *options, const char *name, char *value,
                     struct lanemap_error *ret_error)
{
        const struct lanemap_option *option = lanemap_option_find(&lanemap_daemon_program, name);

        if (strcmp(name, "options-file") == 0 || strcmp(name, "help") == 0 ||
            strcmp(name, "version") == 0 || strcmp(name, "completion") == 0)
                return refuse(ret_error, "'%s' is for the command line only", name);
        if (!option)
                return refuse(ret_error, "unknown option '--%.80s'; see lanemapd --help", name);
        if (option->value && !value)
                return refuse(ret_error, "--%s needs a value", name);
        if (!option->value && value)
                return refuse(ret_error, "--%s takes no value", name);
        return lanemap_option_take(option, options, value, ret_error);
}

int lanemap_options_file_take(struct lanemap_options *options, const char *path,
                              struct lanemap_error *ret_error)
{
        struct lanemap_error error = {.text = ""};
        char *rest, *name, *value;
        uint32_t line = 0;
        int r;

        r = file_read(path, &options->file_text, ret_error);
        if (r < 0)
                return r;
        rest = options->file_text;
        while (file_next(&rest, &line, &name, &value)) {
                r = line_take(options, name, value, &error);
                if (r < 0)
                        return refuse(ret_error, "%.200s:%u: %.600s", path + (*path == '-'), line,
                                      error.text);
        }
        options->password_is_wiped = false; /* the file can be read again */
        return 0;
}
