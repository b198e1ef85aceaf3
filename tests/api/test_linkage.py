#!/usr/bin/env python3
"""Whatever has external linkage begins with lanemap_: a program that links the static libraries keeps its own names.

Usage: test_linkage.py ARCHIVE...
"""
import subprocess
import sys

foreign = set()
n_symbols = 0
for archive in sys.argv[1:]:
    for line in subprocess.run(['nm', '--defined-only', '--extern-only', archive], check=True, text=True,
                               stdout=subprocess.PIPE).stdout.splitlines():
        fields = line.split()
        if len(fields) != 3:
            continue
        n_symbols += 1
        # Weak and hidden: sys/sdt.h's, by which notes of probes are found after prelinking.
        if not fields[2].startswith('lanemap_') and fields[2] != '_.stapsdt.base':
            foreign.add(fields[2])
for name in sorted(foreign):
    print(f'{name} has external linkage and no prefix')
print(f'{n_symbols} symbols')
sys.exit(1 if foreign or n_symbols < 100 else 0)
