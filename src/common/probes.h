/*
 * The probes of lanemap: every place that a tracer (perf, bpftrace, SystemTap, gdb) can attach to
 * by name, whatever the build. Provider `lanemap`, USDT notes of sys/sdt.h; `perf/probe --list`
 * shows them in a binary, lanemap-perf(7) how to use them.
 *
 * E11. A probe that nobody traces is a nop behind a test of its semaphore. Its arguments are not
 *     computed. A build with -Dprobes=disabled has neither.
 * E12. No probe stands on the path of a lookup that is answered at its first try: such a lookup has
 *     no instruction more than in a build without probes.
 * E13. Each probe is in the table below with the arguments that it has in the binary.
 *     tests/tracing/test_notes.py reads this comment and the ELF notes.
 *
 * No probe has more than six arguments: Debian's bpftrace reads no more.
 *
 * A traced probe costs its process about a microsecond, for the trap. Arguments are integers, or
 * addresses of strings that end in a zero byte; both are valid until the probe returns. r is 0 for
 * done, a negative errno, or a positive outcome that the probe names. A name with _start has one
 * with _done in the same thread, also when the work fails.
 *
 * In the reader library (liblanemap.so; each in the thread that looks up, polls or helps):
 *
 *   retry(index, n_lookups, n_retries)
 *       A call to lookup, batch or view had to look again, because the writer reused memory that
 *       it had read. Once for each call, with its answer ready. index: name of the index.
 *   follow(index, generation, ns, r)
 *       The reader attached to another generation, or tried to. ns: how long that took.
 *   segment__map(file_number, bytes, is_copy, ns, r)
 *       A segment file was mapped, or could not be. bytes: 0 when it could not. is_copy: from the
 *       directory of copies. ns: of open, map and parse, without reading pages.
 *   mend(index, outcome, ns, r)
 *       A lookup had no answer in what this process has mapped, refreshed that, and is asked again
 *       if r is 0. outcome: 1 another generation, 2 a segment file is not mapped, negative: bytes
 *       failed validation, which is how growth of the object looks. ns: of the refresh.
 *
 *   lookup__sample(index, ns, n_lookups, n_retries)
 *       One in options.sample_every calls to lookup, contains, batch or view of a thread has ended.
 *       ns: of the call; of a view, from its begin to its end. n_lookups: keys of a batch, else 1.
 *   lookup__slow(index, ns, n_retries, n_minor, n_major, n_switches)
 *       Such a call took options.slow_ns or longer. n_minor, n_major: page faults of the thread in
 *       it; major: a disk was read. n_switches: how often its processor went to another thread.
 *
 * In the writer library (each in the thread that does the work):
 *
 *   apply__start(n_ops)
 *       A batch of operations begins; before it takes the lock.
 *   apply__done(position, n_applied, n_ops, r)
 *       It has ended. position: the last that is published. r: -EAGAIN: it has to wait, and
 *       nothing was done. Its record is in the log's memory.
 *   stall__start(active_bytes, n_segments)
 *       Applies are held up until a flush ends. active_bytes: of active overlays. n_segments: of
 *       the deepest lane.
 *   stall__done(ns)
 *       They go on. ns: how long it was.
 *   delay(ns, n_ops)
 *       The next apply has to wait so long, because flushes and merges have more to do than they
 *       should. n_ops: how many operations it pays for.
 *   log__write(off, bytes, ns, r)
 *       Records were written to the log file, or could not be. off: where. ns: of pwrite.
 *   log__sync__start(off)
 *       fdatasync of the log file is about to begin. off: end of the records in it.
 *   log__sync__done(off, r)
 *       It has ended.
 *   flush__start(n_lanes, is_leftover)
 *       Overlays are frozen, and their file is about to be built. is_leftover: an earlier flush,
 *       which failed, had frozen them.
 *   flush__done(n_lanes, n_entries, bytes, r)
 *       Its file is in force, or not. r: 1 a clear came in between, 2 an input is damaged.
 *   merge__start(n_lanes, n_segments)
 *       A merge is about to be built. n_segments: its inputs.
 *   merge__done(n_lanes, n_entries, bytes, r)
 *       As flush__done.
 *   publish(lane, n_segments, has_frozen)
 *       A lane's view was replaced.
 *   reclaim(n_blocks, bytes, watermark)
 *       Retired blocks of shared memory are free again. Lookups that began before epoch
 *       `watermark` look again.
 *   flip(generation, bytes, ns)
 *       Readers were sent to another data object. bytes: of the new one. ns: of copying lanes.
 *   recover__start(directory)
 *       A data directory is about to be opened.
 *   recover__segments(n_files, ns, r)
 *       Its segment files are open.
 *   recover__replay(position, ns, r)
 *       Its log is replayed up to position. ns: of reading, checking and replaying.
 *   recover__done(n_keys, ns, r)
 *       Readers and applies are served, or the open failed. ns: since recover__start.
 *
 * In lanemapd (each in its main thread):
 *
 *   command__start(client, command, n_args, is_write)
 *       A command is about to run. client: its id, as in CLIENT LIST. command: its name in lower
 *       case. is_write: 1 for a write, and for an exec of writes. It is put into a batch, which
 *       apply__start begins. Commands of a transaction run inside its exec.
 *   command__done(client, command, is_put_off)
 *       It has run. is_put_off: it has to wait, and is started again later.
 *   reply__release(client, position)
 *       Replies of a client have waited for the log for long enough, or need not, and go to its
 *       socket. position: what is acknowledged: durable under `always`, else written.
 */
