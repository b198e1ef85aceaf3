/*
 * See route.h. All keys of a change are written into one buffer and go to the index as one batch,
 * so that their memory accesses overlap; a change has a few dozen keys at most.
 */
#include "route/route.h"

#include <errno.h>
#include <stdlib.h>

#include "route/canonical.h"
#include "common/clock.h"

/* -EAGAIN means that this process was stopped in the midst of lookups: it passes. */
#define TRIES_MAX 100

struct lanemap_route {
        struct lanemap_reader *reader;
        struct lanemap_text keys_text;
        size_t *key_ends; /* in keys_text; key i starts at key_ends[i - 1] */
        struct lanemap_key *keys;
        struct lanemap_span *spans;
        size_t n_keys, keys_capacity;
        struct lanemap_text prefix; /* schema.table. of the change */
        uint32_t *ids;
        size_t ids_capacity;
        struct lanemap_route_stats stats;
};

struct lanemap_route *lanemap_route_new(struct lanemap_reader *reader)
{
        struct lanemap_route *route = lanemap_tool_realloc(NULL, 1, sizeof(*route));

        memset(route, 0, sizeof(*route));
        route->reader = reader;
        route->ids_capacity = 4096;
        route->ids = lanemap_tool_realloc(NULL, route->ids_capacity, sizeof(route->ids[0]));
        return route;
}

void lanemap_route_free(struct lanemap_route *route)
{
        if (!route)
                return;
        lanemap_text_deinit(&route->keys_text);
        lanemap_text_deinit(&route->prefix);
        free(route->key_ends);
        free(route->keys);
        free(route->spans);
        free(route->ids);
        free(route);
}

const struct lanemap_route_stats *lanemap_route_stats(const struct lanemap_route *route)
{
        return &route->stats;
}

static size_t key_start(const struct lanemap_route *route, size_t i)
{
        return i > 0 ? route->key_ends[i - 1] : 0;
}

static struct lanemap_slice key_slice(const struct lanemap_route *route, size_t i)
{
        size_t start = key_start(route, i);

        return (struct lanemap_slice){.data = route->keys_text.data + start,
                                      .bytes = route->key_ends[i] - start};
}

/* The bytes that were appended since the last key become one. */
static void key_end(struct lanemap_route *route)
{
        if (route->keys_text.bytes - key_start(route, route->n_keys) > LANEMAP_KEY_BYTES_MAX) {
                route->keys_text.bytes = key_start(route, route->n_keys);
                route->stats.n_unkeyable++;
                return;
        }
        if (route->n_keys == route->keys_capacity) {
                size_t n = route->keys_capacity ? 2 * route->keys_capacity : 64;

                route->key_ends =
                        lanemap_tool_realloc(route->key_ends, n, sizeof(route->key_ends[0]));
                route->keys = lanemap_tool_realloc(route->keys, n, sizeof(route->keys[0]));
                route->spans = lanemap_tool_realloc(route->spans, n, sizeof(route->spans[0]));
                route->keys_capacity = n;
        }
        route->key_ends[route->n_keys++] = route->keys_text.bytes;
}

/* A stream without types still tells numbers and booleans apart from text. */
static struct lanemap_canonical_type type_of(const struct lanemap_wal2json_column *column)
{
        struct lanemap_canonical_type type = {.class = LANEMAP_CANONICAL_TEXT};

        if (column->kind == LANEMAP_JSON_TRUE || column->kind == LANEMAP_JSON_FALSE)
                type.class = LANEMAP_CANONICAL_BOOLEAN;
        else if (column->type.bytes > 0)
                type = lanemap_canonical_type_of(column->type);
        else if (column->kind == LANEMAP_JSON_NUMBER)
                type.class = LANEMAP_CANONICAL_NUMERIC;
        return type;
}

static void column_key_append(struct lanemap_route *route,
                              const struct lanemap_wal2json_column *column)
{
        struct lanemap_text *text = &route->keys_text;
        struct lanemap_slice value = column->value;

        if (column->kind == LANEMAP_JSON_NULL)
                return;
        if (column->kind == LANEMAP_JSON_TRUE)
                value = LANEMAP_SLICE("t");
        else if (column->kind == LANEMAP_JSON_FALSE)
                value = LANEMAP_SLICE("f");

        lanemap_text_append_slice(text, lanemap_text_slice(&route->prefix));
        lanemap_canonical_identifier(column->name, text);
        lanemap_text_append_char(text, '=');
        lanemap_canonical_value(type_of(column), value, text);
        key_end(route);
}

static bool column_unchanged(const struct lanemap_wal2json_column *column, size_t at,
                             const struct lanemap_wal2json_row *other)
{
        const struct lanemap_wal2json_column *same;

        if (at >= other->n_columns)
                return false;
        same = &other->columns[at];
        return column->kind == same->kind && lanemap_slice_equal(column->name, same->name) &&
               lanemap_slice_equal(column->type, same->type) &&
               lanemap_slice_equal(column->value, same->value);
}

