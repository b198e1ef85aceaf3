/*
 * lanemap verify: whether a data directory holds what was written. Changes nothing and takes no
 * lock, so it runs beside the writer.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/commands.h"
#include "verify/verify.h"

static void print_finding(const struct lanemap_finding *finding)
{
        printf("DAMAGED  %s", finding->file);
        if (finding->offset != LANEMAP_FINDING_NO_OFFSET)
                printf(", offset %" PRIu64, finding->offset);
        if (finding->lane != LANEMAP_FINDING_NO_LANE)
                printf(", lane %u", finding->lane);
        printf(": %s", finding->what);
        if (finding->n_keys > 0)
                printf("; up to %" PRIu64 " %s affected", finding->n_keys,
                       strncmp(finding->file, "log", 3) == 0 ? "records" : "keys");
        putchar('\n');
}

static void print_text(const char *path, const struct lanemap_verify_report *report)
{
        char uuid[37];

        lanemap_tool_uuid_format(report->uuid, uuid);
        if (report->n_lanes > 0) {
                printf("index     %s, manifest generation %" PRIu64 "%s\n", uuid,
                       report->generation, report->writer_lives ? ", a writer is running" : "");
                printf("segments  %" PRIu64 " files, %" PRIu64 " bytes; %u lanes, %" PRIu64
                       " keys, %" PRIu64 " pairs\n",
                       report->n_files, report->file_bytes, report->n_lanes, report->n_keys,
                       report->n_pairs);
                printf("log       %" PRIu64 " files, %" PRIu64
                       " records that no segment covers yet\n",
                       report->n_log_files, report->n_log_records);
        }
        if (report->n_log_torn_bytes > 0 && !report->writer_lives)
                printf("note      %" PRIu64
                       " bytes at the end of the log were never acknowledged\n",
                       report->n_log_torn_bytes);
        if (report->n_log_old_bytes > 0)
                printf("note      %" PRIu64
                       " damaged bytes of the log lie in what is no longer needed\n",
                       report->n_log_old_bytes);
        for (size_t i = 0; i < report->findings.n; i++)
                print_finding(&report->findings.items[i]);
        if (report->findings.n == 0)
                printf("sound\n");
        else
                printf("%zu finding%s; stop the writer and run 'lanemap repair %s'\n",
                       report->findings.n, report->findings.n == 1 ? "" : "s", path);
}

/* null where there is none */
static json_t *number_or_null(uint64_t number, uint64_t none)
{
        return number == none ? json_null() : json_integer((json_int_t)number);
}

static void print_json(const char *path, const struct lanemap_verify_report *report)
{
        json_t *findings = json_array(), *json;
        char uuid[37];

        lanemap_tool_uuid_format(report->uuid, uuid);
        for (size_t i = 0; i < report->findings.n; i++) {
                const struct lanemap_finding *finding = &report->findings.items[i];

                json_array_append_new(
                        findings,
                        json_pack("{s:s, s:o, s:o, s:I, s:s}", "file", finding->file, "offset",
                                  number_or_null(finding->offset, LANEMAP_FINDING_NO_OFFSET),
                                  "lane", number_or_null(finding->lane, LANEMAP_FINDING_NO_LANE),
                                  "keys", (json_int_t)finding->n_keys, "what", finding->what));
        }
        json = json_pack(
                "{s:s, s:b, s:s, s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
                "directory", path, "sound", (int)(report->findings.n == 0), "uuid", uuid,
                "generation", (json_int_t)report->generation, "writer_lives",
                (int)report->writer_lives, "lanes", (json_int_t)report->n_lanes, "files",
                (json_int_t)report->n_files, "file_bytes", (json_int_t)report->file_bytes, "keys",
                (json_int_t)report->n_keys, "pairs", (json_int_t)report->n_pairs, "log_files",
                (json_int_t)report->n_log_files, "log_records", (json_int_t)report->n_log_records,
                "log_torn_bytes", (json_int_t)report->n_log_torn_bytes, "log_old_damaged_bytes",
                (json_int_t)report->n_log_old_bytes, "findings", findings);
        if (json)
                json_dumpf(json, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(json);
}

static int verify(const char *path, bool json)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_verify_report report;
        int fd, r, code;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                r = -errno;
                lanemap_tool_say("cannot open '%s': %s", path, strerror(-r));
                lanemap_tool_owner_say(path, r);
                return LANEMAP_TOOL_FAILURE;
        }

        r = lanemap_verify_directory(&lanemap_files_posix, fd, &report, &error);
        close(fd);
        code = report.findings.n > 0 ? LANEMAP_TOOL_DAMAGED : LANEMAP_TOOL_DONE;
        if (r < 0) {
                lanemap_tool_say("cannot check all of '%s': %s", path,
                                 error.text[0] ? error.text : strerror(-r));
                lanemap_tool_owner_say(path, r);
                code = LANEMAP_TOOL_FAILURE;
        }
        if (r == 0 || report.findings.n > 0)
                (json ? print_json : print_text)(path, &report);
        lanemap_findings_deinit(&report.findings);

        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : code;
}

struct arguments {
        bool json;
};

static const struct lanemap_option options[] = {
        {"json", NULL, "one JSON object", LANEMAP_OPTION_TO(struct arguments, json)},
};

static int run(const void *values, int n_words, char **words)
{
        const struct arguments *arguments = values;

        return verify(words[0], arguments->json);
}

const struct lanemap_tool_command lanemap_tool_verify = {
        .name = "verify",
        .summary = "whether a data directory holds what was written",
        .program =
                {
                        .name = "lanemap verify",
                        .synopsis = "lanemap verify [--json] DIR",
                        .about = "Check everything in the data directory DIR: the manifest, every "
                                 "byte and every entry of the segment files, the number of live "
                                 "keys and pairs of each lane, the log. A writer may be running "
                                 "meanwhile. Nothing is changed.",
                        .options = options,
                        .n_options = LANEMAP_N_ELEMENTS(options),
                        .epilog = "Exit codes: 0 sound; 1 it could not be checked; 2 usage; 5 "
                                  "damage was found, and is said.",
                        .arguments = "DIR",
                },
        .n_words_min = 1,
        .n_words_max = 1,
        .wants = "wants one DIR",
        .run = run,
};
