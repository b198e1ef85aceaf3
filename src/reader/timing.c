/*
 * Lookups that are timed for the probes lookup__sample and lookup__slow. A probe on each lookup
 * would measure its trap, so a reader that wants them says how many lookups share one sample.
 *
 * Nothing here runs for a reader without that option. Without a tracer a lookup counts up to its
 * turn, and looks at no clock. With one, a lookup whose turn it is makes the only system calls of
 * any lookup: two getrusage(2), for the reasons that make a lookup slow.
 */
#include "reader/private.h"

#include <sys/resource.h>

#include "common/probes.h"

struct sample {
        uint32_t n_skipped;
        uint64_t start_ns; /* 0: this one is not timed */
        struct rusage start;
};

/* Initial-exec: its place is in what a thread has from its start, so no lookup allocates it. */
static _Thread_local struct sample sample __attribute__((tls_model("initial-exec")));

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
        sample.start_ns = 0;
        if (reader->timing.sample_every == 0 || ++sample.n_skipped < reader->timing.sample_every)
                return;

        sample.n_skipped = 0;
        if (!LANEMAP_PROBE_IS_TRACED(lookup__sample) && !LANEMAP_PROBE_IS_TRACED(lookup__slow))
                return;

        usage_get(&sample.start);
        sample.start_ns = lanemap_reader_now_ns();
}

static void slow_note(const struct lanemap_reader *reader, uint64_t ns, uint64_t n_retries)
{
        struct rusage end;

        usage_get(&end);
        LANEMAP_PROBE(lookup__slow, (const char *)reader->name, ns, n_retries,
                      end.ru_minflt - sample.start.ru_minflt,
                      end.ru_majflt - sample.start.ru_majflt,
                      switches(&end) - switches(&sample.start));
}

void lanemap_reader_timing_end(const struct lanemap_reader *reader, uint64_t n_lookups,
                               uint64_t n_retries)
{
        uint64_t ns;

        if (sample.start_ns == 0)
                return;

        ns = lanemap_reader_now_ns() - sample.start_ns;
        LANEMAP_PROBE(lookup__sample, (const char *)reader->name, ns, n_lookups, n_retries);
        if (reader->timing.slow_ns > 0 && ns >= reader->timing.slow_ns)
                slow_note(reader, ns, n_retries);
        sample.start_ns = 0;
}
