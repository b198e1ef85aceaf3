#!/usr/bin/env python3
"""A spin model checked exhaustively: as it is, where nothing may be wrong, and with each of its sabotages, where something
has to be.

The sabotages are the model's own: `#define NAME number /* what is done */` ahead of `#ifndef SABOTAGE`. A run counts only
if it was complete (no state left out for lack of memory or depth) and tried at least 1000 states; it is not a proof otherwise.

Usage: check_spin.py MODEL [-DNAME=VALUE,...]...    each argument is one more run of the model as it is
Exit status: 0, 1, or 77 when there is no spin.
"""
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DEPTH = 1000000
N_STATES_MIN = 1000
SECONDS_MAX = 60


def verify(model, defines, folder):
    """The text of pan's report."""
    shutil.copy(model, folder)
    for command in (['spin', '-a'] + defines + [model.name],
                    ['cc', '-O1', '-w', '-DSAFETY', '-DCOLLAPSE', '-DMEMLIM=800', '-o', 'pan', 'pan.c']):
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if result.returncode != 0 or 'rror:' in result.stdout:
            sys.exit(f'{" ".join(command)}\n{result.stdout}{result.stderr}')
    return subprocess.run(['./pan', f'-m{DEPTH}', '-w20'], cwd=folder, capture_output=True, text=True,
                          timeout=SECONDS_MAX).stdout


def trail(model, defines, folder):
    """The steps to the first error."""
    result = subprocess.run(['spin', '-t', '-p'] + defines + [model.name], cwd=folder, capture_output=True, text=True)
    return result.stdout


def check(model, defines, is_sabotaged, what):
    with tempfile.TemporaryDirectory() as folder:
        report = verify(model, defines, folder)
        errors = re.search(r'errors: (\d+)', report)
        states = re.search(r'(\d+) states, stored', report)
        broken = re.search(r'pan:1: (.*)', report)
        n_errors, n_states = int(errors[1]) if errors else -1, int(states[1]) if states else 0
        is_complete = 'Search not completed' not in report and 'max search depth too small' not in report
        if is_sabotaged:
            good = n_errors > 0 and 'assertion violated' in report
        else:
            good = n_errors == 0 and is_complete and n_states >= N_STATES_MIN
        print(f'{model.name} {what}: {n_states} states, {n_errors} errors{" (" + broken[1] + ")" if broken else ""}'
              f'{"" if good else "   WRONG"}', flush=True)
        if not good:
            print(report)
            if n_errors > 0:
                print(trail(model, defines, folder))
        return good


def main():
    model = Path(sys.argv[1]).resolve()
    if not shutil.which('spin') or not shutil.which('cc'):
        print('skipped: spin is not installed')
        return 77

    sabotages = re.findall(r'^#define (\w+) +(\d+) /\*', model.read_text().split('#ifndef SABOTAGE')[0], re.M)
    runs = [argument.split(',') for argument in sys.argv[2:]] or [[]]
    good = True
    for defines in runs:
        good &= check(model, defines, False, 'as it is ' + ' '.join(defines))
    for name, number in sabotages:
        good &= check(model, [f'-DSABOTAGE={number}'], True, name)
    return 0 if good and sabotages else 1


sys.exit(main())
