/*
 * Verification: a data directory holds what was written: manifest, segment files, counts, log.
 *
 *   V1  Nothing is modified, no lock is taken: a writer may work at the same time, also in another
 *       process. A file that it replaces is checked as it was, or the check begins again.
 *   V2  Every byte that the manifest names is covered by a 256-bit checksum that was read from the
 *       manifest, whose own is checked. So a finding is damage, and no damage goes unfound, but
 *       for the bytes of the log: there, what is not proven to have been durable may be missing.
 *   V3  Live keys and pairs of each lane are counted again by merging its segments, and compared
 *       with what the manifest says.
 *
 * Bytes are read with pread() before they are looked at through a mapping, so that a media error is
 * an answer, not a signal.
 */
#ifndef LANEMAP_VERIFY_VERIFY_H
#define LANEMAP_VERIFY_VERIFY_H

#include <lanemap/writer.h>

#include "common/file.h"
#include "segment/file_read.h"
#include "store/log_recover.h"
#include "store/manifest_read.h"

/* A folder of the data directory: damaged files go there instead of being deleted. */
#define LANEMAP_QUARANTINE_NAME "quarantine"

struct lanemap_findings {
        struct lanemap_finding *items;
        size_t n;
        size_t capacity;
};

/* Return: 0, -ENOMEM. */
int lanemap_findings_add(struct lanemap_findings *findings, const char *file, uint64_t offset,
                         uint32_t lane, uint64_t n_keys, const char *format, ...)
        LANEMAP_PRINTF(6, 7);
void lanemap_findings_deinit(struct lanemap_findings *findings);

/* ---- one segment file ---- */

/* A section of the file that a lane uses. */
struct lanemap_verify_use {
        uint32_t lane;
        uint32_t section;
        uint64_t n_keys; /* as the manifest says */
        uint64_t n_pairs;
        uint64_t n_bytes; /* the rest is for salvage, and not always filled in */
        uint32_t level;
        uint32_t kind;
};

/* The manifest's description of a file. */
struct lanemap_verify_file {
        uint64_t number;
        uint64_t n_bytes;
        uint32_t n_sections;
        uint32_t fingerprint_bits;
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        unsigned char uuid[LANEMAP_SEGMENT_UUID_BYTES]; /* of the index */
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        struct lanemap_verify_use *uses; /* lanemap_alloc() */
        uint32_t n_uses;
};

/* Called before so many bytes are read; anything but 0 ends the verification, and is returned. */
typedef int (*lanemap_verify_pace)(void *arg, uint64_t n_bytes);

struct lanemap_verify_options {
        const struct lanemap_files *files;
        int dir_fd;
        bool from_disk;           /* past the page cache, where the file system lets us */
        uint64_t chunk_bytes;     /* 0: 1 MiB; a multiple of 4096 */
        lanemap_verify_pace pace; /* NULL: as fast as it goes */
        void *pace_arg;
};

/* The manifest's description of its i-th file. Free with lanemap_verify_file_deinit(). */
int lanemap_verify_file_init(const struct lanemap_manifest *manifest, uint32_t i,
                             struct lanemap_verify_file *ret_file);
void lanemap_verify_file_deinit(struct lanemap_verify_file *file);

/* Entries of all sections that lanes use. */
uint64_t lanemap_verify_file_keys(const struct lanemap_verify_file *file);

/*
 * Read a whole file and say all that is wrong with it: one finding for each damaged section, or one
 * for the file.
 *
 * fd             open for reading; it is not closed
 *
 * Return: 0. Errors: what pace answered; -ENOMEM; errno of fstat and mmap.
 */
int lanemap_verify_file_run(const struct lanemap_verify_options *options, int fd,
                            const struct lanemap_verify_file *file,
                            struct lanemap_findings *findings);

/* The checksum rule alone, on bytes in memory. */
int lanemap_verify_checksum(const void *bytes, uint64_t n_bytes, unsigned char *ret_checksum);

/* ---- a lane ---- */

/*
 * Counts live keys and pairs of one lane: what its segments, newest first, hold in its slots.
 * Return: 0. Errors: -EBADMSG, -ENOMEM, -EINVAL more than 8 segments. Cost: 30 ns an entry.
 */
int lanemap_verify_lane_count(const struct lanemap_segment *const *segments, uint32_t n_segments,
                              const uint64_t *slot_bitmap, uint64_t *ret_n_keys,
                              uint64_t *ret_n_pairs);

/* A section of a file, mapped. */
struct lanemap_verify_section {
        void *bytes; /* of the whole file */
        size_t n_bytes;
        struct lanemap_segment segment;
        struct lanemap_mapping *guard; /* NULL: not a mapping */
};
/* Return: 0. Errors: -EBADMSG, -EPROTONOSUPPORT, errno of mmap. */
int lanemap_verify_section_map(int fd, uint64_t n_bytes, uint32_t section,
                               struct lanemap_verify_section *ret_section);
/* Return: true if every page that was read was there (UM2 in verify/mapping.h): results are
 * valid. */
bool lanemap_verify_section_is_read(const struct lanemap_verify_section *section);
void lanemap_verify_section_unmap(struct lanemap_verify_section *section);

/* ---- a directory ---- */

struct lanemap_verify_report {
        struct lanemap_findings findings; /* lanemap_findings_deinit() */
        unsigned char uuid[16];
        uint64_t generation; /* of the manifest that was looked at */
        uint32_t n_lanes;
        uint64_t n_files;
        uint64_t file_bytes;
        uint64_t n_keys; /* live as of the manifest, and counted, where nothing is damaged */
        uint64_t n_pairs;
        uint64_t n_log_files;
        uint64_t n_log_records;    /* above what segments cover */
        uint64_t n_log_torn_bytes; /* at the end of the log: never acknowledged */
        uint64_t n_log_old_bytes;  /* damage in what is no longer needed */
        bool writer_lives;
};

/*
 * ret_report     written also on failure: give its findings back
 * error          may be NULL; what could not be checked
 *
 * Return: 0: everything was looked at; the findings say what is wrong. Errors: -ENOENT not a data
 * directory; -EPROTONOSUPPORT a newer format; -EAGAIN the index changed too fast; -ENOMEM; errno of
 * the file system.
 */
int lanemap_verify_directory(const struct lanemap_files *files, int dir_fd,
                             struct lanemap_verify_report *ret_report, struct lanemap_error *error);

/* Return: true if a process holds the directory's lock. Takes none. */
bool lanemap_verify_writer_lives(int dir_fd);

#endif
