/* See crash_support.h. */
#include "crash_support.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

struct lanemap_writer *scratch_writer_open(const struct scratch *scratch,
                                           const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options given = {0};
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer;
        int r;

        if (options)
                given = *options;
        given.size = sizeof(given);
        given.name = scratch->name;
        given.directory = scratch->directory;
        given.error = &error;
        r = lanemap_writer_open(&given, &writer);
        if (r < 0) {
                fprintf(stderr, "writer open: %s (%d): %s\n", strerror(-r), r, error.text);
                abort();
        }

        return writer;
}

uint64_t argument_u64(int argc, char **argv, const char *name, uint64_t otherwise)
{
        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], name) == 0)
                        return strtoull(argv[i + 1], NULL, 0);

        return otherwise;
}

bool argument_flag(int argc, char **argv, const char *name)
{
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], name) == 0)
                        return true;

        return false;
}

uint64_t argument_seed(int argc, char **argv)
{
        uint64_t seed = 0;

        must(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
        seed = argument_u64(argc, argv, "--seed", seed);
        printf("seed 0x%" PRIx64 "\n", seed);
        fflush(stdout);
        return seed;
}

static struct {
        uint32_t kind_young;
        uint32_t kind_bottom;
        uint32_t fingerprint_bits;
} shape;

void argument_shape(int argc, char **argv)
{
        static const struct {
                const char *name;
                uint32_t young;
                uint32_t bottom;
        } kinds[] = {
                {"packed", LANEMAP_SEGMENT_PACKED, LANEMAP_SEGMENT_PACKED},
                {"recsplit", LANEMAP_SEGMENT_RECSPLIT, LANEMAP_SEGMENT_RECSPLIT},
                {"bbhash", LANEMAP_SEGMENT_BBHASH, LANEMAP_SEGMENT_BBHASH},
                {"mixed", LANEMAP_SEGMENT_BBHASH, LANEMAP_SEGMENT_RECSPLIT},
        };
        const char *name = "packed";

        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], "--kind") == 0)
                        name = argv[i + 1];
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kinds[i].name, name) == 0) {
                        shape.kind_young = kinds[i].young;
                        shape.kind_bottom = kinds[i].bottom;
                }
        must(shape.kind_young != 0);

        shape.fingerprint_bits = (uint32_t)argument_u64(argc, argv, "--fingerprint-bits", 64);
        must(shape.fingerprint_bits == 64 || shape.fingerprint_bits == 80 ||
             shape.fingerprint_bits == 96);
        printf("segments: %s, fingerprints: %u bits\n", name, shape.fingerprint_bits);
}

void index_shape(struct lanemap_writer_options *options)
{
        options->segment_kind_young = shape.kind_young;
        options->segment_kind_bottom = shape.kind_bottom;
        options->fingerprint_bits = shape.fingerprint_bits;
}

bool index_shape_has(uint32_t kind)
{
        return kind == shape.kind_young || kind == shape.kind_bottom;
}

static int no_sync(const struct lanemap_files *files, int fd)
{
        return 0;
}

struct lanemap_files files_without_sync(void)
{
        struct lanemap_files files = lanemap_files_posix;

        files.sync = no_sync;
        files.sync_directory = no_sync;
        return files;
}

uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
