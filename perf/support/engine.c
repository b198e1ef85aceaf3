/* See engine.h. */
#include "engine.h"

#include <errno.h>

#include "die.h"
#include "keys.h"

#define BATCH 256

struct lanemap_writer *perf_engine_open(const struct perf_place *place,
                                        const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options all = *options;
        struct lanemap_error error = {0};
        struct lanemap_writer *writer;
        int r;

        all.size = sizeof(all);
        all.name = place->name;
        all.directory = place->directory;
        all.error = &error;
        r = lanemap_writer_open(&all, &writer);
        if (r < 0)
                perf_die(error.text, r);

        return writer;
}

void perf_engine_apply(struct lanemap_writer *writer, uint32_t code, uint64_t first,
                       uint64_t n_keys)
{
        char texts[BATCH][PERF_KEY_BYTES_MAX];
        struct lanemap_op ops[BATCH];

        for (uint64_t at = 0; at < n_keys;) {
                size_t n = n_keys - at < BATCH ? n_keys - at : BATCH;
                int r;

                for (size_t i = 0; i < n; i++, at++)
                        ops[i] = (struct lanemap_op){
                                .code = code,
                                .id = perf_key_route(PERF_MIX_SINGLE, first + at).first,
                                .key = texts[i],
                                .key_bytes = perf_key_text(PERF_MIX_SINGLE, first + at, texts[i]),
                        };
                r = lanemap_writer_apply(writer, ops, n, NULL, NULL, NULL);
                if (r < 0)
                        perf_die("apply", r);
        }
}

int perf_engine_request(struct lanemap_writer *writer, uint32_t request)
{
        uint64_t ticket;
        int r;

        r = lanemap_writer_request(writer, request, &ticket);
        if (r == 0)
                r = lanemap_writer_request_wait(writer, ticket);
        if (r < 0 && r != -EBUSY)
                perf_die("request", r);

        return r;
}

void perf_engine_index_make(const char *name, const char *dir, uint64_t n_keys,
                            struct perf_place *ret_place)
{
        const struct lanemap_writer_options options = {.appendfsync = LANEMAP_APPENDFSYNC_NO};
        struct lanemap_writer *writer;

        perf_place_make(name, dir, ret_place);
        writer = perf_engine_open(ret_place, &options);
        perf_engine_apply(writer, LANEMAP_OP_ADD, 0, n_keys);
        (void)perf_engine_request(writer, LANEMAP_REQUEST_COMPACT);
        lanemap_writer_close(writer);
}
