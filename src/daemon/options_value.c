/* See options_value.h. */
#include "daemon/options_value.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"

int lanemap_option_refuse(struct lanemap_error *ret_error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return -EINVAL;
}

int lanemap_number_parse(const char *text, size_t n_bytes, uint64_t max, uint64_t *ret_number)
{
        uint64_t number = 0;

        if (n_bytes == 0)
                return -EINVAL;
        for (size_t i = 0; i < n_bytes; i++) {
                uint64_t digit = (uint64_t)((unsigned char)text[i] - '0');

                if (digit > 9)
                        return -EINVAL;
                if (number > (max - digit) / 10 || digit > max)
                        return -ERANGE;
                number = number * 10 + digit;
        }
        *ret_number = number;
        return 0;
}

static const char *const appendfsync_texts[] = {
        [LANEMAP_APPENDFSYNC_ALWAYS] = "always",
        [LANEMAP_APPENDFSYNC_EVERYSEC] = "everysec",
        [LANEMAP_APPENDFSYNC_NO] = "no",
};

int lanemap_appendfsync_parse(const char *text, size_t n_bytes)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(appendfsync_texts); i++)
                if (strlen(appendfsync_texts[i]) == n_bytes &&
                    strncasecmp(appendfsync_texts[i], text, n_bytes) == 0)
                        return (int)i;
        return -EINVAL;
}

const char *lanemap_appendfsync_text(uint32_t appendfsync)
{
        return appendfsync < LANEMAP_N_ELEMENTS(appendfsync_texts) ? appendfsync_texts[appendfsync]
                                                                   : "unknown";
}

static const char *const segment_kind_texts[] = {
        [LANEMAP_SEGMENT_PACKED] = "packed",
        [LANEMAP_SEGMENT_RECSPLIT] = "recsplit",
        [LANEMAP_SEGMENT_BBHASH] = "bbhash",
};

static const char *const filter_texts[] = {
        [LANEMAP_FILTER_NEVER] = "none",
        [LANEMAP_FILTER_AUTO] = "auto",
        [LANEMAP_FILTER_ALWAYS] = "always",
};

const char *lanemap_segment_kind_text(uint32_t kind)
{
        return kind > 0 && kind < LANEMAP_N_ELEMENTS(segment_kind_texts) ? segment_kind_texts[kind]
                                                                         : "unknown";
}

const char *lanemap_filter_text(uint32_t filter)
{
        return filter > 0 && filter < LANEMAP_N_ELEMENTS(filter_texts) ? filter_texts[filter]
                                                                       : "unknown";
}

int lanemap_option_segment_kind_take(const char *name, const char *text, uint32_t *ret_kind,
                                     struct lanemap_error *ret_error)
{
        for (uint32_t i = 1; i < LANEMAP_N_ELEMENTS(segment_kind_texts); i++) {
                if (strcmp(segment_kind_texts[i], text) == 0) {
                        *ret_kind = i;
                        return 0;
                }
        }

        return lanemap_option_refuse(ret_error, "--%s: '%s' is not packed, recsplit or bbhash",
                                     name, text);
}

int lanemap_option_filter_take(const char *text, uint32_t *ret_filter,
                               struct lanemap_error *ret_error)
{
        for (uint32_t i = 1; i < LANEMAP_N_ELEMENTS(filter_texts); i++) {
                if (strcmp(filter_texts[i], text) == 0) {
                        *ret_filter = i;
                        return 0;
                }
        }

        return lanemap_option_refuse(ret_error, "--filter: '%s' is not none, auto or always", text);
}

int lanemap_option_loglevel_parse(const char *text)
{
        static const struct {
                const char *text;
                int level;
        } levels[] = {
                {"debug", LOG_DEBUG},   {"info", LOG_INFO},       {"verbose", LOG_INFO},
                {"notice", LOG_NOTICE}, {"warning", LOG_WARNING}, {"error", LOG_ERR},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(levels); i++)
                if (strcmp(levels[i].text, text) == 0)
                        return levels[i].level;
        return -EINVAL;
}

