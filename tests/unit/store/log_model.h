/*
 * A log under test and what it is supposed to hold. Each record's operations are made from a token
 * that is never used twice, so that a record that comes back under a number that was given away
 * again (a phantom) is told from the right one.
 */
#ifndef LANEMAP_TESTS_UNIT_STORE_LOG_MODEL_H
#define LANEMAP_TESTS_UNIT_STORE_LOG_MODEL_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty_files.h"
#include "store/log_recover.h"
#include "store/log_write.h"

#define MODEL_RECORDS_MAX 4096
#define MODEL_OPS_MAX     8

struct log_model {
        char path[64];
        int dir_fd;
        struct lanemap_log_config config;
        struct lanemap_log_recover_config recover;
        uint64_t next_token;
        uint64_t n_records;                 /* numbered 1 .. n_records */
        uint64_t tokens[MODEL_RECORDS_MAX]; /* of record i + 1; 0: an empty record */
        uint64_t durable;                   /* the largest that was ever said to be */
        uint64_t n_applied;                 /* by the last recovery */
        struct lanemap_error error;
};

static inline void log_model_init(struct log_model *model, uint32_t fingerprint_bits)
{
        memset(model, 0, sizeof(*model));
        /* In memory where there is such a place: these tests make thousands of directories. */
        snprintf(model->path, sizeof(model->path), "/dev/shm/lanemap-log-XXXXXX");
        if (!mkdtemp(model->path)) {
                snprintf(model->path, sizeof(model->path), "/tmp/lanemap-log-XXXXXX");
                cr_assert(mkdtemp(model->path));
        }
        model->dir_fd = open(model->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_geq(model->dir_fd, 0);
        model->next_token = 1;
        model->config = (struct lanemap_log_config){
                .files = &lanemap_files_posix,
                .clock = &lanemap_clock_monotonic,
                .dir_fd = model->dir_fd,
                .fingerprint_bits = fingerprint_bits,
                .index_uuid = "index-uuid-0123",
                .next_number = 1,
        };
        model->recover = (struct lanemap_log_recover_config){
                .files = &lanemap_files_posix,
                .dir_fd = model->dir_fd,
                .fingerprint_bits = fingerprint_bits,
                .index_uuid = "index-uuid-0123",
        };
}

static inline void log_model_clear_directory(struct log_model *model)
{
        DIR *dir = opendir(model->path);
        const struct dirent *entry;

        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        unlinkat(model->dir_fd, entry->d_name, 0);
        closedir(dir);
}

static inline void log_model_deinit(struct log_model *model)
{
        log_model_clear_directory(model);
        close(model->dir_fd);
        rmdir(model->path);
}

static inline size_t log_model_ops(uint32_t bits, uint64_t token, struct lanemap_log_op *ret_ops)
{
        static const unsigned char mark[LANEMAP_MARK_BYTES_MAX] = "a mark of some length: ";
        size_t n_ops = 1 + token % MODEL_OPS_MAX;

        for (size_t i = 0; i < n_ops; i++) {
                uint32_t code = 1 + (uint32_t)((token + i) % 5);
                struct lanemap_log_op op = {.code = code};

                if (code <= LANEMAP_OP_DELETE) {
                        op.fingerprint.hash = (token * 16 + i) * UINT64_C(0x9e3779b97f4a7c15);
                        if (bits > 64)
                                op.fingerprint.ext = (uint32_t)(token * 77 + i) & 0xffff;
                }
                if (code <= LANEMAP_OP_REMOVE)
                        op.id = (uint32_t)(token * 16 + i);
                if (code == LANEMAP_OP_MARK) {
                        op.mark = mark;
                        op.mark_bytes = token * 3 % (LANEMAP_MARK_BYTES_MAX + 1);
                }
                ret_ops[i] = op;
        }

        return n_ops;
}

/* Return: what reserve answered; 0: the record is appended. */
static inline int log_model_append(struct log_model *model, struct lanemap_log *log)
{
        struct lanemap_log_op ops[MODEL_OPS_MAX];
        uint64_t token = model->next_token;
        size_t n_ops = log_model_ops(model->config.fingerprint_bits, token, ops);
        uint64_t seq;
        int r;

        r = lanemap_log_reserve(
                log, lanemap_log_record_bytes(model->config.fingerprint_bits, ops, n_ops));
        if (r < 0)
                return r;

        lanemap_log_append(log, ops, n_ops, &seq);
        cr_assert_lt(seq, MODEL_RECORDS_MAX);
        for (uint64_t i = model->n_records; i + 1 < seq; i++)
                model->tokens[i] = 0; /* empty ones, appended by settle */
        model->tokens[seq - 1] = token;
        model->n_records = seq;
        model->next_token++;
        return 0;
}

static inline void log_model_append_n(struct log_model *model, struct lanemap_log *log, size_t n)
{
        for (size_t i = 0; i < n; i++)
                cr_assert_eq(log_model_append(model, log), 0);
}

/* After calls that may have made records durable, or appended an empty one. */
static inline void log_model_note(struct log_model *model, const struct lanemap_log *log)
{
        for (; model->n_records < lanemap_log_last(log); model->n_records++)
                model->tokens[model->n_records] = 0;
        cr_assert_geq(lanemap_log_durable(log), model->durable);
        model->durable = lanemap_log_durable(log);
}

static inline int log_model_apply(void *arg, uint64_t seq, const struct lanemap_log_op *ops,
                                  size_t n_ops)
{
        struct log_model *model = arg;
        struct lanemap_log_op expected[MODEL_OPS_MAX];
        uint64_t token;
        size_t n_expected = 0;

        cr_assert_eq(seq, model->recover.lowest_position + 1 + model->n_applied++);
        cr_assert_leq(seq, model->n_records, "record %" PRIu64 " was never appended", seq);
        token = model->tokens[seq - 1];
        if (token)
                n_expected = log_model_ops(model->config.fingerprint_bits, token, expected);
        cr_assert_eq(n_ops, n_expected, "record %" PRIu64, seq);
        for (size_t i = 0; i < n_ops; i++) {
                cr_assert_eq(ops[i].code, expected[i].code);
                cr_assert_eq(ops[i].id, expected[i].id);
                cr_assert(lanemap_fingerprint_equal(ops[i].fingerprint, expected[i].fingerprint));
                cr_assert_eq(ops[i].mark_bytes, expected[i].mark_bytes);
                cr_assert(ops[i].mark_bytes == 0 ||
                          memcmp(ops[i].mark, expected[i].mark, ops[i].mark_bytes) == 0);
        }

        return 0;
}

/* Every record that comes back is checked. Return: what the recovery answered. */
static inline int log_model_recover(struct log_model *model,
                                    struct lanemap_log_recovery *ret_recovery)
{
        model->n_applied = 0;
        model->error.text[0] = 0;
        return lanemap_log_recover(&model->recover, log_model_apply, model, ret_recovery,
                                   &model->error);
}

/* A recovery that must succeed, and hold everything that was durable. What was lost is forgotten.
 */
static inline void log_model_must_recover(struct log_model *model,
                                          struct lanemap_log_recovery *ret_recovery)
{
        int r = log_model_recover(model, ret_recovery);

        cr_assert_eq(r, 0, "%d: %s", r, model->error.text);
        cr_assert_geq(ret_recovery->last_seq, model->durable, "%" PRIu64 " of %" PRIu64,
                      ret_recovery->last_seq, model->durable);
        model->n_records = ret_recovery->last_seq;
}

/* Recovers, and starts the next log of the directory. */
static inline int log_model_reopen(struct log_model *model, struct lanemap_log **ret_log)
{
        struct lanemap_log_recovery recovery;
        int r;

        log_model_must_recover(model, &recovery);
        model->config.recovery = &recovery;
        model->config.after = model->recover.highest_position;
        r = lanemap_log_open(&model->config, ret_log);
        model->config.recovery = NULL;
        lanemap_log_recovery_deinit(&recovery);
        if (r == 0)
                log_model_note(model, *ret_log);
        return r;
}

static inline void log_model_must_sync(struct log_model *model, struct lanemap_log *log)
{
        cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        log_model_note(model, log);
        cr_assert_eq(model->durable, model->n_records);
}

#endif
