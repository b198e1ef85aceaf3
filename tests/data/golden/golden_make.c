/*
 * Makes the golden indexes: for each, a data directory and the shared objects beside it as a writer
 * leaves them that dies at once, the last record of its log torn. See golden.h.
 *
 *         golden_make FOLDER        FOLDER/v1/NAME.tar.gz
 *
 * In an archive: data/, shm/control, shm/data. What has been made once is never replaced.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "data/golden/golden.h"
#include "shm/object.h"
#include "store/log_format.h"
#include "support/engine.h"

struct making {
        const struct golden *golden;
        struct scratch scratch;
        struct lanemap_writer *writer;
};

static void apply(void *arg, const struct lanemap_op *op)
{
        struct making *making = arg;

        lanemap_check(lanemap_writer_apply(making->writer, op, 1, NULL, NULL, NULL) == 0);
}

static void writer_open(struct making *making)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer_options options;
        int r;

        engine_options_init(&options, &making->scratch, &error);
        options.flush_bytes = 64 << 20;
        options.shared_bytes_max = 1 << 20;
        options.n_lanes = 2;
        options.fingerprint_bits = making->golden->fingerprint_bits;
        options.segment_kind_young = making->golden->kind;
        options.segment_kind_bottom = making->golden->kind;
        r = lanemap_writer_open(&options, &making->writer);
        if (r < 0)
                fprintf(stderr, "%s\n", error.text);
        lanemap_check(r == 0);
}

/* Ends without closing anything. */
static int run(void *arg)
{
        struct making *making = arg;

        for (uint32_t stage = 0; stage < 3; stage++) {
                writer_open(making);
                golden_stage(stage, apply, making);
                lanemap_check(engine_request(making->writer, LANEMAP_REQUEST_FLUSH) == 0);
                lanemap_writer_close(making->writer);
        }
        writer_open(making);
        golden_stage(3, apply, making);
        lanemap_check(
                lanemap_writer_sync(making->writer, lanemap_writer_position(making->writer)) == 0);
        golden_stage(GOLDEN_TORN, apply, making);
        lanemap_check(
                lanemap_writer_sync(making->writer, lanemap_writer_position(making->writer)) == 0);
        return 0;
}

/* Zeros where the last record of the newest log file ends. */
static void log_tear(const char *directory)
{
        unsigned char *bytes;
        char path[400], later[400];
        struct stat st;
        off_t end;
        int fd;

        lanemap_check(scratch_find(directory, "log-", path, sizeof(path)));
        for (uint32_t number = 1; number < 64; number++) {
                snprintf(later, sizeof(later), "%s/" LANEMAP_LOG_NAME_FORMAT, directory,
                         (unsigned long long)number);
                if (access(later, R_OK) == 0)
                        snprintf(path, sizeof(path), "%s", later);
        }

        fd = open(path, O_RDWR | O_CLOEXEC);
        lanemap_check(fd >= 0 && fstat(fd, &st) == 0);
        bytes = calloc(1, (size_t)st.st_size);
        lanemap_check(bytes && pread(fd, bytes, (size_t)st.st_size, 0) == st.st_size);
        for (end = st.st_size; end > LANEMAP_LOG_RECORDS_OFF && bytes[end - 1] == 0;)
                end--;
        lanemap_check(end > LANEMAP_LOG_RECORDS_OFF);
        lanemap_check(pwrite(fd, "\0\0\0\0", 4, end - 4) == 4);
        close(fd);
        free(bytes);
}

static void shell(const char *command)
{
        lanemap_check(system(command) == 0);
}

static void golden_make(const struct golden *golden, const char *folder)
{
        struct making making = {.golden = golden};
        char command[1200], archive[600];

        snprintf(archive, sizeof(archive), "%s/v1/%s.tar.gz", folder, golden->name);
        if (access(archive, F_OK) == 0) {
                printf("%s is there already\n", archive);
                return;
        }

        scratch_init(&making.scratch, "golden");
        lanemap_check(engine_crash_after(run, &making) == 0);
        log_tear(making.scratch.directory);
        snprintf(command, sizeof(command),
                 "set -e; cd %s; rm -f lock; mkdir data; mv *.* data; mkdir shm;"
                 "cp /dev/shm/lanemap.%s shm/control; cp /dev/shm/lanemap.%s.????????????????"
                 " shm/data; tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c data"
                 " shm | gzip -9 -n >made",
                 making.scratch.directory, making.scratch.name, making.scratch.name);
        shell(command);
        snprintf(command, sizeof(command), "cp %s/made %s", making.scratch.directory, archive);
        shell(command);
        scratch_deinit(&making.scratch);
        printf("%s\n", archive);
}

int main(int argc, char **argv)
{
        if (argc != 2) {
                fprintf(stderr, "usage: golden_make FOLDER\n");
                return 2;
        }
        (void)unsetenv("TMPDIR");
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++)
                golden_make(&goldens[i], argv[1]);
        return 0;
}
