/*
 * The writer's side of the shared objects: the control object, which is created once and kept for
 * ever, and data objects, one per generation.
 *
 * S1. A control object appears under its name whole, or not at all (written aside, then linked).
 * S2. The name of a data object is random, and is published to nobody before the object is in
 *     force. What a crash leaves is found by listing the names of the index, and unlinked by the
 *     next writer.
 * S3. A generation is published by one release store of the generation word, after its bytes are
 *     complete. The object of the generation before is never written again.
 * S4. Beside a running writer there is a spare object, zeros that nobody has mapped, as large as a
 *     successor's object has to be to come up. The successor renames it: what others have filled
 *     /dev/shm with, or the predecessor has, does not keep it from starting.
 * S5. Room goes to the spare first: with none there, an object that is about to grow has one made
 *     (spare_ensure), and does not grow where there is no room for one: what readers give back is
 *     not gone before a spare can have it.
 *
 * Everything here is called by the holder of the name's lock only.
 */
#ifndef LANEMAP_SHM_WRITE_H
#define LANEMAP_SHM_WRITE_H

#include <sys/types.h>

#include <lanemap/lanemap.h>

#include "shm/arena.h"
#include "shm/object.h"

/*
 * Opens or creates the control object of a name, for an index.
 *
 * Return: 0 and a mapping of it. Errors: -EEXIST the name belongs to another index (error says what
 * to do); -EBADMSG, -EPROTONOSUPPORT what is there is not a control object that this library knows;
 * -ENOSPC, -EACCES, ... Owner: the caller, until lanemap_shm_control_close().
 */
int lanemap_shm_control_open(int shm_dir_fd, const char *name, const unsigned char *uuid,
                             mode_t mode, struct lanemap_shm_control **ret_control,
                             struct lanemap_error *error);
/*
 * Asks if an index could have the name: called before a new one is written to the disk. Return: 0,
 * also when the name is free. Errors: as lanemap_shm_control_open().
 */
int lanemap_shm_control_check(int shm_dir_fd, const char *name, const unsigned char *uuid,
                              struct lanemap_error *error);
void lanemap_shm_control_close(struct lanemap_shm_control *control);

struct lanemap_shm_data_options {
        const char *name;
        mode_t mode;
        uint64_t bytes_min; /* to begin with, when there is room: as large as a spare, so that the
                               place of one becomes the next one's */
        uint64_t bytes_max;
        const unsigned char *uuid;
        const unsigned char *hash_key;
        uint32_t fingerprint_bits;
        uint32_t n_lanes;
        const struct lanemap_slot *slots;
        const char *directory;      /* where readers find the segment files; absolute */
        const char *copy_directory; /* and their copies; absolute; NULL: there are none */
        const struct lanemap_clock *clock;
        struct lanemap_shm_quarantine quarantine;
        bool from_spare; /* the spare object becomes this one, if there is one (S4) */
        bool is_private; /* it has no name: only this process has it, without /dev/shm's limit */
};

/* A data object that this process writes. */
struct lanemap_shm_data_object {
        int fd;
        unsigned char *base;
        uint64_t mapped_bytes;
        uint64_t generation;
        struct lanemap_shm_data *data;
        struct lanemap_lane_shm *lanes;
        struct lanemap_shm_arena *arena;
        uint64_t *known_bytes; /* kept at the object's size, before anything in what is new is
                                  published; may be NULL */
        int (*spare_ensure)(void *arg); /* S5; may be NULL. Return: 0, -ENOSPC, another errno */
        void *spare_arg;
};

/*
 * Creates a data object of a new random generation: head, slot table, lanes without views, and an
 * arena over the rest. Not yet published.
 *
 * Return: 0. Errors: -ENOSPC, -ENOMEM, ... Owner: *ret_object must stay where it is until
 * lanemap_shm_data_close(), which the arena's growth depends on.
 */
int lanemap_shm_data_create(int shm_dir_fd, struct lanemap_shm_control *control,
                            const struct lanemap_shm_data_options *options,
                            struct lanemap_shm_data_object *ret_object);

/* Gives up all that was allocated in it. Not once it was published. Return: 0, -ENOMEM. */
int lanemap_shm_data_reset(struct lanemap_shm_data_object *object);

/* Unmaps it; the object itself stays. Fine on a zeroed struct with fd -1. */
void lanemap_shm_data_close(struct lanemap_shm_data_object *object);

/*
 * Reserves room for a writer that takes over: the spare object, of so many bytes or more, all of
 * them allocated. One that is there already will do, and is made larger where it has to be.
 *
 * Return: 0. Errors: -ENOSPC; -EPERM somebody else's is in the way; errno.
 */
int lanemap_shm_spare_make(int shm_dir_fd, const char *name, uint64_t bytes);

/* Makes a generation the one in force (S3). */
void lanemap_shm_publish(struct lanemap_shm_control *control, uint64_t generation);

/* Unlinks every data object of a name but the one that the control object names. Return: 0, -errno.
 */
int lanemap_shm_unlink_others(int shm_dir_fd, const char *name, uint64_t keep_generation);

#endif
