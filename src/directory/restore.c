/* See directory/restore.h. */
#include "directory/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store/log_format.h"
#include "store/manifest_write.h"
#include "store/error.h"
#include "store/lock.h"
#include "verify/copy.h"
#include "verify/verify.h"

static int directory_verify(const struct lanemap_files *files, const char *path, int dir_fd,
                            struct lanemap_error *error)
{
        struct lanemap_verify_report report;
        struct lanemap_error why = {.text = ""};
        int r;

        r = lanemap_verify_directory(files, dir_fd, &report, &why);
        if (r < 0)
                r = lanemap_store_error(error, r, "%.200s: %.250s", path,
                                        why.text[0] ? why.text : strerror(-r));
        else if (report.writer_lives)
                r = lanemap_store_error(error, -EBUSY,
                                        "%.300s: a writer has it open; make a backup", path);
        else if (report.findings.n > 0)
                r = lanemap_store_error(error, -EBADMSG, "%.200s/%s: %s", path,
                                        report.findings.items[0].file,
                                        report.findings.items[0].what);
        lanemap_findings_deinit(&report.findings);
        return r;
}

static int file_copy(const struct lanemap_files *files, int from_fd, int to_fd, const char *name)
{
        int fd = openat(from_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r;

        if (fd < 0)
                return -errno;
        r = lanemap_copy_file(files, fd, to_fd, name);
        close(fd);
        return r;
}

static int segments_copy(const struct lanemap_files *files, int from_fd, int to_fd,
                         const struct lanemap_manifest *manifest)
{
        int r = 0;

        for (uint32_t i = 0; i < manifest->n_files && r == 0; i++) {
                char name[LANEMAP_SEGMENT_NAME_BYTES];

                lanemap_segment_file_name(manifest->files[i].number, manifest->files[i].checksum,
                                          name);
                r = file_copy(files, from_fd, to_fd, name);
        }

        return r;
}

static int logs_copy(const struct lanemap_files *files, int from_fd, int to_fd,
                     const struct lanemap_manifest *manifest)
{
        struct lanemap_log_recover_config config = {
                .files = files,
                .dir_fd = from_fd,
                .fingerprint_bits = manifest->fingerprint_bits,
                .lowest_position = lanemap_manifest_lowest_position(manifest),
                .highest_position = lanemap_manifest_highest_position(manifest),
                .required_number = manifest->log_number,
        };
        struct lanemap_log_recovery recovery;
        int r;

        memcpy(config.index_uuid, manifest->uuid, sizeof(config.index_uuid));
        r = lanemap_log_recover(&config, NULL, NULL, &recovery, NULL);
        if (r < 0)
                return r;
        for (size_t i = 0; i < recovery.n_files && r == 0; i++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT,
                         (unsigned long long)recovery.files[i].number);
                r = file_copy(files, from_fd, to_fd, name);
        }
        lanemap_log_recovery_deinit(&recovery);
        return r;
}

static int directory_copy(const struct lanemap_files *files, int from_fd, int to_fd)
{
        struct lanemap_manifest manifest;
        int r;

        r = lanemap_manifest_read(files, from_fd, &manifest, NULL);
        if (r < 0)
                return r;

        r = segments_copy(files, from_fd, to_fd, &manifest);
        if (r == 0)
                r = logs_copy(files, from_fd, to_fd, &manifest);
        if (r == 0)
                r = files->sync_directory(files, to_fd);
        if (r == 0)
                r = lanemap_manifest_write(files, to_fd, &manifest);
        lanemap_manifest_deinit(&manifest);
        return r;
}

int lanemap_restore_directory(const struct lanemap_files *files, const char *from, const char *to,
                              struct lanemap_error *error)
{
        int from_fd, to_fd, r;

        from_fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (from_fd < 0)
                return lanemap_store_error(error, -errno, "%.300s: %s", from, strerror(errno));

        r = directory_verify(files, from, from_fd, error);
        if (r == 0)
                r = lanemap_copy_open_empty(to, &to_fd, error);
        if (r < 0) {
                close(from_fd);
                return r;
        }

        r = directory_copy(files, from_fd, to_fd);
        if (r < 0)
                r = lanemap_store_error(error, r, "%.300s: %s", to, strerror(-r));
        else
                r = directory_verify(files, to, to_fd, error);
        close(from_fd);
        close(to_fd);
        return r;
}
