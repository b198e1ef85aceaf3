"""A control group with too little memory (M2): what adds is refused, and nobody is killed."""
import os
import re
import tempfile
import unittest

from harness import Daemon, SkipTest, equal, eventually, main
from test_health import info
from test_room import connect

MIB = 1 << 20

# Files on a tmpfs are memory of the group that writes them: data directories are on a disk here, whatever TMPDIR says.
tempfile.tempdir = "/var/tmp"


class Group:
    """A control group of its own, of version 1 or 2, with a limit."""

    def __init__(self, limit):
        for root, self.file in ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"):
            self.path = f"{root}/lanemap-test-{os.getpid()}"
            try:
                os.mkdir(self.path)
            except OSError:
                continue
            if os.path.exists(f"{self.path}/{self.file}"):
                break
            os.rmdir(self.path)
        else:
            raise SkipTest("no control group with a memory controller can be made here")
        try:
            self.limit(limit)
        except OSError as error:
            os.rmdir(self.path)
            raise SkipTest(f"a memory limit cannot be set here: {error}") from error
        self.wrapper = ["sh", "-c", f'echo $$ >{self.path}/cgroup.procs && exec "$@"', "sh"]

    def limit(self, n_bytes):
        with open(f"{self.path}/{self.file}", "w", encoding="ascii") as file:
            file.write(str(n_bytes))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        eventually(lambda: not open(f"{self.path}/cgroup.procs", encoding="ascii").read())
        eventually(self._remove)

    def _remove(self):
        try:
            os.rmdir(self.path)
        except OSError:
            return False
        return True


class Adder:
    """Adds keys, a thousand at a time; of a thousand some may be refused, and later ones be taken again."""

    def __init__(self, client):
        self.client = client
        self.n_named = self.n_keys = 0

    def add_until_refused(self, n_max):
        """Return: the first refusal."""
        while self.n_named < n_max:
            names = range(self.n_named, self.n_named + 1000)
            self.client.send_commands(*[["SADD", f"public.orders.customer_id={i}", i] for i in names])
            replies = [self.client.reply() for _ in names]
            refusals = [reply for reply in replies if reply != (":", 1)]
            self.n_named += 1000
            self.n_keys += 1000 - len(refusals)
            if refusals:
                return refusals[0]
        raise AssertionError(f"{n_max} keys were added in less memory than they need")


def shared_bytes(name):
    return sum(os.stat(f"/dev/shm/{entry}").st_blocks * 512 for entry in os.listdir("/dev/shm")
               if entry.startswith(f"lanemap.{name}"))


class Memory(unittest.TestCase):
    def test_adding_stops_before_the_limit_and_goes_on_when_it_is_raised(self):
        with Group(16 * MIB) as group, Daemon(wrapper=group.wrapper) as daemon:
            client = daemon.client(120)
            adder = Adder(client)
            refusal = adder.add_until_refused(3000000)
            equal(refusal[0], "-")
            match = re.match(r"OOM (\S+) is (\d+) bytes, and this index needs about (\d+): nothing is added", refusal[1])
            assert match, refusal
            equal(match[1], f"{group.path}/{group.file}")
            equal(int(match[2]), 16 * MIB)
            assert int(match[3]) > 16 * MIB
            facts = info(client)
            equal((facts["memory_limit_file"], facts["memory_limit"], facts["memory_short"]), (match[1], match[2], "1"))
            # A merge may free enough for some more to be added: then it is short again, until nothing is left to merge.
            while match[1] not in info(client)["status"]:
                refusal = adder.add_until_refused(3000000)
                assert refusal[0] == "-" and refusal[1].startswith("OOM "), refusal
            assert match[1] in daemon.messages()
            # A transaction with an addition is refused whole; removals and reads go on.
            equal(client("MULTI"), ("+", "OK"))
            equal(client("SREM", "public.orders.customer_id=1", 1), ("+", "QUEUED"))
            assert client("SADD", "more", 1)[1].startswith("OOM ")
            assert client("EXEC")[1].startswith("EXECABORT")
            equal(client("SCARD", "public.orders.customer_id=1"), (":", 1))
            equal(client("SREM", "public.orders.customer_id=1", 1), (":", 1))
            equal(client("DBSIZE"), (":", adder.n_keys - 1))
            assert daemon.process.poll() is None, "killed"
            group.limit(64 * MIB)
            eventually(lambda: info(client)["memory_short"] == "0")
            equal(client("SADD", "more", 1), (":", 1))

    def test_a_start_below_what_is_needed_waits_and_is_not_killed(self):
        with Group(64 * MIB) as group, Daemon(wrapper=group.wrapper) as daemon:
            client = daemon.client(120)
            for begin in range(0, 200000, 1000):
                client.send_commands(*[["SADD", f"k{i}", i] for i in range(begin, begin + 1000)])
                equal([client.reply() for _ in range(1000)], [(":", 1)] * 1000)
            equal(daemon.stop(9), -9)
            # What the predecessor left in shared memory can go nowhere; beside it there is little.
            limit = (shared_bytes(daemon.name) + 3 * MIB) & ~4095
            group.limit(limit)
            daemon.start(wait=False)
            client = eventually(lambda: connect(daemon))
            why = f"{group.path}/{group.file} is {limit} bytes, and this index needs more than "
            eventually(lambda: client("SADD", "k", 1)[1].startswith("LOADING lanemapd waits for room: " + why))
            assert why in daemon.messages()
            assert why in info(client)["waiting_for_room"]
            group.limit(64 * MIB)
            eventually(lambda: client("PING") == ("+", "PONG"))
            equal(client("DBSIZE"), (":", 200000))
            equal(client("SADD", "more", 1), (":", 1))

    def test_no_limit(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", 1), (":", 1))
            facts = info(client)
            equal(facts["memory_short"], "0")
            assert int(facts["memory_needed"]) > 0
            assert "memory: about " in daemon.messages()


if __name__ == "__main__":
    main()
