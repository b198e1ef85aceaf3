"""Shared by the tests of probes: whether this machine lets them trace, and a bpftrace that runs beside a test."""
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

sys.path.insert(0, str(harness.SOURCE / 'perf/support'))
import tracing  # noqa: E402

LIBRARY = os.path.abspath(os.environ.get('LIBLANEMAP', harness.SOURCE / 'build/dev/src/liblanemap.so.0'))
PERF = harness.SOURCE / 'perf'


def has_probes():
    return bool(tracing.notes(LIBRARY))


class Options(ctypes.Structure):
    """struct lanemap_reader_options of include/lanemap/lanemap.h."""
    _fields_ = [('size', ctypes.c_size_t), ('attach_timeout_ns', ctypes.c_uint64), ('stale_after_ns', ctypes.c_uint64),
                ('directory', ctypes.c_char_p), ('helper_thread', ctypes.c_int), ('statistics', ctypes.c_int),
                ('error', ctypes.c_void_p), ('trust', ctypes.c_uint32), ('trusted_uid', ctypes.c_uint32),
                ('sample_every', ctypes.c_uint32), ('reserved', ctypes.c_uint32), ('slow_ns', ctypes.c_uint64)]


class Reader:
    """A reader in this process."""

    def __init__(self, name, **options):
        self.library = ctypes.CDLL(LIBRARY)
        self.pointer = ctypes.c_void_p()
        r = self.library.lanemap_reader_attach(
            name.encode(), ctypes.byref(Options(size=ctypes.sizeof(Options), **options)), ctypes.byref(self.pointer))
        if r != 0:
            raise AssertionError(f'attach: {r}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.library.lanemap_reader_detach(self.pointer)

    def poll(self):
        return self.library.lanemap_reader_poll(self.pointer)

    def lookup(self, key, ids=None):
        ids, n_ids = ids or (ctypes.c_uint32 * 8)(), ctypes.c_size_t()
        r = self.library.lanemap_reader_lookup(self.pointer, key, ctypes.c_size_t(len(key)), ids, ctypes.c_size_t(8),
                                               ctypes.byref(n_ids))
        if r != 0:
            raise AssertionError(f'lookup: {r}')
        return list(ids[:n_ids.value])


@functools.cache
def reason_not():
    """Why nothing can be traced here, or None: what a real tracer says to a uprobe in a program of ours."""
    if not has_probes():
        return 'built without probes'
    if not shutil.which('bpftrace'):
        return 'there is no bpftrace'
    tried = subprocess.run(['bpftrace', '-e', f'uprobe:{LIBRARY}:lanemap_version {{ }} interval:ms:1 {{ exit(); }}'],
                           capture_output=True, text=True, timeout=120)
    if tried.returncode != 0 or 'Attaching' not in tried.stdout:
        return f'tracing is not permitted: {tried.stderr.strip()[-300:]}'
    return None


def tracing_or_skip():
    reason = reason_not()
    if reason:
        raise harness.SkipTest(reason)


class Tracer:
    """bpftrace with a program, on a process. Its lines are read from a file while it runs."""

    def __init__(self, program, pid):
        self.output = tempfile.NamedTemporaryFile('r', prefix='lmtrace-', suffix='.txt')
        with open(self.output.name, 'w', encoding='utf-8') as file:
            self.process = subprocess.Popen(['bpftrace', '-B', 'line', '-p', str(pid), '-e', program], stdout=file,
                                            stderr=file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.output.close()

    def lines(self):
        return Path(self.output.name).read_text(errors='replace').splitlines()

    def until(self, what, action=None):
        """Waits for a line of which what(line) is true; calls action() before each look. Attaching takes a moment."""
        def look():
            if self.process.poll() is not None:
                raise AssertionError('bpftrace ended: ' + '\n'.join(self.lines()))
            if action:
                action()
            return [line for line in self.lines() if what(line)]
        return harness.eventually(look, 60)[0]


def script_run(name, *arguments, timeout=240):
    return subprocess.run([PERF / name, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
