/*
 * A file layer that does what it is told and writes down what it did, in memory that outlives the
 * process: the history from which every state that a power cut could leave is rebuilt
 * (disk_states.h). A directory and those in it, one level deep: names begin with theirs.
 *
 * The syncs themselves are not executed: what a sync makes durable is for the history to say. Calls
 * can be made to fail, as a disk would: a failed sync promises nothing, now or later; a failed
 * write has written some of it. The process can be killed at a given event.
 *
 * Thread: any of the recording process; one process at a time.
 */
#ifndef LANEMAP_TESTS_RECORDING_FILES_H
#define LANEMAP_TESTS_RECORDING_FILES_H

#include <pthread.h>

#include "common/file.h"
#include "crash_support.h"

enum event_kind {
        /* What the disk was told. */
        EVENT_CREATE = 1, /* name, inode */
        EVENT_WRITE,      /* inode, at, bytes */
        EVENT_ALLOCATE,   /* inode, at: the size that it has at least */
        EVENT_TRUNCATE,   /* inode, at: the size */
        EVENT_SYNC,       /* inode */
        EVENT_SYNC_FAILED,
        EVENT_SYNC_DIRECTORY, /* name: "", or that of one in it with its slash */
        EVENT_RENAME,         /* name, name2, inode */
        EVENT_LINK,           /* name, name2, inode */
        EVENT_UNLINK,         /* name, inode */
        EVENT_MAKE_DIRECTORY, /* name */
        /* What the caller of the engine did and was told. */
        EVENT_SENT,      /* at: digest of the index with this batch */
        EVENT_REFUSED,   /* the batch sent last was not applied */
        EVENT_DURABLE,   /* at: number of batches of this process that are durable */
        EVENT_RECOVERED, /* at: digest of the index as it came back */
};

/* One behind the other, each rounded up to 8 bytes. */
struct event {
        uint32_t kind;
        uint32_t inode;
        uint64_t at;
        uint32_t n_bytes;
        uint32_t name_bytes; /* NULs included; behind the struct, then name2, then the bytes */
        uint32_t name2_bytes;
        uint32_t reserved;
        char data[];
};

#define RECORDING_DIRECTORIES_MAX 16
#define RECORDING_DIRECTORY_BYTES 32

/* Shared by the processes that record and the one that reads. */
struct recording {
        pthread_mutex_t lock; /* robust: a process may be killed with it held */
        uint64_t capacity;
        uint64_t n_bytes;
        uint64_t n_events;
        uint32_t n_inodes; /* the next number */
        uint32_t n_known;
        struct {
                ino_t ino;
                uint32_t inode;
        } known[4096]; /* which inode of the history a file is */
        uint32_t n_directories;
        struct {
                ino_t ino;
                char name[RECORDING_DIRECTORY_BYTES]; /* "", or with a slash behind it */
        } directories[RECORDING_DIRECTORIES_MAX];
        char events[];
};

struct recording_files {
        struct lanemap_files files; /* what the engine gets */
        struct recording *recording;
        bool no_links;      /* as between two file systems */
        uint64_t kill_at;   /* the process dies before this event; 0: never */
        uint64_t fail_once; /* one call in so many fails, from ...; 0: none */
        struct rng rng;
};

struct recording *recording_new(uint64_t capacity);
void recording_reset(struct recording *recording);
void recording_files_init(struct recording_files *files, struct recording *recording);
/* A file that is there from the start. */
uint32_t recording_know(struct recording *recording, ino_t ino);
/* So is a directory. name: "", or what its files' names begin with, the slash included. */
void recording_know_directory(struct recording *recording, ino_t ino, const char *name);
void recording_note(struct recording_files *files, uint32_t kind, uint64_t at);

/* The first event, and the one behind `event`; NULL at the end. */
const struct event *recording_next(const struct recording *recording, const struct event *event);

#endif
