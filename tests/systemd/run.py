"""Boots systemd 252 once and runs the tests of test_*.py in it: functions test_*(machine), in the order of their names.

A file that is put here is run; it imports what it needs from machine.py. Ends with `N passed, N failed`.

Usage: run.py BUILD [TEST...]
"""
import glob
import importlib
import os
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from machine import Machine, Skip  # noqa: E402

EXIT_SKIP = 77  # as meson reads it


def tests():
    # test_operate.py comes first: it does what README says, and the others find a tenant that is served.
    names = [os.path.basename(path)[:-3] for path in glob.glob(os.path.join(HERE, "test_*.py"))]
    for name in sorted(names, key=lambda name: (name != "test_operate", name)):
        module = importlib.import_module(name)
        for test in sorted(vars(module)):
            if test.startswith("test_"):
                yield f"{name[5:]}::{test[5:]}", getattr(module, test)


def run(machine, only):
    n_passed = n_failed = 0
    for name, test in tests():
        if only and not any(word in name for word in only) and not name.startswith("operate::00"):
            continue
        start, since = time.monotonic(), f"@{time.time():.6f}"
        try:
            test(machine)
        except Exception:
            n_failed += 1
            print(f"FAIL {name}")
            traceback.print_exc(file=sys.stdout)
            print(machine.run("journalctl", "--no-pager", "--since", since, "-n", "60", code=None))
        else:
            n_passed += 1
            print(f"ok   {name} ({time.monotonic() - start:.2f} s)")
        sys.stdout.flush()
    return n_passed, n_failed


def main():
    # Who ends the test ends the system too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    start = time.monotonic()
    try:
        with Machine(sys.argv[1]) as machine:
            print(f"booted in {time.monotonic() - start:.2f} s")
            n_passed, n_failed = run(machine, sys.argv[2:])
    except Skip as e:
        print(f"SKIP {e}")
        print("0 passed, 0 failed, 1 skipped")
        return EXIT_SKIP
    print(f"{n_passed} passed, {n_failed} failed")
    return 1 if n_failed else 0


sys.exit(main())
