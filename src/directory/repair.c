/* See directory/repair.h for the order of things. */
#include "directory/repair_parts.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/manifest_write.h"
#include "store/lock.h"

static int repair_apply(struct lanemap_repair *repair)
{
        const struct lanemap_files *files = repair->options->files;
        int r;

        r = lanemap_repair_segments_write(repair);
        if (r == 0 && repair->n_quarantined > 0)
                r = lanemap_repair_link_all(repair);
        if (r == 0 && repair->manifest_changed) {
                lanemap_manifest_forget_unnamed_files(&repair->manifest);
                repair->manifest.generation++;
                r = lanemap_manifest_write(files, repair->dir_fd, &repair->manifest);
        }
        if (r == 0 && repair->n_quarantined > 0)
                r = lanemap_repair_unlink_all(repair);

        return r < 0 ? lanemap_repair_fail(repair, r,
                                           "the repair could not be written: %s; run it again",
                                           strerror(-r))
                     : 0;
}

static int repair_plan(struct lanemap_repair *repair, const struct lanemap_findings *findings)
{
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_manifest_read(repair->options->files, repair->dir_fd, &repair->manifest,
                                  &error);
        if (r < 0)
                return lanemap_repair_fail(repair, r, "%s: %.400s", LANEMAP_MANIFEST_NAME,
                                           error.text);

        r = lanemap_repair_segments_take(repair, findings);
        if (r == 0)
                r = lanemap_repair_log(repair);
        if (r == 0)
                r = lanemap_repair_segments_replace(repair);
        return r;
}

static void repair_deinit(struct lanemap_repair *repair)
{
        lanemap_repair_segments_deinit(repair);
        lanemap_manifest_deinit(&repair->manifest);
        lanemap_free(repair->quarantined);
}

static bool manifest_is_damaged(const struct lanemap_verify_report *report)
{
        return report->n_lanes == 0 && report->findings.n > 0;
}

/* One look at everything, and one repair. Return: 1 look again: the manifest was put right. */
static int repair_once(struct lanemap_repair *repair)
{
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(repair->options->files, repair->dir_fd, &report,
                                     repair->error);
        repair->report->n_findings += report.findings.n;
        for (size_t i = 0; i < report.findings.n; i++)
                lanemap_repair_say(repair, "found: %s: %s", report.findings.items[i].file,
                                   report.findings.items[i].what);
        if (r == 0 && manifest_is_damaged(&report)) {
                r = lanemap_repair_manifest(repair);
                if (r == -EBADMSG)
                        lanemap_repair_fail(
                                repair, r,
                                "%s is missing or damaged beyond a single bit; it alone has the "
                                "hash key, without which no key can be found: restore a backup, or "
                                "a copy of the file",
                                LANEMAP_MANIFEST_NAME);
                if (r == 0)
                        r = repair->options->dry_run ? 0 : 1;
        } else if (r == 0 && report.findings.n > 0) {
                r = repair_plan(repair, &report.findings);
                if (r == 0 && !repair->options->dry_run)
                        r = repair_apply(repair);
        }
        lanemap_findings_deinit(&report.findings);
        return r;
}

/* Q3 */
static int repair_check(struct lanemap_repair *repair)
{
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(repair->options->files, repair->dir_fd, &report,
                                     repair->error);
        if (r == 0 && report.findings.n > 0)
                r = lanemap_repair_fail(repair, -EBADMSG,
                                        "%s: still damaged after the repair: %.300s; restore a "
                                        "backup",
                                        report.findings.items[0].file,
                                        report.findings.items[0].what);
        lanemap_findings_deinit(&report.findings);
        return r;
}

static int directory_claim(struct lanemap_repair *repair, int *ret_lock_fd)
{
        int r;

        if (lanemap_verify_writer_lives(repair->dir_fd))
                r = -EBUSY;
        else if (repair->options->dry_run)
                return 0;
        else
                r = lanemap_store_lock(repair->options->files, repair->dir_fd,
                                       LANEMAP_STORE_LOCK_NAME, ret_lock_fd, repair->error);

        return r == -EBUSY ? lanemap_repair_fail(repair, r,
                                                 "%s: a writer has this data directory; stop it "
                                                 "first",
                                                 repair->options->directory)
                           : r;
}

int lanemap_repair_directory(const struct lanemap_repair_options *options,
                             struct lanemap_repair_report *ret_report, struct lanemap_error *error)
{
        struct lanemap_repair repair = {.options = options, .report = ret_report, .error = error};
        int lock_fd = -1, r;

        *ret_report = (struct lanemap_repair_report){0};
        r = lanemap_store_open_directory(options->directory, false, &repair.dir_fd, error);
        if (r < 0)
                return r;

        r = directory_claim(&repair, &lock_fd);
        if (r == 0)
                r = repair_once(&repair);
        if (r == 1)
                r = repair_once(&repair);
        if (r == 0 && !options->dry_run && ret_report->n_findings > 0)
                r = repair_check(&repair);

        repair_deinit(&repair);
        lanemap_store_unlock(options->files, lock_fd);
        close(repair.dir_fd);
        return r;
}