int lanemap_option_password_set(struct lanemap_options *options, const char *where,
                                const char *text, size_t n_bytes, struct lanemap_error *ret_error)
{
        if (n_bytes == 0 || n_bytes > LANEMAP_PASSWORD_BYTES_MAX || memchr(text, '\0', n_bytes))
                return lanemap_option_refuse(ret_error,
                                             "%s: a password has 1 to %d bytes, none of them NUL",
                                             where, LANEMAP_PASSWORD_BYTES_MAX);
        memcpy(options->password, text, n_bytes);
        options->password[n_bytes] = 0;
        return 0;
}

int lanemap_option_password_read(struct lanemap_options *options, const char *path,
                                 struct lanemap_error *ret_error)
{
        char text[LANEMAP_PASSWORD_BYTES_MAX + 2];
        ssize_t n_bytes;
        int fd, r;

        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return lanemap_option_refuse(ret_error, "--requirepass-file: cannot open %s: %s",
                                             path, strerror(errno));
        n_bytes = read(fd, text, sizeof(text));
        if (n_bytes < 0) {
                r = lanemap_option_refuse(ret_error, "--requirepass-file: cannot read %s: %s", path,
                                          strerror(errno));
        } else {
                const char *end = memchr(text, '\n', (size_t)n_bytes);

                r = lanemap_option_password_set(options, "--requirepass-file", text,
                                                end ? (size_t)(end - text) : (size_t)n_bytes,
                                                ret_error);
        }
        close(fd);
        explicit_bzero(text, sizeof(text));
        return r;
}

int lanemap_option_socket_group_take(struct lanemap_options *options, const char *text,
                                     struct lanemap_error *ret_error)
{
        const struct group *group;
        uint64_t number;

        group = getgrnam(text);
        if (group)
                options->socket_gid = group->gr_gid;
        else if (lanemap_number_parse(text, strlen(text), UINT32_MAX - 1, &number) == 0)
                options->socket_gid = (gid_t)number;
        else
                return lanemap_option_refuse(ret_error, "--socket-group: there is no group '%.80s'",
                                             text);
        options->has_socket_group = true;
        return 0;
}

int lanemap_option_socket_mode_take(struct lanemap_options *options, const char *text,
                                    struct lanemap_error *ret_error)
{
        size_t n = strlen(text);
        mode_t mode = 0;

        if (n < 3 || n > 4 || strspn(text, "01234567") != n || (n == 4 && text[0] != '0'))
                return lanemap_option_refuse(
                        ret_error, "--socket-mode: '%.80s' is not an octal mode from 0600 to 0777",
                        text);
        for (size_t i = 0; i < n; i++)
                mode = mode << 3 | (mode_t)(text[i] - '0');
        if ((mode & 0600) != 0600)
                return lanemap_option_refuse(
                        ret_error,
                        "--socket-mode: '%.80s' keeps lanemapd's own user out; it is "
                        "0600 to 0777",
                        text);
        options->socket_mode = mode;
        options->has_socket_mode = true;
        return 0;
}

#define FILE_BYTES_MAX 65536

static int file_take(int fd, const char *path, char *text, struct lanemap_error *ret_error)
{
        size_t n_bytes = 0;
        ssize_t n;

        while ((n = read(fd, text + n_bytes, FILE_BYTES_MAX + 1 - n_bytes)) > 0)
                n_bytes += (size_t)n;
        if (n < 0)
                return lanemap_option_refuse(ret_error, "--options-file: cannot read %s: %s", path,
                                             strerror(errno));
        if (n_bytes > FILE_BYTES_MAX || memchr(text, 0, n_bytes))
                return lanemap_option_refuse(ret_error,
                                             "--options-file: %s has more than %d bytes, or a NUL",
                                             path, FILE_BYTES_MAX);
        text[n_bytes] = 0;
        return 0;
}

int lanemap_option_file_read(const char *path, char **ret_text, struct lanemap_error *ret_error)
{
        bool may_be_absent = *path == '-';
        char *text;
        int fd, r;

        path += may_be_absent;
        text = lanemap_alloc_zero(FILE_BYTES_MAX + 2);
        if (!text)
                return lanemap_option_refuse(ret_error, "--options-file: no memory");
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && may_be_absent && errno == ENOENT) {
                *ret_text = text;
                return 0;
        }
        if (fd < 0) {
                r = lanemap_option_refuse(ret_error, "--options-file: cannot open %s: %s", path,
                                          strerror(errno));
        } else {
                r = file_take(fd, path, text, ret_error);
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

bool lanemap_option_file_next(char **text, uint32_t *line, char **ret_name, char **ret_value)
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
