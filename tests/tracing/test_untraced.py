#!/usr/bin/env python3
"""E12: a lookup that is answered at its first try executes nothing of a probe: neither its nop nor the test of its
semaphore. By the addresses of all instructions that lookups of every kind execute, as the processor steps through them."""
import os
import re
import subprocess
import tempfile
import unittest

import harness
from support_tracing import LIBRARY, has_probes, tracing


def addresses_of_probes(path):
    """(locations of nops, {semaphore: addresses of the instructions that load it})."""
    semaphores = {note[3]: set() for note in tracing.notes(path)}
    code = subprocess.run(['objdump', '-d', '--no-show-raw-insn', path], check=True, capture_output=True, text=True)
    for address, target in re.findall(r'^\s+([0-9a-f]+):.*# ([0-9a-f]+) <', code.stdout, re.M):
        if int(target, 16) in semaphores:
            semaphores[int(target, 16)].add(int(address, 16))
    return {note[2] for note in tracing.notes(path)}, semaphores


def address_of(path, symbol):
    text = subprocess.run(['nm', '-D', path], check=True, capture_output=True, text=True).stdout
    return int(re.search(rf'^([0-9a-f]+) T {symbol}(@|$)', text, re.M).group(1), 16)


class Untraced(unittest.TestCase):
    def test_a_lookup_executes_nothing_of_a_probe(self):
        if not has_probes():
            raise harness.SkipTest('built without probes')
        with tempfile.NamedTemporaryFile('r') as file:
            result = subprocess.run([os.environ['TRACE_LOOKUP'], os.environ['TRACED_READER'], file.name], timeout=280,
                                    capture_output=True, text=True)
            if result.returncode == 77:
                raise harness.SkipTest(result.stdout.strip())
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
            executed = {int(line, 16) for line in file}
        nops, semaphores = addresses_of_probes(LIBRARY)
        for call in ('lookup', 'lookup_batch', 'contains', 'view_begin'):
            self.assertIn(address_of(LIBRARY, f'lanemap_reader_{call}'), executed)
        self.assertTrue(all(semaphores.values()), 'each semaphore is tested somewhere')
        self.assertEqual(executed & nops, set())
        self.assertEqual(executed & set().union(*semaphores.values()), set())


if __name__ == '__main__':
    harness.main()
