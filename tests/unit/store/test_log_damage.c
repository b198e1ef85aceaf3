/* The log at rest, damaged: every byte, every length, every file. It recovers what is proven, or
 * says where it can't; it never crashes, and never applies what is not right. */
#include "log_model.h"

#include <sys/stat.h>
#include <xxhash.h>

#include "common/bits.h"
#include "store/log_scan.h"

TestSuite(log_damage, .timeout = 120);

/* Three files; the last is settled, so all of its 30 records but the very last are proven. */
static void make_log(struct log_model *model)
{
        struct lanemap_log *log;

        log_model_init(model, 64);
        model->config.file_bytes = 9200;
        cr_assert_eq(lanemap_log_open(&model->config, &log), 0);
        for (int i = 0; i < 6; i++) {
                log_model_append_n(model, log, 3);
                log_model_must_sync(model, log);
        }
        cr_assert_eq(lanemap_log_settle(log), 0);
        log_model_note(model, log);
        cr_assert_eq(lanemap_log_number(log), 3);
        lanemap_log_close(log);
        model->durable--; /* nothing proves the empty record */
}

static int log_file_open(struct log_model *model, unsigned number, int flags)
{
        char name[LANEMAP_LOG_NAME_BYTES];
        int fd;

        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        fd = openat(model->dir_fd, name, flags | O_CLOEXEC);
        cr_assert_geq(fd, 0);
        return fd;
}

/* Return: whether it was refused; else everything proven is there. */
static bool recover_or_refuse(struct log_model *model)
{
        struct lanemap_log_recovery recovery;
        int r = log_model_recover(model, &recovery);

        if (r < 0) {
                cr_assert(r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EINVAL, "%d: %s", r,
                          model->error.text);
                cr_assert_eq(model->n_applied, 0, "nothing is applied from a log that is refused");
                cr_assert_neq(model->error.text[0], 0);
                return true;
        }

        cr_assert_geq(recovery.last_seq, model->durable);
        lanemap_log_recovery_deinit(&recovery);
        return false;
}

Test(log_damage, every_flipped_bit)
{
        struct log_model model;
        int n_refused = 0, n_tried = 0;

        make_log(&model);
        for (unsigned number = 1; number <= 3; number++) {
                int fd = log_file_open(&model, number, O_RDWR);

                for (off_t at = 0; at < 9400; at++) {
                        unsigned char byte, flipped;

                        cr_assert_eq(pread(fd, &byte, 1, at), 1);
                        if (at % 4096 >= 128 && at < LANEMAP_LOG_RECORDS_OFF)
                                continue;
                        for (int bit = 0; bit < 8; bit++) {
                                flipped = (unsigned char)(byte ^ 1 << bit);
                                cr_assert_eq(pwrite(fd, &flipped, 1, at), 1);
                                n_refused += recover_or_refuse(&model);
                                n_tried++;
                        }
                        cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
                }
                close(fd);
        }
        cr_expect_gt(n_tried, 20000);
        cr_expect_gt(n_refused, 1000, "%d", n_refused);
        cr_expect_not(recover_or_refuse(&model));
        log_model_deinit(&model);
}

Test(log_damage, every_length)
{
        struct log_model model;

        make_log(&model);
        model.recover.required_number = 3;
        for (unsigned number = 3; number >= 1; number--) {
                int fd = log_file_open(&model, number, O_RDWR);
                static unsigned char bytes[65536];

                cr_assert_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
                for (off_t length = 0; length < 65536; length += length < 9400 ? 1 : 511) {
                        cr_assert_eq(ftruncate(fd, 0), 0);
                        cr_assert_eq(pwrite(fd, bytes, (size_t)length, 0), length);
                        cr_assert(recover_or_refuse(&model), "%u, length %d", number, (int)length);
                }
                cr_assert_eq(pwrite(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
                cr_assert_not(recover_or_refuse(&model));
                close(fd);
        }
        log_model_deinit(&model);
}

/* The end of a file that a crash left half written: what is before it counts, in silence. */
Test(log_damage, a_torn_tail_is_no_damage)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_log *log;
        struct log_model model;
        unsigned char junk[40];
        int fd;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);

        memset(junk, 0xa5, sizeof(junk));
        fd = log_file_open(&model, 1, O_RDWR);
        cr_assert_eq(pwrite(fd, junk, sizeof(junk), 20000), (ssize_t)sizeof(junk));
        close(fd);
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, 5);
        cr_expect_gt(recovery.n_torn_bytes, 10000);
        cr_expect_lt(recovery.n_torn_bytes, 12000);
        lanemap_log_recovery_deinit(&recovery);

        cr_assert_eq(log_model_reopen(&model, &log), 0);
        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, 10);
        cr_expect_eq(recovery.n_torn_bytes, 0, "the old file's tail is void, and no longer told");
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}

