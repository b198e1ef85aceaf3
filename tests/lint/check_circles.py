#!/usr/bin/env python3
"""No circle of calls between the files of a room.

The object files say which functions a file defines and which it takes from others (nm); the files of a room whose
calls lead back to themselves are a circle. A function whose address is taken counts as called.

A room is a folder below src/, or perf/PROGRAM, or tools/lanemap.

Usage: check_circles.py BUILD-DIRECTORY ROOM...
"""
import json
import re
import subprocess
import sys
from pathlib import Path


def objects(build):
    """{source file: object file} of what the build compiles from src/, perf/ and tools/, each source once."""
    found = {}
    for unit in json.loads((build / 'compile_commands.json').read_text()):
        source = (Path(unit['directory']) / unit['file']).resolve()
        output = Path(unit['directory']) / unit['output']
        if re.search('/(src|perf|tools)/', str(source)) and output.exists():
            found.setdefault(source, output)
    return found


def symbols(output):
    defined, taken = set(), set()
    for line in subprocess.run(['nm', output], capture_output=True, text=True, check=True).stdout.splitlines():
        fields = line.split()
        if len(fields) < 2:
            continue
        kind, name = fields[-2:]
        (taken if kind == 'U' else defined if kind in 'TDBRVW' else set()).add(name)
    return defined, taken


def circles(graph):
    """Strongly connected components of more than one file (Tarjan 1972), without recursion."""
    index, low, on_stack, stack, found, counter = {}, {}, set(), [], [], 0
    for root in graph:
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = counter
        counter += 1
        stack.append(root)
        on_stack.add(root)
        while work:
            node, edges = work[-1]
            for other in edges:
                if other not in index:
                    index[other] = low[other] = counter
                    counter += 1
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(sorted(graph[other]))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on_stack.discard(component[-1])
                    if len(component) > 1:
                        found.append(sorted(component))
    return found


def main():
    build, rooms = Path(sys.argv[1]), sys.argv[2:]
    faults = 0
    for room in rooms:
        folder = room if '/' in room else f'src/{room}'
        files = {s: symbols(o) for s, o in objects(build).items() if f'/{folder}/' in str(s)}
        if not files:
            print(f'{room}: the build has no object of it')
            faults += 1
            continue
        owner = {name: s for s, (defined, _) in files.items() for name in defined if name != 'main'}
        graph = {s: {owner[n] for n in taken if n in owner and owner[n] != s} for s, (_, taken) in files.items()}
        for circle in circles(graph):
            faults += 1
            print(f'{room}: a circle of {len(circle)} files')
            for source in circle:
                for other in sorted(graph[source] & set(circle)):
                    names = sorted(n for n in files[source][1] if owner.get(n) == other)
                    print(f'    {source.name} -> {other.name}: {", ".join(names)}')
    print(f'{faults} faults')
    return 1 if faults else 0


sys.exit(main())
