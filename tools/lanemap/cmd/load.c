/*
 * lanemap load: routes from lines of text. A bad line is told with its number and counted; the good
 * ones are loaded. What the routes go into is behind load.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "escape.h"
#include "load/lines.h"
#include "load/load.h"
#include "cmd/commands.h"

#define LINE_BYTES_MAX ((size_t)1 << 30) /* some keys have a hundred thousand ids */
#define SECOND_NS      UINT64_C(1000000000)

struct load {
        struct lanemap_load_target *target;
        struct lanemap_lines lines;
        uint64_t n_input_bytes; /* 0: unknown */
        uint64_t n_lines;       /* that are not empty */
        uint64_t n_ids;
        uint64_t start_ns, shown_ns;
        bool show, bar_shown;
        uint32_t *ids;
        size_t ids_capacity;
};

/* Parses "id,id,..." into load->ids. Return: how many; 0 after a complaint. */
static size_t ids_parse(struct load *load, struct lanemap_slice text)
{
        size_t n_ids = 0;

        for (;;) {
                const char *comma = memchr(text.data, ',', text.bytes);
                struct lanemap_slice word = text;
                uint64_t id;

                if (comma)
                        word.bytes = (size_t)(comma - text.data);
                if (!lanemap_tool_number(word, LANEMAP_ID_MAX, &id)) {
                        lanemap_load_refuse(load->target, load->lines.number,
                                            "'%.*s' is not an id (0 to 4294967294)",
                                            (int)LANEMAP_MIN(word.bytes, 40u), word.data);
                        return 0;
                }
                if (n_ids == load->ids_capacity) {
                        load->ids_capacity = n_ids ? 2 * n_ids : 64;
                        load->ids = lanemap_tool_realloc(load->ids, load->ids_capacity,
                                                         sizeof(load->ids[0]));
                }
                load->ids[n_ids++] = (uint32_t)id;
                if (!comma)
                        return n_ids;
                text.bytes -= word.bytes + 1;
                text.data = comma + 1;
        }
}

static int line_load(struct load *load, char *line, size_t bytes)
{
        char *tab = memchr(line, '\t', bytes);
        struct lanemap_slice key, ids;
        size_t n_ids;

        if (bytes == 0)
                return 0;
        load->n_lines++;
        if (!tab) {
                lanemap_load_refuse(load->target, load->lines.number, "no tab between key and ids");
                return 0;
        }
        key = (struct lanemap_slice){.data = line, .bytes = (size_t)(tab - line)};
        ids = (struct lanemap_slice){.data = tab + 1, .bytes = bytes - key.bytes - 1};
        if (lanemap_unescape_key(line, &key.bytes) < 0) {
                lanemap_load_refuse(load->target, load->lines.number,
                                    "a backslash in the key must be one of \\t \\n \\\\");
                return 0;
        }
        if (key.bytes == 0 || key.bytes > LANEMAP_KEY_BYTES_MAX) {
                lanemap_load_refuse(load->target, load->lines.number,
                                    "the key has %zu bytes; 1 to %d are allowed", key.bytes,
                                    LANEMAP_KEY_BYTES_MAX);
                return 0;
        }
        n_ids = ids_parse(load, ids);
        if (n_ids == 0)
                return 0;

        load->n_ids += n_ids;
        return load->target->add(load->target, load->lines.number, key, load->ids, n_ids);
}

/* A bar from the first second on, four times a second. */
static void progress_show(struct load *load)
{
        uint64_t now = lanemap_now_ns(&lanemap_clock_monotonic);
        double seconds = (double)(now - load->start_ns) / 1e9;

        if (now - load->start_ns < SECOND_NS || now - load->shown_ns < SECOND_NS / 4)
                return;
        load->shown_ns = now;
        load->bar_shown = true;
        if (load->n_input_bytes > 0) {
                double part = (double)load->lines.n_bytes / (double)load->n_input_bytes;
                int filled = (int)(30 * LANEMAP_MIN(part, 1.0));

                fprintf(stderr, "\r[%.*s%*s] %3.0f %%", filled, "##############################",
                        30 - filled, "", 100 * LANEMAP_MIN(part, 1.0));
        } else {
                fputc('\r', stderr);
        }
        fprintf(stderr, "  %llu lines, %.0f/s ", (unsigned long long)load->lines.number,
                (double)load->lines.number / seconds);
        fflush(stderr);
}

