#!/usr/bin/env python3
"""A real tracer sees probes of a running lanemapd and of a reader, with the arguments that they are documented to have."""
import ctypes
import mmap
import os
import re
import unittest

import harness
from support_tracing import LIBRARY, Reader, Tracer, tracing_or_skip


def probe(path, name, *arguments):
    """A line for each firing: the name, and the arguments by index; '*' before one makes it a string."""
    values = [f'str(arg{a[1:]})' if a[0] == '*' else f'(int64)arg{a}' for a in arguments]
    form = ' '.join('%s' if a[0] == '*' else '%ld' for a in arguments)
    return f'usdt:{path}:lanemap:{name} {{ printf("{name} {form}\\n", {", ".join(values)}); }}\n'


class Daemon(unittest.TestCase):
    def setUp(self):
        tracing_or_skip()

    def test_a_write_from_command_to_reply(self):
        path = harness.LANEMAPD
        program = probe(path, 'command__start', '0', '*1', '2', '3') + probe(path, 'command__done', '0', '*1', '2') + \
            probe(path, 'apply__start', '0') + probe(path, 'apply__done', '0', '1', '2', '3') + \
            probe(path, 'log__write', '0', '1', '2', '3') + probe(path, 'log__sync__done', '0', '1') + \
            probe(path, 'reply__release', '0', '1')
        with harness.Daemon('--appendfsync', 'always') as daemon:
            client = daemon.client()
            number = int(client('CLIENT', 'ID')[1])
            with Tracer(program, daemon.process.pid) as tracer:
                tracer.until(lambda line: line.startswith('command__done'), lambda: client('PING'))
                before = len(tracer.lines())
                client('SADD', 'some-key', 7, 8, 9)
                tracer.until(lambda line: line.startswith('reply__release'))
                lines = tracer.lines()[before:]
        self.assertIn(f'command__start {number} sadd 5 1', lines)
        self.assertIn(f'command__done {number} sadd 0', lines)
        self.assertIn('apply__start 3', lines)
        applied = [re.fullmatch(r'apply__done (\d+) 3 3 0', line) for line in lines]
        position = int(next(match for match in applied if match).group(1))
        self.assertIn(f'reply__release {number} {position}', lines)
        self.assertTrue([line for line in lines if re.fullmatch(r'log__sync__done \d+ 0', line)], lines)
        written = [list(map(int, line.split()[1:])) for line in lines if line.startswith('log__write')]
        self.assertGreater(max(n_bytes for _, n_bytes, _, _ in written), 3 * 12)
        self.assertTrue(all(ns > 0 and r == 0 for _, _, ns, r in written), written)

    def test_a_flush_and_what_it_publishes(self):
        path = harness.LANEMAPD
        program = probe(path, 'flush__start', '0', '1') + probe(path, 'flush__done', '0', '1', '2', '3') + \
            probe(path, 'publish', '0', '1', '2') + probe(path, 'command__done', '0') + probe(path, 'reclaim', '0', '1', '2')
        with harness.Daemon() as daemon:
            client = daemon.client()
            for i in range(3000):
                client.send_commands(['SADD', f'key-{i}', i])
            for i in range(3000):
                client.reply()
            with Tracer(program, daemon.process.pid) as tracer:
                tracer.until(lambda line: line.startswith('command__done'), lambda: client('PING'))
                self.assertEqual(client('LANEMAP.FLUSH'), ('+', 'OK'))
                done = tracer.until(lambda line: line.startswith('flush__done'))
                lines = tracer.lines()
                reclaimed = tracer.until(lambda line: line.startswith('reclaim'), lambda: client('SADD', 'more', 1))
        n_blocks, n_reclaimed_bytes, watermark = map(int, reclaimed.split()[1:])
        self.assertGreater(n_blocks, 0)
        self.assertGreaterEqual(n_reclaimed_bytes, 16 * n_blocks)
        self.assertGreater(watermark, 0)
        self.assertIn('flush__start 64 0', lines)
        n_lanes, n_entries, n_bytes, r = map(int, done.split()[1:])
        self.assertEqual((n_lanes, n_entries, r), (64, 3000, 0))
        self.assertGreater(n_bytes, 3000 * 4)
        # Of each lane: frozen, then with a segment and nothing frozen.
        for lane in range(64):
            self.assertIn(f'publish {lane} 0 1', lines)
            self.assertIn(f'publish {lane} 1 0', lines)


