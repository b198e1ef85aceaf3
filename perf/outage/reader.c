/*
 * outage-reader: one reader process of perf/outage. It looks up all the time, judges each answer,
 * and says in its slot what it saw: the longest time between two answers, and when a generation
 * first answered.
 *
 *         outage-reader SLOT NAME N_KEYS MEASURING      the slots are the file that is open as 3
 */
#include <errno.h>
#include <lanemap/lanemap.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "outage/private.h"
#include "support/pin.h"

/* Relaxed: the bench only looks. */
static void slot_set(uint64_t *counter, uint64_t value)
{
        __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static struct lanemap_reader *attach(const char *name)
{
        struct lanemap_error error = {0};
        struct lanemap_reader_options options = {
                .size = sizeof(options),
                .attach_timeout_ns = UINT64_C(30000000000),
                .statistics = 1,
                .error = &error,
        };
        struct lanemap_reader *reader;
        int r = lanemap_reader_attach(name, &options, &reader);

        if (r < 0)
                perf_die(error.text, r);
        return reader;
}

/* Detaches and attaches again, once, in the midst of lookups: as it would have to who could not
 * follow. Return: the new reader. */
static struct lanemap_reader *reattach(const char *name, struct lanemap_reader *reader,
                                       struct outage_slot *slot)
{
        uint64_t from = perf_now_ns(), cpu_from = perf_thread_ns();

        lanemap_reader_detach(reader);
        reader = attach(name);
        slot_set(&slot->reattach_cpu_ns, perf_thread_ns() - cpu_from);
        slot_set(&slot->reattach_ns, perf_now_ns() - from);
        __atomic_store_n(&slot->reattach, 0, __ATOMIC_RELEASE);
        return reader;
}

/* Even numbers are there, odd ones are absent keys of the same shape. */
static int lookup(struct lanemap_reader *reader, uint64_t n_keys, uint64_t i,
                  struct outage_slot *slot)
{
        uint64_t number = perf_mix64(i) % n_keys;
        struct perf_route route = perf_key_route(PERF_MIX_SINGLE, number);
        bool absent = i & 1;
        char text[PERF_KEY_BYTES_MAX];
        size_t n_ids = 0;
        uint32_t id = 0;
        int r;

        if (absent)
                number += PERF_KEYS_ABSENT;
        r = lanemap_reader_lookup(reader, text, perf_key_text(PERF_MIX_SINGLE, number, text), &id,
                                  1, &n_ids);
        if (r < 0) {
                slot_set(&slot->n_failed, slot->n_failed + 1);
                return r;
        }

        if (n_ids != !absent || (!absent && id != route.first)) {
                slot_set(&slot->n_wrong, slot->n_wrong + 1);
                fprintf(stderr, "outage-reader: key %llu: %zu ids, the first %u\n",
                        (unsigned long long)number, n_ids, id);
        }
        return 0;
}

/* last_*: as they were after the answer before. */
static void answered(struct lanemap_reader *reader, struct outage_slot *slot, uint64_t *last_ns,
                     uint64_t *last_cpu_ns)
{
        struct lanemap_status status = {.size = sizeof(status)};
        uint64_t now_ns = perf_now_ns(), cpu_ns = perf_thread_ns();

        if (__atomic_exchange_n(&slot->reset, 0, __ATOMIC_RELAXED))
                slot_set(&slot->longest_gap_ns, 0);
        else if (slot->n_lookups && now_ns - *last_ns > slot->longest_gap_ns)
                slot_set(&slot->longest_gap_ns, now_ns - *last_ns);
        *last_ns = now_ns;
        slot_set(&slot->n_lookups, slot->n_lookups + 1);

        if (lanemap_reader_status(reader, &status) == 0 && status.generation != slot->generation) {
                slot_set(&slot->generation_ns, now_ns);
                slot_set(&slot->follow_cpu_ns, cpu_ns - *last_cpu_ns);
                __atomic_store_n(&slot->generation, status.generation, __ATOMIC_RELEASE);
        }
        *last_cpu_ns = cpu_ns;
}

int main(int argc, char **argv)
{
        struct outage_slot *slots, *slot;
        struct lanemap_reader *reader;
        uint64_t n_keys, last_ns = 0, last_cpu_ns = 0;

        if (argc != 5)
                perf_die("not enough arguments: perf/outage starts this program", EINVAL);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        slots = mmap(NULL, OUTAGE_READERS_MAX * sizeof(*slots), PROT_READ | PROT_WRITE, MAP_SHARED,
                     OUTAGE_SLOTS_FD, 0);
        if (slots == MAP_FAILED)
                perf_die("mmap", errno);
        slot = &slots[strtoul(argv[1], NULL, 10) % OUTAGE_READERS_MAX];
        n_keys = strtoull(argv[3], NULL, 10);
        if (argv[4][0] == '1')
                (void)perf_pin_measuring();

        reader = attach(argv[2]);
        for (uint64_t i = perf_now_ns();; i++) {
                if (__atomic_load_n(&slot->reattach, __ATOMIC_RELAXED))
                        reader = reattach(argv[2], reader, slot);
                if (lookup(reader, n_keys, i, slot) == 0)
                        answered(reader, slot, &last_ns, &last_cpu_ns);
        }
}
