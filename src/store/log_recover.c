/* See log_recover.h: which records count, and what is proven. */
#include "store/log_recover.h"

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/log_scan.h"
#include "store/error.h"
#include "store/name.h"

#define NAME "log-%016" PRIx64 ".lml"

/* The results of the first pass. */
struct survey {
        uint64_t expected; /* the next number that is needed */
        uint64_t proven;
        uint64_t n_records;
        uint64_t n_torn_bytes;
        uint64_t n_damaged_bytes;
        uint64_t n_unfinished;
        uint64_t suspect_number; /* the file, and the place in it, after the last record in order */
        uint64_t suspect_off;
        uint64_t unreadable_number; /* of a file with a page that cannot be read and that may have
                                     * held the next record that counts; 0: none */
        uint64_t unreadable_off;
        uint64_t unreadable_seq; /* that record */
};

static int compare_files(const void *a, const void *b)
{
        const struct lanemap_log_file *x = a, *y = b;

        return (x->number > y->number) - (x->number < y->number);
}

static int files_add(struct lanemap_log_recovery *recovery, size_t *capacity, uint64_t number)
{
        if (recovery->n_files == *capacity) {
                size_t wanted = *capacity ? 2 * *capacity : 8;
                void *files = lanemap_realloc(recovery->files, wanted * sizeof(*recovery->files));

                if (!files)
                        return -ENOMEM;
                recovery->files = files;
                *capacity = wanted;
        }

        recovery->files[recovery->n_files++] =
                (struct lanemap_log_file){.number = number, .first_seq = 1};
        return 0;
}

static int files_list(int dir_fd, struct lanemap_log_recovery *recovery)
{
        size_t capacity = 0;
        DIR *dir;
        int r;

        r = lanemap_store_open_listing(dir_fd, &dir);
        if (r < 0)
                return r;

        while (r == 0) {
                const struct dirent *entry;
                uint64_t number;

                errno = 0;
                entry = readdir(dir);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (lanemap_store_log_name_parse(entry->d_name, &number))
                        r = files_add(recovery, &capacity, number);
        }

        closedir(dir);
        if (recovery->n_files > 0)
                qsort(recovery->files, recovery->n_files, sizeof(*recovery->files), compare_files);
        return r;
}

static int header_check(const struct lanemap_log_recover_config *config, uint64_t number,
                        const struct lanemap_log_header *header, struct lanemap_error *error)
{
        if (header->format_version > LANEMAP_LOG_FORMAT_VERSION || header->incompatible != 0)
                return lanemap_store_error(error, -EPROTONOSUPPORT,
                                           NAME " has format version %u, features 0x%" PRIx64
                                                "; this program knows version %u",
                                           number, header->format_version, header->incompatible,
                                           LANEMAP_LOG_FORMAT_VERSION);

        if (memcmp(header->index_uuid, config->index_uuid, sizeof(header->index_uuid)) != 0)
                return lanemap_store_error(error, -EINVAL,
                                           NAME " belongs to another index; move it away", number);

        if (header->number != number || header->fingerprint_bits != config->fingerprint_bits ||
            header->format_version == 0 || header->after >= UINT64_MAX - 1)
                return lanemap_store_error(error, -EBADMSG,
                                           NAME " does not fit here: its header says number "
                                                "%" PRIu64 ", %u fingerprint bits, after %" PRIu64
                                                "; see lanemap repair",
                                           number, header->number, header->fingerprint_bits,
                                           header->after);

        return 0;
}

/* Ends with -EBADMSG, whose text is in `error`; a salvaging recovery keeps the first and goes on.
 */
static int damage_note(const struct lanemap_log_recover_config *config,
                       struct lanemap_log_recovery *recovery, uint64_t number, uint64_t offset,
                       const struct lanemap_error *error)
{
        if (!config->salvage)
                return -EBADMSG;

        if (recovery->damage.text.text[0] == '\0')
                recovery->damage = (struct lanemap_log_damage){number, offset, *error};
        return 0;
}

static int file_read_header(const struct lanemap_log_recover_config *config,
                            struct lanemap_log_scan *scan, struct lanemap_log_file *file,
                            struct lanemap_error *error)
{
        struct lanemap_log_header header;
        int r;

        if (file->number == 0 || file->number > INT64_MAX)
                return lanemap_store_error(error, -EBADMSG, NAME " is no number that is ever used",
                                           file->number);

