"""EXEC in slices (EX1 to EX4 in client/transaction.h): the loop is stopped between its rounds."""
import os
import random
import select
import unittest

from harness import Daemon, equal, eventually, main
from test_health import info, need_preload, touch

N = 20000  # commands of a long EXEC: rounds of the loop, since a slice is 4096
OK, QUEUED = ("+", "OK"), ("+", "QUEUED")
STOPPING = ("-", "ERR lanemapd is stopping")


class Rounds:
    """A lanemapd whose loop waits before each round, from hold() to release()."""

    def __init__(self, *args):
        need_preload()
        self.daemon = Daemon("--appendfsync", "no", *args)
        self.loop, self.room = (os.path.join(self.daemon.directory, name) for name in ("loop", "room"))
        self.daemon.env = {"LANEMAP_TEST_HOLD_ROOM": self.room, "LANEMAP_TEST_HOLD_LOOP": self.loop}

    def __enter__(self):
        self.daemon.__enter__()
        self.wakes = self.daemon.client(60)
        equal(self.wakes("SADD", "here", *range(1000)), (":", 1000))
        return self

    def __exit__(self, *failed):
        self.daemon.__exit__(*failed)

    def client(self):
        return self.daemon.client(60)

    def hold(self):
        for _ in range(2):  # the kernel forgets who was ready before: it reports in the order in which something arrives
            equal(self.wakes("PING"), ("+", "PONG"))
        touch(self.loop)
        self.wakes.send_commands(["PING"])
        eventually(lambda: os.path.exists(self.loop + ".waits"))

    def round(self):
        """One, and it is over: what it sent is there."""
        touch(self.loop + ".again")
        os.unlink(self.loop + ".waits")
        os.unlink(self.loop)
        eventually(lambda: os.path.exists(self.loop + ".waits"))

    def release(self):
        os.unlink(self.loop + ".waits")
        os.unlink(self.loop)


def has_reply(client):
    return bool(select.select([client.socket], [], [], 0)[0]) or client.at < len(client.buffer)


def queue(client, *commands):
    """A transaction, up to its EXEC."""
    client.send_commands(["MULTI"], *commands)
    equal(client.reply(), OK)
    for _ in commands:
        equal(client.reply(), QUEUED)


def adds(n=N, value=7):
    return [["SADD", f"k{i}", value] for i in range(n)]


