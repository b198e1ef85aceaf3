/* See private.h: the memory of everything. */
#include "index/private.h"

struct index_memory index_memory_take(const struct perf_place *place,
                                      const struct index_writer *writer)
{
        struct index_memory memory = {0};
        struct perf_footprint *footprint = &memory.footprint;
        int r;

        r = perf_footprint_take(place->name, place->directory, writer->pid, footprint);
        if (r < 0)
                perf_die("footprint", r);

        if (footprint->anonymous_bytes > writer->anonymous_bytes)
                memory.private_bytes = footprint->anonymous_bytes - writer->anonymous_bytes;
        memory.memory_bytes =
                footprint->shared_bytes + memory.private_bytes + footprint->cached_bytes;
        memory.disk_bytes =
                footprint->segment_bytes + footprint->log_bytes + footprint->manifest_bytes;
        return memory;
}
