/*
 * Views: the public face of shm/read.h, P6. A view is a guard that is still open
 * when the call returns; that is what keeps the bytes mapped, whatever becomes of them.
 *
 * R9. The end check of a view always reports if what was read was true, and nothing else does. A
 *     view that was led astray (an offset into the void, a tree that is none) ends early and waits
 *     for the same check to say whether it was the bytes or their reuse.
 *
 * The state lies in the caller's struct, whose size is part of the ABI; what is in it is not.
 */
#include "reader/private.h"

#include <assert.h>
#include <errno.h>

#include "common/guard.h"
#include "reader/retry.h"

struct view {
        struct lanemap_reader *reader;
        const struct reader_attachment *attachment;
        struct lanemap_guard *guard;
        uint64_t n_retries;
        int outcome; /* 0, or what ended the walk */
        struct lanemap_shm_view shm;
};
static_assert(sizeof(struct view) <= sizeof(((struct lanemap_view *)NULL)->opaque),
              "the struct that callers compiled in");

static struct view *view_of(struct lanemap_view *view)
{
        return (struct view *)(void *)view->opaque;
}

struct view_open {
        const void *key;
        size_t key_bytes;
        struct view *view;
        uint64_t n_ids;
};

LANEMAP_ALWAYS_INLINE int view_try(const struct lanemap_shm_region *region, void *arg)
{
        struct view_open *open = arg;

        return lanemap_shm_view_begin(region,
                                      lanemap_shm_fingerprint(region, open->key, open->key_bytes),
                                      &open->view->shm, &open->n_ids, &open->view->n_retries);
}

int lanemap_reader_view_begin(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                              struct lanemap_view *ret_view)
{
        struct view_open open = {.key = key, .key_bytes = key_bytes};
        struct view *view;
        int r;

        if (LANEMAP_UNLIKELY(!reader || !reader_key_is_valid(key, key_bytes) || !ret_view))
                return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        view = open.view = view_of(ret_view);
        view->reader = reader;
        view->n_retries = 0;
        view->outcome = 0;
        r = reader_retry_in_guard(reader, view_try, &open, &view->guard, &view->attachment);
        if (LANEMAP_UNLIKELY(r < 0)) {
                lanemap_reader_account(reader, 1, view->n_retries);
                return r;
        }

        ret_view->n_ids = (size_t)open.n_ids;
        return 0;
}

size_t lanemap_reader_view_next(struct lanemap_view *ret_view, const uint32_t **ret_ids)
{
        struct view *view = view_of(ret_view);
        const uint32_t *ids;
        uint32_t n_ids;
        int r;

        if (LANEMAP_UNLIKELY(view->outcome < 0))
                return 0;

        r = lanemap_shm_view_next(&view->shm, &ids, &n_ids);
        if (r != 1) {
                view->outcome = r;
                return 0;
        }

        *ret_ids = ids;
        return n_ids;
}

int lanemap_reader_view_end(struct lanemap_view *ret_view)
{
        struct view *view = view_of(ret_view);
        struct reader_snapshot seen = reader_snapshot_of(view->attachment);
        bool believed;
        int r;

        /* The size that the view was read with, even if the process has learned of growth since. */
        seen.bytes = view->shm.window.bytes;
        believed = lanemap_shm_view_end(&view->shm);
        lanemap_guard_leave(view->guard);

        if (LANEMAP_UNLIKELY(!believed || view->outcome == -EAGAIN)) {
                view->n_retries++;
                r = LANEMAP_VIEW_AGAIN;
        } else if (LANEMAP_UNLIKELY(view->outcome < 0)) {
                r = lanemap_reader_refresh(view->reader, view->outcome, &seen);
                r = r < 0 ? r : LANEMAP_VIEW_AGAIN;
        } else {
                r = 0;
        }

        if (LANEMAP_UNLIKELY(view->reader->statistics || view->n_retries))
                lanemap_reader_account(view->reader, r == 0, view->n_retries);
        return r;
}
