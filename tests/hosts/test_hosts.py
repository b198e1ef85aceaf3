#!/usr/bin/env python3
"""liblanemap in programs that do as they like: forks, liburcu, plugins, dlclose, other runtimes, little address space.

Usage: test_hosts.py LANEMAPD LIBLANEMAP HOST_URCU HOST_COPIES PLUGIN ATTACHED_READER
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'daemon'))
from harness import Daemon  # noqa: E402

LIBRARY, HOST_URCU, HOST_COPIES, PLUGIN, ATTACHED_READER = sys.argv[2:7]
SECONDS_MAX = 120


def run(*command, **options):
    """A deadlock ends here, if its own watchdog did not end it."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS_MAX,
                          check=False, **options)
    return done.returncode, done.stdout


def expect_ok(what, *command, **options):
    code, output = run(*command, **options)
    assert code == 0, f'{what}: ended with {code}: {output}'
    print(f'ok: {what}')
    return output


def check_dynamic():
    """Nothing of the static TLS that a process has little of for what it loads late; never unloaded under a thread."""
    dynamic = subprocess.run(['readelf', '-d', LIBRARY], check=True, text=True, stdout=subprocess.PIPE).stdout
    assert 'STATIC_TLS' not in dynamic, dynamic
    assert 'NODELETE' in dynamic, dynamic
    assert 'urcu' not in dynamic, dynamic
    segments = subprocess.run(['readelf', '-Wl', LIBRARY], check=True, text=True, stdout=subprocess.PIPE).stdout
    assert not any(line.split()[:1] == ['TLS'] for line in segments.splitlines()), segments
    print('ok: no thread-local storage of its own')


PYTHON_HOST = '''
import ctypes, os, signal, sys, threading
signal.alarm(60)
library = ctypes.CDLL(sys.argv[1])
reader = ctypes.c_void_p()
assert library.lanemap_reader_attach(sys.argv[2].encode(), None, ctypes.byref(reader)) == 0
contains, poll = library.lanemap_reader_contains, library.lanemap_reader_poll
contains.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32]
poll.argtypes = [ctypes.c_void_p]
stop = False
def look():
    while not stop:
        assert contains(reader, b"a", 1, 1) == 1 and poll(reader) >= 0
threads = [threading.Thread(target=look) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(30):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os._exit(0 if contains(reader, b"a", 1, 1) == 1 and poll(reader) >= 0 else 1)
    assert os.waitpid(pid, 0)[1] == 0
stop = True
for thread in threads:
    thread.join()
'''


def check_address_space(name):
    """bash's ulimit -v, with what the reader itself needs and some MiB."""
    script = 'ulimit -v "$1"; exec "$2" "$3"'
    expect_ok('ulimit -v 16 MiB', 'bash', '-c', script, 'bash', str(16 << 10), ATTACHED_READER, name)
    code, output = run('bash', '-c', script, 'bash', str(3 << 10), ATTACHED_READER, name)
    assert code != 0, output
    if 'error while loading' not in output and 'cannot' not in output:
        assert 'address space' in output, output


def check_writer_address_space():
    """A writer takes an eighth of its address space for shared memory; where that is too little it says what to raise."""
    script = 'ulimit -v "$0"; exec "$@"'
    with Daemon(wrapper=('bash', '-c', script, str(512 << 10))) as daemon:
        client = daemon.client()
        assert client('SADD', 'a', *range(1000)) == (':', 1000)
        assert client('LANEMAP.FLIP') == ('+', 'OK')
        assert client('SCARD', 'a') == (':', 1000)
        assert 'shared memory may grow to 67108864 bytes' in daemon.messages(), daemon.messages()
    with tempfile.TemporaryDirectory() as directory:
        code, output = run('bash', '-c', script, str(100 << 10), Daemon.binary, '--name', f'space-{os.getpid()}',
                           '--dir', directory)
    assert code == 1 and 'raise the limit (ulimit -v, LimitAS=' in output, output
    print('ok: ulimit -v, the writer')


def check_valgrind(name):
    if not shutil.which('valgrind'):
        print('skipped: there is no valgrind')
        return
    output = expect_ok('valgrind', 'valgrind', '--error-exitcode=9', '--leak-check=full', ATTACHED_READER, name)
    assert 'ERROR SUMMARY: 0 errors' in output, output


def main():
    Daemon.binary = sys.argv[1]
    check_dynamic()
    with Daemon() as daemon:
        client = daemon.client()
        assert client('SADD', 'a', 1) == (':', 1)
        for i in range(2000):
            assert client('SADD', f'k{i}', i, i + 1) == (':', 2)
        for how in ('around', 'before', 'after'):
            expect_ok(f'liburcu, its fork calls {how}', HOST_URCU, LIBRARY, daemon.name, how)
        expect_ok('two copies, dlclose', HOST_COPIES, LIBRARY, PLUGIN, daemon.name)
        expect_ok('Python, ctypes', sys.executable, '-c', PYTHON_HOST, LIBRARY, daemon.name)
        check_valgrind(daemon.name)
        check_address_space(daemon.name)
    check_writer_address_space()


main()
