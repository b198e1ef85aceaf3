#!/usr/bin/env python3
"""The scripts of perf/ that attach a tracer, on a running lanemapd that works."""
import importlib.machinery
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import xml.etree.ElementTree

import harness
from support_tracing import LIBRARY, PERF, Reader, has_probes, script_run, tracing, tracing_or_skip

SCRIPTS = ['probe', 'lookup-latency', 'writer-latency', 'compactions', 'flamegraph', 'stat']


def script_load(name):
    loader = importlib.machinery.SourceFileLoader(name.replace('-', '_'), str(PERF / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def perf_or_skip():
    if not shutil.which('perf'):
        raise harness.SkipTest('there is no perf')
    tried = subprocess.run(['perf', 'stat', '-e', 'task-clock', 'true'], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        raise harness.SkipTest(f'perf is not permitted: {tried.stderr.strip()[-300:]}')


class Busy:
    """A lanemapd that is written to, read, flushed and compacted, by one thread, for as long as a script looks."""

    def __init__(self, *options):
        self.daemon = harness.Daemon(*options)
        self.stopping = False
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.daemon.start()
        self.client = self.daemon.client(60)
        self.thread.start()
        return self.daemon.process.pid

    def __exit__(self, *failure):
        self.stopping = True
        self.thread.join()
        self.daemon.__exit__(*failure)

    def work(self):
        n = 0
        while not self.stopping:
            self.client.send_commands(*[['SADD', f'key-{n + i}', i] for i in range(200)])
            for _ in range(200):
                self.client.reply()
            n += 200
            self.client('SMEMBERS', 'key-1')
            if n % 2000 == 0:
                self.client('LANEMAP.COMPACT' if n % 6000 == 0 else 'LANEMAP.FLUSH')


class Help(unittest.TestCase):
    def test_each_says_what_it_needs_and_costs(self):
        for name in SCRIPTS:
            result = script_run(name, '--help')
            text = ' '.join(result.stdout.split())
            self.assertEqual(result.returncode, 0, name)
            self.assertRegex(text, 'Needs root', name)
            self.assertRegex(text, '[Cc]osts', name)
            self.assertIn('lanemap-perf(7)', text)

    def test_what_is_wrong_is_said(self):
        if not has_probes():
            raise harness.SkipTest('built without probes')
        gone = subprocess.Popen(['true'])
        gone.wait()
        for name, arguments in (('probe', ['apply__done']), ('lookup-latency', []), ('writer-latency', []), ('compactions', []),
                                ('flamegraph', []), ('stat', [])):
            result = script_run(name, '--pid', gone.pid, *arguments)
            self.assertEqual((result.returncode, result.stdout), (1, ''), name)
            self.assertIn(str(gone.pid), result.stderr, name)
        with subprocess.Popen(['sleep', '100']) as stranger:
            result = script_run('compactions', '--pid', stranger.pid)
            stranger.kill()
        self.assertEqual(result.returncode, 1)
        self.assertIn('no probes of lanemap', result.stderr)
        result = script_run('probe', '--list', '/bin/true')
        self.assertEqual(result.returncode, 1)
        self.assertIn('/bin/true has no probes', result.stderr)


class Probe(unittest.TestCase):
    def test_list(self):
        if not has_probes():
            raise harness.SkipTest('built without probes')
        result = script_run('probe', '--list', LIBRARY)
        self.assertEqual(result.stdout.split('\n')[1:-1],
                         ['  follow(index, generation, ns, r)', '  lookup__sample(index, ns, n_lookups, n_retries)',
                          '  lookup__slow(index, ns, n_retries, n_minor, n_major, n_switches)',
                          '  mend(index, outcome, ns, r)', '  retry(index, n_lookups, n_retries)',
                          '  segment__map(file_number, bytes, is_copy, ns, r)'])

    def test_print_count_and_time(self):
        tracing_or_skip()
        with Busy() as pid:
            printed = script_run('probe', '--pid', pid, '--seconds', 2, 'command__start', 'flush__done')
            counted = script_run('probe', '--pid', pid, '--seconds', 2, '--count', 'apply__done', 'publish')
            timed = script_run('probe', '--pid', pid, '--seconds', 2, '--time', 'apply')
        self.assertRegex(printed.stdout, r'(?m)^ +[\d.]+ ms  lanemapd command__start client=\d+ command=sadd n_args=3 '
                         r'is_write=1$')
        self.assertRegex(printed.stdout, r'(?m)^ +[\d.]+ ms  lanemap-flush flush__done n_lanes=64 n_entries=\d+ bytes=\d+ '
                         r'r=0$')
        self.assertRegex(counted.stdout, r'(?m)^@\[apply__done\]: [1-9]\d*$')
        self.assertRegex(counted.stdout, r'(?m)^@\[publish\]: [1-9]\d*$')
        self.assertRegex(timed.stdout, r'@us\[apply\]:\s+\n\[')
        self.assertNotIn('@start', timed.stdout)


class LookupLatency(unittest.TestCase):
    def test_report_of_known_events(self):
        module = script_load('lookup-latency')
        output = []
        module.print = lambda text='': output.append(text)
        events = [['L', 200, 1]] * 98 + [['L', 5000, 1], ['L', 90000, 1], ['L', 3200, 32], ['M', 4000, 2],
                                         ['S', 90000, 1, 2, 0, 1], ['S', 5000, 0, 0, 0, 0], ['S', 7000, 0, 3, 1, 1]]
        self.assertTrue(module.report(events))
        self.assertEqual(output, [
            '100 lookups: p50 200 ns, p90 200 ns, p99 90 us, p99.9 90 us, max 90 us',
            '1 batches, a key of them: p50 100 ns, p90 100 ns, p99 100 ns, p99.9 100 ns, max 100 ns',
            '1 mends, each inside a lookup: p50 4 us, p90 4 us, p99 4 us, p99.9 4 us, max 4 us',
            'slow:      1 lost the processor, together 90 us, longest 90 us',
            'slow:      1 read a disk, together 7 us, longest 7 us',
            'slow:      1 nothing that is counted: cache misses, mend, together 5 us, longest 5 us'])
        self.assertFalse(module.report([['M', 4000, 2]]))

    def test_of_a_reader(self):
        """This process is the reader; the script, in a child of its own, traces it."""
        tracing_or_skip()
        with harness.Daemon() as daemon, Reader(daemon.name, sample_every=3, slow_ns=1) as reader:
            daemon.client()('SADD', 'here', 7)
            script = subprocess.Popen([PERF / 'lookup-latency', '--pid', str(os.getpid()), '--seconds', '2'],
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            while script.poll() is None:
                self.assertEqual(reader.lookup(b'here'), [7])
            output, errors = script.communicate(timeout=120)
        self.assertEqual(script.returncode, 0, errors)
        self.assertRegex(output, r'(?m)^[1-9]\d* lookups: p50 [\d.]+ [mun]?s, .*, max [\d.]+ [mun]?s$')
        self.assertRegex(output, r'(?m)^slow: +[1-9]\d* ')


class WriterLatency(unittest.TestCase):
    def test_stages_of_known_events(self):
        """Two applies in one group under always, one that did not wait for the sync, one without a reply. The lines do
        not come in the order of time."""
        module = script_load('writer-latency')
        lines = ['S 9000', 'A 1500 1000 1200 7 2', 'A 1900 1600 1700 8 1', 'w 2250 2000', 's 2300', 'R 9400 8',
                 'A 20000 0 19000 9 1', 'w 20800 20500', 'R 21000 9', 's 30000', 'S 31000', 'A 40000 39000 39500 10 1']
        writes, n_open = module.writes_of(lines)
        self.assertEqual([(w.position, w.n_ops, w.stages()) for w in writes],
                         [(7, 2, [200, 300, 500, 250, 6750, 400]), (8, 1, [100, 200, 100, 250, 6750, 400]),
                          (9, 1, [0, 1000, 500, 300, 0, 200])])
        self.assertEqual(n_open, 1)

    def test_of_a_daemon(self):
        tracing_or_skip()
        with Busy('--appendfsync', 'always') as pid:
            result = script_run('writer-latency', '--pid', pid, '--seconds', 2, '--slowest', 2)
        self.assertEqual(result.returncode, 0, result.stderr)
        n_applies, n_ops = map(int, re.match(r'(\d+) acknowledged applies, (\d+) operations', result.stdout).groups())
        self.assertGreater(n_applies, 0)
        self.assertGreater(n_ops, n_applies)
        rows = dict(re.findall(r'(?m)^(\w+(?: w\w+)?) .* ([\d.]+%)$', result.stdout))
        self.assertEqual(list(rows), ['queue', 'apply', 'log wait', 'log write', 'sync', 'reply', 'total'])
        self.assertAlmostEqual(sum(float(share[:-1]) for share in list(rows.values())[:-1]), 100, delta=.6)
        self.assertEqual(len(re.findall(r'(?m)^  position \d+, \d+ operations, .*: .*sync ', result.stdout)), 2)

    def test_nothing_to_see(self):
        tracing_or_skip()
        with harness.Daemon() as daemon:
            result = script_run('writer-latency', '--pid', daemon.process.pid, '--seconds', .5)
        self.assertEqual((result.returncode, result.stdout), (1, 'no write was acknowledged in that time\n'))


class Compactions(unittest.TestCase):
    def test_of_a_daemon(self):
        tracing_or_skip()
        with Busy() as pid:
            result = script_run('compactions', '--pid', pid, '--seconds', 3)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r'(?m)^ +\d+\.\d{3} s  flush .* 64 lanes, \d+ entries, [\d.]+ KiB, [\d.]+ [KM]iB/s$')
        self.assertRegex(result.stdout, r'(?m)^ +\d+\.\d{3} s  merge .* \d+ lanes, \d+ entries, ')
        self.assertRegex(result.stdout, r'(?m)^flush    [#.]*#[#.]*$')

    def test_chart(self):
        """Merges at once with another get rows of their own; each is marked where it was."""
        module = script_load('compactions')
        output = []
        module.print = lambda text='': output.append(text)
        module.chart_print([['flush', 0, 100], ['merge', 0, 5900], ['merge', 3000, 6000]], 0)
        self.assertEqual(output[1:], ['flush    ##' + '.' * 58, 'merge    ' + '#' * 60, 'merge 2  ' + '.' * 30 + '#' * 30])


class Samples(unittest.TestCase):
    def test_flamegraph(self):
        perf_or_skip()
        with tempfile.TemporaryDirectory() as folder, Busy() as pid:
            path = os.path.join(folder, 'flame.svg')
            result = script_run('flamegraph', '--pid', pid, '--seconds', 3, '--output', path)
            self.assertEqual(result.returncode, 0, result.stderr)
            titles = [node.text for node in xml.etree.ElementTree.parse(path).iter('{http://www.w3.org/2000/svg}title')]
        samples = {}
        for title in titles:
            name, n = re.fullmatch(r'(.*): (\d+) samples, [\d.]+%', title).groups()
            samples[name] = samples.get(name, 0) + int(n)
        self.assertGreater(samples['all'], 20)
        # A thread's function begins its stack, as it is called in the source: whole stacks, with symbols.
        self.assertIn('lanemap-flush', samples)
        mains = sum(n for name, n in samples.items() if re.fullmatch(r'main|\w+_main|job_thread', name))
        self.assertGreater(mains, samples['all'] * .5, samples)

    def test_flamegraph_of_known_stacks(self):
        perf = script_load('flamegraph').flamegraph_svg
        stacks = perf.stacks_of('one\n  ffff leaf<int>+0x10\n  ffee main+0x1\n\ntwo\n  ffff [unknown]\n\n')
        self.assertEqual(stacks, [('one', ['main', 'leaf<int>']), ('two', ['[unknown]'])])
        root = xml.etree.ElementTree.fromstring(perf.svg(stacks, 'a & b'))
        self.assertEqual([node.text for node in root.iter('{http://www.w3.org/2000/svg}title')],
                         ['all: 2 samples, 100.00%', 'one: 1 samples, 50.00%', 'main: 1 samples, 50.00%',
                          'leaf<int>: 1 samples, 50.00%', 'two: 1 samples, 50.00%', '[unknown]: 1 samples, 50.00%'])

    def test_stat(self):
        perf_or_skip()
        with Busy() as pid:
            result = script_run('stat', '--pid', pid, '--seconds', 1)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual('no hardware counters' in result.stdout, not tracing.has_counters())
        self.assertRegex(result.stdout, r'(?m)^thread +task-clock +context-switches ')
        for thread in ('lanemapd', 'lanemap-sync', 'lanemap-flush', 'lanemap-heart'):
            self.assertRegex(result.stdout, rf'(?m)^{thread}-\d+ +[\d.]+ ms +\d+')


if __name__ == '__main__':
    harness.main()
