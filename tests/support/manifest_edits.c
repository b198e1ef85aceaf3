/* See manifest_edits.h. */
#include "manifest_edits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "store/manifest_text.h"
#include "store/manifest_write.h"

void manifest_sample(uint32_t n_lanes, uint32_t n_segments, struct lanemap_manifest *ret_manifest)
{
        struct lanemap_manifest manifest;

        lanemap_check(lanemap_manifest_init(n_lanes, &manifest) == 0);
        manifest.generation = 12;
        memcpy(manifest.uuid, "0123456789abcdef", 16);
        memcpy(manifest.hash_key, "\x00\xff key of hashes", 16);
        manifest.fingerprint_bits = 96;
        manifest.next_file_number = 1000;
        manifest.next_log_number = 9;
        manifest.log_number = 8;
        manifest.clear_position = 17;
        manifest.mark_position = 90;
        manifest.mark_bytes = 5;
        memcpy(manifest.mark, "0/16B", 5);

        /* Lane 0 is in file 1 and so on: file numbers are added out of order. */
        for (uint32_t s = n_segments; s-- > 0;) {
                struct lanemap_manifest_file file = {
                        .number = 10 + s, .bytes = 100000, .n_sections = n_lanes};

                memset(file.checksum, (int)s + 1, sizeof(file.checksum));
                lanemap_check(lanemap_manifest_add_file(&manifest, &file) == 0);
                lanemap_check(lanemap_manifest_add_file(&manifest, &file) == -EEXIST);
        }
        for (uint32_t l = 0; l < n_lanes; l++) {
                struct lanemap_manifest_segment segments[8];

                for (uint32_t s = 0; s < n_segments; s++)
                        segments[s] = (struct lanemap_manifest_segment){
                                .file_number = 10 + s,
                                .section = l,
                                .level = s,
                                .kind = 1,
                                .n_keys = l * 3 + s,
                                .n_pairs = l * 7 + s,
                                .bytes = 100 + l,
                        };
                lanemap_check(lanemap_manifest_set_segments(&manifest, l, segments, n_segments) ==
                              0);
                manifest.lanes[l].position = 100 + l;
                manifest.lanes[l].n_keys = l;
                manifest.lanes[l].n_pairs = 2 * l;
        }
        *ret_manifest = manifest;
}

