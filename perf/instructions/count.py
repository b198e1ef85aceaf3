#!/usr/bin/env python3
"""Instructions of a lookup in a section of 20,000 keys, by kind, with a filter and without, counted by callgrind.

They are the same on every run of one build, whatever else the machine does. The loop around a lookup is counted too.

Usage: count.py [--quick] PROGRAM (build/perf/instructions); --quick: one kind, hits and misses
"""
import re
import subprocess
import sys

KINDS = {"packed": 1, "recsplit": 2, "bbhash": 3}
FILTERS = {"": 0, "_fuse8": 1}
COUNTED = {"hit": "counted_singles", "miss": "counted_singles", "batch_hit": "counted_batches",
           "batch_miss": "counted_batches", "cursor": "counted_cursor"}


def count(program, kind, filter_, what):
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect={COUNTED[what]}",
         program, str(kind), str(filter_), what], capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected or int(collected[1]) == 0:
        sys.exit(f"count.py: {program} {kind} {filter_} {what}: {run.stderr[-500:]}")
    return int(collected[1]) / int(run.stdout)


def main():
    quick, program = "--quick" in sys.argv[1:-1], sys.argv[-1]
    for kind, number in list(KINDS.items())[:1 if quick else None]:
        for suffix, filter_ in list(FILTERS.items())[:1 if quick else None]:
            for what in ("hit", "miss") if quick else COUNTED:
                print(f"{kind + suffix}.{what} {count(program, number, filter_, what):.1f}", flush=True)


if __name__ == "__main__":
    main()
