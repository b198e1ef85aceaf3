"""RLIMIT_FSIZE: a file that may not grow is a full disk, for the daemon. No SIGXFSZ ends it; the tools are tests/cli's."""
import resource
import unittest

from harness import Daemon, equal, eventually, main

KIB = 1 << 10


def limited(n_bytes):
    """A wrapper that sets the soft limit: the hard one stays, so that it can be raised again."""
    return ["prlimit", f"--fsize={n_bytes}:unlimited", "--"]


def add_until_refused(client):
    """Returns the keys that were taken, and the answer to the one that was not."""
    taken = []
    for i in range(100000):
        key = f"key-{i}-" + "x" * 200
        reply = client("SADD", key, *range(i % 7 * 100, i % 7 * 100 + 40))
        if reply[0] == "-":
            return taken, key, reply[1]
        equal(reply, (":", 40))
        taken.append(key)
    raise AssertionError("nothing was ever refused")


class FileSize(unittest.TestCase):
    def test_a_limit_is_a_full_disk_and_writes_resume(self):
        with Daemon("--lanes", "4", wrapper=limited(600 * KIB)) as daemon:
            client = daemon.client()
            assert "ulimit -f, LimitFSIZE=" in daemon.messages(), daemon.messages()
            taken, key, error = add_until_refused(client)
            assert error.startswith("ERR no space: the disk or the shared memory is full"), error
            equal(client("PING"), ("+", "PONG"))
            for some in taken[:: max(1, len(taken) // 50)]:
                equal(client("SCARD", some), (":", 40), some)

            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            eventually(lambda: client("SADD", key, 1)[0] == ":", 60)
            for i in range(2000):
                equal(client("SADD", f"more-{i}", 1), (":", 1))
            equal(daemon.stop(), 0)

    def test_what_was_acknowledged_under_a_limit_is_there_after_a_kill(self):
        with Daemon("--lanes", "4", wrapper=limited(600 * KIB)) as daemon:
            taken, _, _ = add_until_refused(daemon.client())
            daemon.stop(9)
            daemon.wrapper = []
            daemon.start()
            client = daemon.client()
            for some in taken:
                equal(client("SCARD", some), (":", 40), some)

    def test_a_start_without_room_says_so(self):
        daemon = Daemon("--lanes", "4", wrapper=limited(8 * KIB))
        try:
            daemon.start(wait=False)
            eventually(lambda: daemon.process.poll() is not None or "No space left" in daemon.messages(), 60)
            assert daemon.process.poll() in (None, 1), daemon.process.poll()
            assert "ulimit -f, LimitFSIZE=" in daemon.messages(), daemon.messages()
            assert "No space left on device" in daemon.messages(), daemon.messages()
        finally:
            daemon.__exit__(None)


if __name__ == "__main__":
    main()
