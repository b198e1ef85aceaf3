#!/usr/bin/env python3
"""Instructions of a lookup, counted by callgrind.

Sections: one lookup in a section of 20,000 keys, by kind, with a filter and without; the loop around it is counted too.
Index: one call of the library in an index of 20,000 keys, by the kind of its segments or by where the keys are; the
key's hash and the caller's loop are counted too.

They are the same on every run of one build, whatever else the machine does, but for a lane's view that is decoded once
more now and then. With --recorded the counts are compared with those of a file: one that is more than --tolerance above
or below its record is an error, so that a lookup that has become longer is seen on any machine, and one that has become
shorter is recorded. Batches are recorded with AVX2, which valgrind has where the processor has it; elsewhere they are
not compared.

Usage: count.py [--quick] [--recorded FILE [--tolerance PART] | --record FILE] SECTIONS INDEX

SECTIONS and INDEX are build/perf/instructions and build/perf/lookup-instructions.
"""
import argparse
import re
import subprocess
import sys
import tempfile

KINDS = {"packed": 1, "recsplit": 2, "bbhash": 3}
FILTERS = {"": 0, "_fuse8": 1}
OF_SECTIONS = {"hit": "counted_singles", "miss": "counted_singles", "batch_hit": "counted_batches",
               "batch_miss": "counted_batches", "cursor": "counted_cursor"}
OF_INDEX = {"hit": "counted_lookups", "miss": "counted_lookups", "batch_hit": "counted_batches",
            "batch_miss": "counted_batches", "print_hit": "counted_prints", "print_miss": "counted_prints"}
INDEXES = {"packed": (1, "segment"), "recsplit": (2, "segment"), "bbhash": (3, "segment"), "overlay": (1, "overlay"),
           "levels": (1, "levels")}


def count(function, *command):
    run = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
                          f"--toggle-collect={function}", *map(str, command)], capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected or int(collected[1]) == 0:
        sys.exit(f"count.py: {' '.join(map(str, command))}: {run.stderr[-500:]}")
    return int(collected[1]) / int(run.stdout)


def sections(program, quick):
    for kind, number in list(KINDS.items())[:1 if quick else None]:
        for suffix, filter_ in list(FILTERS.items())[:1 if quick else None]:
            for what in ("hit", "miss") if quick else OF_SECTIONS:
                yield f"section.{kind + suffix}.{what}", count(OF_SECTIONS[what], program, number, filter_, what)


def indexes(program, quick):
    with tempfile.TemporaryDirectory() as folder:
        for name, (kind, level) in list(INDEXES.items())[:1 if quick else None]:
            for what, function in OF_INDEX.items():
                yield f"index.{name}.{what}", count(function, program, kind, level, what, folder)


def is_comparable(name):
    with open("/proc/cpuinfo") as file:
        return "index" not in name or "batch" not in name or " avx2 " in file.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections")
    parser.add_argument("index")
    parser.add_argument("--quick", action="store_true", help="the kind `packed` only")
    parser.add_argument("--recorded", metavar="FILE", help="compare with the counts of this file")
    parser.add_argument("--record", metavar="FILE", help="write the counts into this file")
    parser.add_argument("--tolerance", type=float, default=0.04, metavar="PART", help="of a record (default 0.04)")
    options = parser.parse_args()

    recorded = {}
    if options.recorded:
        with open(options.recorded) as file:
            recorded = {name: float(value) for name, value in map(str.split, file)}
    counts, wrong = {}, []
    for source, program in ((sections, options.sections), (indexes, options.index)):
        for name, value in source(program, options.quick):
            counts[name] = value
            print(name, f"{value:.1f}", flush=True)
            if not is_comparable(name):
                continue
            if recorded and name not in recorded:
                wrong.append(f"{name} is not recorded")
            elif recorded and abs(value - recorded[name]) > options.tolerance * recorded[name]:
                wrong.append(f"{name}: {value:.1f} instructions, recorded are {recorded[name]:.1f}")
    if options.record:
        with open(options.record, "w") as file:
            file.writelines(f"{name} {value:.1f}\n" for name, value in counts.items())
    if wrong:
        sys.exit("\n".join(wrong + ["count.py --record writes the counts of a change that is meant"]))


if __name__ == "__main__":
    main()
