/*
 * What may be on the disk after a power cut.
 *
 * The rules, weaker than any file system in use, so that what survives them survives those:
 *
 *   - What a successful sync of a file covered is there. Of what was written since, each sector of
 *     512 bytes has any one of the contents that it had meanwhile, independently of every other.
 *   - The length is any that the file has had since its last sync. What lies behind it is gone.
 *   - A failed sync promises nothing, and a later one does not cover what the failed one was for
 *     (the kernel has dropped it).
 *   - Names are as of the last sync of their directory; of the creations, links, renames and
 *     removals since, any subset may have happened (each whole). Syncing a file does not sync its
 *     name, and syncing a directory does not sync its own: without that, all in it is gone.
 */
#ifndef LANEMAP_TESTS_DISK_STATES_H
#define LANEMAP_TESTS_DISK_STATES_H

#include "recording_files.h"

#define DISK_INODES_MAX  4096
#define DISK_NAMES_MAX   256
#define DISK_PENDING_MAX 1024
#define DISK_DIRECTORY   UINT32_MAX /* in place of an inode */

struct disk_bytes {
        unsigned char *bytes; /* zeros behind n_bytes, up to capacity */
        uint64_t n_bytes;
        uint64_t capacity;
};

struct disk_inode {
        struct disk_bytes durable;
        uint32_t n_pending;
        struct disk_pending {
                const struct event *event;
                bool doomed; /* a failed sync was to cover it */
        } * pending;
};

struct disk_name {
        char name[64];
        uint32_t inode;
};

struct disk {
        struct disk_inode inodes[DISK_INODES_MAX];
        uint32_t n_inodes;
        struct disk_name names[DISK_NAMES_MAX]; /* as of the last syncs of their directories */
        uint32_t n_names;
        const struct event *pending_names[DISK_PENDING_MAX];
        uint32_t n_pending_names;
};

/* How much of what is not synced is there. */
struct disk_choice {
        uint32_t names_of_1024; /* of the pending directory operations, each */
        uint32_t names_prefix;  /* only the first so many; UINT32_MAX: as above */
        uint64_t names_besides; /* of those behind them: bit i the i-th one of all */
        uint32_t sectors_of_1024;
        uint32_t torn; /* 1: for each file another sectors_of_1024 */
};

/* One state: names and the contents of their files. */
struct disk_state {
        uint32_t n_files;
        struct disk_file {
                char name[64];
                uint32_t inode; /* of the disk, or DISK_DIRECTORY */
                struct disk_bytes content;
        } files[DISK_NAMES_MAX];
        uint64_t hash;
};

/* Starts with what is in the directory and in those in it, which is durable. */
void disk_load(struct disk *disk, struct recording *recording, const char *directory);
void disk_reset(struct disk *disk);
void disk_apply(struct disk *disk, const struct event *event);
/* How many operations a power cut could undo. */
uint64_t disk_n_undecided(const struct disk *disk);

void disk_state_make(const struct disk *disk, const struct disk_choice *choice, struct rng *rng,
                     struct disk_state *state);
/* What a file or directory of the state is; NULL: there is none. */
const struct disk_file *disk_state_find(const struct disk_state *state, const char *name);
/* Puts it into an empty directory. */
void disk_state_write(const struct disk_state *state, const char *directory);
void disk_state_deinit(struct disk_state *state);

#endif
