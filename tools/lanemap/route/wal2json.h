/*
 * One record of wal2json's format-version 2: a JSON object on a line.
 *
 *   {"action":"B","xid":742,"lsn":"0/155E170",...}                        begin
 *   {"action":"I","schema":"public","table":"t","columns":[COLUMN,...]}   insert
 *   {"action":"U",...,"columns":[new...],"identity":[old...]}             update
 *   {"action":"D",...,"identity":[old...]}                                delete
 *   {"action":"T","schema":"public","table":"t"}                          truncate
 *   {"action":"M","transactional":true,"prefix":"p","content":"c"}        logical message
 *   {"action":"C",...}                                                    commit
 *   COLUMN: {"name":"id","type":"integer","value":1}
 *
 * Members that are not needed are skipped, whatever they hold. All slices point into the line,
 * which the parser unescapes in place; they live as long as its bytes stay.
 */
#ifndef LANEMAP_TOOLS_WAL2JSON_H
#define LANEMAP_TOOLS_WAL2JSON_H

#include "route/json_scan.h"

struct lanemap_wal2json_column {
        struct lanemap_slice name;
        struct lanemap_slice type; /* empty when the stream has no types */
        struct lanemap_slice value;
        enum lanemap_json_kind kind; /* a scalar kind */
};

struct lanemap_wal2json_row {
        struct lanemap_wal2json_column *columns;
        size_t n_columns;
        size_t capacity;
        bool present;
};

struct lanemap_wal2json_change {
        char action;              /* one of BCMIUDT */
        struct lanemap_slice lsn; /* empty when the stream has none */
        struct lanemap_slice xid; /* the same */
        struct lanemap_slice schema;
        struct lanemap_slice table;
        struct lanemap_wal2json_row new_row; /* "columns" */
        struct lanemap_wal2json_row old_row; /* "identity" */
};

/*
 * Parse one line. `change` starts all zero and is used again and again; after a failure its content
 * means nothing, but it may still be passed here and to deinit.
 *
 * Return: 0. Errors: -EBADMSG, with *ret_error (static storage) saying what and *ret_at where.
 */
int lanemap_wal2json_parse(struct lanemap_wal2json_change *change, char *line, size_t bytes,
                           const char **ret_error, size_t *ret_at);
void lanemap_wal2json_change_deinit(struct lanemap_wal2json_change *change);

#endif
