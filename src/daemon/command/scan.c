/*
 * SSCAN: the ids of one key, in parts.
 *
 * The cursor is the next id to return. So an iteration needs no memory here, goes on after a
 * restart, returns each id at most once, and returns those that are there from its beginning to its
 * end.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/command/glob.h"
#include "daemon/command/handlers.h"
#include "daemon/command/posting.h"

/* COUNT is a wish. One call looks at no more ids, and compares no more bytes of patterns (LP3). */
#define SCAN_IDS_DEFAULT 10
#define SCAN_IDS_MAX     ((size_t)8192)
#define SCAN_BYTES_MAX   ((size_t)1 << 20)

struct scan {
        uint64_t cursor;
        const char *pattern; /* NULL: everything */
        size_t n_pattern;
        uint64_t n_ids;
};

/* As Redis reads it: strtoul(), without blanks before or anything after the number. */
static bool cursor_parse(const struct lanemap_call *call, uint64_t *ret_cursor)
{
        char text[32], *end;

        if (call->args[2].bytes >= sizeof(text))
                return false;
        memcpy(text, lanemap_call_bytes(call, 2), call->args[2].bytes);
        text[call->args[2].bytes] = '\0';
        errno = 0;
        *ret_cursor = strtoull(text, &end, 10);
        return errno == 0 && !isspace((unsigned char)text[0]) && end == text + call->args[2].bytes;
}

/* Return: NULL, or the error. */
static const char *count_parse(const struct lanemap_call *call, uint32_t i, uint64_t *ret_n_ids)
{
        const char *text = lanemap_call_bytes(call, i);
        bool negative = call->args[i].bytes > 1 && text[0] == '-';

        if (lanemap_number_parse(text + negative, call->args[i].bytes - negative, INT64_MAX,
                                 ret_n_ids) < 0)
                return "ERR value is not an integer or out of range";

        return negative || *ret_n_ids == 0 ? "ERR syntax error" : NULL;
}

/* Return: NULL, or the error. */
static const char *options_parse(const struct lanemap_call *call, struct scan *scan)
{
        for (uint32_t i = 3; i < call->n_args; i += 2) {
                const char *error = NULL;

                if (i + 1 == call->n_args)
                        return "ERR syntax error";
                if (lanemap_call_is(call, i, "match")) {
                        scan->pattern = lanemap_call_bytes(call, i + 1);
                        scan->n_pattern = call->args[i + 1].bytes;
                } else if (lanemap_call_is(call, i, "count")) {
                        error = count_parse(call, i + 1, &scan->n_ids);
                } else {
                        error = "ERR syntax error";
                }
                if (error)
                        return error;
        }
        return NULL;
}

static bool id_matches(const struct scan *scan, uint32_t id)
{
        char text[16];

        return !scan->pattern ||
               lanemap_glob_match(scan->pattern, scan->n_pattern, text,
                                  (size_t)snprintf(text, sizeof(text), "%" PRIu32, id));
}

/* The ids that match move to the front. Return: how many. */
static size_t ids_select(const struct scan *scan, uint32_t *ids, const uint32_t *from, size_t n_ids)
{
        size_t n = 0;

        for (size_t i = 0; i < n_ids; i++)
                if (id_matches(scan, from[i]))
                        ids[n++] = from[i];
        return n;
}

static void scan_reply(const struct lanemap_call *call, uint64_t cursor, const uint32_t *ids,
                       size_t n_ids)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, cursor);
        lanemap_reply_array(reply, 2);
        lanemap_reply_text(reply, text);
        lanemap_reply_array(reply, n_ids);
        lanemap_reply_ids(reply, ids, n_ids);
}

/* Of a key that is not there Redis looks at no option. */
static void scan_refuse(const struct lanemap_call *call, const char *error)
{
        size_t n_ids;

        if (!lanemap_posting_read(call, 1, true, &n_ids))
                return;
        if (n_ids == 0)
                scan_reply(call, 0, NULL, 0);
        else
                lanemap_reply_error(lanemap_client_reply(call->client), "%s", error);
}

void lanemap_command_sscan(const struct lanemap_call *call)
{
        struct scan scan = {.n_ids = SCAN_IDS_DEFAULT};
        uint64_t next = 0;
        const uint32_t *ids;
        const char *error;
        size_t n, n_ids;

        if (!lanemap_posting_key_check(call, 1))
                return;
        if (!cursor_parse(call, &scan.cursor)) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR invalid cursor");
                return;
        }
        error = options_parse(call, &scan);
        if (error) {
                scan_refuse(call, error);
                return;
        }
        if (scan.cursor > LANEMAP_ID_MAX) {
                scan_reply(call, 0, NULL, 0);
                return;
        }
        n = (size_t)LANEMAP_MIN(scan.n_ids, SCAN_IDS_MAX);
        n = LANEMAP_MAX(LANEMAP_MIN(n, SCAN_BYTES_MAX / (scan.n_pattern + 1)), (size_t)1);
        if (!lanemap_posting_read_from(call, 1, (uint32_t)scan.cursor, n + 1, &ids, &n_ids))
                return;
        if (n_ids > n) {
                next = ids[n];
                n_ids = n;
        }
        n_ids = ids_select(&scan, call->server->ids, ids, n_ids);
        scan_reply(call, next, call->server->ids, n_ids);
}
