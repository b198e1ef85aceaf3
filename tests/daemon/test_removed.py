"""Shared memory, locks, log files or the data directory removed under a running writer (Y1 to Y3)."""
import contextlib
import os
import shutil
import subprocess
import unittest

from harness import Daemon, equal, eventually, main
from test_health import info


def objects(daemon):
    """The shared objects of the index: name to inode. One may go while they are listed."""
    found = {}
    for entry in os.listdir("/dev/shm"):
        if entry == f"lanemap.{daemon.name}" or entry.startswith(f"lanemap.{daemon.name}."):
            with contextlib.suppress(FileNotFoundError):
                found[entry] = os.stat(f"/dev/shm/{entry}").st_ino
    return found


def remove(daemon, what=lambda name: True):
    before = objects(daemon)
    for name in before:
        if what(name):
            os.unlink(f"/dev/shm/{name}")
    return before


def tool(*args):
    path = os.path.join(os.path.dirname(Daemon.binary), "../../tools/lanemap/lanemap")
    return subprocess.run([os.path.abspath(path), *args], capture_output=True, text=True, check=False)


def get(daemon, key):
    done = tool("get", daemon.name, key)
    return done.stdout if done.returncode == 0 else None


def check_published(daemon, client, before):
    """A control object, a data object, the lock and the spare are there, and new readers see new writes."""
    names = {"": False, ".lock": False, ".spare": False}

    def all_there():
        now = objects(daemon)
        return all(f"lanemap.{daemon.name}{end}" in now for end in names) and len(now) == 4

    eventually(all_there)
    assert objects(daemon) != before
    equal(client("SADD", "new", 7), (":", 1))
    eventually(lambda: "7" in (get(daemon, "new") or ""))
    assert "1" in (get(daemon, "k") or "")
    eventually(lambda: info(client)["health"] == "ok")


def check_second_is_refused(daemon):
    other = Daemon()
    other.name = daemon.name
    os.mkdir(other.data)
    try:
        other.start(wait=False)
        equal(other.process.wait(30), 1)
        assert "is published by another writer" in other.messages(), other.messages()
    finally:
        shutil.rmtree(other.directory)


HOLDER = """
import fcntl, os, struct, sys
where = "/dev/shm/" + os.path.basename(sys.argv[1]) + ".taken"
fd = os.open(where, os.O_RDWR | os.O_CREAT, 0o600)
fcntl.fcntl(fd, 37, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))  # F_OFD_SETLK
os.rename(where, sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def started(daemon):
    daemon.socket = os.path.join(daemon.directory, "sock")
    daemon.args = ["--socket", daemon.socket]
    daemon.start()
    return daemon.client()


class NotStarted(Daemon):
    def __enter__(self):
        return self


class Removed(unittest.TestCase):
    def test_everything_in_shared_memory(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", 1), (":", 1))
            for _ in range(3):
                before = remove(daemon)
                eventually(lambda: f"lanemap.{daemon.name}.lock" in objects(daemon), 2)
                check_second_is_refused(daemon)
                check_published(daemon, client, before)
                equal(client("SREM", "new", 7), (":", 1))
            assert "published anew" in daemon.messages()
            equal(daemon.stop(), 0)
            daemon.start()
            equal(daemon.client()("SCARD", "k"), (":", 1))

    def test_one_object_at_a_time(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", 1), (":", 1))
            ends = [lambda n: n.endswith(".lock"), lambda n: n.endswith(".spare"), lambda n: n.count(".") == 1,
                    lambda n: len(n.split(".")[-1]) == 16]
            for end in ends:
                before = remove(daemon, end)
                check_published(daemon, client, before)
                equal(client("SREM", "new", 7), (":", 1))

    def test_a_name_that_was_taken_ends_the_writer(self):
        """Somebody else has the lock before this writer sees that its own is gone: it cannot be the writer any longer."""
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", 1), (":", 1))
            path = f"/dev/shm/lanemap.{daemon.name}.lock"
            holder = subprocess.Popen(["python3", "-c", HOLDER, path],
                                      stdout=subprocess.PIPE, stdin=subprocess.PIPE)
            try:
                equal(holder.stdout.readline(), b"held\n")
                equal(daemon.process.wait(30), 1)
                assert "cannot be had again" in daemon.messages()
            finally:
                holder.stdin.close()
                holder.wait()


    # Locks a file and moves it, whole and locked, to where the writer has its own.

    def test_a_moved_directory_refuses_writes_until_it_is_back(self):
        with NotStarted() as daemon:
            client = started(daemon)
            equal(client("SADD", "k", 1), (":", 1))
            os.rename(daemon.data, daemon.data + ".moved")
            eventually(lambda: "data directory was moved or deleted" in info(client)["status"])
            kind, text = client("SADD", "k", 2)
            equal(kind, "-")
            assert text.startswith("ERR the data directory was moved or deleted under lanemapd; nothing was changed"), text
            equal(client("SCARD", "k"), (":", 1))
            os.rename(daemon.data + ".moved", daemon.data)
            eventually(lambda: client("SADD", "k", 2) == (":", 1))
            eventually(lambda: info(client)["health"] == "ok")
            equal(daemon.stop(9), -9)
            daemon.start()
            equal(daemon.client()("SCARD", "k"), (":", 2))

    def test_a_deleted_directory_acknowledges_nothing(self):
        with NotStarted() as daemon:
            client = started(daemon)
            equal(client("SADD", "k", 1), (":", 1))
            shutil.rmtree(daemon.data)
            # From here on a crash would lose it: no reply may say that it was added.
            replies = [client("SADD", "k", i) for i in range(2, 6)]
            assert all(kind == "-" for kind, _ in replies), replies
            eventually(lambda: "data directory was moved or deleted" in info(client)["status"])

    def test_a_log_file_that_is_unlinked(self):
        with NotStarted() as daemon:
            client = started(daemon)
            equal(client("SADD", "before", 1), (":", 1))
            for entry in os.listdir(daemon.data):
                if "log" in entry:
                    os.unlink(os.path.join(daemon.data, entry))
            eventually(lambda: client("SADD", "after", 1)[0] == ":")
            eventually(lambda: client("LANEMAP.FLUSH") == ("+", "OK"))
            equal(daemon.stop(9), -9)
            daemon.start()
            client = daemon.client()
            equal([client("SCARD", key) for key in ("before", "after")], [(":", 1)] * 2)


if __name__ == "__main__":
    main()
