/* Postings of either kind of level. See lane_read.h. */
#include "lane/lane_read.h"

int lanemap_lane_posting_count(const struct lanemap_window *window,
                               const struct lanemap_lane_posting *posting, uint64_t *ret_n_ids)
{
        if (posting->in_overlay)
                return lanemap_overlay_posting_count(window, posting->overlay_value, ret_n_ids);

        *ret_n_ids = posting->segment.n_ids;
        return 0;
}

int lanemap_lane_posting_copy(const struct lanemap_window *window,
                              const struct lanemap_lane_posting *posting, uint32_t *ids,
                              size_t capacity, size_t *ret_n_ids)
{
        int r;

        if (posting->in_overlay)
                return lanemap_overlay_posting_copy(window, posting->overlay_value, ids, capacity,
                                                    ret_n_ids);

        if (posting->segment.n_ids <= capacity) {
                r = lanemap_segment_posting_copy(&posting->segment, ids);
                if (r < 0)
                        return r;
        }

        *ret_n_ids = posting->segment.n_ids;
        return 0;
}

int lanemap_lane_posting_contains(const struct lanemap_window *window,
                                  const struct lanemap_lane_posting *posting, uint32_t id)
{
        if (posting->in_overlay)
                return lanemap_overlay_posting_contains(window, posting->overlay_value, id);

        return lanemap_segment_posting_contains(&posting->segment, id);
}
