"""RLIMIT_FSIZE: a file that may not grow is a full disk, for the daemon and for the tools. No SIGXFSZ ends them."""
import os
import resource
import subprocess
import tempfile

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


def test_a_limit_is_a_full_disk_and_writes_resume():
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


def test_what_was_acknowledged_under_a_limit_is_there_after_a_kill():
    with Daemon("--lanes", "4", wrapper=limited(600 * KIB)) as daemon:
        taken, _, _ = add_until_refused(daemon.client())
        daemon.stop(9)
        daemon.wrapper = []
        daemon.start()
        client = daemon.client()
        for some in taken:
            equal(client("SCARD", some), (":", 40), some)


def test_a_start_without_room_says_so():
    daemon = Daemon("--lanes", "4", wrapper=limited(8 * KIB))
    try:
        daemon.start(wait=False)
        eventually(lambda: daemon.process.poll() is not None or "No space left" in daemon.messages(), 60)
        assert daemon.process.poll() in (None, 1), daemon.process.poll()
        assert "ulimit -f, LimitFSIZE=" in daemon.messages(), daemon.messages()
        assert "No space left on device" in daemon.messages(), daemon.messages()
    finally:
        daemon.__exit__(None)


def test_tools_say_what_is_full():
    lanemap = os.path.join(os.path.dirname(Daemon.binary), "../../tools/lanemap/lanemap")
    with tempfile.TemporaryDirectory(prefix="lmf-") as directory:
        data, copy = os.path.join(directory, "data"), os.path.join(directory, "copy")
        lines = "".join(f"key-{i}\t{i}\n" for i in range(50000))

        def run(n_bytes, *args, **more):
            wrapper = limited(n_bytes) if n_bytes else []
            return subprocess.run([*wrapper, lanemap, *args], capture_output=True, text=True, timeout=120, check=False,
                                  **more)

        equal(run(0, "load", "--dir", data, input=lines).returncode, 0)
        for args, more in [(("load", "--dir", data), {"input": lines.replace("key", "other")}),
                           (("backup", "--dir", data, copy), {}),
                           (("reshard", data, "--lanes", "8"), {})]:
            result = run(16 * KIB, *args, **more)
            equal(result.returncode, 1, f"{args}: {result.stderr}")
            assert "No space left on device" in result.stderr or "full" in result.stderr, result.stderr
        equal(run(0, "verify", data).returncode, 0)


main(globals())
