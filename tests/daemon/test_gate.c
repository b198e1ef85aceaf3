/* The durability gate: GT1 and GT2 of gate.h, by hand and against a slow model. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "daemon/loop/gate.h"

TestSuite(gate, .timeout = 60);

Test(gate, nothing_leaves_before_its_position)
{
        struct lanemap_gate gate = {0};

        cr_assert_eq(lanemap_gate_push(&gate, 10, 5, 4), 0);
        cr_assert_eq(lanemap_gate_push(&gate, 20, 5, 4), 0);
        cr_assert_eq(lanemap_gate_push(&gate, 30, 6, 4), 0);
        cr_expect_eq(gate.n_marks, 2, "replies of one position share a mark");
        lanemap_gate_release(&gate, 4);
        cr_expect_eq(gate.released, 0);
        lanemap_gate_release(&gate, 5);
        cr_expect_eq(gate.released, 20);
        lanemap_gate_release(&gate, 100);
        cr_expect_eq(gate.released, 30);
        cr_expect(lanemap_gate_is_open(&gate));
        lanemap_gate_deinit(&gate);
}

Test(gate, what_is_acknowledged_passes_at_once_but_not_past_others)
{
        struct lanemap_gate gate = {0};

        cr_assert_eq(lanemap_gate_push(&gate, 10, 5, 5), 0);
        cr_expect_eq(gate.released, 10);
        cr_assert_eq(lanemap_gate_push(&gate, 20, 6, 5), 0);
        /* Computed at an older position, but behind a reply that waits. */
        cr_assert_eq(lanemap_gate_push(&gate, 30, 5, 5), 0);
        cr_expect_eq(gate.released, 10);
        lanemap_gate_release(&gate, 6);
        cr_expect_eq(gate.released, 30);
        lanemap_gate_deinit(&gate);
}

Test(gate, dropping_counts_every_reply_that_waits)
{
        struct lanemap_gate gate = {0};

        lanemap_gate_push(&gate, 10, 1, 1);
        for (uint64_t i = 0; i < 10; i++)
                lanemap_gate_push(&gate, 20 + i, 2 + i / 3, 1);
        lanemap_gate_release(&gate, 2);
        cr_expect_eq(gate.released, 22);
        cr_expect_eq(lanemap_gate_drop(&gate), 7);
        cr_expect(lanemap_gate_is_open(&gate));
        cr_expect_eq(gate.released, 22);
        lanemap_gate_deinit(&gate);
}

Test(gate, random_against_a_list)
{
        enum { n = 20000 };
        static uint64_t through[n], position[n];
        struct lanemap_gate gate = {0};
        uint64_t byte = 0, at = 0, acknowledged = 0;
        size_t first = 0, n_replies = 0;

        srand(7);
        while (n_replies < n) {
                if (rand() % 4) {
                        byte += 1 + (uint64_t)rand() % 50;
                        at += rand() % 3 == 0;
                        cr_assert_eq(lanemap_gate_push(&gate, byte, at, acknowledged), 0);
                        through[n_replies] = byte;
                        position[n_replies++] = at;
                } else if (rand() % 50 == 0) {
                        while (first < n_replies && position[first] <= acknowledged)
                                first++;
                        cr_assert_eq(lanemap_gate_drop(&gate), n_replies - first);
                        first = n_replies;
                        byte = gate.released;
                        if (first > 0) /* what was dropped is cut off the stream */
                                through[first - 1] = byte;
                } else {
                        acknowledged += (uint64_t)rand() % (at - acknowledged + 1);
                        lanemap_gate_release(&gate, acknowledged);
                }
                while (first < n_replies && position[first] <= acknowledged)
                        first++;
                cr_assert(first == 0 || first == n_replies || gate.released < through[first]);
                cr_assert(first == n_replies || first == 0 || position[first - 1] > acknowledged ||
                          gate.released >= through[first - 1]);
        }
        lanemap_gate_deinit(&gate);
}
