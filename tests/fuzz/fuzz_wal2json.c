/*
 * Lines of a change stream, as `lanemap route` reads them.
 *
 * Beyond not crashing: a line that is accepted gives keys within the limits, and a value's
 * canonical text is its own canonical text (otherwise two spellings of one value could part again).
 *
 * An input: lines, with newlines between them.
 */
#include <lanemap/lanemap.h>
#include <stdint.h>
#include <stdlib.h>

#include "route/canonical.h"
#include "route/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

static void key_check(void *arg, struct lanemap_slice key)
{
        (void)arg;
        MUST(key.bytes >= 1 && key.bytes <= LANEMAP_KEY_BYTES_MAX);
        MUST(memchr(key.data, '.', key.bytes));
}

static void row_check(const struct lanemap_wal2json_row *row)
{
        for (size_t i = 0; i < row->n_columns; i++) {
                struct lanemap_canonical_type type =
                        lanemap_canonical_type_of(row->columns[i].type);
                struct lanemap_text once = {0}, twice = {0};

                lanemap_canonical_value(type, row->columns[i].value, &once);
                lanemap_canonical_value(type, lanemap_text_slice(&once), &twice);
                MUST(lanemap_slice_equal(lanemap_text_slice(&once), lanemap_text_slice(&twice)));
                lanemap_text_deinit(&once);
                lanemap_text_deinit(&twice);
        }
}

/* On a copy of exactly its size, so that a read past the end is seen. */
static void line_check(struct lanemap_route *route, struct lanemap_wal2json_change *change,
                       const uint8_t *line, size_t bytes)
{
        char *copy = malloc(bytes ? bytes : 1);
        const char *error = NULL;
        size_t at = 0;

        MUST(copy);
        if (bytes > 0)
                memcpy(copy, line, bytes);
        if (lanemap_wal2json_parse(change, copy, bytes, &error, &at) < 0) {
                MUST(error && at <= bytes);
        } else if (strchr("IUDT", change->action)) {
                lanemap_route_keys(route, change, key_check, NULL);
                row_check(&change->new_row);
                row_check(&change->old_row);
        }
        free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        struct lanemap_route *route = lanemap_route_new(NULL);
        struct lanemap_wal2json_change change = {0};
        const uint8_t *end = data + n_bytes;

        while (data < end) {
                const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));
                const uint8_t *line_end = newline ? newline : end;

                line_check(route, &change, data, (size_t)(line_end - data));
                data = newline ? newline + 1 : end;
        }
        lanemap_wal2json_change_deinit(&change);
        lanemap_route_free(route);
        return 0;
}
