/*
 * A plugin with a copy of the library of its own: the static one. Only its own names are seen.
 */
#include <lanemap/lanemap.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int plugin_attach(const char *name, const struct lanemap_reader_options *options,
                           struct lanemap_reader **ret_reader);
EXPORTED int plugin_contains(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                             uint32_t id);
EXPORTED int plugin_view_begin(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                               struct lanemap_view *ret_view);
EXPORTED int plugin_view_end(struct lanemap_view *view);
EXPORTED int plugin_poll(struct lanemap_reader *reader);
EXPORTED void plugin_detach(struct lanemap_reader *reader);

int plugin_attach(const char *name, const struct lanemap_reader_options *options,
                  struct lanemap_reader **ret_reader)
{
        return lanemap_reader_attach(name, options, ret_reader);
}

int plugin_contains(struct lanemap_reader *reader, const void *key, size_t key_bytes, uint32_t id)
{
        return lanemap_reader_contains(reader, key, key_bytes, id);
}

int plugin_view_begin(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                      struct lanemap_view *ret_view)
{
        return lanemap_reader_view_begin(reader, key, key_bytes, ret_view);
}

int plugin_view_end(struct lanemap_view *view)
{
        return lanemap_reader_view_end(view);
}

int plugin_poll(struct lanemap_reader *reader)
{
        return lanemap_reader_poll(reader);
}

void plugin_detach(struct lanemap_reader *reader)
{
        lanemap_reader_detach(reader);
}