        r = lanemap_log_scan_open(scan, config->dir_fd, file->number);
        if (r == 0)
                r = lanemap_log_scan_header(scan, &header);
        if (r == -EBADMSG)
                return lanemap_store_error(error, r,
                                           NAME ": both copies of the header (offsets 0 and %u) "
                                                "are damaged; see lanemap repair",
                                           file->number, LANEMAP_LOG_HEADER_COPY_OFF);
        if (r < 0)
                return lanemap_store_error(error, r, NAME ": cannot be read: %s", file->number,
                                           strerror(-r));

        file->bytes = scan->file_bytes;
        if (r == LANEMAP_LOG_SCAN_UNFINISHED)
                return 0;

        r = header_check(config, file->number, &header, error);
        if (r < 0)
                return r;

        file->finished = 1;
        file->first_seq = header.after + 1;
        file->last_seq = header.after;
        if (file->bytes < header.bytes)
                return lanemap_store_error(error, -EBADMSG,
                                           NAME " has %" PRIu64 " bytes and was %" PRIu64
                                                " long: its end is missing; see lanemap repair",
                                           file->number, file->bytes, header.bytes);

        return 0;
}

static int files_check_required(const struct lanemap_log_recover_config *config,
                                const struct lanemap_log_recovery *recovery,
                                struct lanemap_error *error)
{
        if (config->required_number == 0)
                return 0;

        for (size_t i = 0; i < recovery->n_files; i++)
                if (recovery->files[i].number == config->required_number &&
                    recovery->files[i].finished)
                        return 0;

        return lanemap_store_error(error, -EBADMSG,
                                   NAME " is missing or has no header, and the manifest names it; "
                                        "see lanemap repair",
                                   config->required_number);
}

/* Records above this are void in files[at]: the smallest `after` of the newer finished files. */
static uint64_t file_limit(const struct lanemap_log_file *files, size_t n_files, size_t at)
{
        uint64_t limit = UINT64_MAX;

        for (size_t i = at + 1; i < n_files; i++)
                if (files[i].finished)
                        limit = LANEMAP_MIN(limit, files[i].first_seq - 1);

        return limit;
}

static int survey_file(struct survey *survey, struct lanemap_log_scan *scan,
                       struct lanemap_log_file *file, uint64_t limit)
{
        uint64_t counted_end = LANEMAP_LOG_RECORDS_OFF;
        struct lanemap_log_record record;
        const unsigned char *bytes;
        int r;

        survey->proven = LANEMAP_MAX(survey->proven, file->first_seq - 1);
        if (file->first_seq <= survey->expected) {
                survey->suspect_number = file->number;
                survey->suspect_off = LANEMAP_LOG_RECORDS_OFF;
        }

        for (;;) {
                r = lanemap_log_scan_next(scan, &record, &bytes);
                if (r != 0)
                        break;

                survey->proven = LANEMAP_MAX(survey->proven, record.synced_through);
                if (record.seq > limit || record.seq > survey->expected)
                        continue;

                survey->n_damaged_bytes += scan->n_skipped;
                if (record.seq == survey->expected) {
                        survey->expected++;
                        survey->n_records++;
                }
                file->last_seq = LANEMAP_MAX(file->last_seq, record.seq);
                counted_end = scan->at;
                survey->suspect_number = file->number;
                survey->suspect_off = scan->at;
        }

        /* Pages in front of a record that counts held nothing that does: the numbers go on. */
        if (scan->unreadable_end > counted_end && survey->expected <= limit) {
                survey->unreadable_number = file->number;
                survey->unreadable_seq = survey->expected;
                survey->unreadable_off = LANEMAP_MAX(scan->unreadable_off, counted_end);
        }
        survey->n_torn_bytes = LANEMAP_MAX(scan->nonzero_end, counted_end) - counted_end;
        return r < 0 ? r : 0;
}

static int survey_all(const struct lanemap_log_recover_config *config,
                      struct lanemap_log_scan *scan, struct lanemap_log_recovery *recovery,
                      struct survey *survey, struct lanemap_error *error)
{
        int r;

