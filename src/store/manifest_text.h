/* The checksum rule of manifest.json (manifest_format.h), for both directions. Inside the room
 * only. */
#ifndef LANEMAP_STORE_MANIFEST_TEXT_H
#define LANEMAP_STORE_MANIFEST_TEXT_H

#include "store/manifest_format.h"

#define LANEMAP_MANIFEST_DIGITS       (2 * LANEMAP_MANIFEST_CHECKSUM_BYTES)
#define LANEMAP_MANIFEST_ENDING_BYTES (sizeof(LANEMAP_MANIFEST_ENDING) - 1)

/* n_bytes as 2 * n_bytes lower-case digits, and a NUL. */
void lanemap_manifest_hex(const unsigned char *bytes, size_t n_bytes, char *ret_text);

/* The digits that the text ought to have; its length is at least digits and ending. */
void lanemap_manifest_checksum(const char *text, size_t bytes,
                               char ret_digits[LANEMAP_MANIFEST_DIGITS + 1]);

#endif
