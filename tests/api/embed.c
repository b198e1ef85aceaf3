/*
 * A program that has the engine inside: writes, closes, and finds it again; beside a reader of its
 * own, with a view open meanwhile.
 *
 *         embed NAME DIRECTORY
 */
#include <lanemap/writer.h>
#include <stdio.h>

static struct lanemap_error error;

static struct lanemap_writer *engine_open(char **argv)
{
        struct lanemap_writer_options options = {
                .size = sizeof(options), .name = argv[1], .directory = argv[2], .error = &error};
        struct lanemap_writer *writer = NULL;

        return lanemap_writer_open(&options, &writer) == 0 ? writer : NULL;
}

static int add(struct lanemap_writer *writer, uint32_t id)
{
        struct lanemap_op op = {.code = LANEMAP_OP_ADD, .id = id, .key = "a", .key_bytes = 1};
        uint64_t position = 0;
        int r = lanemap_writer_apply(writer, &op, 1, NULL, NULL, &position);

        return r < 0 ? r : lanemap_writer_sync(writer, position);
}

/* The engine unmaps, flips and unlinks under an open view, and waits for nobody. */
static int flip_under_a_view(struct lanemap_writer *writer, struct lanemap_reader *reader)
{
        struct lanemap_view view;
        uint64_t ticket = 0;
        int r;

        r = lanemap_reader_view_begin(reader, "a", 1, &view);
        if (r < 0)
                return r;

        r = lanemap_writer_request(writer, LANEMAP_REQUEST_FLIP, &ticket);
        if (r == 0)
                r = lanemap_writer_request_wait(writer, ticket);
        return lanemap_reader_view_end(&view) < 0 ? -1 : r;
}

int main(int argc, char **argv)
{
        struct lanemap_reader *reader = NULL;
        struct lanemap_writer *writer;
        size_t n_ids = 0;
        int r;

        if (argc != 3)
                return 2;
        writer = engine_open(argv);
        r = writer ? add(writer, 7) : -1;
        if (r == 0)
                r = lanemap_reader_attach(argv[1], NULL, &reader);
        if (r == 0)
                r = flip_under_a_view(writer, reader);
        lanemap_writer_close(writer);

        writer = r == 0 ? engine_open(argv) : NULL;
        r = writer ? add(writer, 9) : -1;
        if (r == 0)
                r = lanemap_reader_lookup(reader, "a", 1, NULL, 0, &n_ids);
        lanemap_reader_detach(reader);
        lanemap_writer_close(writer);
        if (r != 0 || n_ids != 2) {
                fprintf(stderr, "%d, %zu ids: %s\n", r, n_ids, error.text);
                return 1;
        }

        printf("2 ids\n");
        return 0;
}
