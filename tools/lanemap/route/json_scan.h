/*
 * A pull scanner for one JSON text in a buffer that it may change.
 *
 * Why not the JSON library that `stat` prints with: it turns 0.10 into a double and 1e400 into an
 * error, and a route key must be the exact digits that the database sent. Here a number is its
 * text. Strings are unescaped in place (the result is never longer), so nothing is allocated.
 *
 * Strict where leniency could make a wrong key: no control characters in strings, no lone
 * surrogates, no \u0000, nothing after the value. Bytes above 0x7f are not checked to be UTF-8: a
 * key is bytes, and a database in SQL_ASCII sends what it holds.
 *
 * All calls answer 0, or -EBADMSG with scan->error and scan->at (offset) telling what and where.
 */
#ifndef LANEMAP_TOOLS_JSON_SCAN_H
#define LANEMAP_TOOLS_JSON_SCAN_H

#include "text.h"

enum lanemap_json_kind {
        LANEMAP_JSON_NULL,
        LANEMAP_JSON_FALSE,
        LANEMAP_JSON_TRUE,
        LANEMAP_JSON_NUMBER, /* text: as it stood there */
        LANEMAP_JSON_STRING, /* text: unescaped */
        LANEMAP_JSON_OBJECT,
        LANEMAP_JSON_ARRAY,
};

struct lanemap_json_scan {
        char *data;
        size_t bytes;
        size_t at;
        const char *error;
};

void lanemap_json_scan_init(struct lanemap_json_scan *scan, char *data, size_t bytes);

/* What the next value is, without consuming it. */
int lanemap_json_scan_peek(struct lanemap_json_scan *scan, enum lanemap_json_kind *ret_kind);

/* A value that is neither object nor array; ret_text as above, empty for null, true and false. */
int lanemap_json_scan_scalar(struct lanemap_json_scan *scan, enum lanemap_json_kind *ret_kind,
                             struct lanemap_slice *ret_text);

/* Consumes any value, nested to a fixed depth at most. */
int lanemap_json_scan_skip(struct lanemap_json_scan *scan);

/*
 * To walk an object (array): begin, then next until it answers 0; after each 1 consume the value.
 * *first is set by begin and belongs to the walk.
 */
int lanemap_json_scan_begin(struct lanemap_json_scan *scan, enum lanemap_json_kind kind,
                            bool *first);
int lanemap_json_scan_member(struct lanemap_json_scan *scan, bool *first,
                             struct lanemap_slice *ret_name);
int lanemap_json_scan_element(struct lanemap_json_scan *scan, bool *first);

/* Only white space is left. */
int lanemap_json_scan_end(struct lanemap_json_scan *scan);

#endif