        for (size_t i = 0; i < recovery->n_files; i++) {
                struct lanemap_log_file *file = &recovery->files[i];
                struct lanemap_log_header header;

                if (!file->finished) {
                        survey->n_unfinished++;
                        continue;
                }

                r = lanemap_log_scan_open(scan, config->dir_fd, file->number);
                if (r == 0)
                        r = lanemap_log_scan_header(scan, &header);
                if (r == 0)
                        r = survey_file(survey, scan, file,
                                        file_limit(recovery->files, recovery->n_files, i));
                if (r != 0)
                        return lanemap_store_error(error, r > 0 ? -EIO : r,
                                                   NAME ": cannot be read: %s", file->number,
                                                   strerror(r > 0 ? EIO : -r));
        }

        return 0;
}

/* L2. */
static int survey_check(struct survey *survey, struct lanemap_error *error)
{
        if (survey->unreadable_number != 0 && survey->unreadable_seq == survey->expected) {
                survey->suspect_number = survey->unreadable_number;
                survey->suspect_off = survey->unreadable_off;
                return lanemap_store_error(
                        error, -EBADMSG,
                        NAME ", offset %" PRIu64 ": cannot be read (media error?); record %" PRIu64
                             " and others may be there; see lanemap repair",
                        survey->unreadable_number, survey->unreadable_off, survey->expected);
        }
        if (survey->expected > survey->proven)
                return 0;

        if (survey->suspect_number == 0)
                return lanemap_store_error(error, -EBADMSG,
                                           "record %" PRIu64 " of the log was durable (proven "
                                           "through %" PRIu64 ") and no log file has it; %" PRIu64
                                           " without header; see lanemap repair",
                                           survey->expected, survey->proven, survey->n_unfinished);

        return lanemap_store_error(
                error, -EBADMSG,
                NAME ", offset %" PRIu64 ": record %" PRIu64 " was durable (proven through %" PRIu64
                     ") and is damaged or missing; see lanemap repair",
                survey->suspect_number, survey->suspect_off, survey->expected, survey->proven);
}

/* The records of one file that are wanted next; *expected advances. */
static int walk_file(struct lanemap_log_scan *scan, uint64_t last, uint64_t *expected,
                     lanemap_log_visit visit, void *arg)
{
        struct lanemap_log_record record;
        const unsigned char *bytes;
        int r;

        while (*expected <= last) {
                r = lanemap_log_scan_next(scan, &record, &bytes);
                if (r == LANEMAP_LOG_SCAN_END)
                        return 0;
                if (r < 0)
                        return r;
                if (record.seq != *expected)
                        continue;

                r = visit(arg, scan, &record, bytes);
                if (r != 0)
                        return r;
                ++*expected;
        }

        return 0;
}

int lanemap_log_walk(const struct lanemap_files *files_layer, int dir_fd,
                     const struct lanemap_log_file *files, size_t n_files, uint64_t lowest,
                     uint64_t last, lanemap_log_visit visit, void *arg)
{
        struct lanemap_log_scan scan = {.files = files_layer, .fd = -1};
        uint64_t expected = lowest + 1;
        int r = 0;

        for (size_t i = 0; i < n_files && r == 0 && expected <= last; i++) {
                struct lanemap_log_header header;
                uint64_t limit = file_limit(files, n_files, i);

                if (!files[i].finished || files[i].last_seq < expected)
                        continue;

                r = lanemap_log_scan_open(&scan, dir_fd, files[i].number);
                if (r == 0)
                        r = lanemap_log_scan_header(&scan, &header);
                if (r == LANEMAP_LOG_SCAN_UNFINISHED)
                        r = -EIO;
                if (r == 0)
                        r = walk_file(&scan, LANEMAP_MIN(limit, last), &expected, visit, arg);
        }

        lanemap_log_scan_deinit(&scan);
        return r == 0 && expected <= last ? -EIO : r;
}

struct replay {
        uint32_t fingerprint_bits;
        lanemap_log_apply apply;
        void *arg;
        struct lanemap_log_op *ops;
        size_t capacity;
        uint64_t n_ops;
        struct lanemap_error *error;
};

