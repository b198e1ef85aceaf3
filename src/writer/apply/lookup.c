/*
 * Lookups of this process, the position, the mark.
 *
 * A lookup is as a reader's, over the writer's own mapping. An outcome that is not an answer means
 * that the view changed under it, since everything that a published view names is mapped here: the
 * generation moved on, or the object has grown since the lookup began, and an offset of the new
 * part was past the size that it knew. Then it is made again.
 */
#include "writer/core/engine.h"

#include <errno.h>
#include <string.h>

#include "common/rcu.h"
#include "writer/health/health.h"

struct question {
        struct lanemap_fingerprint fp;
        enum { LOOKUP, LOOKUP_FROM, CONTAINS, POSTING_BYTES } kind;
        uint32_t id; /* of contains(), and lookup_from() */
        bool found;
        uint32_t *ids; /* of the lookups */
        size_t ids_capacity;
        size_t *ret_n_ids;
        uint64_t n_chunks; /* of posting_bytes() */
        uint64_t n_bytes, n_ids;
};

static int question_try(const struct lanemap_shm_region *region, struct question *question)
{
        uint64_t n_tries = 0;

        switch (question->kind) {
        case CONTAINS:
                return lanemap_shm_contains(region, question->fp, question->id, &question->found,
                                            &n_tries);
        case LOOKUP_FROM:
                return lanemap_shm_lookup_from(region, question->fp, question->id, question->ids,
                                               question->ids_capacity, question->ret_n_ids,
                                               &n_tries);
        case POSTING_BYTES:
                return lanemap_shm_posting_bytes(region, question->fp, question->n_chunks,
                                                 &question->n_bytes, &question->n_ids, &n_tries);
        default:
                return lanemap_shm_lookup(region, question->fp, question->ids,
                                          question->ids_capacity, question->ret_n_ids, &n_tries);
        }
}

static bool is_overtaken(const struct lanemap_shm_region *region, uint64_t bytes_before, int r)
{
        return r > 0 || r == -EAGAIN ||
               (r == -EBADMSG && lanemap_load_relaxed(&region->bytes) != bytes_before);
}

/* Of a copy that cannot be read there is an original. */
static bool copies_give_up(struct lanemap_writer *writer)
{
        bool any;

        lanemap_mutex_lock(&writer->lanes.lock);
        any = lanemap_engine_copies_give_up(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return any;
}

static int question_ask(struct lanemap_writer *writer, struct question *question,
                        uint64_t *ret_position)
{
        bool again;
        int r;

        do {
                const struct lanemap_shm_region *region;
                uint64_t bytes;

                lanemap_rcu_read_lock();
                region = lanemap_load_acquire(&writer->shm.region);
                bytes = lanemap_load_relaxed(&region->bytes);
                r = question_try(region, question);
                again = is_overtaken(region, bytes, r);
                lanemap_rcu_read_unlock();
                if (LANEMAP_UNLIKELY(r == -EBADMSG) && !again)
                        again = copies_give_up(writer);
        } while (again);

        if (LANEMAP_UNLIKELY(r == -EBADMSG))
                lanemap_engine_hits_take(writer);

        if (ret_position)
                *ret_position = lanemap_load_acquire(&writer->lanes.position);
        return r;
}

int lanemap_writer_lookup(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                          uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids,
                          uint64_t *ret_position)
{
        struct question question = {
                .ids = ids,
                .ids_capacity = ids_capacity,
                .ret_n_ids = ret_n_ids,
        };

        if (!key || key_bytes < 1 || key_bytes > LANEMAP_KEY_BYTES_MAX || !ret_n_ids)
                return -EINVAL;

        question.fp = lanemap_fingerprint_of(&writer->identity.hash_key, key, key_bytes);
        return question_ask(writer, &question, ret_position);
}

int lanemap_writer_lookup_from(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                               uint32_t from, uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids,
                               uint64_t *ret_position)
{
        struct question question = {
                .kind = LOOKUP_FROM,
                .id = from,
                .ids = ids,
                .ids_capacity = ids_capacity,
                .ret_n_ids = ret_n_ids,
        };

        if (!key || key_bytes < 1 || key_bytes > LANEMAP_KEY_BYTES_MAX || !ret_n_ids)
                return -EINVAL;

        question.fp = lanemap_fingerprint_of(&writer->identity.hash_key, key, key_bytes);
        return question_ask(writer, &question, ret_position);
}

int lanemap_writer_contains(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                            uint32_t id, uint64_t *ret_position)
{
        struct question question = {.kind = CONTAINS, .id = id};
        int r;

        if (!key || key_bytes < 1 || key_bytes > LANEMAP_KEY_BYTES_MAX || id > LANEMAP_ID_MAX)
                return -EINVAL;

        question.fp = lanemap_fingerprint_of(&writer->identity.hash_key, key, key_bytes);
        r = question_ask(writer, &question, ret_position);
        return r < 0 ? r : question.found;
}

int lanemap_writer_posting_bytes(struct lanemap_writer *writer, const void *key, size_t key_bytes,
                                 uint64_t n_chunks, uint64_t *ret_bytes, uint64_t *ret_n_ids,
                                 uint64_t *ret_position)
{
        struct question question = {.kind = POSTING_BYTES, .n_chunks = n_chunks};
        int r;

        if (!key || key_bytes < 1 || key_bytes > LANEMAP_KEY_BYTES_MAX)
                return -EINVAL;

        question.fp = lanemap_fingerprint_of(&writer->identity.hash_key, key, key_bytes);
        r = question_ask(writer, &question, ret_position);
        if (r < 0)
                return r;

        *ret_n_ids = question.n_ids;
        *ret_bytes = question.n_ids > 0 ? question.n_bytes : 0;
        return 0;
}

int lanemap_writer_fingerprint(const struct lanemap_writer *writer, const void *key,
                               size_t key_bytes, uint64_t ret_words[2])
{
        struct lanemap_fingerprint fp;

        if (!key || key_bytes < 1 || key_bytes > LANEMAP_KEY_BYTES_MAX)
                return -EINVAL;

        fp = lanemap_fingerprint_of(&writer->identity.hash_key, key, key_bytes);
        ret_words[0] = fp.hash;
        ret_words[1] = fp.ext;
        return 0;
}

uint64_t lanemap_writer_position(struct lanemap_writer *writer)
{
        return lanemap_load_acquire(&writer->lanes.position);
}

void lanemap_writer_mark(struct lanemap_writer *writer, void *mark, size_t *ret_bytes,
                         uint64_t *ret_position)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        memcpy(mark, writer->lanes.mark.bytes, writer->lanes.mark.n_bytes);
        *ret_bytes = writer->lanes.mark.n_bytes;
        if (ret_position)
                *ret_position = writer->lanes.mark.position;
        lanemap_mutex_unlock(&writer->lanes.lock);
}
