#!/usr/bin/env python3
"""The rows of struct lanemap_writer_stats, for command/stats.c: a member in a line of its own, and beside it a comment
"kind, unit: meaning", of which unit and meaning may be missing. A member without one is an error.

Usage: stats_rows.py WRITER-H OUTPUT
"""
import re
import sys
from pathlib import Path

KINDS = ['counter', 'gauge', 'flag', 'segment kind', 'filter']
# What is told in a way of its own.
OTHERS = {'size', 'uuid', 'generation'}

MEMBER = re.compile(r'^\s+[\w ]+?\b(\w+)(?:\[\d+\])?;[ \t]*(?:/\*(.*?)\*/)?', re.S | re.M)


def main():
    header, output = map(Path, sys.argv[1:3])
    struct = re.search(r'^struct lanemap_writer_stats \{\n(.*?)^\};', header.read_text(), re.S | re.M).group(1)
    rows = []
    for name, comment in MEMBER.findall(struct):
        if name in OTHERS:
            continue
        head, _, meaning = ' '.join(comment.split()).partition(': ')
        kind, _, unit = head.partition(', ')
        if kind not in KINDS:
            sys.exit(f'{header}: {name} has no comment "kind, unit: meaning" beside it; kinds are {", ".join(KINDS)}')
        rows.append(f'ROW({name}, {kind.upper().replace(" ", "_")}, "{unit}", "{meaning}")\n')
    if len(rows) + len(OTHERS) != struct.count(';'):
        sys.exit(f'{header}: {struct.count(";")} members, {len(rows) + len(OTHERS)} of them understood')
    output.write_text(''.join(rows))


main()