Test(log_damage, a_missing_file_is_noticed)
{
        for (unsigned number = 1; number <= 3; number++) {
                char name[LANEMAP_LOG_NAME_BYTES];
                struct log_model model;

                make_log(&model);
                model.recover.required_number = 3;
                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
                cr_assert_eq(unlinkat(model.dir_fd, name, 0), 0);
                cr_expect(recover_or_refuse(&model));
                cr_expect(strstr(model.error.text, "missing") ||
                                  strstr(model.error.text, "no log file has it"),
                          "%s", model.error.text);
                log_model_deinit(&model);
        }
}

Test(log_damage, a_damaged_record_that_no_lane_needs)
{
        struct lanemap_log_recovery recovery;
        struct log_model model;
        int fd;

        make_log(&model);
        fd = log_file_open(&model, 1, O_RDWR);
        cr_assert_eq(pwrite(fd, "X", 1, LANEMAP_LOG_RECORDS_OFF + 33), 1);
        close(fd);
        cr_expect(recover_or_refuse(&model));
        cr_expect(strstr(model.error.text, "log-0000000000000001.lml, offset 8192: record 1 was"),
                  "%s", model.error.text);

        model.recover.lowest_position = 1;
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.n_damaged_bytes % 8, 0);
        cr_expect_gt(recovery.n_damaged_bytes, 0);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}

Test(log_damage, logs_that_do_not_belong_here)
{
        struct lanemap_log_recovery recovery;
        struct log_model model;

        make_log(&model);
        model.recover.index_uuid[3] ^= 1;
        cr_expect_eq(log_model_recover(&model, &recovery), -EINVAL);
        cr_expect(strstr(model.error.text, "another index"), "%s", model.error.text);
        model.recover.index_uuid[3] ^= 1;

        model.recover.fingerprint_bits = 80;
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);
        model.recover.fingerprint_bits = 64;

        cr_assert_eq(renameat(model.dir_fd, "log-0000000000000003.lml", model.dir_fd,
                              "log-0000000000000009.lml"),
                     0);
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);
        cr_assert_eq(renameat(model.dir_fd, "log-0000000000000009.lml", model.dir_fd,
                              "log-ffffffffffffffff.lml"),
                     0);
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);
        log_model_deinit(&model);
}

/* A log of a later version, as this one's header rule lets it be recognised. */
Test(log_damage, a_newer_format_is_refused_as_such)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_log_header header;
        unsigned char bytes[LANEMAP_LOG_HEADER_BYTES];
        struct log_model model;
        int fd;

        make_log(&model);
        fd = log_file_open(&model, 2, O_RDWR);
        cr_assert_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)sizeof(bytes));
        cr_assert(lanemap_log_header_decode(bytes, &header));
        for (int i = 0; i < 2; i++) {
                unsigned char changed[LANEMAP_LOG_HEADER_BYTES];
                XXH64_hash_t checksum;

                memcpy(changed, bytes, sizeof(changed));
                changed[i == 0 ? 8 : 16] = 2; /* format version; an incompatible bit */
                checksum = XXH3_64bits(changed, 120);
                lanemap_store_le64(changed + 120, checksum);
                cr_assert_eq(pwrite(fd, changed, sizeof(changed), 0), (ssize_t)sizeof(changed));
                cr_expect_eq(log_model_recover(&model, &recovery), -EPROTONOSUPPORT);
        }
        close(fd);
        log_model_deinit(&model);
}

/* One file, of which nothing else tells anything. */
Test(log_damage, a_header_that_is_gone_is_not_one_that_never_was)
{
        static const unsigned char zeros[LANEMAP_LOG_HEADER_BYTES];
        struct lanemap_log_recovery recovery;
        struct lanemap_log *log;
        struct log_model model;
        int fd;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);

        fd = log_file_open(&model, 1, O_RDWR);
        cr_assert_eq(pwrite(fd, "junk", 4, 40), 4);
        cr_assert_eq(pwrite(fd, "junk", 4, LANEMAP_LOG_HEADER_COPY_OFF + 40), 4);
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);

        /* The first copy half written and the second one not begun: a crash can do that. */
        cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), LANEMAP_LOG_HEADER_COPY_OFF), 128);
        cr_expect_eq(log_model_recover(&model, &recovery), 0);
        cr_expect_eq(recovery.n_records, 0);
        lanemap_log_recovery_deinit(&recovery);
        model.recover.required_number = 1;
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);
        close(fd);
        log_model_deinit(&model);
}

Test(log_damage, either_copy_of_the_header_will_do)
{
        static const unsigned char zeros[LANEMAP_LOG_HEADER_BYTES];
        struct log_model model;
        int fd;

        make_log(&model);
        fd = log_file_open(&model, 2, O_RDWR);
        cr_assert_eq(pwrite(fd, zeros, sizeof(zeros), 0), (ssize_t)sizeof(zeros));
        cr_expect_not(recover_or_refuse(&model));
        cr_assert_eq(pwrite(fd, "junk", 4, LANEMAP_LOG_HEADER_COPY_OFF), 4);
        cr_expect(recover_or_refuse(&model), "a file in the middle is proven by the next");
        close(fd);
        log_model_deinit(&model);
}
