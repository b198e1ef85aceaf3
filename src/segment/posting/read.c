/*
 * Decoding posting lists. See posting/read.h and, for the layout, format.h.
 *
 * The invariant of every loop: `at` never passes `end`, and `end` is the end of the window.
 */
#include "segment/posting/read.h"

#include <errno.h>
#include <lanemap/lanemap.h>

struct span {
        const unsigned char *at;
        const unsigned char *end;
};

static int varint_read_long(struct span *span, uint32_t *ret_value)
{
        uint64_t value = 0;

        for (uint32_t i = 0; i < LANEMAP_SEGMENT_VARINT_BYTES_MAX && span->at < span->end; i++) {
                unsigned char byte = *span->at++;

                value |= (uint64_t)(byte & 0x7f) << (7 * i);
                if (byte & 0x80)
                        continue;
                if ((byte == 0 && i > 0) || value > UINT32_MAX)
                        return -EBADMSG;

                *ret_value = (uint32_t)value;
                return 0;
        }

        return -EBADMSG;
}

LANEMAP_ALWAYS_INLINE int varint_read(struct span *span, uint32_t *ret_value)
{
        if (LANEMAP_LIKELY(span->at < span->end && *span->at < 0x80)) {
                *ret_value = *span->at++;
                return 0;
        }

        return varint_read_long(span, ret_value);
}

/* The n_ids - 1 ids after ids[0]. */
static int ids_read(struct span *span, uint32_t *ids, uint32_t n_ids)
{
        uint64_t id = ids[0];

        if (id > LANEMAP_ID_MAX)
                return -EBADMSG;

        for (uint32_t i = 1; i < n_ids; i++) {
                uint32_t gap;

                if (LANEMAP_UNLIKELY(varint_read(span, &gap) < 0))
                        return -EBADMSG;

                id += (uint64_t)gap + 1;
                if (LANEMAP_UNLIKELY(id > LANEMAP_ID_MAX))
                        return -EBADMSG;

                ids[i] = (uint32_t)id;
        }

        return 0;
}

/* The skip records of a long list. */
struct blocks {
        const unsigned char *skip;
        struct span data;
        uint32_t n_blocks;
};

static int blocks_open(const struct lanemap_segment_posting *posting, struct blocks *ret_blocks)
{
        uint32_t n_blocks =
                (uint32_t)(((uint64_t)posting->n_ids + LANEMAP_SEGMENT_POSTING_BLOCK - 1) /
                           LANEMAP_SEGMENT_POSTING_BLOCK);
        uint64_t skip_bytes = (uint64_t)n_blocks * LANEMAP_SEGMENT_SKIP_BYTES;

        if (skip_bytes > posting->n_bytes)
                return -EBADMSG;

        ret_blocks->skip = posting->bytes;
        ret_blocks->data.at = posting->bytes + skip_bytes;
        ret_blocks->data.end = posting->bytes + posting->n_bytes;
        ret_blocks->n_blocks = n_blocks;
        return 0;
}

static uint32_t block_first_id(const struct blocks *blocks, uint32_t block)
{
        return lanemap_load_le32(blocks->skip + (size_t)block * LANEMAP_SEGMENT_SKIP_BYTES);
}

static uint32_t block_offset(const struct blocks *blocks, uint32_t block)
{
        return lanemap_load_le32(blocks->skip + (size_t)block * LANEMAP_SEGMENT_SKIP_BYTES + 4);
}

/* The last block that begins at or before id, or the first one. */
static uint32_t block_of(const struct blocks *blocks, uint32_t id)
{
        uint32_t low = 0, high = blocks->n_blocks;

        while (high - low > 1) {
                uint32_t middle = low + (high - low) / 2;

                if (block_first_id(blocks, middle) <= id)
                        low = middle;
                else
                        high = middle;
        }

        return low;
}

static uint32_t block_n_ids(const struct lanemap_segment_posting *posting, uint32_t block)
{
        uint32_t left = posting->n_ids - block * LANEMAP_SEGMENT_POSTING_BLOCK;

        return LANEMAP_MIN(left, LANEMAP_SEGMENT_POSTING_BLOCK);
}

