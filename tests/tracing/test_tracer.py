#!/usr/bin/env python3
"""A real tracer sees probes of a running lanemapd and of a reader, with the arguments that they are documented to have."""
import ctypes
import os
import re
import unittest

import harness
from support_tracing import LIBRARY, Tracer, tracing, tracing_or_skip


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
            probe(path, 'publish', '0', '1', '2') + probe(path, 'command__done', '0')
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
        self.assertIn('flush__start 64 0', lines)
        n_lanes, n_entries, n_bytes, r = map(int, done.split()[1:])
        self.assertEqual((n_lanes, n_entries, r), (64, 3000, 0))
        self.assertGreater(n_bytes, 3000 * 4)
        # Of each lane: frozen, then with a segment and nothing frozen.
        for lane in range(64):
            self.assertIn(f'publish {lane} 0 1', lines)
            self.assertIn(f'publish {lane} 1 0', lines)


class Reader(unittest.TestCase):
    def setUp(self):
        tracing_or_skip()

    def test_it_maps_segments_and_follows(self):
        """This process is the reader: it attaches, and the writer is reborn."""
        library = ctypes.CDLL(LIBRARY)
        reader = ctypes.c_void_p()
        program = probe(LIBRARY, 'follow', '*0', '1', '2', '3') + probe(LIBRARY, 'segment__map', '0', '1', '2', '3', '4') + \
            probe(LIBRARY, 'mend', '*0', '1', '2', '3')
        with harness.Daemon() as daemon, Tracer(program, os.getpid()) as tracer:
            client = daemon.client()
            name = daemon.name.encode()
            self.assertEqual(library.lanemap_reader_attach(name, None, ctypes.byref(reader)), 0)
            self.addCleanup(library.lanemap_reader_detach, reader)

            def save():
                """Until the tracer is there: a new segment file each time, which a poll maps."""
                save.n += 1
                client('SADD', f'key-{save.n}', save.n)
                client('LANEMAP.FLUSH')
                self.assertGreaterEqual(library.lanemap_reader_poll(reader), 0)
            save.n = 0
            line = tracer.until(lambda line: line.startswith('segment__map'), save)
            _, number, n_bytes, is_copy, ns, r = line.split()
            self.assertGreater(int(number), 0)
            self.assertGreater(int(n_bytes), 100)
            self.assertEqual((is_copy, r), ('0', '0'))
            self.assertGreater(int(ns), 0)

            daemon.stop()
            daemon.start()
            ids, n_ids = (ctypes.c_uint32 * 8)(), ctypes.c_size_t()
            r = library.lanemap_reader_lookup(reader, b'key-1', ctypes.c_size_t(5), ids, ctypes.c_size_t(8),
                                              ctypes.byref(n_ids))
            self.assertEqual((r, n_ids.value, ids[0]), (0, 1, 1))
            followed = tracer.until(lambda line: line.startswith('follow')).split()
            mended = tracer.until(lambda line: line.startswith('mend')).split()
        self.assertEqual((followed[1], followed[4]), (daemon.name, '0'))
        self.assertNotEqual(int(followed[2]), 0)
        self.assertGreater(int(followed[3]), 0)
        self.assertEqual((mended[1], mended[2], mended[4]), (daemon.name, '1', '0'))
        self.assertGreaterEqual(int(mended[3]), int(followed[3]))


if __name__ == '__main__':
    harness.main()
