/*
 * Runs a fuzz target over files, without a fuzzing engine: how the corpus becomes an ordinary test.
 *
 *         replay_TARGET [--mutations N] [--seed S] FILE-OR-DIRECTORY...
 *
 * With --mutations each input is followed by N damaged versions of itself (seeded, so a failure can
 * be run again): bytes changed, runs overwritten, the end cut off. Every input lies in a block of
 * exactly its size, so that ASan sees a read behind it.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static uint64_t n_mutations;
static uint64_t seed = 1;
static uint64_t n_inputs;

static uint64_t random_next(void)
{
        uint64_t x = seed += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static void run(const uint8_t *data, size_t n_bytes)
{
        uint8_t *exact = malloc(n_bytes ? n_bytes : 1);

        if (!exact)
                abort();

        memcpy(exact, data, n_bytes);
        LLVMFuzzerTestOneInput(exact, n_bytes);
        free(exact);
        n_inputs++;
}

static uint8_t interesting_byte(void)
{
        static const uint8_t bytes[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, 64};

        return random_next() % 2 ? bytes[random_next() % sizeof(bytes)] : (uint8_t)random_next();
}

/* Damages a copy in one to four places. Answers how much of it is left. */
static size_t mutate(uint8_t *copy, size_t n_bytes)
{
        for (uint64_t left = 1 + random_next() % 4; left > 0 && n_bytes > 0; left--) {
                size_t at = random_next() % n_bytes, n = 1 + random_next() % 8;

                switch (random_next() % 8) {
                case 0:
                        n_bytes = at;
                        break;
                case 1:
                        n = n < n_bytes - at ? n : n_bytes - at;
                        memset(copy + at, interesting_byte(), n);
                        break;
                default:
                        copy[at] = interesting_byte();
                        break;
                }
        }

        return n_bytes;
}

static void run_mutations(const uint8_t *data, size_t n_bytes)
{
        uint8_t *copy = malloc(n_bytes ? n_bytes : 1);

        if (!copy)
                abort();

        for (uint64_t i = 0; i < n_mutations; i++) {
                memcpy(copy, data, n_bytes);
                run(copy, mutate(copy, n_bytes));
        }
        free(copy);
}

static int run_file(const char *path, size_t n_bytes)
{
        uint8_t *data = malloc(n_bytes ? n_bytes : 1);
        FILE *file = fopen(path, "rb");
        int r = 1;

        if (data && file && fread(data, 1, n_bytes, file) == n_bytes) {
                run(data, n_bytes);
                run_mutations(data, n_bytes);
                r = 0;
        } else {
                fprintf(stderr, "cannot read %s\n", path);
        }

        if (file)
                fclose(file);
        free(data);
        return r;
}

static int run_path(const char *path);

static int run_directory(const char *path)
{
        struct dirent **entries;
        int n = scandir(path, &entries, NULL, alphasort), r = n < 0;

        for (int i = 0; i < n; i++) {
                char *inner;

                if (entries[i]->d_name[0] != '.' &&
                    asprintf(&inner, "%s/%s", path, entries[i]->d_name) >= 0) {
                        r |= run_path(inner);
                        free(inner);
                }
                free(entries[i]);
        }
        if (n >= 0)
                free(entries);

        return r;
}

static int run_path(const char *path)
{
        struct stat st;

        if (stat(path, &st) < 0) {
                fprintf(stderr, "cannot find %s\n", path);
                return 1;
        }

        return S_ISDIR(st.st_mode) ? run_directory(path) : run_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
        int r = 0;

        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--mutations") == 0 && i + 1 < argc)
                        n_mutations = strtoull(argv[++i], NULL, 10);
                else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
                        seed = strtoull(argv[++i], NULL, 10);
                else
                        r |= run_path(argv[i]);
        }

        printf("%llu inputs\n", (unsigned long long)n_inputs);
        return r || n_inputs == 0;
}