class Slices(unittest.TestCase):
    def test_others_are_answered_between_slices(self):
        """PING and reads of one key in each round; who writes, and another EXEC, come after it."""
        with Rounds() as rounds:
            long, writer, second, other = (rounds.client() for _ in range(4))
            queue(long, *adds())
            queue(second, ["SCARD", "k0"], ["SCARD", f"k{N - 1}"])
            rounds.hold()
            long.send_commands(["EXEC"])
            rounds.round()
            writer.send_commands(["LANEMAP.ADD", "k0", 8], ["SCARD", "k0"])
            second.send_commands(["EXEC"])
            for i in range(N // 4096 - 1):
                other.send_commands(["PING"], ["SISMEMBER", "here", 1], ["SCARD", "k0"], ["EXISTS", "here", "k0", f"k{N - 1}"], ["DBSIZE"])
                rounds.round()
                equal([other.reply() for _ in range(5)], [("+", "PONG"), (":", 1), (":", 0), (":", 1), (":", 1)], f"round {i}")
                assert not any(has_reply(client) for client in (long, writer, second)), f"round {i}"
            rounds.release()
            equal(long.reply(), ("*", [(":", 1)] * N))
            equal(writer.reply(), ("*", [(":", 1), (":", 2)]))
            equal(writer.reply(), (":", 2))
            kind, seen = second.reply()
            assert seen in ([(":", 1), (":", 1)], [(":", 2), (":", 1)]), seen

    def test_others_are_answered_while_it_is_applied(self):
        """A call of the kernel does not return. Its client goes: it is applied all the same."""
        with Rounds() as rounds:
            for goes in (False, True):
                long, writer, second, asker, other = (rounds.client() for _ in range(5))
                queue(long, *([f"{command}", f"{goes}{i}", 1] for command in ("SADD", "SREM", "SADD") for i in range(60000)))
                queue(second, ["SCARD", "here"])
                touch(rounds.room)
                long.send_commands(["EXEC"])
                eventually(lambda: os.path.exists(rounds.room + ".waits"))
                writer.send_commands(["LANEMAP.ADD", f"{goes}0", 8])
                second.send_commands(["EXEC"])
                asker.send_commands(["EXISTS", f"{goes}0", "here"])
                for client in writer, second, asker:
                    eventually(client.is_taken)
                for _ in range(20):
                    equal(other("PING"), ("+", "PONG"))
                    equal(other("SISMEMBER", "here", 1), (":", 1))
                    equal(other("SCARD", f"{goes}0"), (":", 0))
                assert not any(has_reply(client) for client in (long, writer, second, asker))
                if goes:
                    long.close()
                    eventually(lambda: info(other)["connected_clients"] == "5")
                os.unlink(rounds.room)
                if not goes:
                    equal(long.reply(), ("*", [(":", 1)] * 180000))
                    equal(long("PING"), ("+", "PONG"))
                equal(writer.reply(), ("*", [(":", 1), (":", 2)]))
                equal(second.reply(), ("*", [(":", 1000)]))
                equal(asker.reply(), (":", 2))
                equal(other("SCARD", f"{goes}59999"), (":", 1))
                os.unlink(rounds.room + ".waits")
                for client in long, writer, second, asker, other:
                    client.close()
            equal(rounds.daemon.stop(), 0)

    def test_a_client_that_goes_takes_it_along(self):
        with Rounds() as rounds:
            long, writer, other = (rounds.client() for _ in range(3))
            queue(long, *adds())
            rounds.hold()
            long.send_commands(["EXEC"])
            rounds.round()
            writer.send_commands(["SADD", "k0", 8])
            rounds.round()
            assert not has_reply(writer)
            long.close()
            rounds.release()
            equal(writer.reply(), (":", 1))
            equal(other("DBSIZE"), (":", 2))
            equal(info(other)["blocked_clients"], "0")

    def test_a_stop_drops_it_before_it_is_applied(self):
        with Rounds() as rounds:
            long, other = rounds.client(), rounds.client()
            queue(long, *adds())
            rounds.hold()
            long.send_commands(["EXEC"])
            rounds.round()
            rounds.daemon.process.terminate()
            rounds.release()
            equal(long.reply(), STOPPING)
            equal(rounds.daemon.process.wait(30), 0)
            rounds.daemon.start()
            equal(rounds.client()("DBSIZE"), (":", 1))
            other.close()

    def test_a_stop_waits_for_the_apply_and_the_answer(self):
        with Rounds() as rounds:
            long, other = rounds.client(), rounds.client()
            n = 200000
            queue(long, *adds(n))
            touch(rounds.room)
            long.send_commands(["EXEC"])
            eventually(lambda: os.path.exists(rounds.room + ".waits"))
            rounds.daemon.process.terminate()
            eventually(lambda: "stopping" in rounds.daemon.messages())
            os.unlink(rounds.room)
            equal(long.reply(), ("*", [(":", 1)] * n))
            equal(rounds.daemon.process.wait(30), 0)
            rounds.daemon.start()
            equal(rounds.client()("DBSIZE"), (":", n + 1))
            other.close()

    def test_memory_that_gets_short_between_slices(self):
        """Another client takes it. Nothing was applied, and says why."""
        with Rounds("--maxmemory-clients", "0") as rounds:
            long, other = rounds.client(), rounds.client()
            queue(long, *adds(3 * N))
            rounds.hold()
            long.send_commands(["EXEC"])
            rounds.round()
            other.send_commands(["INFO"])
            rounds.round()
            seen = dict(line.split(b":", 1) for line in other.reply()[1].split(b"\r\n") if b":" in line)
            rounds.release()
            equal(long.reply(), ("*", [(":", 1)] * 3 * N))
            equal(long("FLUSHALL"), OK)
            limit = int(seen[b"mem_clients_normal"]) + (1 << 18)
            equal(other("CONFIG", "SET", "maxmemory-clients", limit), OK)
            eventually(lambda: info(other)["maxmemory_clients"] == str(limit))
            queue(long, *adds(3 * N))
            rounds.hold()
            long.send_commands(["EXEC"])
            rounds.round()
            other.socket.setblocking(False)
            other.socket.send(b"*2\r\n$4\r\nECHO\r\n$10000000\r\n" + b"x" * 150000)
            while not has_reply(long):
                rounds.round()
                try:
                    other.socket.send(b"x" * 150000)
                except BlockingIOError:
                    pass
            rounds.release()
            kind, text = long.reply()
            equal(kind, "-")
            assert text.startswith("EXECABORT this would bring the memory of all clients to "), text
            other.close()
            equal(long("DBSIZE"), (":", 0))

    def test_what_was_taken_before_it_is_seen_by_it(self):
        """Their round is the same: it runs anew, since the operation before it was applied between its slices (EX1)."""
        for watches in (False, True):
            with Rounds() as rounds:
                early, long, other = (rounds.client() for _ in range(3))
                if watches:
                    equal(long("WATCH", "k"), OK)
                queue(long, ["SCARD", "k"], *[["SADD", f"l{i}", *range(10000)] for i in range(3)], ["SADD", "k", 7], ["SCARD", "k"])
                rounds.hold()
                early.send_commands(["SADD", "k", 7, 8])
                long.send_commands(["EXEC"])
                rounds.round()
                rounds.release()
                equal(early.reply(), (":", 2))
                if watches:
                    equal(long.reply(), ("*", None))
                    equal(other("EXISTS", "l0"), (":", 0))
                else:
                    equal(long.reply(), ("*", [(":", 2)] + [(":", 10000)] * 3 + [(":", 0), (":", 2)]))


class Answers(unittest.TestCase):
    def test_long_answers_as_a_model(self):
        """Of reads and writes that follow one another."""
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            for seed in range(4):
                rng = random.Random(seed)
                client("FLUSHALL")
                model, commands, wanted = {}, [], []
                for i in range(30000):
                    key, value = f"k{rng.randrange(2000 if i % 50 else 5)}", rng.randrange(4)
                    has = model.setdefault(key, set())
                    what = rng.randrange(200)
                    if what < 90:
                        commands.append(["SADD", key, value])
                        wanted.append((":", int(value not in has)))
                        has.add(value)
                    elif what < 180:
                        commands.append(["SREM", key, value])
                        wanted.append((":", int(value in has)))
                        has.discard(value)
                    elif what < 198:
                        text = "x" * rng.randrange(2000)
                        commands.append(["ECHO", text])
                        wanted.append(("$", text.encode()))
                    else:
                        commands.append(["SMEMBERS", key])
                        wanted.append(("*", [("$", str(v).encode()) for v in sorted(has)]))
                queue(client, *commands)
                equal(client("EXEC"), ("*", wanted), f"seed {seed}")
                equal(client("DBSIZE"), (":", sum(bool(ids) for ids in model.values())))

    def test_who_does_not_read_holds_up_nobody(self):
        """A few MiB of its answer wait for it, the rest is not written; the index is others' meanwhile (EX4)."""
        with Daemon("--appendfsync", "no") as daemon:
            long, other = daemon.client(60), daemon.client(60)
            text = "x" * 16000
            n = 2500
            queue(long, ["SADD", "k", 1], *[["ECHO", text]] * n, ["SADD", "k", 2])
            long.send_commands(["EXEC"], ["SCARD", "k"])
            eventually(lambda: other("SCARD", "k") == (":", 2))
            equal(other("SADD", "k", 3), (":", 1))
            queue(other, ["SADD", "k", 4])
            equal(other("EXEC"), ("*", [(":", 1)]))
            waiting = max(int(line.split("omem=")[1].split()[0]) for line in other("CLIENT", "LIST")[1].decode().splitlines())
            assert waiting < 3 << 20, waiting
            equal(long.reply(), ("*", [(":", 1)] + [("$", text.encode())] * n + [(":", 1)]))
            equal(long.reply(), (":", 4))

    def test_it_waits_until_the_log_is_durable(self):
        need_preload()
        with Daemon() as daemon:
            long, other = daemon.client(60), daemon.client(60)
            n = 30000
            for fails in (False, True):
                queue(long, *adds(n, int(fails)))
                touch(daemon.hold)
                long.send_commands(["EXEC"], ["PING"])
                eventually(lambda: other("PING") and int(info(other)["blocked_clients"]) == 1)
                assert long.is_silent(0.1)
                if fails:
                    touch(daemon.fail)
                os.unlink(daemon.hold)
                if not fails:
                    equal(long.reply(), ("*", [(":", 1)] * n))
                else:
                    kind, text = long.reply()
                    equal(kind, "-")
                    assert text.startswith("ERR outcome unknown: the log cannot be written ("), text
                equal(long.reply(), ("+", "PONG"))


if __name__ == "__main__":
    main()
