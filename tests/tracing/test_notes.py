#!/usr/bin/env python3
"""The probes that binaries have are those that src/common/probes.h documents (E13), each behind a semaphore (E11); a build
without probes has nothing of them."""
import json
import os
import re
import shlex
import subprocess
import tempfile
import unittest

import harness
from support_tracing import LIBRARY, has_probes, tracing


def listed(side):
    text = tracing.HEADER.read_text()
    return set(re.findall(r'PROBE\((\w+)\)', text.split(f'#define LANEMAP_PROBES_{side}(PROBE)')[1].split('\n\n')[0]))


class Notes(unittest.TestCase):
    def setUp(self):
        if not has_probes():
            raise harness.SkipTest('built without probes')

    def compare(self, path, names):
        documented = tracing.documented()
        notes = tracing.notes(path)
        self.assertEqual({note[0] for note in notes}, names, path)
        for name, n_arguments, _, semaphore in notes:
            self.assertEqual(n_arguments, len(documented[name]), f'{name} in {path}')
            self.assertLessEqual(n_arguments, 6, name)
            self.assertNotEqual(semaphore, 0, name)

    def test_library_has_what_is_documented(self):
        self.compare(LIBRARY, listed('READER'))

    def test_daemon_has_what_is_documented(self):
        self.compare(harness.LANEMAPD, listed('WRITER') | listed('DAEMON'))

    def test_all_are_documented(self):
        self.assertEqual(set(tracing.documented()), listed('READER') | listed('WRITER') | listed('DAEMON'))

    def test_manual_has_what_is_documented(self):
        page = (harness.SOURCE / 'tools/man/lanemap-perf.7').read_text()
        listed_there = dict(re.findall(r'(?m)^\.BI (\w+) "\(([\w, ]*)\)"$', page))
        self.assertEqual({name: arguments.split(', ') for name, arguments in listed_there.items()}, tracing.documented())

    def test_each_start_has_a_done(self):
        names = set(tracing.documented())
        for name in names:
            if name.endswith('__start'):
                self.assertIn(name.replace('__start', '__done'), names)


class Without(unittest.TestCase):
    """Every source file that has a probe, compiled as in this build but with -Dprobes=disabled."""

    def test_nothing_is_left(self):
        build = os.environ['BUILD']
        with open(os.path.join(build, 'compile_commands.json'), encoding='utf-8') as file:
            commands = {os.path.realpath(os.path.join(c['directory'], c['file'])): c for c in json.load(file)
                        if '/liblanemap' in c['output'] or '/lanemapd.p/' in c['output']}
        sources = [path for path in commands if 'LANEMAP_PROBE' in open(path, encoding='utf-8').read()]
        self.assertGreater(len(sources), 10)
        with tempfile.TemporaryDirectory() as folder:
            for path in sources:
                output = os.path.join(folder, 'object.o')
                words = [w for w in shlex.split(commands[path]['command']) if not w.startswith('-DLANEMAP_PROBES')]
                words[words.index('-o') + 1] = output
                words[words.index('-MF') + 1] = os.path.join(folder, 'object.d')
                subprocess.run(words + ['-DLANEMAP_PROBES=0'], check=True, cwd=commands[path]['directory'])
                self.assertEqual(tracing.notes(output), [], path)
                symbols = subprocess.run(['nm', output], check=True, capture_output=True, text=True).stdout
                self.assertNotIn('_semaphore', symbols, path)
                self.assertNotIn('lanemap_probe_ignore', symbols, path)


if __name__ == '__main__':
    harness.main()
