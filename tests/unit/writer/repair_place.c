/* See repair_place.h. */
#include "repair_place.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void place_init(struct place *place)
{
        scratch_init(&place->scratch, "repair");
        damage_index_make(&place->scratch, &place->model);
        snprintf(place->kept, sizeof(place->kept), "%s-kept", place->scratch.directory);
        scratch_copy_directory(place->scratch.directory, place->kept);
}

void place_renew(struct place *place)
{
        scratch_remove_tree(place->scratch.directory);
        scratch_copy_directory(place->kept, place->scratch.directory);
}

void place_deinit(struct place *place)
{
        scratch_remove_tree(place->kept);
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

static void say(void *arg, const char *line)
{
        struct place *place = arg;
        size_t n = strlen(place->said);

        snprintf(place->said + n, sizeof(place->said) - n, "%s\n", line);
}

int repair(struct place *place, bool dry_run, bool accept_log_loss,
           struct lanemap_repair_report *ret_report)
{
        struct lanemap_repair_options options = {
                .files = &lanemap_files_posix,
                .directory = place->scratch.directory,
                .dry_run = dry_run,
                .accept_log_loss = accept_log_loss,
                .say = say,
                .say_arg = place,
        };
        struct lanemap_error error = {.text = ""};
        int r;

        place->said[0] = '\0';
        r = lanemap_repair_directory(&options, ret_report, &error);
        if (r < 0)
                snprintf(place->said, sizeof(place->said), "%s", error.text);
        return r;
}

bool quarantined(const struct place *place, const char *name)
{
        char path[1024];

        snprintf(path, sizeof(path), "%s/quarantine/%s", place->scratch.directory, name);
        return access(path, F_OK) == 0;
}

const char *base(const char *path)
{
        return strrchr(path, '/') + 1;
}

uint64_t wrong_keys(struct place *place, uint64_t *ret_n_keys)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_writer_options options;
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer *writer;
        uint64_t n_wrong = 0, n_live = 0;
        uint32_t ids[512];
        size_t n_ids;

        engine_options_init(&options, &place->scratch, &error);
        options.flush_bytes = UINT64_C(1) << 30;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        for (size_t i = 0; i < place->model.n; i++) {
                const struct model_key *key = &place->model.keys[i];

                cr_assert_eq(lanemap_writer_lookup(writer, key->bytes, key->n_bytes, ids, 512,
                                                   &n_ids, NULL),
                             0);
                n_wrong +=
                        n_ids != key->n_ids || memcmp(ids, key->ids, n_ids * sizeof(ids[0])) != 0;
                n_live += n_ids > 0;
        }
        engine_stats(writer, &stats);
        cr_expect_eq(stats.degraded, 0);
        *ret_n_keys = stats.n_keys;
        cr_expect_geq(stats.n_keys, n_live, "counts are of what is there");

        /* It is an index as any other. */
        cr_expect_eq(engine_add(writer, "after the repair", 1), 0);
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        lanemap_writer_close(writer);
        return n_wrong;
}

void expect_sound(struct place *place, const char *what)
{
        struct lanemap_verify_report verified;
        struct lanemap_repair_report report;

        damage_verify(place->scratch.directory, &verified);
        cr_expect_eq(verified.findings.n, 0, "%s: %s", what,
                     verified.findings.n ? verified.findings.items[0].what : "");
        lanemap_findings_deinit(&verified.findings);
        cr_expect_eq(repair(place, false, false, &report), 0);
        cr_expect_eq(report.n_findings, 0, "%s: a second run does nothing", what);
}
