/*
 * Runs while the library is built and writes the table of perfect/recsplit_tree_format.h as C. See
 * there for why it has to be exact: no function of the mathematical library is called.
 */
#include <stdio.h>

#include "segment/perfect/recsplit_tree_format.h"

/* (the golden ratio) - 1: where a Rice code of one more fixed bit becomes the shorter one. */
#define RICE_THRESHOLD 0.61803398874989484820

/* The chance that n keys fall to parts of just the right sizes: a multinomial. */
static double chance(uint32_t n, uint32_t part)
{
        double p = 1;
        uint32_t key = 0;

        while (key < n) {
                uint32_t size = LANEMAP_MIN(part, n - key);

                for (uint32_t i = 1; i <= size; i++) {
                        key++;
                        p = p * key / n * size / i;
                }
        }

        return p;
}

static uint32_t rice_bits(double p)
{
        double miss = 1 - p;
        uint32_t bits = 0;

        for (; miss > RICE_THRESHOLD; miss *= miss)
                bits++;

        return bits;
}

static void row_fill(uint32_t leaf, struct lanemap_recsplit_subtree *row)
{
        for (uint32_t n = 2; n <= LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX; n++) {
                uint32_t part = lanemap_recsplit_part(leaf, n), bits = rice_bits(chance(n, part));

                row[n].rice_bits = (uint8_t)bits;
                row[n].fixed_bits = (uint16_t)bits;
                row[n].n_seeds = 1;
                row[n].part = (uint16_t)part;
                for (uint32_t key = 0; key < n; key += part) {
                        const struct lanemap_recsplit_subtree *below =
                                &row[LANEMAP_MIN(part, n - key)];

                        row[n].fixed_bits = (uint16_t)(row[n].fixed_bits + below->fixed_bits);
                        row[n].n_seeds = (uint16_t)(row[n].n_seeds + below->n_seeds);
                }
        }
}

int main(int argc, char **argv)
{
        FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

        if (!out)
                return 2;

        fprintf(out, "/* Written by perfect/recsplit_table_make.c. */\n"
                     "#include \"segment/perfect/recsplit_tree_format.h\"\n\n"
                     "const struct lanemap_recsplit_subtree lanemap_recsplit_subtrees"
                     "[LANEMAP_RECSPLIT_N_LEAVES]\n"
                     "        [LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX + 1] = {\n");
        for (uint32_t i = 0; i < LANEMAP_RECSPLIT_N_LEAVES; i++) {
                static struct lanemap_recsplit_subtree row[LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX + 1];

                row_fill(LANEMAP_RECSPLIT_LEAF_MIN + i, row);
                fprintf(out, "{ /* leaves of %u */\n", LANEMAP_RECSPLIT_LEAF_MIN + i);
                for (uint32_t n = 0; n <= LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX; n++)
                        fprintf(out, "{%u, %u, %u, %u},\n", row[n].fixed_bits, row[n].n_seeds,
                                row[n].part, row[n].rice_bits);
                fprintf(out, "},\n");
        }
        fprintf(out, "};\n");
        return fclose(out) != 0;
}
