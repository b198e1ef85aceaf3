/* The options of lanemapd (options.c has the rows), from its command line and the options file. */
#ifndef LANEMAP_DAEMON_OPTIONS_H
#define LANEMAP_DAEMON_OPTIONS_H

#include <sys/types.h>

#include <lanemap/writer.h>

#include "common/option.h"

#define LANEMAP_PASSWORD_BYTES_MAX 512

struct lanemap_options {
        int argc; /* the command line, to be read again */
        char **argv;
        char *file_text; /* of the options file; name and others may point into it */
        const char *name;
        const char *directory;
        const char *options_file; /* - before it: may be absent */
        char socket[4096];
        bool has_socket_group, has_socket_mode; /* were given */
        gid_t socket_gid;
        mode_t socket_mode;
        uint32_t port; /* 0: no TCP */
        char password[LANEMAP_PASSWORD_BYTES_MAX + 1];
        bool password_is_wiped;     /* where it came from it is no more */
        const char *password_wiped; /* while a command line is read again: the one that was there */
        uint32_t appendfsync;
        uint32_t n_lanes;
        uint32_t fingerprint_bits;
        uint32_t segment_kind_young; /* enum lanemap_segment_kind */
        uint32_t segment_kind_bottom;
        uint32_t filter; /* enum lanemap_filter_policy */
        uint32_t n_workers;
        uint64_t compaction_bytes_per_second;
        uint64_t flush_bytes;
        uint64_t log_file_bytes;
        uint64_t shared_bytes_max;
        const char *serve_from; /* NULL: nowhere else */
        const char *backup_dir; /* for backups by name; NULL: none */
        uint64_t lock_bytes;
        uint64_t scrub_bytes_per_second; /* 0: the default; UINT64_MAX: off */
        uint64_t hang_limit_seconds;     /* 0: none */
        uint64_t timeout_output;         /* seconds; 0: none */
        uint64_t timeout_auth;           /* the same */
        uint64_t timeout;                /* the same, of a client that does nothing */
        uint64_t slowlog_us;             /* UINT64_MAX: nothing is slow */
        uint64_t slowlog_len;
        uint64_t latency_ms; /* 0: nothing is recorded */
        uint32_t maxclients;
        char maxmemory_clients[24]; /* a number of bytes, 0: no limit; or N% */
        uint32_t loglevel;          /* as in syslog(3) */
};

extern const struct lanemap_program lanemap_daemon_program;

extern const struct lanemap_choice lanemap_appendfsync_choices[];
extern const struct lanemap_choice lanemap_segment_kind_choices[];
extern const struct lanemap_choice lanemap_filter_choices[];

/*
 * Return: 0, or the enum lanemap_option_outcome of an option that ends the program. Errors:
 * -EINVAL; ret_error says what is wrong in one line. Passwords are overwritten in argv. Opens the
 * options file, the password's, and the list of groups.
 */
int lanemap_options_parse(struct lanemap_options *ret_options, int argc, char **argv,
                          struct lanemap_error *ret_error);

/* The same command line again, with its files as they are. A password of the command line or of the
 * environment, which were wiped, is the one that `options` has. */
int lanemap_options_parse_again(const struct lanemap_options *options,
                                struct lanemap_options *ret_options,
                                struct lanemap_error *ret_error);

/* Frees what was read for it, and wipes the password. */
void lanemap_options_free(struct lanemap_options *options);

/* ---- between the files of this ---- */

/* `where` it comes from. A NUL within would make it shorter than it looks. Return: 0, -EINVAL. */
int lanemap_options_password_set(struct lanemap_options *options, const char *where,
                                 const char *text, size_t n_bytes, struct lanemap_error *ret_error);

/* Takes what the options file says, into options->file_text too. Return: 0, -EINVAL. */
int lanemap_options_file_take(struct lanemap_options *options, const char *path,
                              struct lanemap_error *ret_error);

#endif
