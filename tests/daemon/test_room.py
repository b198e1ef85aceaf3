"""A start that finds no room waits for some, says so, lets readers read, and goes on by itself."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import Daemon, SkipTest, equal, eventually, main
from test_health import Notified, info


def tool(*args):
    path = os.path.join(os.path.dirname(Daemon.binary), "../../tools/lanemap/lanemap")
    return subprocess.run([os.path.abspath(path), *args], capture_output=True, text=True, check=False)


class NotStarted(Daemon):
    def __enter__(self):
        return self


class Disk:
    """A small file system that is the data directory: a tmpfs, or an ext4 in a file."""

    def __init__(self, daemon, size, ext4=False):
        self.path = path = daemon.data
        os.makedirs(path)
        what = ["-t", "tmpfs", "-o", f"size={size},mode=0750", "lanemap-test"]
        if ext4:
            image = os.path.join(daemon.directory, "image")
            made = subprocess.run(["mkfs.ext4", "-q", "-m", "0", image, size], capture_output=True, check=False)
            if made.returncode:
                raise SkipTest(f"an ext4 cannot be made here: {made.stderr}")
            what = ["-o", "loop", image]
        if subprocess.run(["mount", *what, path], capture_output=True, check=False).returncode:
            raise SkipTest("mounting is not permitted here")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)
        shutil.rmtree(os.path.dirname(self.path))

    def fill(self):
        fill(os.path.join(self.path, "filler"))

    def free(self):
        os.unlink(os.path.join(self.path, "filler"))


def fill(path):
    with open(path, "wb", buffering=0) as filler:
        for size in (1 << 16, 4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue


def connect(daemon):
    try:
        return daemon.client()
    except OSError:
        return None


def check_waiting(daemon, told, what):
    """The daemon waits; what it says of it, to whom."""
    client = eventually(lambda: connect(daemon))
    eventually(lambda: client("PING")[1].startswith("LOADING lanemapd waits for room: "))
    assert re.search(what, client("SADD", "k", 9)[1]), client("SADD", "k", 9)
    facts = info(client)
    equal(facts["loading"], "1")
    assert re.search(what, facts["waiting_for_room"]), facts
    seen = told.until("STATUS=Waiting for room: ")
    assert re.search(what, seen[-1]), seen
    told.until("EXTEND_TIMEOUT_USEC=")
    assert "WATCHDOG=1" in told.until("WATCHDOG=1")[-1]
    assert not any("READY=1" in message for message in seen)
    equal(daemon.messages().count("waits for room"), 1, "said once")
    return client


class Room(unittest.TestCase):
    def test_a_full_disk(self):
        """An index that was there is served, and takes no writes until there is room."""
        daemon = NotStarted()
        with Disk(daemon, "2m") as disk, daemon:
            daemon.start()
            client = daemon.client()
            for i in range(200):
                equal(client("SADD", f"k{i}", i), (":", 1))
            equal(daemon.stop(9), -9)
            disk.fill()
            told = Notified(daemon)
            daemon.env = {"NOTIFY_SOCKET": told.path, "WATCHDOG_USEC": "30000000"}
            daemon.start()
            told.until("READY=1")
            assert "new writes are refused" in told.until("STATUS=Serving")[-1]
            client = daemon.client()
            assert re.search("(?i)no space", client("SADD", "k7", 9)[1]), client("SADD", "k7", 9)
            got = tool("get", daemon.name, "k7")
            equal((got.returncode, got.stdout), (0, "k7\t7\n"), got)
            disk.free()
            eventually(lambda: client("SADD", "after", 1) == (":", 1))
            for i in range(200):
                equal(client("SMEMBERS", f"k{i}"), ("*", [("$", str(i).encode())]))
            eventually(lambda: info(client)["status"] == f"Serving {daemon.name}")

    def test_a_full_ext4_after_a_reboot(self):
        """Nothing is published, and there is a log to replay: it answers all the same, also under `always`."""
        daemon = NotStarted()
        with Disk(daemon, "16m", ext4=True) as disk, daemon:
            daemon.start()
            client = daemon.client()
            for i in range(200):
                equal(client("SADD", f"k{i}", i), (":", 1))
            for _ in range(2):
                equal(daemon.stop(9), -9)
                for path in glob.glob(f"/dev/shm/lanemap.{daemon.name}*"):
                    os.unlink(path)
                disk.fill()
                daemon.start()
                client = daemon.client()
                equal(client("SADD", "k", 1)[1].split(":")[0], "ERR no space")
                for i in range(200):
                    equal(client("SMEMBERS", f"k{i}"), ("*", [("$", str(i).encode())]))
                equal(tool("get", daemon.name, "k7").returncode, 0)
                facts = info(client)
                equal((facts["durable"], facts["n_log_files"]), (facts["position"], "1"))
                assert "(No space left on device): new writes are refused" in facts["status"], facts
            disk.free()
            eventually(lambda: client("SADD", "after", 1) == (":", 1))
            equal(client("SCARD", "k"), (":", 0))
            equal(daemon.stop(9), -9)
            daemon.start()
            equal(daemon.client()("DBSIZE"), (":", 201))

    def test_a_stop_while_it_waits(self):
        """A new index has no room at all: there is nothing to serve."""
        daemon = NotStarted()
        with Disk(daemon, "2m") as disk, daemon:
            disk.fill()
            told = Notified(daemon)
            daemon.env = {"NOTIFY_SOCKET": told.path, "WATCHDOG_USEC": "30000000"}
            daemon.start(wait=False)
            check_waiting(daemon, told, "No space left")
            equal(daemon.stop(), 0)
            disk.free()
            daemon.start()
            equal(daemon.client()("SADD", "k", 1), (":", 1))

    def test_full_shared_memory(self):
        """A /dev/shm of its own, 1 MiB, that is full from the start."""
        script = ("mount -t tmpfs -o size=1m lanemap-test /dev/shm && "
                  "{ cat /dev/zero >/dev/shm/filler 2>/dev/null; exec \"$@\"; }")
        wrapper = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh"]
        if subprocess.run(wrapper + ["true"], capture_output=True, check=False).returncode:
            raise SkipTest("mount namespaces are not permitted here")
        tempfile.tempdir = "/tmp"  # what lies in /dev/shm is mounted over
        with NotStarted(wrapper=wrapper) as daemon:
            told = Notified(daemon)
            daemon.env = {"NOTIFY_SOCKET": told.path, "WATCHDOG_USEC": "30000000"}
            daemon.start(wait=False)
            client = check_waiting(daemon, told, r"No space left|shared memory")
            os.unlink(f"/proc/{daemon.process.pid}/root/dev/shm/filler")
            told.until("READY=1")
            eventually(lambda: client("PING") == ("+", "PONG"))
            equal(client("SADD", "k", 1), (":", 1))


if __name__ == "__main__":
    main()
