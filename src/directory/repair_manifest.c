/*
 * A manifest with one flipped bit: its checksum has 256 bits, so trying them all finds the one.
 * Anything worse is for a backup: the hash key is nowhere else.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/manifest_text.h"
#include "store/manifest_write.h"
#include "directory/repair_parts.h"

#define TEXT_BYTES_MIN (LANEMAP_MANIFEST_DIGITS + LANEMAP_MANIFEST_ENDING_BYTES + 1)
#define TEXT_BYTES_MAX ((off_t)(192 << 10)) /* a minute or two */

static bool hex_decode(const char *digits, unsigned char *ret_bytes)
{
        return sodium_hex2bin(ret_bytes, LANEMAP_MANIFEST_CHECKSUM_BYTES, digits,
                              LANEMAP_MANIFEST_DIGITS, NULL, NULL, NULL) == 0;
}

/* The hash is over the text with zeros for digits, so a flip in the digits is found at once. */
static bool digits_correct(char *text, size_t n_bytes)
{
        char *digits = text + n_bytes - LANEMAP_MANIFEST_ENDING_BYTES - LANEMAP_MANIFEST_DIGITS;
        char want[LANEMAP_MANIFEST_DIGITS + 1];
        uint32_t n_wrong = 0;

        lanemap_manifest_checksum(text, n_bytes, want);
        for (uint32_t i = 0; i < LANEMAP_MANIFEST_DIGITS; i++)
                n_wrong += digits[i] != want[i];
        if (n_wrong > 1)
                return false;

        memcpy(digits, want, LANEMAP_MANIFEST_DIGITS);
        return true;
}

/* The state before each byte is kept, so each try hashes only the bytes after the flip. */
static bool bits_correct(char *text, size_t n_bytes)
{
        char *digits = text + n_bytes - LANEMAP_MANIFEST_ENDING_BYTES - LANEMAP_MANIFEST_DIGITS;
        unsigned char want[LANEMAP_MANIFEST_CHECKSUM_BYTES], got[LANEMAP_MANIFEST_CHECKSUM_BYTES];
        size_t n_covered = (size_t)(digits - text);
        crypto_generichash_state before, state;
        char kept[LANEMAP_MANIFEST_DIGITS];
        bool found = false;

        if (!hex_decode(digits, want))
                return false;

        memcpy(kept, digits, sizeof(kept));
        memset(digits, '0', sizeof(kept));
        crypto_generichash_init(&before, NULL, 0, sizeof(got));
        for (size_t at = 0; at < n_bytes && !found; at++) {
                bool is_digit = at >= n_covered && at < n_covered + LANEMAP_MANIFEST_DIGITS;

                for (uint32_t bit = 0; bit < 8 && !found && !is_digit; bit++) {
                        text[at] ^= (char)(1 << bit);
                        state = before;
                        crypto_generichash_update(&state, (unsigned char *)text + at, n_bytes - at);
                        crypto_generichash_final(&state, got, sizeof(got));
                        found = memcmp(got, want, sizeof(got)) == 0;
                        if (!found)
                                text[at] ^= (char)(1 << bit);
                }
                crypto_generichash_update(&before, (unsigned char *)text + at, 1);
        }

        memcpy(digits, kept, sizeof(kept));
        return found;
}

static int text_read(const struct lanemap_repair *repair, char **ret_text, size_t *ret_n_bytes)
{
        struct stat st;
        char *text;
        ssize_t n;
        int fd;

        fd = openat(repair->dir_fd, LANEMAP_MANIFEST_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || st.st_size < (off_t)TEXT_BYTES_MIN ||
            st.st_size > TEXT_BYTES_MAX) {
                close(fd);
                return -EBADMSG;
        }

        text = lanemap_alloc((size_t)st.st_size);
        n = text ? pread(fd, text, (size_t)st.st_size, 0) : -1;
        close(fd);
        if (n != st.st_size) {
                lanemap_free(text);
                return text ? -EIO : -ENOMEM;
        }

        *ret_text = text;
        *ret_n_bytes = (size_t)n;
        return 0;
}

int lanemap_repair_manifest(struct lanemap_repair *repair)
{
        const struct lanemap_files *files = repair->options->files;
        struct lanemap_manifest manifest;
        size_t n_bytes = 0;
        char *text = NULL;
        int r;

        r = text_read(repair, &text, &n_bytes);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;

        r = -EBADMSG;
        if (sodium_init() >= 0 && (digits_correct(text, n_bytes) || bits_correct(text, n_bytes)))
                r = lanemap_manifest_parse(text, n_bytes, &manifest, NULL);
        lanemap_free(text);
        if (r < 0)
                return r;

        lanemap_repair_say(repair, "%s: one bit was flipped, and is put right without loss",
                           LANEMAP_MANIFEST_NAME);
        if (!repair->options->dry_run) {
                r = lanemap_repair_link(repair, LANEMAP_MANIFEST_NAME);
                manifest.generation++;
                if (r == 0)
                        r = lanemap_manifest_write(files, repair->dir_fd, &manifest);
        }
        lanemap_manifest_deinit(&manifest);
        return r;
}
