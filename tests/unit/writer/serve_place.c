/* See serve_place.h. */
#include "serve_place.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

/* A lane that is quiet for ten seconds is merged: at this speed after 160, and no test takes
 * 120. */
static uint64_t slow_now_ns(const struct lanemap_clock *clock)
{
        return lanemap_now_ns(&lanemap_clock_monotonic) / 16;
}

void place_init(struct place *place)
{
        *place = (struct place){
                .held_step = LANEMAP_SERVE_N_STEPS,
                .clock = {.now_ns = slow_now_ns},
        };
        pthread_mutex_init(&place->lock, NULL);
        pthread_cond_init(&place->wake, NULL);
        fixture_init(&place->fixture, "serve");
        damage_index_make(&place->fixture.scratch, &place->fixture.model);
        snprintf(place->serve_from, sizeof(place->serve_from), "/dev/shm/%s.copies",
                 place->fixture.scratch.name);
        cr_assert_eq(mkdir(place->serve_from, 0755), 0);

        place->fixture.options.flush_bytes = UINT64_C(1) << 30;
        place->fixture.options.scrub_bytes_per_second = UINT64_MAX;
        place->fixture.options.serve_from = place->serve_from;
        fixture_log(&place->fixture, LOG_WARNING);
        place->fixture.hooks.clock = &place->clock;
        place->fixture.hooks.arg = place;
}

void place_deinit(struct place *place)
{
        fixture_detach(&place->fixture);
        fixture_close(&place->fixture);
        scratch_remove_tree(place->serve_from);
        fixture_deinit(&place->fixture);
}

struct lanemap_writer_stats stats_of(const struct place *place)
{
        return fixture_stats(&place->fixture);
}

void writer_open(struct place *place)
{
        struct lanemap_writer_stats stats;
        int n;

        fixture_open(&place->fixture);
        stats = stats_of(place);
        n = snprintf(place->copies, sizeof(place->copies), "%s/", place->serve_from);
        for (size_t i = 0; i < sizeof(stats.uuid); i++)
                n += snprintf(place->copies + n, sizeof(place->copies) - (size_t)n, "%02x",
                              stats.uuid[i]);
}

bool becomes(const struct place *place, bool (*is)(const struct place *place))
{
        struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

        for (uint32_t i = 0; i < 60 * 200; i++) {
                if (is(place))
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

bool all_copied(const struct place *place)
{
        struct lanemap_writer_stats stats = stats_of(place);

        return stats.n_segment_files > 0 && stats.served_copies == stats.n_segment_files;
}

void settle(struct place *place)
{
        cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(place->fixture.writer, &place->fixture.model, 3);
        cr_assert_eq(engine_request(place->fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert(becomes(place, all_copied));
}

uint32_t n_files(const char *directory, const char *prefix)
{
        const struct dirent *entry;
        DIR *dir = opendir(directory);
        uint32_t n = 0;

        if (!dir)
                return 0;
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        closedir(dir);
        return n;
}

bool is_tidy(const struct place *place)
{
        uint64_t n = stats_of(place).n_segment_files;

        return all_copied(place) && n_files(place->copies, "seg-") == n &&
               n_files(place->copies, "") == n &&
               n_files(place->fixture.scratch.directory, "seg-") == n;
}

void expect_tidy(const struct place *place)
{
        cr_expect(becomes(place, is_tidy), "%u copies, %u files, %u originals, %u in use",
                  n_files(place->copies, "seg-"), n_files(place->copies, ""),
                  n_files(place->fixture.scratch.directory, "seg-"),
                  (unsigned)stats_of(place).n_segment_files);
}

uint32_t n_mapped(const char *directory)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[600], start[300];
        uint32_t n = 0;

        snprintf(start, sizeof(start), "%s/seg-", directory);
        while (fgets(line, sizeof(line), maps))
                n += strstr(line, start) != NULL;
        fclose(maps);
        return n;
}
