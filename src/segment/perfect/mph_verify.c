/* Verification of a section around a perfect hash. See perfect/mph_build.h. */
#include "segment/perfect/mph_build.h"

#include "segment/section_read.h"

void lanemap_mph_sizes(const struct lanemap_segment *segment, struct lanemap_segment_sizes *ret)
{
        *ret = (struct lanemap_segment_sizes){
                .index_bytes = LANEMAP_SECTION64(segment->section, index_bytes),
                .entry_bits = segment->mph.entry_bits,
        };
}

int lanemap_mph_verify_buckets(const struct lanemap_segment *segment,
                               const struct lanemap_segment_ops *ops,
                               struct lanemap_segment_report *report)
{
        struct lanemap_mph_bucket bucket;
        uint32_t fullest = 0;

        for (uint32_t i = 0; i < segment->mph.n_buckets; i++) {
                if (ops->bucket(segment, i, &bucket) < 0)
                        return lanemap_segment_wrong(report,
                                                     LANEMAP_SECTION64(segment->section, index_off),
                                                     "index: a bucket is not where it can be");
                fullest = LANEMAP_MAX(fullest, bucket.n);
        }
        if (fullest != segment->mph.bucket_entries_max)
                return lanemap_segment_wrong(
                        report, offsetof(struct lanemap_segment_section_file, bucket_entries_max),
                        "section header: the fullest bucket has another size");

        return 0;
}