#ifndef LANEMAP_COMMON_PROBES_H
#define LANEMAP_COMMON_PROBES_H

#include "common/base.h"

#define LANEMAP_PROBES_READER(PROBE) \
        PROBE(retry)                 \
        PROBE(follow)                \
        PROBE(segment__map)          \
        PROBE(mend)                  \
        PROBE(lookup__sample)        \
        PROBE(lookup__slow)

#define LANEMAP_PROBES_WRITER(PROBE) \
        PROBE(apply__start)          \
        PROBE(apply__done)           \
        PROBE(stall__start)          \
        PROBE(stall__done)           \
        PROBE(delay)                 \
        PROBE(log__write)            \
        PROBE(log__sync__start)      \
        PROBE(log__sync__done)       \
        PROBE(flush__start)          \
        PROBE(flush__done)           \
        PROBE(merge__start)          \
        PROBE(merge__done)           \
        PROBE(publish)               \
        PROBE(reclaim)               \
        PROBE(flip)                  \
        PROBE(recover__start)        \
        PROBE(recover__segments)     \
        PROBE(recover__replay)       \
        PROBE(recover__done)

#define LANEMAP_PROBES_DAEMON(PROBE) \
        PROBE(command__start)        \
        PROBE(command__done)         \
        PROBE(reply__release)

#if LANEMAP_PROBES

#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC    1
#include <sys/sdt.h>

/* Tracers count themselves in it, in the processes that they look at. Hidden: each library and each
 * program has its own, at an address that its notes can name. */
#define LANEMAP_PROBE_DECLARE(name) \
        extern unsigned short lanemap_##name##_semaphore __attribute__((visibility("hidden")));
#define LANEMAP_PROBE_DEFINE(name) \
        unsigned short lanemap_##name##_semaphore __attribute__((section(".probes")));

LANEMAP_PROBES_READER(LANEMAP_PROBE_DECLARE)
LANEMAP_PROBES_WRITER(LANEMAP_PROBE_DECLARE)
LANEMAP_PROBES_DAEMON(LANEMAP_PROBE_DECLARE)

#define LANEMAP_PROBE_IS_TRACED(name) \
        LANEMAP_UNLIKELY(*(const volatile unsigned short *)&lanemap_##name##_semaphore)

#define LANEMAP_PROBE(name, ...)                                 \
        do {                                                     \
                if (LANEMAP_PROBE_IS_TRACED(name))               \
                        STAP_PROBEV(lanemap, name, __VA_ARGS__); \
        } while (0)

#else

#define LANEMAP_PROBE_DEFINE(name)
#define LANEMAP_PROBE_IS_TRACED(name) false

/* Never called: what is only computed for a probe counts as used. */
static inline void lanemap_probe_ignore(int first, ...)
{
}

#define LANEMAP_PROBE(name, ...)                              \
        do {                                                  \
                if (LANEMAP_PROBE_IS_TRACED(name))            \
                        lanemap_probe_ignore(0, __VA_ARGS__); \
        } while (0)

#endif

/* A duration for a probe: the time is taken only while the probe is traced. */
#define LANEMAP_PROBE_START_NS(name, now_ns)  (LANEMAP_PROBE_IS_TRACED(name) ? (now_ns) : 0)
#define LANEMAP_PROBE_SINCE_NS(start, now_ns) ((start) ? (now_ns) - (start) : 0)

#endif
