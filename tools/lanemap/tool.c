/* See tool.h. */
#include "tool.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/owner.h"

void lanemap_tool_say(const char *format, ...)
{
        char line[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        fprintf(stderr, "lanemap: %s\n", line);
}

void lanemap_tool_owner_say(const char *directory, int r)
{
        char why[768];

        if ((r == -EACCES || r == -EPERM) && lanemap_owner_explain(directory, why, sizeof(why)))
                lanemap_tool_say("%s", why);
}

int lanemap_tool_usage(const char *command)
{
        fprintf(stderr, "Try 'lanemap %s%s--help'.\n", command, *command ? " " : "");
        return LANEMAP_TOOL_USAGE;
}

int lanemap_tool_flush(void)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return 0;
        lanemap_tool_say("cannot write to the standard output: %s", strerror(errno));
        return -EIO;
}

int lanemap_tool_help(const struct lanemap_program *program)
{
        char *text = lanemap_option_help(program);

        if (!text)
                return LANEMAP_TOOL_FAILURE;
        fputs(text, stdout);
        free(text);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

int lanemap_tool_run(const struct lanemap_tool_command *command, int argc, char **argv)
{
        uint64_t values[LANEMAP_TOOL_VALUES_BYTES / sizeof(uint64_t)] = {0};
        struct lanemap_error error = {.text = ""};
        int r, first;

        for (size_t i = 0; i < command->program.n_options; i++)
                assert(command->program.options[i].off + command->program.options[i].bytes <=
                       sizeof(values));
        r = lanemap_option_parse(&command->program, values, argc, argv, &first, &error);
        if (r == LANEMAP_OPTION_HELP)
                return lanemap_tool_help(&command->program);
        if (r < 0) {
                lanemap_tool_say("%s", error.text);
                return lanemap_tool_usage(command->name);
        }
        if (argc - first < command->n_words_min ||
            (command->n_words_max > 0 && argc - first > command->n_words_max)) {
                lanemap_tool_say("%s %s", command->name, command->wants);
                return lanemap_tool_usage(command->name);
        }
        return command->run(values, argc - first, argv + first);
}

bool lanemap_tool_number(struct lanemap_slice text, uint64_t max, uint64_t *ret_number)
{
        return lanemap_number_parse(text.data, text.bytes, max, ret_number) == 0;
}

void lanemap_tool_uuid_format(const unsigned char *uuid, char room[37])
{
        size_t at = 0;

        for (size_t i = 0; i < 16; i++)
                at += (size_t)snprintf(room + at, 37 - at,
                                       i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                                       uuid[i]);
}

void lanemap_tool_bytes_format(uint64_t bytes, char *room, size_t room_bytes)
{
        static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
        double amount = (double)bytes;
        size_t unit = 0;

        while (amount >= 1024 && unit + 1 < LANEMAP_N_ELEMENTS(units)) {
                amount /= 1024;
                unit++;
        }
        snprintf(room, room_bytes, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
}

const char *lanemap_tool_strerror(int error)
{
        switch (error) {
        case -ENOENT:
                return "no writer has ever published that name";
        case -EACCES:
                return "no permission to read its shared memory (are you in the readers' group?)";
        case -EPERM:
                return "an object or segment file of it is somebody else's, or others may write it";
        case -EBADMSG:
                return "its shared memory or a segment file holds bytes that fail validation";
        case -EPROTONOSUPPORT:
                return "its writer uses a newer format than this program knows";
        case -ETIMEDOUT:
                return "its writer was starting all the while";
        case -ESTALE:
                return "its writer has given no sign of life for too long";
        case -EAGAIN:
                return "memory was reused under the lookup again and again";
        case -EINVAL:
                return "not a valid name or key";
        case -EBUSY:
                return "another writer holds it";
        case -EIO:
                return "its log cannot be written";
        default:
                return strerror(-error);
        }
}

int lanemap_tool_attach(const char *name, uint64_t timeout_ns, struct lanemap_reader **ret_reader)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_reader_options options = {
                .size = sizeof(options),
                .attach_timeout_ns = timeout_ns,
                .statistics = 1,
                .error = &error,
        };
        int r = lanemap_reader_attach(name, &options, ret_reader);

        if (r < 0)
                lanemap_tool_say("cannot attach to '%s': %s", name,
                                 error.text[0] ? error.text : lanemap_tool_strerror(r));
        return r;
}