static int replay_visit(void *arg, const struct lanemap_log_scan *scan,
                        const struct lanemap_log_record *record, const unsigned char *bytes)
{
        struct replay *replay = arg;
        int r;

        if (record->n_ops > replay->capacity) {
                size_t capacity = LANEMAP_MAX((size_t)record->n_ops, 2 * replay->capacity);

                lanemap_free(replay->ops);
                replay->capacity = 0;
                replay->ops = lanemap_alloc(capacity * sizeof(*replay->ops));
                if (!replay->ops)
                        return -ENOMEM;
                replay->capacity = capacity;
        }

        r = lanemap_log_record_decode(replay->fingerprint_bits, bytes, record, replay->ops);
        if (r < 0)
                return lanemap_store_error(replay->error, r,
                                           "record %" PRIu64 " of the log, at offset %" PRIu64
                                           " of its file, holds operations that do not decode; "
                                           "see lanemap repair",
                                           record->seq, scan->at - record->bytes);

        replay->n_ops += record->n_ops;
        return replay->apply ? replay->apply(replay->arg, record->seq, replay->ops, record->n_ops)
                             : 0;
}

int lanemap_log_replay(const struct lanemap_log_recover_config *config,
                       const struct lanemap_log_recovery *recovery, lanemap_log_apply apply,
                       void *arg, uint64_t *ret_n_ops, struct lanemap_error *error)
{
        struct replay replay = {
                .fingerprint_bits = config->fingerprint_bits,
                .apply = apply,
                .arg = arg,
                .error = error,
        };
        int r;

        r = lanemap_log_walk(config->files, config->dir_fd, recovery->files, recovery->n_files,
                             config->lowest_position, recovery->last_seq, replay_visit, &replay);
        lanemap_free(replay.ops);
        if (r == -EIO)
                lanemap_store_error(error, r, "the log could be read once, and not again");
        if (r == 0 && ret_n_ops)
                *ret_n_ops = replay.n_ops;
        return r;
}

static int recover_survey(const struct lanemap_log_recover_config *config,
                          struct lanemap_log_scan *scan, struct lanemap_log_recovery *recovery,
                          struct lanemap_error *error)
{
        struct survey survey = {
                .expected = config->lowest_position + 1,
                .proven = LANEMAP_MAX(config->highest_position, config->lowest_position),
        };
        int r;

        r = files_list(config->dir_fd, recovery);
        if (r < 0)
                return lanemap_store_error(error, r, "the directory cannot be listed: %s",
                                           strerror(-r));

        for (size_t i = 0; i < recovery->n_files; i++) {
                struct lanemap_log_file *file = &recovery->files[i];

                r = file_read_header(config, scan, file, error);
                if (r == -EBADMSG)
                        r = damage_note(config, recovery, file->number, 0, error);
                if (r < 0)
                        return r;
        }

        r = files_check_required(config, recovery, error);
        if (r == -EBADMSG)
                r = damage_note(config, recovery, config->required_number, 0, error);
        if (r == 0)
                r = survey_all(config, scan, recovery, &survey, error);
        if (r == 0)
                r = survey_check(&survey, error);
        if (r == -EBADMSG)
                r = damage_note(config, recovery, survey.suspect_number, survey.suspect_off, error);
        if (r < 0)
                return r;

        recovery->last_seq = survey.expected - 1;
        recovery->proven = survey.proven;
        recovery->n_records = survey.n_records;
        recovery->n_torn_bytes = survey.n_torn_bytes;
        recovery->n_damaged_bytes = survey.n_damaged_bytes;
        recovery->next_number = 1;
        if (recovery->n_files > 0)
                recovery->next_number = recovery->files[recovery->n_files - 1].number + 1;

        return 0;
}

int lanemap_log_recover(const struct lanemap_log_recover_config *config, lanemap_log_apply apply,
                        void *arg, struct lanemap_log_recovery *ret_recovery,
                        struct lanemap_error *error)
{
        struct lanemap_log_scan scan = {.files = config->files, .fd = -1};
        struct lanemap_log_recovery recovery = {0};
        struct lanemap_error salvaged;
        int r;

        if (config->salvage && !error)
                error = &salvaged; /* it becomes the text of the damage */
        if (config->lowest_position >= UINT64_MAX - 1)
                return lanemap_store_error(error, -EINVAL, "no log position is that large");

        r = recover_survey(config, &scan, &recovery, error);
        lanemap_log_scan_deinit(&scan);
        if (r == 0)
                r = lanemap_log_replay(config, &recovery, apply, arg, &recovery.n_ops, error);
        if (r != 0) {
                lanemap_log_recovery_deinit(&recovery);
                return r;
        }

        *ret_recovery = recovery;
        return 0;
}

void lanemap_log_recovery_deinit(struct lanemap_log_recovery *recovery)
{
        lanemap_free(recovery->files);
        *recovery = (struct lanemap_log_recovery){0};
}
