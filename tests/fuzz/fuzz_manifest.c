/*
 * Manifest bytes, as they are or with the checksum made right (so that what lies behind it is
 * reached). Beyond not crashing: one that is accepted verifies, and is written and read back the
 * same.
 *
 * An input: one byte, odd to make the checksum right, then the text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "store/manifest_read.h"
#include "store/manifest_text.h"
#include "store/manifest_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

static void check_round_trip(const struct lanemap_manifest *manifest)
{
        struct lanemap_manifest back;
        char *text, *again;
        size_t bytes, again_bytes;

        MUST(lanemap_manifest_verify(manifest, NULL) == 0);
        MUST(lanemap_manifest_format(manifest, &text, &bytes) == 0);
        MUST(lanemap_manifest_parse(text, bytes, &back, NULL) == 0);
        MUST(lanemap_manifest_format(&back, &again, &again_bytes) == 0);
        MUST(bytes == again_bytes && memcmp(text, again, bytes) == 0);
        MUST(lanemap_manifest_lowest_position(manifest) <=
             lanemap_manifest_highest_position(manifest));
        lanemap_manifest_deinit(&back);
        lanemap_free(again);
        lanemap_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        size_t fixed = LANEMAP_MANIFEST_DIGITS + LANEMAP_MANIFEST_ENDING_BYTES;
        char digits[LANEMAP_MANIFEST_DIGITS + 1];
        struct lanemap_manifest manifest;
        struct lanemap_error error;
        size_t bytes;
        char *text;

        if (n_bytes == 0)
                return 0;

        bytes = n_bytes - 1;
        text = malloc(bytes + 1);
        MUST(text);
        memcpy(text, data + 1, bytes);
        if (data[0] % 2 && bytes >= fixed) {
                memcpy(text + bytes - LANEMAP_MANIFEST_ENDING_BYTES, LANEMAP_MANIFEST_ENDING,
                       LANEMAP_MANIFEST_ENDING_BYTES);
                lanemap_manifest_checksum(text, bytes, digits);
                memcpy(text + bytes - fixed, digits, LANEMAP_MANIFEST_DIGITS);
        }

        if (lanemap_manifest_parse(text, bytes, &manifest, &error) == 0) {
                check_round_trip(&manifest);
                lanemap_manifest_deinit(&manifest);
        }
        free(text);
        return 0;
}