/* Return: 0 at the end of the input, or a negative errno after saying why. */
static int lines_load(struct load *load)
{
        char *line;
        size_t bytes;
        int r;

        while ((r = lanemap_lines_next(&load->lines, &line, &bytes)) != 0) {
                if (r == -EMSGSIZE) {
                        load->n_lines++;
                        lanemap_load_refuse(load->target, load->lines.number,
                                            "longer than %zu bytes", LINE_BYTES_MAX);
                        continue;
                }
                if (r < 0) {
                        lanemap_tool_say("cannot read the input: %s", strerror(-r));
                        return r;
                }
                r = line_load(load, line, bytes);
                if (r < 0)
                        return r;
                if (load->show && load->lines.number % 256 == 0)
                        progress_show(load);
        }
        return 0;
}

static int load_run(struct load *load, int fd, bool quiet)
{
        struct stat status;
        int r;

        lanemap_lines_init(&load->lines, fd, LINE_BYTES_MAX);
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode))
                load->n_input_bytes = (uint64_t)status.st_size;
        load->show = !quiet && isatty(STDERR_FILENO);
        load->start_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        r = lines_load(load);
        if (r == 0)
                r = load->target->finish(load->target);
        if (load->bar_shown)
                fprintf(stderr, "\r\033[K");
        lanemap_lines_deinit(&load->lines);
        free(load->ids);
        if (r < 0)
                return LANEMAP_TOOL_FAILURE;

        if (!quiet)
                printf("loaded %llu lines with %llu ids (%llu new) in %.2f s; %llu lines refused\n",
                       (unsigned long long)(load->n_lines - load->target->n_refused),
                       (unsigned long long)load->n_ids, (unsigned long long)load->target->n_new,
                       (double)(lanemap_now_ns(&lanemap_clock_monotonic) - load->start_ns) / 1e9,
                       (unsigned long long)load->target->n_refused);
        if (lanemap_tool_flush() < 0)
                return LANEMAP_TOOL_FAILURE;
        return load->target->n_refused > 0 ? LANEMAP_TOOL_BAD_LINES : LANEMAP_TOOL_DONE;
}

static int input_open(const char *path)
{
        int fd;

        if (!path || strcmp(path, "-") == 0)
                return STDIN_FILENO;
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                lanemap_tool_say("cannot open '%s': %s", path, strerror(errno));
        return fd;
}

struct arguments {
        const char *socket, *directory, *name;
        bool quiet;
};

#define TO(member) LANEMAP_OPTION_TO(struct arguments, member)
static const struct lanemap_option options[] = {
        {"socket", "PATH",
         "into the running lanemapd that listens there; the environment variable "
         "LANEMAP_PASSWORD holds its password if it wants one",
         TO(socket), .letter = 's'},
        {"dir", "DIR", "into a directory that no writer serves now; it is created if needed",
         TO(directory), .letter = 'd'},
        {"name", "NAME", "with --dir: publish as NAME meanwhile, and leave it published", TO(name),
         .letter = 'n'},
        {"quiet", NULL, "no progress bar and no summary", TO(quiet), .letter = 'q'},
};

static int load(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;
        struct load load = {0};
        int exit_code = LANEMAP_TOOL_FAILURE;
        int fd, r;

        if (!arguments->socket == !arguments->directory) {
                lanemap_tool_say("load wants either --socket or --dir");
                return lanemap_tool_usage("load");
        }
        if (arguments->name && !arguments->directory) {
                lanemap_tool_say("--name goes with --dir");
                return lanemap_tool_usage("load");
        }
        fd = input_open(n_words > 0 ? words[0] : NULL);
        if (fd < 0)
                return LANEMAP_TOOL_FAILURE;
        r = arguments->socket
                    ? lanemap_load_socket_open(arguments->socket, &load.target)
                    : lanemap_load_engine_open(arguments->directory, arguments->name, &load.target);
        if (r == 0) {
                exit_code = load_run(&load, fd, arguments->quiet);
                load.target->close(load.target);
        }

        if (fd != STDIN_FILENO)
                close(fd);
        return exit_code;
}

const struct lanemap_tool_command lanemap_tool_load = {
        .name = "load",
        .summary = "add routes to a running writer, or to a directory",
        .program =
                {
                        .name = "lanemap load",
                        .synopsis = "lanemap load --socket PATH [FILE]\n"
                                    "       lanemap load --dir DIR [--name NAME] [FILE]",
                        .about = "Add routes, one key a line, from FILE or (no FILE, or -) from "
                                 "the standard input:\n\n  key<TAB>id[,id...]\n\nIds are 0 to "
                                 "4294967294. In a key \\t is a tab, \\n a newline, \\\\ a "
                                 "backslash. Routes that are there already are no error. Empty "
                                 "lines are skipped.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 done, and durable; 1 failure; 2 usage; 4 some "
                                  "lines were bad and reported on stderr, the others are loaded.",
                        .arguments = "FILE",
                },
        .n_words_max = 1,
        .wants = "wants one FILE at most",
        .run = load,
};
