/* Ids of a key: ascending, without duplicates. */
#ifndef LANEMAP_COMMON_IDS_H
#define LANEMAP_COMMON_IDS_H

#include "common/base.h"

/* Return: how many of them are below `id`: where it is, or belongs. */
static inline size_t lanemap_ids_below(const uint32_t *ids, size_t n_ids, uint64_t id)
{
        size_t low = 0;

        while (low < n_ids) {
                size_t middle = low + (n_ids - low) / 2;

                if (ids[middle] < id)
                        low = middle + 1;
                else
                        n_ids = middle;
        }
        return low;
}

#endif
