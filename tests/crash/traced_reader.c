/*
 * Looks up between two breakpoints, for trace_lookup.c to follow instruction by instruction. Links
 * liblanemap.so and nothing else of lanemap: what is traced is what ships.
 *
 *         traced_reader NAME
 */
#include <lanemap/lanemap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define N_BATCH 40

static uint32_t ids[20000];
static char texts[N_BATCH][16];
static struct lanemap_key keys[N_BATCH];
static struct lanemap_span spans[N_BATCH];

static int run(struct lanemap_reader *reader)
{
        struct lanemap_view view;
        const uint32_t *in_place;
        size_t n_ids;
        int r = 0;

        /* In an overlay; in a segment; a short list, a long one, a tree; absent. */
        for (int i = 0; i < N_BATCH; i++)
                r |= lanemap_reader_lookup(reader, keys[i].data, keys[i].bytes, ids, 10000, &n_ids);
        r |= lanemap_reader_lookup_batch(reader, keys, N_BATCH, ids, 20000, spans) < 0;
        for (int i = 0; i < N_BATCH; i++)
                r |= lanemap_reader_contains(reader, keys[i].data, keys[i].bytes, 3) < 0;
        for (int i = 0; i < N_BATCH; i++) {
                r |= lanemap_reader_view_begin(reader, keys[i].data, keys[i].bytes, &view) < 0;
                while (lanemap_reader_view_next(&view, &in_place) > 0)
                        ;
                r |= lanemap_reader_view_end(&view) < 0;
        }
        return r;
}

int main(int argc, char **argv)
{
        struct lanemap_reader *reader;
        int r;

        if (argc != 2 || lanemap_reader_attach(argv[1], NULL, &reader) < 0)
                return 2;
        for (int i = 0; i < N_BATCH; i++) {
                keys[i].data = texts[i];
                keys[i].bytes = (size_t)sprintf(texts[i], "key-%d", i);
        }

        r = run(reader);
        __asm__ volatile("int3");
        r |= run(reader);
        __asm__ volatile("int3");

        lanemap_reader_detach(reader);
        return r != 0;
}
