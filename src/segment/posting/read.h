/*
 * A posting as a lookup finds it: one id inline, a list somewhere in a section's postings area, or
 * a tombstone. The bytes are foreign: every step is bounded by the window that came with the
 * posting, every malformed byte answers -EBADMSG.
 *
 * The layout is in format.h. A list longer than 128 ids has a skip record per block, so
 * that contains() reads a few lines of them and decodes one block.
 */
#ifndef LANEMAP_SEGMENT_POSTING_READ_H
#define LANEMAP_SEGMENT_POSTING_READ_H

#include "segment/format.h"

struct lanemap_segment_posting {
        const unsigned char *bytes; /* after n_ids; NULL: inline, or a tombstone */
        size_t n_bytes;             /* may reach past the list's own end */
        uint32_t n_ids;             /* 0: a tombstone */
        uint32_t id;                /* when inline: the one id */
};

/*
 * Opens the list at `offset` of a postings area.
 *
 * ids_max      the section's longest list; a longer one is malformed
 *
 * Return: 0. Errors: -EBADMSG. Thread: any. Cost: one cache miss.
 */
int lanemap_segment_posting_open(const unsigned char *postings, uint64_t postings_bytes,
                                 uint64_t offset, uint32_t ids_max,
                                 struct lanemap_segment_posting *ret_posting);

/*
 * Writes all n_ids ids, strictly ascending.
 *
 * ids          room for posting->n_ids; its content is undefined after an error
 *
 * Return: 0. Errors: -EBADMSG. Thread: any. Cost: 1 to 2 ns an id.
 */
int lanemap_segment_posting_copy(const struct lanemap_segment_posting *posting, uint32_t *ids);

/* The same; also answers where the list ends, counted from posting->bytes (0 when inline). */
int lanemap_segment_posting_copy_end(const struct lanemap_segment_posting *posting, uint32_t *ids,
                                     size_t *ret_end);

/* Where a walk through a list is: private, plain values; the pointers are into the section. */
struct lanemap_segment_posting_walk {
        struct lanemap_segment_posting posting;
        const unsigned char *at; /* the next encoded id */
        uint32_t n_left;         /* ids that are still to come */
        uint32_t last_id;
};

/* Return: 0. Errors: -EBADMSG. */
int lanemap_segment_posting_walk_begin(const struct lanemap_segment_posting *posting,
                                       struct lanemap_segment_posting_walk *ret_walk);

/*
 * Decodes the next ids, at most LANEMAP_SEGMENT_POSTING_BLOCK. Together the chunks are what
 * lanemap_segment_posting_copy() copies.
 *
 * ids          room for LANEMAP_SEGMENT_POSTING_BLOCK
 *
 * Return: 1 and a chunk, 0 there are no more. Errors: -EBADMSG. Cost: 1 to 2 ns an id.
 */
int lanemap_segment_posting_walk_next(struct lanemap_segment_posting_walk *walk, uint32_t *ids,
                                      uint32_t *ret_n_ids);

/*
 * For a walk that has just begun: it goes on at the block where `from` is or belongs, so its first
 * chunk may begin with smaller ids.
 *
 * Return: 0. Errors: -EBADMSG. Cost: a few lines of skip records.
 */
int lanemap_segment_posting_walk_seek(struct lanemap_segment_posting_walk *walk, uint32_t from);

/* Return: 1 the id is in it, 0 it is not. Errors: -EBADMSG. Cost: decodes up to 128 ids. */
int lanemap_segment_posting_contains(const struct lanemap_segment_posting *posting, uint32_t id);

#endif
