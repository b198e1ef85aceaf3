#!/usr/bin/env python3
"""Threads have names by which ps, top and perf tell them apart, also in a program that only reads."""
import os
import unittest

import harness
from support_tracing import Reader

WRITERS = {'lanemap-heart', 'lanemap-sync', 'lanemap-log', 'lanemap-flush', 'lanemap-watch', 'lanemap-scrub', 'lanemap-serve'}


def names_of(pid):
    names = []
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/comm', encoding='utf-8') as comm:
            names.append(comm.read().strip())
    return sorted(names)


class Threads(unittest.TestCase):
    def test_daemon(self):
        with harness.Daemon('--workers', '2') as daemon:
            wanted = sorted(WRITERS | {'lanemapd', 'lanemap-merge0', 'lanemap-merge1'})
            harness.eventually(lambda: names_of(daemon.process.pid) == wanted)

    def test_job(self):
        """The index is opened in one; held where it syncs the first log file."""
        daemon = harness.Daemon()
        open(daemon.hold, 'w', encoding='utf-8').close()
        daemon.start(wait=False)
        try:
            harness.eventually(lambda: 'lanemapd-job' in names_of(daemon.process.pid))
            os.unlink(daemon.hold)
            daemon.wait_until_ready()
            harness.eventually(lambda: 'lanemapd-job' not in names_of(daemon.process.pid))
        finally:
            daemon.__exit__(None)

    def test_apply_of_very_many_operations(self):
        daemon = harness.Daemon()
        room = os.path.join(daemon.directory, 'room')
        daemon.env = {'LANEMAP_TEST_HOLD_ROOM': room}
        with daemon:
            client = daemon.client(60)
            client('SADD', 'here', 1)
            open(room, 'w', encoding='utf-8').close()
            client.send_commands(['SADD', 'long', *range(400000)])
            harness.eventually(lambda: os.path.exists(room + '.waits'))
            self.assertIn('lanemapd-apply', names_of(daemon.process.pid))
            os.unlink(room)
            self.assertEqual(client.reply(), (':', 400000))

    def test_reader(self):
        with harness.Daemon() as daemon:
            self.assertEqual(reader_names(daemon.name), ['lanemap-helper'])


def reader_names(name):
    """The names of the threads that a reader adds to its process."""
    before = names_of('self')
    with Reader(name, helper_thread=1):
        after = names_of('self')
    for old in before:
        after.remove(old)
    return after


if __name__ == '__main__':
    harness.main()
