/* See wal2json.h. */
#include "route/wal2json.h"

#include <errno.h>
#include <stdlib.h>

static int bad(struct lanemap_json_scan *scan, const char *what)
{
        scan->error = what;
        return -EBADMSG;
}

static int scan_text(struct lanemap_json_scan *scan, enum lanemap_json_kind wanted,
                     const char *error, struct lanemap_slice *ret_text)
{
        enum lanemap_json_kind kind;
        int r = lanemap_json_scan_scalar(scan, &kind, ret_text);

        if (r < 0)
                return r;
        return kind == wanted ? 0 : bad(scan, error);
}

static int scan_column(struct lanemap_json_scan *scan, struct lanemap_wal2json_column *column)
{
        bool first, named = false, valued = false;
        struct lanemap_slice name;
        int r = lanemap_json_scan_begin(scan, LANEMAP_JSON_OBJECT, &first);

        if (r < 0)
                return r;
        *column = (struct lanemap_wal2json_column){.kind = LANEMAP_JSON_NULL};
        while ((r = lanemap_json_scan_member(scan, &first, &name)) > 0) {
                if (lanemap_slice_is(name, "name")) {
                        named = true;
                        r = scan_text(scan, LANEMAP_JSON_STRING, "a column's name is no string",
                                      &column->name);
                } else if (lanemap_slice_is(name, "type")) {
                        r = scan_text(scan, LANEMAP_JSON_STRING, "a column's type is no string",
                                      &column->type);
                } else if (lanemap_slice_is(name, "value")) {
                        valued = true;
                        r = lanemap_json_scan_scalar(scan, &column->kind, &column->value);
                } else {
                        r = lanemap_json_scan_skip(scan);
                }
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        if (!named)
                return bad(scan, "a column without a name");
        return valued ? 0 : bad(scan, "a column without a value");
}

static int scan_row(struct lanemap_json_scan *scan, struct lanemap_wal2json_row *row)
{
        bool first;
        int r = lanemap_json_scan_begin(scan, LANEMAP_JSON_ARRAY, &first);

        if (r < 0)
                return r;
        row->n_columns = 0;
        row->present = true;
        while ((r = lanemap_json_scan_element(scan, &first)) > 0) {
                if (row->n_columns == row->capacity) {
                        size_t capacity = row->capacity ? 2 * row->capacity : 16;

                        row->columns = lanemap_tool_realloc(row->columns, capacity,
                                                            sizeof(row->columns[0]));
                        row->capacity = capacity;
                }
                r = scan_column(scan, &row->columns[row->n_columns]);
                if (r < 0)
                        return r;
                row->n_columns++;
        }
        return r;
}

static int scan_action(struct lanemap_json_scan *scan, char *ret_action)
{
        struct lanemap_slice text;
        int r = scan_text(scan, LANEMAP_JSON_STRING, "\"action\" is no string", &text);

        if (r < 0)
                return r;
        if (text.bytes != 1 || !strchr("BCMIUDT", text.data[0]))
                return bad(scan, "unknown action (known: B C M I U D T)");
        *ret_action = text.data[0];
        return 0;
}

/* A message outside of a transaction has the xid null. */
static int scan_xid(struct lanemap_json_scan *scan, struct lanemap_slice *ret_xid)
{
        enum lanemap_json_kind kind;
        int r = lanemap_json_scan_scalar(scan, &kind, ret_xid);

        if (r < 0)
                return r;
        return kind == LANEMAP_JSON_NUMBER || kind == LANEMAP_JSON_NULL
                       ? 0
                       : bad(scan, "\"xid\" is no number");
}

static int scan_member(struct lanemap_json_scan *scan, struct lanemap_slice name,
                       struct lanemap_wal2json_change *change)
{
        if (lanemap_slice_is(name, "action"))
                return scan_action(scan, &change->action);
        if (lanemap_slice_is(name, "lsn"))
                return scan_text(scan, LANEMAP_JSON_STRING, "\"lsn\" is no string", &change->lsn);
        if (lanemap_slice_is(name, "xid"))
                return scan_xid(scan, &change->xid);
        if (lanemap_slice_is(name, "schema"))
                return scan_text(scan, LANEMAP_JSON_STRING, "\"schema\" is no string",
                                 &change->schema);
        if (lanemap_slice_is(name, "table"))
                return scan_text(scan, LANEMAP_JSON_STRING, "\"table\" is no string",
                                 &change->table);
        if (lanemap_slice_is(name, "columns"))
                return scan_row(scan, &change->new_row);
        if (lanemap_slice_is(name, "identity"))
                return scan_row(scan, &change->old_row);
        if (lanemap_slice_is(name, "change"))
                return bad(scan, "this is wal2json's format-version 1; ask for 2 "
                                 "(pg_recvlogical -o format-version=2)");
        return lanemap_json_scan_skip(scan);
}

/* What each action must bring. */
static int change_check(struct lanemap_json_scan *scan,
                        const struct lanemap_wal2json_change *change)
{
        char action = change->action;

        if (!action)
                return bad(scan, "no \"action\"");
        if (strchr("BCM", action))
                return 0;
        if (!change->schema.data || !change->table.data)
                return bad(scan, "a change without \"schema\" or \"table\"");
        if ((action == 'I' || action == 'U') && !change->new_row.present)
                return bad(scan, "an insert or update without \"columns\"");
        if (action == 'D' && !change->old_row.present)
                return bad(scan, "a delete without \"identity\"");
        return 0;
}

static int scan_change(struct lanemap_json_scan *scan, struct lanemap_wal2json_change *change)
{
        struct lanemap_slice name;
        bool first;
        int r = lanemap_json_scan_begin(scan, LANEMAP_JSON_OBJECT, &first);

        while (r >= 0) {
                r = lanemap_json_scan_member(scan, &first, &name);
                if (r <= 0)
                        break;
                r = scan_member(scan, name, change);
        }
        if (r < 0)
                return r;
        r = lanemap_json_scan_end(scan);
        if (r < 0)
                return r;
        return change_check(scan, change);
}

int lanemap_wal2json_parse(struct lanemap_wal2json_change *change, char *line, size_t bytes,
                           const char **ret_error, size_t *ret_at)
{
        struct lanemap_wal2json_row new_row = change->new_row, old_row = change->old_row;
        struct lanemap_json_scan scan;
        int r;

        new_row.n_columns = old_row.n_columns = 0;
        new_row.present = old_row.present = false;
        *change = (struct lanemap_wal2json_change){.new_row = new_row, .old_row = old_row};
        lanemap_json_scan_init(&scan, line, bytes);
        r = scan_change(&scan, change);
        if (r < 0) {
                *ret_error = scan.error;
                *ret_at = scan.at;
        }
        return r;
}

void lanemap_wal2json_change_deinit(struct lanemap_wal2json_change *change)
{
        free(change->new_row.columns);
        free(change->old_row.columns);
        *change = (struct lanemap_wal2json_change){0};
}
