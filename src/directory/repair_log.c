/*
 * A log with a hole: the records before it are logged again, into a new file, under their numbers.
 * The old files, with the records after the hole, go to quarantine/: recovery would go on finding
 * that something is missing.
 *
 * The next writer gives the numbers after the cut again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "store/log_write.h"
#include "directory/repair_parts.h"

static int log_copy(struct lanemap_repair *repair, const struct lanemap_log_recover_config *from,
                    struct lanemap_log_recovery *recovery, uint64_t after)
{
        struct lanemap_manifest *manifest = &repair->manifest;
        struct lanemap_log_config config = {
                .files = from->files,
                .clock = &lanemap_clock_monotonic,
                .dir_fd = from->dir_fd,
                .fingerprint_bits = from->fingerprint_bits,
                .next_number = LANEMAP_MAX(manifest->next_log_number, recovery->next_number),
                .after = after,
                .recovery = recovery,
        };
        struct lanemap_log *log;
        int r;

        /* Proven records are copied too: their file goes to quarantine/. The copy is complete
         * and synced before the new file's header makes the old records void. */
        recovery->proven = after;
        memcpy(config.index_uuid, from->index_uuid, sizeof(config.index_uuid));
        r = lanemap_log_open(&config, &log);
        if (r < 0)
                return r;

        manifest->log_number = lanemap_log_number(log);
        manifest->next_log_number = lanemap_log_next_number(log);
        repair->manifest_changed = true;
        lanemap_log_close(log);
        return 0;
}

/* Return: true if records may be lost without a sign of it: the newest file cannot be read. */
static bool loss_is_unknown(const struct lanemap_log_recovery *recovery)
{
        const struct lanemap_log_damage *damage = &recovery->damage;

        if (recovery->proven > recovery->last_seq)
                return false;
        for (size_t i = 0; i < recovery->n_files; i++)
                if (recovery->files[i].finished && recovery->files[i].number > damage->number)
                        return false;

        return true;
}

static int loss_say(struct lanemap_repair *repair, const struct lanemap_log_recovery *recovery)
{
        bool unknown = loss_is_unknown(recovery);
        uint64_t n_lost =
                recovery->proven > recovery->last_seq ? recovery->proven - recovery->last_seq : 0;

        lanemap_repair_say(repair, "the log: %s", recovery->damage.text.text);
        if (n_lost == 0 && !unknown) {
                lanemap_repair_say(repair, "the log: no record that counts is lost");
                return 0;
        }
        if (!repair->options->accept_log_loss)
                return lanemap_repair_fail(
                        repair, -ENODATA,
                        "the log has lost acknowledged records%s%s: restore a backup, or run again "
                        "with --accept-log-loss to go on with what is in front of position %" PRIu64
                        "; nothing was changed",
                        unknown ? ", how many is not known" : "",
                        n_lost ? " (and what follows them cannot be applied)" : "",
                        recovery->last_seq + 1);

        if (unknown)
                lanemap_repair_say(repair,
                                   "LOST  records of the log from position %" PRIu64
                                   " on; how many is not known",
                                   recovery->last_seq + 1);
        else
                lanemap_repair_say(
                        repair, "LOST  records of the log, positions %" PRIu64 " to %" PRIu64 "%s",
                        recovery->last_seq + 1, recovery->proven, ", and any behind them");
        repair->report->n_records_lost = n_lost;
        repair->report->lossy = true;
        return 0;
}

/* Lanes at different positions, and a hole in between: those at lower positions lose records. */
static uint64_t positions_level(struct lanemap_repair *repair,
                                const struct lanemap_log_recover_config *config,
                                const struct lanemap_log_recovery *recovery)
{
        struct lanemap_manifest *manifest = &repair->manifest;

        if (recovery->last_seq >= config->highest_position)
                return config->lowest_position;

        for (uint32_t l = 0; l < manifest->n_lanes; l++) {
                if (manifest->lanes[l].position < config->highest_position)
                        lanemap_repair_say(
                                repair,
                                "LOST  lane %u: its records of positions %" PRIu64 " to %" PRIu64,
                                l, manifest->lanes[l].position + 1, config->highest_position);
                manifest->lanes[l].position = config->highest_position;
        }
        repair->report->lossy = true;
        return config->highest_position;
}

int lanemap_repair_log(struct lanemap_repair *repair)
{
        const struct lanemap_manifest *manifest = &repair->manifest;
        struct lanemap_log_recover_config config = {
                .files = repair->options->files,
                .dir_fd = repair->dir_fd,
                .fingerprint_bits = manifest->fingerprint_bits,
                .lowest_position = lanemap_manifest_lowest_position(manifest),
                .highest_position = lanemap_manifest_highest_position(manifest),
                .required_number = manifest->log_number,
                .salvage = true,
        };
        struct lanemap_log_recovery recovery;
        uint64_t after;
        int r;

        memcpy(config.index_uuid, manifest->uuid, sizeof(config.index_uuid));
        r = lanemap_log_recover(&config, NULL, NULL, &recovery, repair->error);
        if (r < 0)
                return r;
        if (recovery.damage.text.text[0] == '\0') {
                lanemap_log_recovery_deinit(&recovery);
                return 0;
        }

        r = loss_say(repair, &recovery);
        for (size_t i = 0; i < recovery.n_files && r == 0; i++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT,
                         (unsigned long long)recovery.files[i].number);
                r = lanemap_repair_quarantine(repair, name);
        }
        if (r == 0) {
                after = positions_level(repair, &config, &recovery);
                lanemap_repair_say(repair,
                                   "the log: %" PRIu64 " records in front of the damage are kept",
                                   recovery.last_seq > after ? recovery.last_seq - after : 0);
                if (!repair->options->dry_run)
                        r = log_copy(repair, &config, &recovery, after);
        }
        lanemap_log_recovery_deinit(&recovery);
        return r;
}
