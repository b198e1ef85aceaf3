/* Inside the options: values out of the text of one option. Errors: -EINVAL, with a text. */
#ifndef LANEMAP_DAEMON_OPTIONS_VALUE_H
#define LANEMAP_DAEMON_OPTIONS_VALUE_H

#include "daemon/options.h"

/* Return: -EINVAL. */
int lanemap_option_refuse(struct lanemap_error *ret_error, const char *format, ...)
        LANEMAP_PRINTF(2, 3);

int lanemap_option_segment_kind_take(const char *name, const char *text, uint32_t *ret_kind,
                                     struct lanemap_error *ret_error);
int lanemap_option_filter_take(const char *text, uint32_t *ret_filter,
                               struct lanemap_error *ret_error);
/* Return: as in syslog(3), or -EINVAL without a text. */
int lanemap_option_loglevel_parse(const char *text);

/* `where` it comes from. A NUL within would make it shorter than it looks. */
int lanemap_option_password_set(struct lanemap_options *options, const char *where,
                                const char *text, size_t n_bytes, struct lanemap_error *ret_error);
int lanemap_option_password_read(struct lanemap_options *options, const char *path,
                                 struct lanemap_error *ret_error);

int lanemap_option_socket_group_take(struct lanemap_options *options, const char *text,
                                     struct lanemap_error *ret_error);
/* Owner, group and others; the owner may always connect. */
int lanemap_option_socket_mode_take(struct lanemap_options *options, const char *text,
                                    struct lanemap_error *ret_error);

/* The text of an options file, NUL-terminated, to be freed with lanemap_free(). */
int lanemap_option_file_read(const char *path, char **ret_text, struct lanemap_error *ret_error);
/* The next line of it that says something, cut into an option (no -- before it) and its value, NULL
 * if there is none. Return: false behind the last one. */
bool lanemap_option_file_next(char **text, uint32_t *line, char **ret_name, char **ret_value);

#endif