int lanemap_segment_posting_open(const unsigned char *postings, uint64_t postings_bytes,
                                 uint64_t offset, uint32_t ids_max,
                                 struct lanemap_segment_posting *ret_posting)
{
        struct span span;
        uint32_t n_ids;

        if (offset >= postings_bytes)
                return -EBADMSG;

        span.at = postings + offset;
        span.end = postings + postings_bytes;
        if (varint_read(&span, &n_ids) < 0)
                return -EBADMSG;

        /* Every id takes a byte or more, so n_ids bounds what a caller needs room for. */
        if (n_ids < 2 || n_ids > ids_max || n_ids > (uint64_t)(span.end - span.at))
                return -EBADMSG;

        *ret_posting = (struct lanemap_segment_posting){
                .bytes = span.at, .n_bytes = (size_t)(span.end - span.at), .n_ids = n_ids};
        return 0;
}

static int short_copy(const struct lanemap_segment_posting *posting, uint32_t *ids, size_t *ret_end)
{
        struct span span = {posting->bytes, posting->bytes + posting->n_bytes};

        if (varint_read(&span, &ids[0]) < 0 || ids_read(&span, ids, posting->n_ids) < 0)
                return -EBADMSG;

        *ret_end = (size_t)(span.at - posting->bytes);
        return 0;
}

/* The blocks must lie one after the other, so that a list has one spelling. */
static int long_copy(const struct lanemap_segment_posting *posting, uint32_t *ids, size_t *ret_end)
{
        const unsigned char *data;
        struct blocks blocks;
        int r;

        r = blocks_open(posting, &blocks);
        if (r < 0)
                return r;

        data = blocks.data.at;
        for (uint32_t b = 0; b < blocks.n_blocks; b++) {
                uint32_t *block_ids = ids + (size_t)b * LANEMAP_SEGMENT_POSTING_BLOCK;

                block_ids[0] = block_first_id(&blocks, b);
                if (block_offset(&blocks, b) != (size_t)(blocks.data.at - data) ||
                    (b > 0 && block_ids[0] <= block_ids[-1]))
                        return -EBADMSG;

                r = ids_read(&blocks.data, block_ids, block_n_ids(posting, b));
                if (r < 0)
                        return r;
        }

        *ret_end = (size_t)(blocks.data.at - posting->bytes);
        return 0;
}

