/*
 * An ordinary reader, to be run under what limits it: attaches, looks up in every way, and says
 * what the library says when it cannot.
 *
 *         attached_reader NAME
 */
#include <lanemap/lanemap.h>
#include <stdio.h>

static int answers_check(struct lanemap_reader *reader)
{
        const struct lanemap_key keys[] = {{"a", 1}, {"k7", 2}, {"absent", 6}};
        struct lanemap_span spans[3];
        struct lanemap_view view;
        const uint32_t *in_place;
        uint32_t ids[8];
        size_t n_ids = 0;

        if (lanemap_reader_lookup(reader, "k7", 2, ids, 8, &n_ids) != 0 || n_ids != 2 ||
            ids[0] != 7 || ids[1] != 8)
                return 1;
        if (lanemap_reader_lookup_batch(reader, keys, 3, ids, 8, spans) != 0 ||
            spans[0].n_ids != 1 || spans[1].n_ids != 2 || spans[2].n_ids != 0)
                return 2;
        if (lanemap_reader_contains(reader, "a", 1, 1) != 1)
                return 3;
        if (lanemap_reader_view_begin(reader, "a", 1, &view) != 0 ||
            lanemap_reader_view_next(&view, &in_place) != 1 || lanemap_reader_view_end(&view) != 0)
                return 4;
        return lanemap_reader_poll(reader) < 0 ? 5 : 0;
}

int main(int argc, char **argv)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_reader_options options = {
                .size = sizeof(options), .helper_thread = 1, .error = &error};
        struct lanemap_reader *reader;
        int r;

        if (argc != 2)
                return 10;
        if (lanemap_reader_attach(argv[1], &options, &reader) < 0) {
                fprintf(stderr, "%s\n", error.text);
                return 11;
        }

        r = answers_check(reader);
        lanemap_reader_detach(reader);
        return r;
}
