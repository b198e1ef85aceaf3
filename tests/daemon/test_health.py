"""A disk that hangs: who is answered all the same, and what the daemon says of it (LP4, HG3, HG4)."""
import os
import socket
import unittest

from harness import Daemon, SkipTest, encode, equal, eventually, info, main


def need_preload():
    if not Daemon.preload:
        raise SkipTest("nothing to hold fdatasync with")


def touch(path):
    open(path, "w", encoding="ascii").close()


class Notified:
    """What systemd is told."""

    def __init__(self, daemon):
        self.path = os.path.join(daemon.directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(30)

    def next(self):
        return self.socket.recv(4096).decode()

    def until(self, what):
        """The messages up to the one that has it."""
        seen = [self.next()]
        while what not in seen[-1]:
            seen.append(self.next())
        return seen

    def waiting(self):
        self.socket.setblocking(False)
        seen = []
        try:
            while True:
                seen.append(self.next())
        except BlockingIOError:
            return seen
        finally:
            self.socket.settimeout(30)


class Health(unittest.TestCase):
    def test_what_tells_nothing_of_the_data_is_answered(self):
        need_preload()
        with Daemon() as daemon:
            writer, reader, other, behind = (daemon.client() for _ in range(4))
            equal(writer("SADD", "k", 1), (":", 1))
            touch(daemon.hold)
            writer.send_commands(["SADD", "k", 2])
            eventually(writer.is_taken)
            reader.send_commands(["SCARD", "k"])
            behind.send_commands(["SCARD", "k"], ["PING"])
            eventually(reader.is_taken)
            eventually(behind.is_taken)
            for command, first in (("PING",), "+"), (("ECHO", "x"), "$"), (("CONFIG", "GET", "appendfsync"), "*"), \
                    (("NOSUCH",), "-"), (("LANEMAP.STATS",), "*"), (("TIME",), "*"), \
                    (("MULTI",), "+"), (("SCARD", "k"), "+"), (("DISCARD",), "+"):
                equal(other(*command)[0], first, command)
            facts = eventually(lambda: (f := info(other))["busy_part"] == "log" and f)
            equal(facts["watchdog_fed"], "1")
            assert writer.is_silent(0.2) and reader.is_silent(0.2), "answered before the log was durable"
            assert behind.is_silent(0.2), "replies of one client keep their order"
            # As the daemon says it to people, once it has lasted.
            eventually(lambda: info(other)["health"].startswith("the log cannot be written or synced"))
            eventually(lambda: "the log cannot be written or synced" in daemon.messages())
            os.unlink(daemon.hold)
            equal(writer.reply(), (":", 1))
            equal(reader.reply(), (":", 2))
            equal([behind.reply() for _ in range(2)], [(":", 2), ("+", "PONG")])
            eventually(lambda: info(other)["health"] == "ok")

    def test_writes_that_have_to_wait_hold_up_nobody_else(self):
        """More than the log keeps in memory: the engine would make an apply wait, and so the loop."""
        need_preload()
        with Daemon() as daemon:
            writer, other = daemon.client(120), daemon.client()
            equal(writer("SADD", "k", 1), (":", 1))
            touch(daemon.hold)
            n_sent = n_members = 0
            block = 10000  # a much longer one is applied beside the loop, and its client waits for that
            writer.socket.setblocking(False)
            pending = b""
            while int(info(other)["waiting_writers"]) == 0:
                if not pending and n_sent < 800:
                    pending = encode("SADD", f"big{n_sent}", *range(n_members, n_members + block))
                    n_sent, n_members = n_sent + 1, n_members + block
                try:
                    pending = pending[writer.socket.send(pending):] if pending else b""
                except BlockingIOError:
                    pass
            for _ in range(20):
                equal(other("PING"), ("+", "PONG"))
                equal(info(other)["waiting_writers"], "1")
            os.unlink(daemon.hold)
            writer.socket.setblocking(True)
            writer.send(pending)
            for _ in range(n_sent):
                equal(writer.reply(), (":", block))
            equal(writer("SCARD", "big0"), (":", block))

    def test_the_watchdog_is_fed_until_the_limit_and_status_says_why(self):
        need_preload()
        with Daemon("--hang-limit", "8") as daemon:
            equal(daemon.stop(), 0)
            told = Notified(daemon)
            daemon.env = {"NOTIFY_SOCKET": told.path, "WATCHDOG_USEC": "4000000"}
            daemon.start()
            told.until(f"STATUS=Serving {daemon.name}")
            told.until("WATCHDOG=1")
            client, other = daemon.client(), daemon.client()
            touch(daemon.hold)
            client.send_commands(["SADD", "k", 1])
            told.until("STATUS=")
            equal(info(other)["watchdog_fed"], "1", "when STATUS= speaks of it first")
            told.until("WATCHDOG=1")
            eventually(lambda: "the watchdog is not fed" in daemon.messages(), 60)
            told.waiting()
            status = told.until("STATUS=")
            assert "WATCHDOG=1" not in status and "the log cannot be written or synced" in status[-1], status
            equal(told.until("STATUS=").count("WATCHDOG=1"), 0)
            equal(info(other)["watchdog_fed"], "0")
            os.unlink(daemon.hold)
            equal(client.reply(), (":", 1))
            told.until("WATCHDOG=1")
            eventually(lambda: info(other)["status"] == f"Serving {daemon.name}")
            assert "the writer gets on again" in daemon.messages()


if __name__ == "__main__":
    main()
