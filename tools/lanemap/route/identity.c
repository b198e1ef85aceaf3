/* See route/identity.h. Streams have few tables and long runs of the same one: a list will do. */
#include "route/identity.h"

#include <stdlib.h>

#include "route/canonical.h"

static struct lanemap_identity_table *table_of(struct lanemap_identity *identity,
                                               const struct lanemap_wal2json_change *change)
{
        struct lanemap_identity_table *table;
        struct lanemap_slice key;

        identity->key.bytes = 0;
        lanemap_canonical_table_key(change->schema, change->table, &identity->key);
        key = lanemap_text_slice(&identity->key);
        for (size_t i = 0; i < identity->n_tables; i++) {
                size_t at = (identity->last + i) % identity->n_tables;

                if (lanemap_slice_equal(lanemap_text_slice(&identity->tables[at].key), key)) {
                        identity->last = at;
                        return &identity->tables[at];
                }
        }

        identity->tables = lanemap_tool_realloc(identity->tables, identity->n_tables + 1,
                                                sizeof(identity->tables[0]));
        identity->last = identity->n_tables++;
        table = &identity->tables[identity->last];
        *table = (struct lanemap_identity_table){0};
        lanemap_text_append_slice(&table->key, key);
        return table;
}

int lanemap_identity_see(struct lanemap_identity *identity,
                         const struct lanemap_wal2json_change *change)
{
        struct lanemap_identity_table *table;
        size_t n_new = change->new_row.n_columns, n_old = change->old_row.n_columns;
        bool partial = false;

        if (!strchr("IUD", change->action))
                return 0;
        table = table_of(identity, change);
        if (change->action == 'I')
                table->n_columns = n_new;
        else if (change->action == 'U')
                partial = n_old < LANEMAP_MAX(n_new, table->n_columns);
        else
                partial = n_old < table->n_columns;
        if (!partial || table->told)
                return 0;

        table->told = true;
        return 1;
}

void lanemap_identity_deinit(struct lanemap_identity *identity)
{
        for (size_t i = 0; i < identity->n_tables; i++)
                lanemap_text_deinit(&identity->tables[i].key);
        free(identity->tables);
        lanemap_text_deinit(&identity->key);
        *identity = (struct lanemap_identity){0};
}
