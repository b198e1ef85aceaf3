/*
 * A manifest in memory, and reading one. Write side, in spite of the name: readers never see a
 * manifest.
 */
#ifndef LANEMAP_STORE_MANIFEST_READ_H
#define LANEMAP_STORE_MANIFEST_READ_H

#include "common/file.h"
#include "store/manifest_format.h"

/*
 * An empty one: everything 0 but fingerprint_bits (64), the slot table's name, the numbers that
 * come next (1), and n_lanes lanes without segments. Return: 0, -ENOMEM, -EINVAL n_lanes.
 */
int lanemap_manifest_init(uint32_t n_lanes, struct lanemap_manifest *ret_manifest);

/* Frees what the struct points to and zeroes it. Fine on a zeroed struct, and twice. */
void lanemap_manifest_deinit(struct lanemap_manifest *manifest);

/* Replace a lane's segments (newest first) by a copy of these. Return: 0; -ENOMEM: unchanged. */
int lanemap_manifest_set_segments(struct lanemap_manifest *manifest, uint32_t lane,
                                  const struct lanemap_manifest_segment *segments,
                                  uint32_t n_segments);

/* Insert a file in its place. Return: 0; -ENOMEM, -EEXIST the number is listed: unchanged. */
int lanemap_manifest_add_file(struct lanemap_manifest *manifest,
                              const struct lanemap_manifest_file *file);

/* Forget the files that no segment names. Return: how many were forgotten. */
uint32_t lanemap_manifest_forget_unnamed_files(struct lanemap_manifest *manifest);

/* NULL when the number is not listed. Owner: the manifest. */
const struct lanemap_manifest_file *
lanemap_manifest_find_file(const struct lanemap_manifest *manifest, uint64_t number);

/* The smallest and the largest log position of a lane; the largest also of mark and clear: the log
 * is durable through it. */
uint64_t lanemap_manifest_lowest_position(const struct lanemap_manifest *manifest);
uint64_t lanemap_manifest_highest_position(const struct lanemap_manifest *manifest);

/*
 * Checks ranges, order, uniqueness, and that every segment is in a listed file.
 * Return: 0; -EBADMSG, and error says what and where.
 */
int lanemap_manifest_verify(const struct lanemap_manifest *manifest, struct lanemap_error *error);

/*
 * Read and verify manifest.json.
 *
 * ret_manifest   give it back with lanemap_manifest_deinit()
 * error          may be NULL
 *
 * Return: 0. Errors: -ENOENT there is none (a new index); -EBADMSG; -EPROTONOSUPPORT a newer format
 * version, or an unknown incompatible feature; -ENOMEM; errno of open and read.
 */
int lanemap_manifest_read(const struct lanemap_files *files, int dir_fd,
                          struct lanemap_manifest *ret_manifest, struct lanemap_error *error);

/* The same from bytes in memory: what the fuzzer calls. */
int lanemap_manifest_parse(const void *text, size_t bytes, struct lanemap_manifest *ret_manifest,
                           struct lanemap_error *error);

#endif