static void keys_build(struct lanemap_route *route, const struct lanemap_wal2json_change *change)
{
        const struct lanemap_wal2json_row *new_row = &change->new_row, *old_row = &change->old_row;
        bool use_new = change->action == 'I' || change->action == 'U';
        bool use_old = change->action == 'D' || change->action == 'U';

        route->n_keys = 0;
        route->keys_text.bytes = 0;
        lanemap_canonical_table_key(change->schema, change->table, &route->keys_text);
        route->prefix.bytes = 0;
        lanemap_text_append_slice(&route->prefix, lanemap_text_slice(&route->keys_text));
        lanemap_text_append_char(&route->prefix, '.');
        key_end(route);

        for (size_t i = 0; use_new && i < new_row->n_columns; i++)
                column_key_append(route, &new_row->columns[i]);
        for (size_t i = 0; use_old && i < old_row->n_columns; i++) {
                if (!use_new || !column_unchanged(&old_row->columns[i], i, new_row))
                        column_key_append(route, &old_row->columns[i]);
        }
}

void lanemap_route_keys(struct lanemap_route *route, const struct lanemap_wal2json_change *change,
                        void (*fn)(void *arg, struct lanemap_slice key), void *arg)
{
        keys_build(route, change);
        for (size_t i = 0; i < route->n_keys; i++)
                fn(arg, key_slice(route, i));
}

/* Return: as lanemap_reader_lookup_batch(); the time of the call goes into the histograms. */
static int batch_lookup(struct lanemap_route *route)
{
        uint64_t start_ns = lanemap_now_ns(&lanemap_clock_monotonic), ns;
        int r = lanemap_reader_lookup_batch(route->reader, route->keys, route->n_keys, route->ids,
                                            route->ids_capacity, route->spans);

        if (r < 0)
                return r;
        ns = lanemap_now_ns(&lanemap_clock_monotonic) - start_ns;
        lanemap_histogram_record(&route->stats.change_ns, ns, 1);
        lanemap_histogram_record(&route->stats.lookup_ns, ns / route->n_keys, route->n_keys);
        route->stats.n_lookups += route->n_keys;
        return r;
}

static size_t spans_sum(const struct lanemap_route *route)
{
        size_t n = 0;

        for (size_t i = 0; i < route->n_keys; i++)
                n += route->spans[i].n_ids;
        return n;
}

/* With room for all answers; postings may grow between two tries. */
static int batch_lookup_all(struct lanemap_route *route)
{
        for (int i = 0;; i++) {
                int r = batch_lookup(route);
                size_t n;

                if (r == 0 || (r < 0 && (r != -EAGAIN || i >= TRIES_MAX)))
                        return r;
                if (r < 0)
                        continue;
                n = spans_sum(route);
                if (n > route->ids_capacity) {
                        route->ids_capacity = n + n / 8;
                        route->ids = lanemap_tool_realloc(route->ids, route->ids_capacity,
                                                          sizeof(route->ids[0]));
                }
        }
}

static int id_compare(const void *a, const void *b)
{
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

        return (x > y) - (x < y);
}

/* The union of the answers, in place; a single answer is sorted already. */
static size_t ids_unite(struct lanemap_route *route)
{
        size_t n = 0, n_unique = 0, n_hits = 0;

        for (size_t i = 0; i < route->n_keys; i++) {
                struct lanemap_span span = route->spans[i];

                if (span.n_ids == 0)
                        continue;
                memmove(route->ids + n, route->ids + span.offset, span.n_ids * sizeof(uint32_t));
                n += span.n_ids;
                n_hits++;
        }
        route->stats.n_hits += n_hits;
        if (n_hits < 2)
                return n;

        qsort(route->ids, n, sizeof(route->ids[0]), id_compare);
        for (size_t i = 0; i < n; i++) {
                if (n_unique == 0 || route->ids[n_unique - 1] != route->ids[i])
                        route->ids[n_unique++] = route->ids[i];
        }
        return n_unique;
}

int lanemap_route_change(struct lanemap_route *route, const struct lanemap_wal2json_change *change,
                         const uint32_t **ret_ids, size_t *ret_n_ids)
{
        size_t n_ids = 0;

        keys_build(route, change);
        for (size_t i = 0; i < route->n_keys; i++) {
                struct lanemap_slice key = key_slice(route, i);

                route->keys[i] = (struct lanemap_key){.data = key.data, .bytes = key.bytes};
        }
        if (route->n_keys > 0) {
                int r = batch_lookup_all(route);

                if (r < 0)
                        return r;
                n_ids = ids_unite(route);
        }

        route->stats.n_changes++;
        route->stats.n_touching += n_ids > 0;
        route->stats.n_ids += n_ids;
        *ret_ids = route->ids;
        *ret_n_ids = n_ids;
        return 0;
}
