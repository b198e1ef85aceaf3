/* See garbage.h. */
#include "store/garbage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "store/manifest_read.h"
#include "store/manifest_text.h"
#include "store/name.h"

#define SEGMENT_NAME_BYTES  (4 + 16 + 1 + 16 + 4) /* seg-<number>-<start of the checksum>.lms */
#define SEGMENT_SHORT_BYTES 8                     /* of the checksum, in the name */

/* Names, concatenated, and where each begins. */
struct list {
        char *text;
        size_t n_bytes;
        size_t capacity;
        size_t n_names;
};

static bool ends_with(const char *name, const char *ending)
{
        size_t n = strlen(name), m = strlen(ending);

        return n >= m && strcmp(name + n - m, ending) == 0;
}

static bool starts_with(const char *name, const char *start)
{
        return strncmp(name, start, strlen(start)) == 0;
}

static bool log_is_garbage(uint64_t number, const struct lanemap_log_file *log_files,
                           size_t n_log_files)
{
        for (size_t i = 0; i < n_log_files; i++)
                if (log_files[i].number == number)
                        return false;

        return true;
}

static bool segment_is_garbage(const char *name, const struct lanemap_manifest *manifest)
{
        char digits[2 * SEGMENT_SHORT_BYTES + 1];
        const struct lanemap_manifest_file *file;
        uint64_t number;

        if (strlen(name) != SEGMENT_NAME_BYTES || name[20] != '-' ||
            !lanemap_store_hex_parse(name + 4, 16, &number) || !manifest)
                return true;

        file = lanemap_manifest_find_file(manifest, number);
        if (!file)
                return true;

        lanemap_manifest_hex(file->checksum, SEGMENT_SHORT_BYTES, digits);
        return memcmp(name + 21, digits, sizeof(digits) - 1) != 0;
}

static bool name_is_garbage(const char *name, const struct lanemap_manifest *manifest,
                            const struct lanemap_log_file *log_files, size_t n_log_files)
{
        uint64_t number;

        if (ends_with(name, ".tmp") || starts_with(name, "tmp-seg-"))
                return true;
        if (lanemap_store_log_name_parse(name, &number))
                return log_is_garbage(number, log_files, n_log_files);
        if (starts_with(name, "seg-") && ends_with(name, ".lms"))
                return segment_is_garbage(name, manifest);

        return false;
}

static int list_add(struct list *list, const char *name)
{
        size_t bytes = strlen(name) + 1;

        if (list->n_bytes + bytes > list->capacity) {
                size_t capacity = 2 * (list->capacity + bytes);
                char *text = lanemap_realloc(list->text, capacity);

                if (!text)
                        return -ENOMEM;
                list->text = text;
                list->capacity = capacity;
        }

        memcpy(list->text + list->n_bytes, name, bytes);
        list->n_bytes += bytes;
        list->n_names++;
        return 0;
}

static int compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Pointers and text in one block. */
static int list_finish(const struct list *list, char ***ret_names)
{
        size_t pointers = list->n_names * sizeof(char *);
        char **names = NULL;

        if (list->n_names > 0) {
                char *text;

                names = lanemap_alloc(pointers + list->n_bytes);
                if (!names)
                        return -ENOMEM;

                text = (char *)names + pointers;
                memcpy(text, list->text, list->n_bytes);
                for (size_t i = 0; i < list->n_names; i++, text += strlen(text) + 1)
                        names[i] = text;
                qsort(names, list->n_names, sizeof(*names), compare_names);
        }

        *ret_names = names;
        return 0;
}

int lanemap_store_list_garbage(int dir_fd, const struct lanemap_manifest *manifest,
                               const struct lanemap_log_file *log_files, size_t n_log_files,
                               char ***ret_names, size_t *ret_n_names)
{
        struct list list = {0};
        DIR *dir;
        int r;

        r = lanemap_store_open_listing(dir_fd, &dir);
        if (r < 0)
                return r;

        while (r == 0) {
                const struct dirent *entry;

                errno = 0;
                entry = readdir(dir);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (name_is_garbage(entry->d_name, manifest, log_files, n_log_files))
                        r = list_add(&list, entry->d_name);
        }

        closedir(dir);
        if (r == 0)
                r = list_finish(&list, ret_names);
        if (r == 0)
                *ret_n_names = list.n_names;
        lanemap_free(list.text);
        return r;
}

int lanemap_store_has_data(int dir_fd)
{
        char **names = NULL;
        size_t n_names = 0;
        bool has_data = false;
        int r;

        r = lanemap_store_list_garbage(dir_fd, NULL, NULL, 0, &names, &n_names);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_names; i++)
                has_data |= starts_with(names[i], "seg-") || starts_with(names[i], "log-");
        lanemap_free(names);
        return has_data;
}
