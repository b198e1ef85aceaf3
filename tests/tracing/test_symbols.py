#!/usr/bin/env python3
"""What `meson install --strip` strips keeps its probes, and perf finds its symbols in a debug file by build id (I9)."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import harness
from support_tracing import has_probes, tracing
from test_scripts import Busy, perf_or_skip


def installed(folder):
    done = subprocess.run(['meson', 'install', '-C', os.environ['BUILD'], '--no-rebuild', '--strip', '--destdir', folder],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(done.stdout + done.stderr)
    prefix = next(path.parent.parent for path in Path(folder).rglob('lanemapd') if path.parent.name == 'bin')
    return prefix, done.stdout


def symbols_of(path):
    return subprocess.run(['nm', str(path)], capture_output=True, text=True, check=False).stdout


class Symbols(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix='lmsym-')
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix, cls.output = installed(cls.folder)

    def debug_file_of(self, path):
        number = re.search(r'Build ID: (\w+)', subprocess.run(['readelf', '-n', path], capture_output=True, text=True,
                                                              check=True).stdout).group(1)
        return self.prefix / 'lib/debug/.build-id' / number[:2] / (number[2:] + '.debug')

    def test_debug_files(self):
        library = next(self.prefix.rglob('liblanemap.so.*.*'))
        for path, symbol in ((self.prefix / 'bin/lanemapd', 'lanemap_batch_flush'), (self.prefix / 'bin/lanemap', 'main'),
                             (library, 'lanemap_reader_refresh')):
            self.assertNotIn(symbol, symbols_of(path))
            self.assertRegex(symbols_of(self.debug_file_of(path)), rf'(?m) [tT] {symbol}$')
        if has_probes():
            self.assertEqual({note[0] for note in tracing.notes(library)}, {'retry', 'follow', 'segment__map', 'mend', 'lookup__sample', 'lookup__slow'})

    def test_perf_finds_them(self):
        perf_or_skip()
        if os.geteuid() != 0:
            raise harness.SkipTest('only root can put debug files where perf looks, for perf alone')
        data = os.path.join(self.folder, 'perf.data')
        before = harness.Daemon.binary
        harness.Daemon.binary = str(self.prefix / 'bin/lanemapd')
        try:
            with Busy() as pid:
                subprocess.run(['perf', 'record', '-q', '-N', '-e', 'cpu-clock', '-F', '997', '--call-graph', 'fp', '-p',
                                str(pid), '-o', data, '--', 'sleep', '2'], check=True, capture_output=True)
        finally:
            harness.Daemon.binary = before
        script = ['perf', 'script', '-i', data, '-F', 'comm,ip,sym']
        without = subprocess.run(script, capture_output=True, text=True, errors='replace', check=True).stdout
        self.assertNotRegex(without, r' lanemap_\w+\+0x')
        command = f'mount --bind {self.prefix}/lib/debug /usr/lib/debug && exec "$@"'
        found = subprocess.run(['unshare', '--mount', 'sh', '-c', command, 'sh', *script], capture_output=True, text=True,
                               errors='replace', check=False)
        if found.returncode != 0 and 'unshare' in found.stderr:
            raise harness.SkipTest(found.stderr.strip())
        self.assertRegex(found.stdout, r' (lanemap_batch_flush|lanemap_command_execute)\b')


if __name__ == '__main__':
    harness.main()
