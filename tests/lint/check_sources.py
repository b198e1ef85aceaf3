#!/usr/bin/env python3
"""Every C source is compiled by this build: a test that nobody builds proves nothing.

Usage: check_sources.py SOURCE BUILD
"""
import json
import os
import sys

ROOMS = ("src", "tools", "tests", "perf")

# Compiled by a test, as a stranger's program would be.
ELSEWHERE = {"tests/api/embed.c"}


def main(source, build):
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        built = {os.path.realpath(os.path.join(command["directory"], command["file"])) for command in json.load(file)}
    found = {os.path.relpath(os.path.join(folder, name), source)
             for room in ROOMS for folder, _, names in os.walk(os.path.join(source, room)) for name in names
             if name.endswith(".c")}
    left_out = sorted(path for path in found - ELSEWHERE if os.path.realpath(os.path.join(source, path)) not in built)
    for path in left_out:
        print(f"{path}: no meson.build names it, so it is neither built nor run")
    if not found or len(left_out) == len(found):
        print(f"{build}: no source of {source} is built there")
        return 1
    return 1 if left_out else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
