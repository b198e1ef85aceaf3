#!/usr/bin/env python3
"""The house rules that a compiler does not check.

1. A room includes only itself and rooms to its left; segment and overlay do not know each other.
2. A read-side file includes no write-side header.
3. Nothing sets a file's length: ftruncate, also to the present length, and FALLOC_FL_KEEP_SIZE lose reserved room.
4. A function with external linkage is named lanemap_...; the exceptions are listed with their reason.

Usage: check_layers.py SOURCE-ROOT
"""
import re
import sys
from pathlib import Path

# Which rooms a room may include, itself aside.
MAY_USE = {
    'common': [],
    'segment': ['common'],
    'overlay': ['common'],
    'lane': ['common', 'segment', 'overlay'],
    'store': ['common'],
    'shm': ['common', 'segment', 'overlay', 'lane', 'store'],
    'reader': ['common', 'segment', 'overlay', 'lane', 'shm'],
    'writer': ['common', 'segment', 'overlay', 'lane', 'store', 'shm'],
    'daemon': ['common'],
}

# The files of common that only the write side uses.
COMMON_WRITE = {'alloc', 'file', 'clock', 'arena', 'executor', 'lock', 'owner'}


def is_read_side(path):
    """Files whose code links into liblanemap.so."""
    room, stem = path.parent.name, path.stem
    if room == 'reader':
        return True
    if room in ('store', 'writer', 'daemon'):
        return False
    if room == 'common':
        return stem not in COMMON_WRITE
    return stem.endswith('_read') or stem.endswith('_format') or (room == 'shm' and stem == 'shm_object')


def read_sources(source):
    """What meson really links: the files(...) of every `read_sources +=`."""
    names = set()
    for build in (source / 'src').glob('*/meson.build'):
        for block in re.findall(r'read_sources \+= files\((.*?)\)', build.read_text(), re.S):
            names |= {build.parent / name for name in re.findall(r"'([^']+)'", block)}
    return names


def check_includes(source):
    faults = []
    for path in sorted((source / 'src').glob('*/*.[ch]')):
        room = path.parent.name
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "(\w+)/(\w+)\.h"', line)
            if not match:
                continue
            other, stem = match.groups()
            where = f'{path.relative_to(source)}:{number}'
            if other != room and other not in MAY_USE[room]:
                faults.append(f'{where}: room {room} may not use room {other}')
            header = source / 'src' / other / f'{stem}.h'
            if is_read_side(path) and not is_read_side(header):
                faults.append(f'{where}: a read-side file includes the write-side header {other}/{stem}.h')
    for path in sorted(read_sources(source)):
        if not is_read_side(path):
            faults.append(f'{path.relative_to(source)}: linked into liblanemap.so, but named as write side')
    return faults


def check_reserved_room(source):
    faults = []
    for path in sorted((source / 'src').glob('*/*.[ch]')):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r'\b(f?truncate(64)?\(|FALLOC_FL_KEEP_SIZE)', line):
                faults.append(f'{path.relative_to(source)}:{number}: reserved room would be lost: posix_fallocate instead')
    return faults


def main():
    source = Path(sys.argv[1])
    faults = check_includes(source) + check_reserved_room(source)
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    return 1 if faults else 0


sys.exit(main())