int lanemap_segment_posting_copy_end(const struct lanemap_segment_posting *posting, uint32_t *ids,
                                     size_t *ret_end)
{
        if (!posting->bytes) {
                if (posting->n_ids > 0)
                        ids[0] = posting->id;
                *ret_end = 0;
                return 0;
        }
        if (posting->n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return short_copy(posting, ids, ret_end);

        return long_copy(posting, ids, ret_end);
}

int lanemap_segment_posting_copy(const struct lanemap_segment_posting *posting, uint32_t *ids)
{
        size_t end;

        return lanemap_segment_posting_copy_end(posting, ids, &end);
}

/* ---- chunk by chunk ---- */

int lanemap_segment_posting_walk_begin(const struct lanemap_segment_posting *posting,
                                       struct lanemap_segment_posting_walk *ret_walk)
{
        struct blocks blocks;
        int r;

        ret_walk->posting = *posting;
        ret_walk->at = posting->bytes;
        ret_walk->n_left = posting->n_ids;
        ret_walk->last_id = 0;
        if (!posting->bytes || posting->n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return 0;

        r = blocks_open(posting, &blocks);
        if (r == 0)
                ret_walk->at = blocks.data.at;
        return r;
}

int lanemap_segment_posting_walk_seek(struct lanemap_segment_posting_walk *walk, uint32_t from)
{
        struct blocks blocks;
        uint32_t block;
        int r;

        if (!walk->posting.bytes || walk->posting.n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return 0;
        r = blocks_open(&walk->posting, &blocks);
        if (r < 0)
                return r;

        block = block_of(&blocks, from);
        if (block_offset(&blocks, block) > (size_t)(blocks.data.end - blocks.data.at))
                return -EBADMSG;
        walk->at = blocks.data.at + block_offset(&blocks, block);
        walk->n_left = walk->posting.n_ids - block * LANEMAP_SEGMENT_POSTING_BLOCK;
        walk->last_id = block > 0 ? block_first_id(&blocks, block - 1) : 0;
        return 0;
}

/* The first id of a block: its skip record has it, and where the block has to begin. */
static int walk_first_id(const struct lanemap_segment_posting_walk *walk, struct span *span,
                         uint32_t *ret_id)
{
        uint32_t block = (walk->posting.n_ids - walk->n_left) / LANEMAP_SEGMENT_POSTING_BLOCK;
        struct blocks blocks;
        int r;

        if (walk->posting.n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return varint_read(span, ret_id);

        r = blocks_open(&walk->posting, &blocks);
        if (r < 0)
                return r;

        *ret_id = block_first_id(&blocks, block);
        return block_offset(&blocks, block) != (size_t)(span->at - blocks.data.at) ||
                               (block > 0 && *ret_id <= walk->last_id)
                       ? -EBADMSG
                       : 0;
}

int lanemap_segment_posting_walk_next(struct lanemap_segment_posting_walk *walk, uint32_t *ids,
                                      uint32_t *ret_n_ids)
{
        uint32_t n = LANEMAP_MIN(walk->n_left, LANEMAP_SEGMENT_POSTING_BLOCK);
        struct span span = {walk->at, NULL};

        if (n == 0)
                return 0;
        if (!walk->posting.bytes) {
                ids[0] = walk->posting.id;
        } else {
                span.end = walk->posting.bytes + walk->posting.n_bytes;
                if (walk_first_id(walk, &span, &ids[0]) < 0 || ids_read(&span, ids, n) < 0)
                        return -EBADMSG;
        }

        walk->at = span.at;
        walk->last_id = ids[n - 1];
        walk->n_left -= n;
        *ret_n_ids = n;
        return 1;
}

/* Return: whether id is in a run that starts with `first` and goes on with n_ids - 1 varints. */
static int run_contains(struct span *span, uint32_t first, uint32_t n_ids, uint32_t id)
{
        uint64_t at = first;

        for (uint32_t i = 1; at < id && i < n_ids; i++) {
                uint32_t gap;

                if (varint_read(span, &gap) < 0)
                        return -EBADMSG;

                at += (uint64_t)gap + 1;
        }

        return at > LANEMAP_ID_MAX ? -EBADMSG : at == id;
}

static int long_contains(const struct lanemap_segment_posting *posting, uint32_t id)
{
        uint32_t low, from, to;
        struct blocks blocks;
        size_t n_bytes;
        int r;

        r = blocks_open(posting, &blocks);
        if (r < 0)
                return r;

        low = block_of(&blocks, id);
        n_bytes = (size_t)(blocks.data.end - blocks.data.at);
        from = block_offset(&blocks, low);
        to = low + 1 < blocks.n_blocks ? block_offset(&blocks, low + 1)
                                       : (uint32_t)LANEMAP_MIN(n_bytes, UINT32_MAX);
        if (from > to || to > n_bytes)
                return -EBADMSG;

        blocks.data.end = blocks.data.at + to;
        blocks.data.at += from;
        return run_contains(&blocks.data, block_first_id(&blocks, low), block_n_ids(posting, low),
                            id);
}

int lanemap_segment_posting_contains(const struct lanemap_segment_posting *posting, uint32_t id)
{
        struct span span;
        uint32_t first;

        if (!posting->bytes)
                return posting->n_ids == 1 && posting->id == id;
        if (posting->n_ids > LANEMAP_SEGMENT_POSTING_BLOCK)
                return long_contains(posting, id);

        span.at = posting->bytes;
        span.end = posting->bytes + posting->n_bytes;
        if (varint_read(&span, &first) < 0)
                return -EBADMSG;

        return run_contains(&span, first, posting->n_ids, id);
}
