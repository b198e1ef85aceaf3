/*
 * Recovers entries of a damaged segment file, in a copy in memory.
 *
 * First the copy is put right where something else says what must be there: the file's header is
 * made from the manifest; in the table and in the sections' headers, whose check values are strong,
 * each byte is tried in turn until the check is right; a table that stays wrong is made from the
 * sections' headers; the bytes between arrays are made zero. If the whole then has the manifest's
 * 256-bit checksum, every byte is what was written, and nothing is lost.
 *
 * Otherwise each section gives the entries that validate:
 *
 *   X1  A section that verifies as a whole is kept as it is, as suspect: some byte of the file is
 *       wrong, and it may be one of its ids. So is one that does without its filter: a filter says
 *       nothing that the rest does not, and the next merge makes another.
 *   X2  Of a packed section with damage, entries are taken group by group: a group whose directory
 *       record does not fit its neighbours is left out, and so are entries out of order or out of
 *       range, and entries that lie in bytes that could not be read.
 *   X3  Of a section with a perfect hash, entries are taken one by one: an entry whose own
 *       fingerprint, looked up, leads to it. So each is checked by the index and checks the index:
 *       what a damaged seed or bit moved is left out, and so is a damaged hash, but for a chance of
 *       one in the keys of its bucket (100 or 2048), with which it stays as a key that nobody has.
 *       A damaged list of the buckets' beginnings costs the buckets that it is wrong about. Ids
 *       are as suspect as in X1.
 *   X4  Sections without a header are lost as a whole.
 */
#ifndef LANEMAP_DIRECTORY_SALVAGE_H
#define LANEMAP_DIRECTORY_SALVAGE_H

#include "segment/file_write.h"
#include "verify/verify.h"

struct lanemap_salvage_section {
        uint32_t lane;
        struct lanemap_segment_built built; /* in the heap; n_keys 0: nothing was left */
        uint64_t n_lost; /* entries that the manifest counted and are not there */
        uint32_t kind;
        uint32_t level;
        bool intact; /* X1 */
};

struct lanemap_salvage {
        struct lanemap_heap *heap;
        unsigned char *image; /* of the heap; n_bytes of the file, as far as they are known */
        bool exact;           /* the image is what was written */
        struct lanemap_salvage_section *sections; /* one per use of the file, when not exact */
};

/*
 * slots          of the index: the lane of each slot
 * ret_salvage    give it back with lanemap_salvage_deinit()
 *
 * Return: 0, also when nothing was left. Errors: -ENOENT there is no file; -ENOMEM; errno of open.
 * Cost: twice the file in memory; up to a second for each header that is damaged.
 */
int lanemap_salvage_run(const struct lanemap_files *files, int dir_fd,
                        const struct lanemap_verify_file *file, const struct lanemap_slot *slots,
                        struct lanemap_salvage *ret_salvage);
void lanemap_salvage_deinit(struct lanemap_salvage *salvage);

#endif
