#!/usr/bin/env python3
"""The house rules on includes.

1. A room includes only itself and the rooms that MAY_USE lists for it; segment and overlay do not know each other.
2. A room inside a room includes only itself, the rooms that stand before it in INSIDE, and the room's own top files.
3. A read-side file includes no write-side header.
4. No file repeats the name of its folder, but for the header or the source that gives the folder its subject.
5. Nothing sets a file's length: ftruncate, also to the present length, and FALLOC_FL_KEEP_SIZE lose reserved room.

Names of functions are checked by check_names.py, circles of calls by check_circles.py.

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
    'verify': ['common', 'segment', 'lane', 'store'],
    'directory': ['common', 'segment', 'lane', 'store', 'shm', 'verify'],
    'writer': ['common', 'segment', 'overlay', 'lane', 'store', 'shm', 'verify'],
    'daemon': ['common'],
}

# The rooms inside a room, each with those it may include.
INSIDE = {
    'segment': {'posting': [], 'filter': [], 'packed': [], 'perfect': []},
    'writer': {
        'core': [],
        'health': ['core'],
        'apply': ['core', 'health'],
        'compact': ['core', 'apply', 'health'],
        'serve': ['core', 'health'],
        'life': ['core', 'apply', 'health', 'compact', 'serve'],
    },
    'daemon': {
        'resp': [],
        'loop': ['resp'],
        'client': ['resp', 'loop'],
        'command': ['resp', 'loop', 'client'],
    },
}

# The files of common that only the write side uses.
COMMON_WRITE = {'alloc', 'file', 'clock', 'arena', 'executor', 'lock', 'mutex', 'option', 'option_text', 'owner',
                'probes_write'}


def place(path, source):
    """(room, room inside it or None) of a file below src/."""
    parts = path.relative_to(source / 'src').parts
    return parts[0], parts[1] if len(parts) == 3 else None


def is_read_side(path, room):
    """Files whose code links into liblanemap.so."""
    stem = path.stem
    if room == 'reader':
        return True
    if room in ('store', 'verify', 'directory', 'writer', 'daemon'):
        return False
    if room == 'common':
        return stem not in COMMON_WRITE
    return re.fullmatch(r'(.*_)?(read|format)', stem) is not None or (room == 'shm' and stem == 'object')


def read_sources(source):
    """What meson really links: the files(...) of every `read_sources +=`."""
    names = set()
    for build in (source / 'src').glob('*/meson.build'):
        for block in re.findall(r'read_sources \+= files\((.*?)\)', build.read_text(), re.S):
            names |= {build.parent / name for name in re.findall(r"'([^']+)'", block)}
    return names


def check_includes(source):
    faults = []
    for path in sorted((source / 'src').rglob('*.[ch]')):
        room, inside = place(path, source)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'#include "([\w/]+\.h)"', line)
            if not match:
                continue
            header = source / 'src' / match.group(1)
            where = f'{path.relative_to(source)}:{number}'
            if not header.exists():
                faults.append(f'{where}: {match.group(1)} is not below src/')
                continue
            other, other_inside = place(header, source)
            if other != room and other not in MAY_USE[room]:
                faults.append(f'{where}: room {room} may not use room {other}')
            if other == room and inside and other_inside and inside != other_inside and \
                    other_inside not in INSIDE[room][inside]:
                faults.append(f'{where}: room {room}/{inside} may not use room {room}/{other_inside}')
            if is_read_side(path, room) and not is_read_side(header, other):
                faults.append(f'{where}: a read-side file includes the write-side header {match.group(1)}')
    for path in sorted(read_sources(source)):
        if not is_read_side(path, place(path, source)[0]):
            faults.append(f'{path.relative_to(source)}: linked into liblanemap.so, but named as write side')
    return faults


def check_reserved_room(source):
    faults = []
    for path in sorted((source / 'src').rglob('*.[ch]')):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.search(r'\b(f?truncate(64)?\(|FALLOC_FL_KEEP_SIZE)', line):
                faults.append(f'{path.relative_to(source)}:{number}: reserved room would be lost: posix_fallocate instead')
    return faults


def check_file_names(source):
    return [f'{path.relative_to(source)}: repeats the name of its folder'
            for path in sorted((source / 'src').rglob('*.[ch]')) if path.stem.startswith(path.parent.name + '_')]


def main():
    source = Path(sys.argv[1])
    faults = check_includes(source) + check_file_names(source) + check_reserved_room(source)
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    return 1 if faults else 0


sys.exit(main())
