/* The index under a run of perf/outage: made, opened, added to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outage_private.h"

#define BATCH 256

struct lanemap_writer *outage_open(const struct perf_place *place,
                                   const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options all = *options;
        struct lanemap_writer *writer;
        struct lanemap_error error = {0};
        int r;

        all.size = sizeof(all);
        all.name = place->name;
        all.directory = place->directory;
        all.error = &error;
        r = lanemap_writer_open(&all, &writer);
        if (r < 0)
                outage_die(error.text, r);

        return writer;
}

void outage_add(struct lanemap_writer *writer, uint64_t first, uint64_t n_keys)
{
        static char texts[BATCH][PERF_KEY_BYTES_MAX];
        struct lanemap_op ops[BATCH];
        int r;

        for (uint64_t at = 0; at < n_keys;) {
                size_t n = n_keys - at < BATCH ? n_keys - at : BATCH;

                for (size_t i = 0; i < n; i++, at++)
                        ops[i] = (struct lanemap_op){
                                .code = LANEMAP_OP_ADD,
                                .id = perf_key_route(PERF_MIX_SINGLE, first + at).first,
                                .key = texts[i],
                                .key_bytes = perf_key_text(PERF_MIX_SINGLE, first + at, texts[i]),
                        };
                r = lanemap_writer_apply(writer, ops, n, NULL, NULL, NULL);
                if (r < 0)
                        outage_die("apply", r);
        }
}

void outage_request(struct lanemap_writer *writer, enum lanemap_request request)
{
        uint64_t ticket;
        int r;

        r = lanemap_writer_request(writer, request, &ticket);
        if (r == 0)
                r = lanemap_writer_request_wait(writer, ticket);
        if (r < 0 && r != -EBUSY)
                outage_die("request", r);
}

void outage_index_make(const struct outage_options *options, uint64_t n_keys,
                       struct perf_place *ret_place)
{
        const struct lanemap_writer_options writer_options = {
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
        };
        struct lanemap_writer *writer;
        int r;

        r = perf_place_make(options->name, options->dir, ret_place);
        if (r < 0)
                outage_die(options->dir, r);

        writer = outage_open(ret_place, &writer_options);
        outage_add(writer, 0, n_keys);
        outage_request(writer, LANEMAP_REQUEST_COMPACT);
        lanemap_writer_close(writer);
}