class Readers(unittest.TestCase):
    """This process is the reader."""

    def setUp(self):
        tracing_or_skip()

    def test_it_maps_segments_and_follows(self):
        program = probe(LIBRARY, 'follow', '*0', '1', '2', '3') + probe(LIBRARY, 'segment__map', '0', '1', '2', '3', '4') + \
            probe(LIBRARY, 'mend', '*0', '1', '2', '3')
        with harness.Daemon() as daemon, Tracer(program, os.getpid()) as tracer, Reader(daemon.name) as reader:
            client = daemon.client()

            def flush():
                """Until the tracer is there: a new segment file each time, which a poll maps."""
                flush.n += 1
                client('SADD', f'key-{flush.n}', flush.n)
                client('LANEMAP.FLUSH')
                self.assertGreaterEqual(reader.poll(), 0)
            flush.n = 0
            line = tracer.until(lambda line: line.startswith('segment__map'), flush)
            _, number, n_bytes, is_copy, ns, r = line.split()
            self.assertGreater(int(number), 0)
            self.assertGreater(int(n_bytes), 100)
            self.assertEqual((is_copy, r), ('0', '0'))
            self.assertGreater(int(ns), 0)

            daemon.stop()
            daemon.start()
            self.assertEqual(reader.lookup(b'key-1'), [1])
            followed = tracer.until(lambda line: line.startswith('follow')).split()
            mended = tracer.until(lambda line: line.startswith('mend')).split()
        self.assertEqual((followed[1], followed[4]), (daemon.name, '0'))
        self.assertNotEqual(int(followed[2]), 0)
        self.assertGreater(int(followed[3]), 0)
        self.assertEqual((mended[1], mended[2], mended[4]), (daemon.name, '1', '0'))
        self.assertGreaterEqual(int(mended[3]), int(followed[3]))

    def test_one_in_four_lookups_is_sampled(self):
        """And each of them is slow, since it takes a nanosecond or more; what it writes its ids to is a page that was not
        there before."""
        program = probe(LIBRARY, 'lookup__sample', '*0', '1', '2', '3') + \
            probe(LIBRARY, 'lookup__slow', '*0', '1', '2', '3', '4', '5')
        with harness.Daemon() as daemon, Tracer(program, os.getpid()) as tracer:
            daemon.client()('SADD', 'here', 7)
            with Reader(daemon.name, sample_every=4, slow_ns=1) as reader:
                tracer.until(lambda line: line.startswith('lookup__slow'), lambda: reader.lookup(b'here'))
                before = sum(line.startswith('lookup__sample') for line in tracer.lines())
                pages = mmap.mmap(-1, 400 * 4096)
                for i in range(400):
                    page = (ctypes.c_uint32 * 8).from_buffer(pages, i * 4096)
                    self.assertEqual(reader.lookup(b'here', page), [7])
                    del page
                tracer.until(lambda _: sum(line.startswith('lookup__slow') for line in tracer.lines()) >= before + 100)
                lines = tracer.lines()
            with Reader(daemon.name, sample_every=1, slow_ns=10**12) as patient:
                patient.lookup(b'here')
                tracer.until(lambda _: sum(line.startswith('lookup__sample') for line in tracer.lines()) > before + 100)
                self.assertEqual(sum(line.startswith('lookup__slow') for line in tracer.lines()), before + 100)
        samples = [line.split()[1:] for line in lines if line.startswith('lookup__sample')]
        slow = [line.split()[1:] for line in lines if line.startswith('lookup__slow')]
        self.assertEqual(len(samples), before + 100)
        for index, ns, n_lookups, n_retries in samples:
            self.assertEqual((index, n_lookups, n_retries), (daemon.name, '1', '0'))
            self.assertGreater(int(ns), 0)
        self.assertEqual([line[:3] for line in slow], [[index, ns, n_retries] for index, ns, _, n_retries in samples])
        self.assertTrue(all(int(n_minor) >= 1 for _, _, _, n_minor, _, _ in slow[before:]), slow[before:])
        self.assertEqual(sum(int(n_major) for _, _, _, _, n_major, _ in slow), 0)


if __name__ == '__main__':
    harness.main()
