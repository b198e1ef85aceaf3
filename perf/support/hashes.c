/*
 * See hashes.h. A radix sort of the top 33 bits puts random hashes in order but for a few, which
 * lie beside their places; an insertion sort does the rest.
 */
#include "hashes.h"

#include <stdlib.h>

#include "keys.h"
#include "memory.h"

#define DIGIT_BITS 11
#define N_DIGITS   3
#define RADIX      (1u << DIGIT_BITS)

static unsigned digit_of(uint64_t hash, int digit)
{
        return hash >> (64 - DIGIT_BITS * (N_DIGITS - digit)) & (RADIX - 1);
}

static void digit_sort(const uint64_t *from, uint64_t *to, size_t n, int digit)
{
        size_t starts[RADIX] = {0}, before = 0;

        for (size_t i = 0; i < n; i++)
                starts[digit_of(from[i], digit)]++;
        for (size_t i = 0; i < RADIX; i++) {
                size_t n_here = starts[i];

                starts[i] = before;
                before += n_here;
        }
        for (size_t i = 0; i < n; i++)
                to[starts[digit_of(from[i], digit)]++] = from[i];
}

static void nearly_sorted_sort(uint64_t *hashes, size_t n)
{
        for (size_t i = 1; i < n; i++) {
                uint64_t hash = hashes[i];
                size_t k = i;

                for (; k > 0 && hashes[k - 1] > hash; k--)
                        hashes[k] = hashes[k - 1];
                hashes[k] = hash;
        }
}

uint64_t *perf_hashes_sorted(size_t n)
{
        uint64_t *from = perf_allocate((n + 1) * sizeof(*from)),
                 *to = perf_allocate((n + 1) * sizeof(*to));

        for (size_t i = 0; i < n; i++)
                from[i] = perf_mix64(i);
        for (int digit = 0; digit < N_DIGITS; digit++) {
                uint64_t *other = from;

                digit_sort(from, to, n, digit);
                from = to;
                to = other;
        }
        free(to);
        nearly_sorted_sort(from, n);
        return from;
}
