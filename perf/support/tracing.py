"""Shared by the scripts of perf/ that attach a tracer: processes, their probes, bpftrace, permissions, numbers."""
import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
HEADER = SOURCE / 'src/common/probes.h'
# Arguments that are addresses of strings.
STRINGS = {'index', 'directory', 'command'}
COST = 'A traced probe costs the traced thread about a microsecond each time it is reached.'
PERMISSION = ('Needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; in a container also that the host lets it '
              'trace.')


def documented(text=None):
    """{name: [argument, ...]} of the comment in src/common/probes.h."""
    text = HEADER.read_text() if text is None else text
    found = re.findall(r'^ \*   (\w+)\(([\w, ]*)\)$', text, re.M)
    return {name: [a.strip() for a in arguments.split(',')] for name, arguments in found}


def notes(path):
    """[(name, number of arguments, location, semaphore), ...] of a file's ELF notes."""
    text = subprocess.run(['readelf', '-nW', str(path)], check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout
    found = re.findall(r'Provider: lanemap\n\s+Name: (\w+)\n\s+Location: (\w+), Base: \w+, Semaphore: (\w+)\n'
                       r'\s+Arguments: ?(.*)', text)
    return [(name, len(arguments.split()), int(location, 16), int(semaphore, 16))
            for name, location, semaphore, arguments in found]


def fail(message):
    raise SystemExit(f'{os.path.basename(sys.argv[0])}: {message}')


def need(program, package):
    path = shutil.which(program)
    if not path:
        fail(f'there is no {program}: install {package} (tools/install-packages perf)')
    return path


def objects_of(pid):
    """The program and the libraries that a process has mapped, as it sees them, with probes of lanemap."""
    try:
        with open(f'/proc/{pid}/maps', encoding='utf-8') as maps:
            paths = {line.split(maxsplit=5)[5].strip() for line in maps if ' r-xp ' in line and line.count('/')}
    except OSError as error:
        fail(f'process {pid}: {error.strerror}')
    found = {}
    for path in sorted(paths):
        inside = f'/proc/{pid}/root{path}'
        path = path if os.path.exists(path) else inside
        if os.path.exists(path) and os.path.basename(path) != '[vdso]':
            names = {note[0] for note in notes(path)} if open(path, 'rb').read(4) == b'\x7fELF' else set()
            if names:
                found[path] = names
    return found


def attachable(pid):
    """{name of probe: object} of a process."""
    probes = {name: path for path, names in objects_of(pid).items() for name in names}
    if not probes:
        fail(f'process {pid} has no probes of lanemap: neither lanemapd nor a reader, or built with -Dprobes=disabled')
    return probes


def only_daemon():
    """The lanemapd that runs, if it is one."""
    pids = [int(p) for p in os.listdir('/proc') if p.isdigit() and name_of(p) == 'lanemapd']
    if len(pids) != 1:
        fail(f'{len(pids)} processes are called lanemapd: say which with --pid')
    return pids[0]


def name_of(pid):
    try:
        with open(f'/proc/{pid}/comm', encoding='utf-8') as comm:
            return comm.read().strip()
    except OSError:
        return None


class Formatter(argparse.HelpFormatter):
    """Lines of a description stay lines, and names of manual pages are whole."""

    def _fill_text(self, text, width, indent):
        return '\n'.join(textwrap.fill(line, width, initial_indent=indent, subsequent_indent=indent,
                                       break_on_hyphens=False) for line in text.splitlines())


def parser(description, costs=COST, permission=PERMISSION):
    p = argparse.ArgumentParser(description=description, epilog=f'{permission} {costs} See lanemap-perf(7).',
                                formatter_class=Formatter)
    p.add_argument('--pid', type=int, help='the process; without: the one lanemapd that runs')
    p.add_argument('--seconds', type=float, default=10, help='how long (10)')
    return p


def bpftrace(program, pid, seconds):
    """Runs a bpftrace program on a process. Yields its lines; ends after so many seconds, with the process, or with
    Ctrl-C. The lines come in the order of the processors' buffers, nearly that of time."""
    program = f'{program}\ninterval:ms:{max(int(seconds * 1000), 1)} {{ exit(); }}\n'
    tracer = subprocess.Popen([need('bpftrace', 'bpftrace'), '-B', 'line', '-p', str(pid), '-e', program],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace',
                              env=dict(os.environ, BPFTRACE_STRLEN='96', BPFTRACE_PERF_RB_PAGES='512'))
    before = signal.signal(signal.SIGINT, lambda *_: tracer.send_signal(signal.SIGINT))
    try:
        n_lost = 0
        for line in tracer.stdout:
            lost = re.match(r'Lost (\d+) events', line)
            if lost:
                n_lost += int(lost.group(1))
            elif line.startswith('Attaching '):
                print(f'tracing {name_of(pid)}, process {pid}', file=sys.stderr, flush=True)
            elif line.strip():
                yield line.rstrip('\n')
        errors = tracer.stderr.read()
        if tracer.wait() != 0:
            fail(f'bpftrace cannot trace process {pid}: {errors.strip()[-600:]}\n{PERMISSION}')
        n_lost += sum(int(n) for n in re.findall(r'Lost (\d+) events', errors))
        if n_lost:
            print(f'{n_lost} events were lost: they came faster than they could be read', file=sys.stderr)
    finally:
        signal.signal(signal.SIGINT, before)
        if tracer.poll() is None:
            tracer.kill()
            tracer.wait()


def usdt(probes, name, action, condition=''):
    """One probe of a bpftrace program."""
    if name not in probes:
        fail(f'this process has no probe {name}; it has: {" ".join(sorted(probes))}')
    return f'usdt:{probes[name]}:lanemap:{name} {condition} {{ {action} }}\n'


def percentile(values, share):
    """Of a sorted list."""
    return values[min(int(len(values) * share), len(values) - 1)]


def duration(ns):
    for unit, size in (('s', 10**9), ('ms', 10**6), ('us', 1000)):
        if ns >= size:
            return f'{ns / size:.3g} {unit}' if ns < 1000 * size else f'{ns / size:.0f} {unit}'
    return f'{ns:.0f} ns'


def size_text(n):
    for unit, size in (('GiB', 1 << 30), ('MiB', 1 << 20), ('KiB', 1 << 10)):
        if n >= size:
            return f'{n / size:.1f} {unit}'
    return f'{n} B'


def has_counters():
    """Whether perf can count cycles on this machine; most virtual ones have no such counter."""
    done = subprocess.run([need('perf', 'linux-perf'), 'stat', '-x', ';', '-e', 'cycles:u', 'true'], capture_output=True,
                          text=True, check=False)
    return done.returncode == 0 and re.search(r'^\d+;', done.stderr, re.M) is not None