const struct manifest_edit manifest_edits[] = {
        {"another-generation", "\"generation\": \"12\"", "\"generation\": \"13\"", 0, ""},
        {"a-compatible-feature", "\"compatible\": []", "\"compatible\": [\"x\"]", 0, ""},
        {"version-2", "\"format_version\": 1", "\"format_version\": 2", -EPROTONOSUPPORT,
         "version 2"},
        {"version-0", "\"format_version\": 1", "\"format_version\": 0", -EBADMSG, "format_version"},
        {"an-unknown-feature", "\"incompatible\": []", "\"incompatible\": [\"resharded\"]",
         -EPROTONOSUPPORT, "\"resharded\""},
        {"another-slot-table", "jump-4096", "rendezvous-9", -EPROTONOSUPPORT, "rendezvous-9"},
        {"another-format", "lanemap manifest", "other manifest", -EBADMSG, "format"},
        {"97-bits", "\"fingerprint_bits\": 96", "\"fingerprint_bits\": 97", -EBADMSG,
         "fingerprint_bits is 97"},
        {"three-lanes", "\"n_lanes\": 2", "\"n_lanes\": 3", -EBADMSG, "lanes"},
        {"minus-two-lanes", "\"n_lanes\": 2", "\"n_lanes\": -2", -EBADMSG, "n_lanes"},
        {"lanes-as-text", "\"n_lanes\": 2", "\"n_lanes\": \"2\"", -EBADMSG, "n_lanes"},
        {"generation-as-number", "\"generation\": \"12\"", "\"generation\": 12", -EBADMSG,
         "generation"},
        {"generation-leading-zero", "\"generation\": \"12\"", "\"generation\": \"012\"", -EBADMSG,
         "generation"},
        {"generation-empty", "\"generation\": \"12\"", "\"generation\": \"\"", -EBADMSG,
         "generation"},
        {"generation-letters", "\"generation\": \"12\"", "\"generation\": \"1x\"", -EBADMSG,
         "generation"},
        {"generation-too-large", "\"generation\": \"12\"",
         "\"generation\": \"18446744073709551616\"", -EBADMSG, "generation"},
        {"generation-missing", "\"generation\": \"12\",", "", -EBADMSG, "generation"},
        {"generation-twice", "\"generation\": \"12\",",
         "\"generation\": \"12\", \"generation\": \"12\",", -EBADMSG, "line"},
        {"file-number-not-given-yet", "\"next_file_number\": \"1000\"",
         "\"next_file_number\": \"11\"", -EBADMSG,
         "files[1]: number 11 is not below next_file_number 11"},
        {"log-not-given-yet", "\"log_number\": \"8\"", "\"log_number\": \"9\"", -EBADMSG,
         "log_number"},
        {"mark-odd", "\"mark\": \"302f313642\"", "\"mark\": \"302f31364\"", -EBADMSG, "mark"},
        {"mark-upper-case", "\"mark\": \"302f313642\"", "\"mark\": \"302F313642\"", -EBADMSG,
         "mark"},
        {"files-do-not-ascend", "\"number\": \"10\"", "\"number\": \"11\"", -EBADMSG, "files[1]"},
        {"a-file-without-sections", "\"n_sections\": 2", "\"n_sections\": 0", -EBADMSG, "files[0]"},
        {"a-section-too-few", "\"n_sections\": 2", "\"n_sections\": 1", -EBADMSG,
         "lanes[1].segments[0]"},
        {"a-file-not-listed", "\"file\": \"11\"", "\"file\": \"77\"", -EBADMSG,
         "lanes[0].segments[1]: file 77 is not listed"},
        {"a-section-named-twice", "\"file\": \"11\"", "\"file\": \"10\"", -EBADMSG,
         "section 0 of file 10 is named twice"},
        {"level-32", "\"level\": 1", "\"level\": 32", -EBADMSG, "level 32"},
        {"kind-256", "\"kind\": 1", "\"kind\": 256", -EBADMSG, "kind 256"},
        {"kind-fraction", "\"kind\": 1", "\"kind\": 1.5", -EBADMSG, "lanes[0].segments[0].kind"},
        {"a-section-larger-than-its-file", "\"bytes\": \"100\"", "\"bytes\": \"100001\"", -EBADMSG,
         "lanes[0].segments[0]"},
        {"position-too-large", "\"position\": \"100\"", "\"position\": \"18446744073709551615\"",
         -EBADMSG, "position"},
        {"more-keys-than-pairs", "\"n_keys\": \"1\",\n   \"n_pairs\": \"2\"",
         "\"n_keys\": \"3\",\n   \"n_pairs\": \"2\"", -EBADMSG, "lanes[1]"},
        {"uuid-short", "\"uuid\": \"30", "\"uuid\": \"", -EBADMSG, "uuid"},
        {"not-json", "{", "[", -EBADMSG, "line"},
        {"version-as-text", "\"format_version\": 1", "\"format_version\": \"1\"", -EBADMSG,
         "format_version"},
        {"features-no-array", "\"incompatible\": []", "\"incompatible\": {}", -EBADMSG,
         "incompatible is not an array"},
        {"a-feature-that-is-no-text", "\"incompatible\": []", "\"incompatible\": [7]",
         -EPROTONOSUPPORT, "\"?\""},
        {"compatible-no-array", "\"compatible\": []", "\"compatible\": 1", -EBADMSG,
         " compatible is not an array"},
        {"slot-table-long", "jump-4096", "a-name-of-more-than-thirty-one-bytes", -EBADMSG,
         "slot_table is not a short string"},
        {"slot-table-no-text", "\"slot_table\": \"jump-4096\"", "\"slot_table\": 1", -EBADMSG,
         "slot_table is not a short string"},
        {"hash-key-long", "\"hash_key\": \"00", "\"hash_key\": \"0000", -EBADMSG,
         "hash_key is not hex digits"},
        {"no-lanes", "\"n_lanes\": 2", "\"n_lanes\": 0", -EBADMSG, "lanes are not as many"},
        {"lanes-no-array", "\"lanes\": [", "\"lanes\": 1, \"other\": [", -EBADMSG,
         "lanes is not an array"},
        {"files-no-array", "\"files\": [", "\"files\": 1, \"other\": [", -EBADMSG,
         "files is not an array"},
        {"segments-no-array", "\"segments\": [", "\"segments\": 1, \"other\": [", -EBADMSG,
         "lanes[0].segments is not an array"},
        {"next-log-too-large", "\"next_log_number\": \"9\"",
         "\"next_log_number\": \"9223372036854775808\"", -EBADMSG, "next_log_number is too large"},
        {"clear-position-too-large", "\"clear_position\": \"17\"",
         "\"clear_position\": \"18446744073709551614\"", -EBADMSG, "no log position is that large"},
        {"a-filter-of-later", "\"files\": [", "\"filter\": 9, \"files\": [", 0, ""},
        {"a-filter-as-text", "\"files\": [", "\"filter\": \"auto\", \"files\": [", -EBADMSG,
         "filter is not a number"},
        {"a-member-of-later", "\"files\": [", "\"later\": {\"x\": [1]}, \"files\": [", 0, ""},
        {"broken-json", "\"generation\": \"12\"", "\"generation\": {{{", -EBADMSG, "line"},
};

const size_t manifest_n_edits = LANEMAP_N_ELEMENTS(manifest_edits);

char *manifest_edited(const struct manifest_edit *edit, size_t *ret_bytes)
{
        size_t bytes, n_from = strlen(edit->from), n_to = strlen(edit->to), before;
        char digits[LANEMAP_MANIFEST_DIGITS + 1];
        struct lanemap_manifest manifest;
        char *text, *edited, *at;

        manifest_sample(2, 2, &manifest);
        lanemap_check(lanemap_manifest_format(&manifest, &text, &bytes) == 0);
        at = memmem(text, bytes, edit->from, n_from);
        lanemap_check(at);
        before = (size_t)(at - text);
        edited = malloc(bytes - n_from + n_to);
        lanemap_check(edited);
        memcpy(edited, text, before);
        memcpy(edited + before, edit->to, n_to);
        memcpy(edited + before + n_to, at + n_from, bytes - before - n_from);
        bytes = bytes - n_from + n_to;
        lanemap_manifest_checksum(edited, bytes, digits);
        memcpy(edited + bytes - LANEMAP_MANIFEST_ENDING_BYTES - LANEMAP_MANIFEST_DIGITS, digits,
               LANEMAP_MANIFEST_DIGITS);
        lanemap_free(text);
        lanemap_manifest_deinit(&manifest);
        *ret_bytes = bytes;
        return edited;
}
