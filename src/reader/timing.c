/*
 * Lookups that are timed for the probes lookup__sample and lookup__slow. A probe on each lookup
 * would measure its trap, so a reader that wants them says how many lookups share one sample.
 *
 * Nothing here runs for a reader without that option, and next to nothing without a tracer. With
 * one, a lookup whose turn it is makes the only system calls of
 * any lookup: two getrusage(2), for the reasons that make a lookup slow.
 */
#include "reader/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/guard.h"
#include "common/probes.h"

/*
 * Where a thread keeps the lookup that it is timing. Not thread-local: the library takes nothing of
 * the static TLS, and a dynamic one is allocated in the midst of a lookup. Two threads may meet in
 * one: the one that comes later counts and times nothing meanwhile.
 */
#define SAMPLES_LOG2 5

struct reader_sample {
        _Alignas(LANEMAP_CACHE_LINE_BYTES) uintptr_t thread; /* atomic: whose it is; 0: nobody's */
        uint32_t n_skipped;                                  /* atomic */
        uint64_t start_ns;
        struct rusage start;
};

int lanemap_reader_timing_init(struct lanemap_reader *reader, uint32_t sample_every,
                               uint64_t slow_ns)
{
        size_t n_bytes = sizeof(*reader->timing.samples) << SAMPLES_LOG2;
        void *samples;

        if (sample_every == 0)
                return 0;
        if (posix_memalign(&samples, LANEMAP_CACHE_LINE_BYTES, n_bytes) != 0)
                return -ENOMEM;

        reader->timing.samples = memset(samples, 0, n_bytes);
        reader->timing.sample_every = sample_every;
        reader->timing.slow_ns = slow_ns;
        return 0;
}

void lanemap_reader_timing_deinit(struct lanemap_reader *reader)
{
        free(reader->timing.samples);
}

static struct reader_sample *sample_get(const struct lanemap_reader *reader)
{
        uint32_t hash = lanemap_guard_hash(lanemap_guard_thread());

        return &reader->timing.samples[hash >> (32 - SAMPLES_LOG2)];
}

static void usage_get(struct rusage *ret_usage)
{
        (void)getrusage(RUSAGE_THREAD, ret_usage); /* fails only for bad arguments */
}

static long switches(const struct rusage *usage)
{
        return usage->ru_nvcsw + usage->ru_nivcsw;
}

void lanemap_reader_timing_begin(const struct lanemap_reader *reader)
{
        struct reader_sample *sample;
        uintptr_t nobody = 0;
        uint32_t n_skipped;

        if (reader->timing.sample_every == 0 ||
            (!LANEMAP_PROBE_IS_TRACED(lookup__sample) && !LANEMAP_PROBE_IS_TRACED(lookup__slow)))
                return;

        sample = sample_get(reader);
        n_skipped = lanemap_load_relaxed(&sample->n_skipped) + 1;
        lanemap_store_relaxed(&sample->n_skipped,
                              n_skipped < reader->timing.sample_every ? n_skipped : UINT32_C(0));
        if (n_skipped < reader->timing.sample_every ||
            !__atomic_compare_exchange_n(&sample->thread, &nobody, lanemap_guard_thread(), false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                return;

        usage_get(&sample->start);
        sample->start_ns = lanemap_reader_now_ns();
}

static void slow_note(const struct lanemap_reader *reader, const struct reader_sample *sample,
                      uint64_t ns, uint64_t n_retries)
{
        struct rusage end;

        usage_get(&end);
        LANEMAP_PROBE(lookup__slow, (const char *)reader->name, ns, n_retries,
                      end.ru_minflt - sample->start.ru_minflt,
                      end.ru_majflt - sample->start.ru_majflt,
                      switches(&end) - switches(&sample->start));
}

void lanemap_reader_timing_end(const struct lanemap_reader *reader, uint64_t n_lookups,
                               uint64_t n_retries)
{
        struct reader_sample *sample;
        uint64_t ns;

        if (reader->timing.sample_every == 0)
                return;
        sample = sample_get(reader);
        if (lanemap_load_relaxed(&sample->thread) != lanemap_guard_thread())
                return;

        ns = lanemap_reader_now_ns() - sample->start_ns;
        LANEMAP_PROBE(lookup__sample, (const char *)reader->name, ns, n_lookups, n_retries);
        if (reader->timing.slow_ns > 0 && ns >= reader->timing.slow_ns)
                slow_note(reader, sample, ns, n_retries);
        lanemap_store_release(&sample->thread, (uintptr_t)0);
}
