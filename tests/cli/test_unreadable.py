"""A data directory with a page that cannot be read (EIO from pread, by tests/support/preload_read.c): each command says which
file and where, and repair keeps what can be read."""
import glob
import os
import signal
import subprocess
import unittest

from harness import LANEMAP, Daemon, equal, main

PAGE = 4096


def unreadable(name, first, last=None):
    """The environment in which reading these pages of that file fails."""
    return dict(os.environ, LD_PRELOAD=os.environ["PRELOAD_READ"], LANEMAP_TEST_EIO_FILE=name,
                LANEMAP_TEST_EIO_FROM=str(first * PAGE), LANEMAP_TEST_EIO_TO=str((last or first + 1) * PAGE))


def run(*command, env=None):
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


def lanemap(*args, env=None):
    return run(LANEMAP, *args, env=env)


def filled(flush):
    """A stopped daemon's directory, with all keys in one segment file, or in the log."""
    daemon = Daemon("--lanes", "4", "--appendfsync", "always")
    daemon.start()
    client = daemon.client()
    n = 20000 if flush else 3000  # which no flush takes out of the log
    client.send_commands(*(("SADD", f"k{i}", i, i + 1) for i in range(n)))
    for _ in range(n):
        equal(client.reply(), (":", 2))
    if flush:
        equal(client("LANEMAP.FLUSH"), ("+", "OK"))
        equal(client("LANEMAP.COMPACT"), ("+", "OK"))
    daemon.stop(signal.SIGTERM if flush else signal.SIGKILL)
    return daemon


def file_of(daemon, prefix):
    return os.path.basename(max(glob.glob(os.path.join(daemon.data, prefix + "*")), key=os.path.getsize))


class Unreadable(unittest.TestCase):
    def test_a_page_of_the_log(self):
        daemon = filled(flush=False)
        try:
            name = file_of(daemon, "log-")
            env = unreadable(name, 9)
            before = sorted(os.listdir(daemon.data))
            code, text = lanemap("verify", daemon.data, env=env)
            equal(code, 5, text)
            assert name in text and "cannot be read" in text, text
            code, text = lanemap("repair", daemon.data, env=env)
            equal(code, 1, text)
            assert "cannot be read" in text and "--accept-log-loss" in text and "too fast" not in text, text
            code, text = run(Daemon.binary, "--name", daemon.name, "--dir", daemon.data, env=env)
            equal(code, 1, text)
            assert name in text and "cannot be read" in text, text
            gone = [entry for entry in set(before) - set(os.listdir(daemon.data)) if entry != "lanemapd.sock"]
            equal(gone, [], "nothing was removed")

            code, text = lanemap("repair", "--accept-log-loss", daemon.data, env=env)
            equal(code, 6, text)
            assert "LOST" in text and "records in front of the damage are kept" in text, text
            equal(lanemap("verify", daemon.data)[0], 0)
            assert os.path.exists(os.path.join(daemon.data, "quarantine", name))
            daemon.start()
            n_keys = daemon.client()("DBSIZE")[1]
            assert 0 < n_keys < 3000, n_keys
        finally:
            daemon.__exit__(None)

    def test_a_page_of_the_header_of_the_log_has_a_copy(self):
        daemon = filled(flush=False)
        try:
            name = file_of(daemon, "log-")
            equal(lanemap("verify", daemon.data, env=unreadable(name, 0))[0], 0)
            code, text = lanemap("verify", daemon.data, env=unreadable(name, 0, 2))
            equal(code, 5, text)
            assert name in text and "header" in text, text
        finally:
            daemon.__exit__(None)

    def test_the_header_of_a_segment_file(self):
        daemon = filled(flush=True)
        try:
            name = file_of(daemon, "seg-")
            code, text = run(Daemon.binary, "--name", daemon.name, "--dir", daemon.data, env=unreadable(name, 0))
            equal(code, 1, text)
            assert name in text and "cannot be read" in text and "repair" in text, text
        finally:
            daemon.__exit__(None)

    def test_a_page_in_the_midst_of_a_segment_file(self):
        daemon = filled(flush=True)
        try:
            name = file_of(daemon, "seg-")
            env = unreadable(name, 9)
            code, text = lanemap("verify", daemon.data, env=env)
            equal(code, 5, text)
            assert name in text and f"offset {9 * PAGE}" in text and "cannot be read" in text, text
            code, text = lanemap("reshard", daemon.data, "--lanes", "8", env=env)
            equal(code, 1, text)
            assert name in text and "repair" in text, text
            code, text = lanemap("restore", daemon.data, daemon.directory + "/restored", env=env)
            equal(code, 1, text)
            assert name in text, text

            code, text = lanemap("repair", daemon.data, env=env)
            equal(code, 6, text)
            assert "LOST" in text and "are kept" in text, text
            equal(lanemap("verify", daemon.data)[0], 0)
            daemon.start()
            n_keys = daemon.client()("DBSIZE")[1]
            assert 10000 < n_keys < 20000, n_keys
        finally:
            daemon.__exit__(None)


if __name__ == "__main__":
    main()
