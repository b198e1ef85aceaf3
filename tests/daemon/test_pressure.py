"""Back-pressure: a flush that hangs, and memory that is full until it ends. Clients that write are parked or held, in order,
and nothing of theirs is lost; everybody else is answered (LP4, B4)."""
import os
import signal
import threading
import unittest

from harness import Daemon, SkipTest, encode, equal, eventually, info, main


def touch(path):
    open(path, "w", encoding="ascii").close()


class Feeder:
    """A client with more adds of new keys under way than the daemon takes; its replies are read at the end."""

    def __init__(self, daemon, name):
        self.client, self.name = daemon.client(120), name
        self.client.socket.setblocking(False)
        self.n_sent, self.pending = 0, b""

    def feed(self):
        if not self.pending:
            self.pending = b"".join(encode("SADD", f"{self.name}{self.n_sent + i}", 7) for i in range(1000))
            self.n_sent += 1000
        try:
            self.pending = self.pending[self.client.socket.send(self.pending):]
        except BlockingIOError:
            pass

    def finish(self):
        """The rest leaves while replies come."""
        self.client.socket.settimeout(120)
        rest = threading.Thread(target=self.client.send, args=(self.pending,))
        rest.start()
        for _ in range(self.n_sent):
            equal(self.client.reply(), (":", 1))
        rest.join()


def answered_all_the_same(client, n_keys_min):
    """Whatever does not write."""
    for _ in range(20):
        equal(client("PING"), ("+", "PONG"))
        equal(client("SMEMBERS", "here"), ("*", [("$", b"1"), ("$", b"2")]))
        equal(client("SISMEMBER", "here", 2), (":", 1))
        equal(client("SCARD", "absent"), (":", 0))
        kind, n_keys = client("DBSIZE")
        assert kind == ":" and n_keys >= n_keys_min, (kind, n_keys)
        equal(client("LANEMAP.STATS")[0], "*")
        equal([client(*c)[0] for c in (("MULTI",), ("SCARD", "here"), ("EXEC",))], ["+", "+", "*"])


class Pressure(unittest.TestCase):
    def setUp(self):
        if not Daemon.preload:
            raise SkipTest("nothing to hold fdatasync with")

    def test_a_flush_that_hangs_holds_up_writers_only(self):
        with Daemon("--appendfsync", "no") as daemon:
            other = daemon.client()
            equal(other("SADD", "here", 1, 2), (":", 2))
            feeder = Feeder(daemon, "fed")
            touch(daemon.hold)
            while not int((facts := info(other))["n_write_stalls"]) or not int(facts["waiting_writers"]):
                feeder.feed()
            # Before writes stopped, they were slowed down.
            assert int(facts["n_write_delays"]) > 0 and int(facts["write_delay_ns"]) > 0, facts
            parked = [daemon.client(120) for _ in range(4)]
            for i, client in enumerate(parked[:3]):
                client.send((b'lanemap.add "ord\\x65r" 1\r\n' if i == 1 else encode("LANEMAP.ADD", "order", i))
                            + b"".join(encode(*c) for c in (["PING"], ["SADD", "order", "x"], ["SCARD", "order"])))
                eventually(lambda: int(info(other)["waiting_writers"]) == 2 + i)
            parked[3].send_commands(["MULTI"], ["LANEMAP.ADD", "order", 3], ["SCARD", "order"], ["EXEC"], ["SCARD", "order"])
            eventually(lambda: int(info(other)["waiting_writers"]) == 5)
            answered_all_the_same(other, 1)
            equal(int(info(other)["waiting_writers"]), 5)
            equal(int(info(other)["n_flushes"]), 0)
            equal([parked[3].reply() for _ in range(3)], [("+", "OK"), ("+", "QUEUED"), ("+", "QUEUED")])

            os.unlink(daemon.hold)
            for i, client in enumerate(parked[:3]):
                equal(client.reply(), ("*", [(":", 1), (":", i + 1)]), "in the order in which they came")
                equal(client.reply(), ("+", "PONG"))
                equal(client.reply()[0], "-")
                kind, n_ids = client.reply()
                assert kind == ":" and i + 1 <= n_ids <= 4, n_ids
            equal(parked[3].reply(), ("*", [("*", [(":", 1), (":", 4)]), (":", 4)]))
            equal(parked[3].reply(), (":", 4))
            feeder.finish()
            equal(other("DBSIZE"), (":", feeder.n_sent + 2))
            eventually(lambda: int(info(other)["waiting_writers"]) == 0)
            daemon.stop(signal.SIGKILL)
            daemon.start()
            other = daemon.client()
            equal(other("DBSIZE"), (":", feeder.n_sent + 2))
            equal(other("SCARD", "order"), (":", 4))

    def test_a_batch_that_finds_no_memory_is_held(self):
        """Room for a thousand operations is asked for, and is not there until a flush ends, or a second has passed. They need
        none of it."""
        with Daemon("--appendfsync", "no", "--lanes", "1", "--shared-bytes-max", str(128 << 10)) as daemon:
            other, writer, gone = daemon.client(), daemon.client(120), daemon.client()
            equal(other("SADD", "here", 1, 2), (":", 2))
            equal(other("CONFIG", "RESETSTAT"), ("+", "OK"))
            touch(daemon.hold)
            absent = [["SREM", f"{i}", 7] for i in range(1000)]
            n_sent = 0
            while not int(info(other)["waiting_writers"]):
                assert n_sent < 5, "a batch without memory is not held: who waits for it?"
                writer.send_commands(["LANEMAP.ADD", "order", n_sent], *absent, ["SREM", "order"], ["SADD", "order", "x"], ["PING"],
                                     ["SCARD", "order"])
                n_sent += 1
                eventually(lambda: writer.is_taken() or int(info(other)["waiting_writers"]))
            gone.send_commands(["SADD", "gone", 3], *absent, ["PING"])
            answered_all_the_same(other, 1)
            gone.close()
            is_held = int(info(other)["waiting_writers"]) > 0  # on a slow machine the second has passed
            os.unlink(daemon.hold)
            for i in range(n_sent):
                equal(writer.reply(), ("*", [(":", 1), (":", i + 1)]))
                for _ in absent:
                    equal(writer.reply(), (":", 0))
                for _ in range(2):
                    equal(writer.reply()[0], "-", "a reply that is no write's comes after those of what is held")
                equal(writer.reply(), ("+", "PONG"))
                equal(writer.reply(), (":", i + 1), "a client sees its own writes")
            equal(other("DBSIZE"), (":", 2 if is_held else 2 + other("EXISTS", "gone")[1]))
            # What was put off and run again is counted once.
            seen = dict(line.split(":", 1) for line in other("INFO", "commandstats", "errorstats")[1].decode().split("\r\n") if ":" in line)
            counts = dict(part.split("=") for part in seen["cmdstat_srem"].split(","))
            equal((counts["rejected_calls"], seen["errorstat_ERR"]), (str(n_sent), f"count={2 * n_sent}"))
            assert counts["calls"] in (str(1000 * n_sent), str(1000 * (n_sent + 1))), counts
            counts = dict(part.split("=") for part in seen["cmdstat_sadd"].split(","))
            equal((counts["failed_calls"], counts["rejected_calls"]), (str(n_sent), "0"))


if __name__ == "__main__":
    main()
