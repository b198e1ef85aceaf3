#!/usr/bin/env python3
"""Documents against the code that they describe.

1. Every call that lanemap.h declares is in the version script, and the other way round.
2. Every exported call has a comment before it that says Return or Owner, and Thread.
3. Every file that a document names exists.
4. Every command of the daemon's table is in its man page, and every option that --help prints. The same for each
   command of lanemap.

Usage: check_documents.py SOURCE-ROOT LANEMAPD LANEMAP
"""
import re
import subprocess
import sys
from pathlib import Path


# A declaration begins a line.
CALL = r'^(?!typedef|struct \w+ \{|enum|[ #/*])[\w ]+[ *](lanemap_\w+)\('


def declared(header):
    return set(re.findall(CALL, header.read_text(), re.M))


def check_symbols(source):
    header = declared(source / 'include/lanemap/lanemap.h')
    script = set(re.findall(r'^\s+(lanemap_\w+);', (source / 'src/reader/lanemap.sym').read_text(), re.M))
    return [f'lanemap.h declares {name}, lanemap.sym does not export it' for name in sorted(header - script)] + \
           [f'lanemap.sym exports {name}, lanemap.h does not declare it' for name in sorted(script - header)]


def check_docstrings(source):
    text = (source / 'include/lanemap/lanemap.h').read_text()
    faults = []
    for match in re.finditer(CALL, text, re.M):
        name = match.group(1)
        before = text[:match.start()].rstrip()
        comment = before[before.rfind('/*'):] if before.endswith('*/') else ''
        if 'Thread:' not in comment:
            faults.append(f'lanemap.h: {name} does not say Thread:')
    return faults


def check_paths(source):
    faults = []
    for document in ['README.md', 'src/README.md', 'src/FORMAT.md', 'perf/README.md', 'perf/DECISIONS.md']:
        path = source / document
        if not path.exists():
            faults.append(f'{document} does not exist')
            continue
        for name in re.findall(r'`((?:src|tests|tools|perf|include)/[\w./-]+)`', path.read_text()):
            if not (source / name).exists() and not list(source.glob(name + '*')):
                faults.append(f'{document} names {name}, which does not exist')
        for name in re.findall(r'`(\w+/\w+\.[ch])`', path.read_text()):
            if not (source / 'src' / name).exists() and not (source / name).exists():
                faults.append(f'{document} names {name}, which does not exist')
    return faults


def check_commands(source):
    table = source / 'src/daemon/command/table.c'
    page = source / 'tools/man/lanemapd.8'
    if not table.exists() or not page.exists():
        return []
    manual = page.read_text().replace('\\-', '-').upper()
    # Hidden commands (HID) only answer why they are not there.
    names = set(re.findall(r'\{"([a-z.]+)", (?:(?!HID)[^}])*\}', table.read_text()))
    faults = [f'lanemapd.8 does not name the command {name}' for name in sorted(names) if name.upper() not in manual]
    return faults


def options(program, *words):
    """The options that `program WORD... --help` lists. --help comes from the same rows as the parsing."""
    text = subprocess.run([program, *words, '--help'], capture_output=True, text=True, check=True).stdout
    return re.findall(r'^  --([a-z-]+)', text, re.M)


def commands(program):
    text = subprocess.run([program, '--help'], capture_output=True, text=True, check=True).stdout
    return re.findall(r'^  ([a-z]+) ', text, re.M)


def check_options(source, lanemapd, lanemap):
    pages = source / 'tools/man'
    found = {'lanemapd.8': options(lanemapd), 'lanemap.1': options(lanemap)}
    found |= {f'lanemap-{command}.1': options(lanemap, command) for command in commands(lanemap)}
    faults = []
    for page, names in found.items():
        if not (pages / page).exists():
            faults.append(f'{page} does not exist')
            continue
        manual = (pages / page).read_text().replace('\\-', '-')
        faults += [f'{page} does not name the option --{name}' for name in names
                   if name != 'help' and not re.search(rf'--{name}(?![a-z-])', manual)]
    overview = (pages / 'lanemap.1').read_text().replace('\\-', '-')
    faults += [f'lanemap.1 does not name the command {name}' for name in commands(lanemap)
               if not re.search(rf'lanemap-{name}\b', overview)]
    return faults


def main():
    source = Path(sys.argv[1])
    faults = check_symbols(source) + check_docstrings(source) + check_paths(source) + check_commands(source)
    faults += check_options(source, *sys.argv[2:4])
    for fault in faults:
        print(fault)
    print(f'{len(faults)} faults')
    return 1 if faults else 0


sys.exit(main())
