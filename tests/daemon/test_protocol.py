"""What arrives on the socket: in pieces, in heaps, malformed, too large, from many at once."""
import os
import random
import select
import signal
import socket
import time
import unittest

from harness import Client, Closed, Daemon, Redis, SkipTest, encode, equal, eventually, main


def closes(client):
    try:
        while True:
            client._more()
    except (Closed, ConnectionResetError):
        return True


def protocol_error(daemon, data, text):
    client = daemon.client()
    try:
        client.send(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    equal(client.reply(), ("-", f"ERR Protocol error: {text}"), repr(data[:40]))
    assert closes(client)


MALFORMED = [
    (b"*x\r\n", "invalid multibulk length"),
    (b"*3000000000\r\n", "invalid multibulk length"),
    (b"*99999999999999999999999\r\n", "invalid multibulk length"),
    (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
    (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
    (b"*1\r\n$x\r\n", "invalid bulk length"),
    (b"*1\r\n$-1\r\n", "invalid bulk length"),
    (b"*1\r\n$1000000000\r\n", "invalid bulk length"),
    (b"*1\r\n$ 4\r\nPING\r\n", "invalid bulk length"),
    (b"*" + b"1" * 70000, "too big mbulk count string"),
    (b"*1\r\n$" + b"1" * 70000, "too big bulk count string"),
    (b"x" * 70000, "too big inline request"),
    (b'ECHO "half\r\n', "unbalanced quotes in request"),
    (b'ECHO "a"b\r\n', "unbalanced quotes in request"),
]


class Protocol(unittest.TestCase):
    def test_malformed_messages(self):
        with Daemon() as daemon:
            for data, text in MALFORMED:
                protocol_error(daemon, data, text)
            protocol_error(daemon, b"*1048577\r\n", "invalid multibulk length")
            protocol_error(daemon, b"*1\r\n$1048577\r\n", "invalid bulk length")
            protocol_error(daemon, b"*1\r\n$4\r\nPINGxx*1\r\n", "expected CRLF after bulk")
            equal(daemon.client()("PING"), ("+", "PONG"), "others go on")

    def test_malformed_messages_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        with Redis() as redis:
            for data, text in MALFORMED:
                if b"$1000000000" not in data:  # its limit is 512 MiB; ours is in the man page
                    protocol_error(redis, data, text)

    def test_replies_before_a_protocol_error_arrive(self):
        with Daemon() as daemon:
            client = daemon.client()
            client.send(encode("SADD", "k", 1) + encode("SADD", "k", 2) + b"*1\r\nbroken\r\n" + encode("SADD", "k", 3))
            equal([client.reply() for _ in range(2)], [(":", 1)] * 2)
            equal(client.reply()[0], "-")
            assert closes(client)
            equal(daemon.client()("SCARD", "k"), (":", 2))

    def test_byte_by_byte(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            for byte in encode("SADD", "key", 1, 2) + b"PING\r\n" + b"*0\r\n\r\n*-1\r\n" + encode("SMEMBERS", "key"):
                client.send(bytes([byte]))
                time.sleep(0.0005)
            equal([client.reply() for _ in range(3)], [(":", 2), ("+", "PONG"), ("*", [("$", b"1"), ("$", b"2")])])

    def test_half_a_message_waits_and_hurts_nobody(self):
        with Daemon() as daemon:
            half, other = daemon.client(), daemon.client()
            half.send(encode("SADD", "k", 1)[:-3])
            equal(other("SCARD", "k"), (":", 0))
            assert half.is_silent(0.2)
            half.send(b"1\r\n")
            equal(half.reply(), (":", 1))
            half.send(b"*1000000\r\n$4\r\nSADD\r\n$1\r\n")
            half.close()
            equal(other("SCARD", "k"), (":", 1))

    def test_inline_commands(self):
        with Daemon() as daemon:
            client = daemon.client()
            client.send(b"PING\r\nping\n\r\n\n  SADD k 1 2  \r\n" + b'ECHO "a\\x41\\n\\"b"\r\n' + b"ECHO 'it\\'s \\n'\r\nECHO \"\"\r\n")
            equal([client.reply() for _ in range(6)],
                  [("+", "PONG"), ("+", "PONG"), (":", 2), ("$", b'aA\n"b'), ("$", b"it's \\n"), ("$", b"")])

    def test_random_splits(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            for step in range(30):
                commands = [["ECHO", "x" * rng.choice([0, 1, 50, 5000, 70000])] if rng.random() < 0.3
                            else ["SADD", f"k{step}", rng.randrange(1000)] for _ in range(rng.randrange(1, 60))]
                data, seen = b"".join(encode(*c) for c in commands), set()
                while data:
                    n = rng.choice([1, 2, 3, 10, 1000, 100000])
                    client.send(data[:n])
                    data = data[n:]
                    if rng.random() < 0.1:
                        time.sleep(0.001)
                for command in commands:
                    wanted = ("$", command[1].encode()) if command[0] == "ECHO" else (":", int(command[2] not in seen))
                    if command[0] == "SADD":
                        seen.add(command[2])
                    equal(client.reply(), wanted, f"seed {seed} step {step}")

    def test_deep_pipeline_in_order(self):
        with Daemon() as daemon:
            client = daemon.client()
            n = 20000
            client.send_commands(*[["LANEMAP.ADD", "k", i] if i % 3 else ["SCARD", "k"] for i in range(n)])
            has = 0
            for i in range(n):
                if i % 3:
                    has += 1
                    equal(client.reply(), ("*", [(":", 1), (":", has)]))
                else:
                    equal(client.reply(), (":", has))

    def test_half_a_million_arguments(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            n = 524288
            client.send(b"*%d\r\n$4\r\nSADD\r\n$1\r\nk\r\n" % (n + 2) + b"".join(b"$7\r\n%07d\r\n" % i for i in range(n)))
            equal(client.reply(), (":", n))
            equal(client("SCARD", "k"), (":", n))
            kind, ids = client("LANEMAP.IDS")
            equal((len(ids), ids[0], ids[-1]), (n, (":", 0), (":", n - 1)))
            equal(client("DEL", "k"), (":", 1))

    def test_commands_of_very_many_operations(self):
        """Each is a batch of its own, of which a thread makes the operations; between short ones, and with what is no id."""
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            n = 20000
            bad = ("-", "ERR value is not an integer or out of range")
            client.send_commands(["SADD", "k", n], ["SADD", "k", *range(n)], ["SADD", "k", *range(n + 2)], ["SCARD", "k"],
                                 ["SADD", "l", *range(n), "x"], ["SADD", "l", "x", *range(n)], ["EXISTS", "l"],
                                 ["SREM", "k", *range(1, n + 5)], ["SMEMBERS", "k"], ["PING"])
            equal([client.reply() for _ in range(10)],
                  [(":", 1), (":", n), (":", 1), (":", n + 2), bad, bad, (":", 0), (":", n + 1), ("*", [("$", b"0")]),
                   ("+", "PONG")])
            for i in range(n):
                client.send(encode("SADD", f"d{i}", i))
            equal([client.reply() for _ in range(n)], [(":", 1)] * n)
            client.send_commands(["DEL", *(f"d{i}" for i in range(0, 2 * n, 2)), "k"], ["UNLINK", *(f"d{i}" for i in range(n))],
                                 ["DEL", *(f"d{i}" for i in range(n)), ""], ["DBSIZE"])
            equal([client.reply() for _ in range(4)],
                  [(":", n // 2 + 1), (":", n // 2), ("-", "ERR key must have 1 to 65535 bytes"), (":", 0)])

    def test_a_long_apply_holds_up_writers_only(self):
        """It stands in its midst, in a call of the kernel that does not return: others are answered, later writes wait in order."""
        daemon = Daemon("--appendfsync", "no")
        room = os.path.join(daemon.directory, "room")
        daemon.env = {"LANEMAP_TEST_HOLD_ROOM": room}
        with daemon:
            long, gone, writer, other, *askers = (daemon.client(60) for _ in range(10))
            equal(other("SADD", "here", *range(1, 1001)), (":", 1000))
            open(room, "w").close()
            n = 524288
            long.send(b"*%d\r\n$4\r\nSADD\r\n$4\r\nlong\r\n" % (n + 2) + b"".join(b"$7\r\n%07d\r\n" % i for i in range(n)))
            eventually(lambda: os.path.exists(room + ".waits"))
            writer.send_commands(["SADD", "long", n + 1], ["SCARD", "long"])
            gone.send_commands(["SADD", "long", n + 2])
            behind = 3000  # of the same client: its message stays where it is
            long.send_commands(*[["ECHO", "x" * 50]] * behind)
            for _ in range(20):
                equal(other("PING"), ("+", "PONG"))
                equal(other("SISMEMBER", "here", 1), (":", 1))
                equal(other("SCARD", "long"), (":", 0))
                equal(other("EXISTS", "long"), (":", 0))
                equal(other("SMISMEMBER", "here", 0), ("*", [(":", 0)]))
            # What looks more than once waits: it would see a part of the command.
            commands = (["EXISTS", "long", "here"], ["TOUCH", "here", "long"], ["SMISMEMBER", "here", 0, 1000], ["SINTER", "here", "long"],
                        ["SDIFF", "here", "here"], ["SINTERCARD", 2, "here", "long"])
            for asker, command in zip(askers, commands):
                asker.send_commands(command)
                eventually(asker.is_taken)
            equal(other("PING"), ("+", "PONG"))
            for asker, command in zip(askers, commands):
                assert asker.is_silent(0.01), command
            assert writer.is_silent(0.05) and long.is_silent(0.05)
            os.unlink(room)
            equal(long.reply(), (":", n))
            equal([long.reply() for _ in range(behind)], [("$", b"x" * 50)] * behind)
            equal([writer.reply(), gone.reply()], [(":", 1)] * 2)
            equal([asker.reply()[1] for asker in askers[:3]], [2, 2, [(":", 0), (":", 1)]])
            equal([len(askers[3].reply()[1]), askers[4].reply()[1], askers[5].reply()[1]], [1000, [], 1000])
            assert writer.reply()[1] > n
            equal(other("SCARD", "long"), (":", n + 2))
            # Its client goes in the midst of it: it is applied all the same.
            os.unlink(room + ".waits")
            equal([askers[0](*words) for words in (["WATCH", "more"], ["MULTI"], ["PING"])], [("+", text) for text in ("OK", "OK", "QUEUED")])
            open(room, "w").close()
            gone.send(b"*%d\r\n$4\r\nSADD\r\n$4\r\nmore\r\n" % (n + 2) + b"".join(b"$7\r\n%07d\r\n" % i for i in range(n)))
            eventually(lambda: os.path.exists(room + ".waits"))
            gone.close()
            equal(other("PING"), ("+", "PONG"))
            # A message of the same size would lie where the first one was, if that was given back.
            writer.send(b"*%d\r\n$4\r\nECHO\r\n$4\r\nelse\r\n" % (n + 2) + b"".join(b"$7\r\n%07d\r\n" % i for i in range(n)))
            equal(writer.reply()[0], "-")
            os.unlink(room)
            eventually(lambda: other("SCARD", "more") == (":", n))
            equal(askers[0]("EXEC"), ("*", None), "whoever watches the key is told")
            equal(daemon.stop(), 0)

    def test_too_much_for_one_record(self):
        with Daemon("--appendfsync", "no") as daemon:
            client, other = daemon.client(60), daemon.client()
            n = 524289
            message = b"*%d\r\n$4\r\nSADD\r\n$1\r\nk\r\n" % (n + 2) + b"".join(b"$6\r\n%06d\r\n" % i for i in range(n))
            refused = ("-", "ERR too much for one log record, which holds 524288 operations; nothing was changed")
            client.send(encode("SADD", "before", 1) + message + encode("SADD", "behind", 1))
            equal([client.reply() for _ in range(3)], [(":", 1), refused, (":", 1)])
            client.send_commands(["MULTI"], ["SADD", "k", *range(300000)], ["SADD", "l", *range(300000)], ["SADD", "m", 1], ["EXEC"])
            equal([client.reply()[1] for _ in range(4)], ["OK"] + ["QUEUED"] * 3)
            aborted = ("-", "EXECABORT Transaction discarded: it is too much for one log record, which holds 524288 operations and "
                            "16773120 bytes; nothing was changed")
            equal(client.reply(), aborted)
            equal(other("EXISTS", "before", "behind", "k", "l", "m"), (":", 2))
            # The bytes of a record are a limit of their own.
            client.send_commands(["MULTI"], *[["LANEMAP.MARK", "m" * 255]] * 61000, ["EXEC"])
            for _ in range(61001):
                client.reply()
            equal(client.reply(), aborted)
            key = "x" * 65535
            equal(other("SADD", key, *range(2000)), (":", 2000), "a long key counts once")

    def test_one_message_of_more_than_64_mib_is_cut_off(self):
        with Daemon() as daemon:
            client = daemon.client(60)
            argument = b"$1000000\r\n" + b"x" * 1000000 + b"\r\n"
            try:
                client.send(b"*1000\r\n$4\r\nECHO\r\n")
                for _ in range(100):
                    client.send(argument)
                raise AssertionError("100 MB of one message were taken")
            except (BrokenPipeError, ConnectionResetError):
                pass
            equal(daemon.client()("PING"), ("+", "PONG"))

    def test_who_asks_for_much_in_little_leaves_others_their_turn(self):
        """Both are there when the daemon looks: the second one is answered in the midst of the first one's pipeline."""
        with Daemon("--appendfsync", "no") as daemon:
            greedy, other = daemon.client(60), daemon.client()
            greedy("SADD", "k", *range(100000, 120000))
            equal(other("PING"), ("+", "PONG"))
            os.kill(daemon.process.pid, signal.SIGSTOP)
            greedy.send_commands(*[["SMEMBERS", "k"]] * 200)
            other.send_commands(["INFO", "stats"])
            os.kill(daemon.process.pid, signal.SIGCONT)
            info = dict(line.split(b":", 1) for line in other.reply()[1].splitlines() if b":" in line)
            equal([len(greedy.reply()[1]) for _ in range(200)], [20000] * 200)
            n_commands = int(info[b"total_commands_processed"])
            assert n_commands < 100, n_commands

    def test_a_long_reply_reaches_a_slow_reader(self):
        with Daemon("--appendfsync", "no") as daemon:
            slow, other = daemon.client(), daemon.client()
            n = 300000
            slow("SADD", "k", *range(n))
            slow.send_commands(["LANEMAP.IDS"], ["SMEMBERS", "k"], ["PING"])
            eventually(lambda: select.select([slow.socket], [], [], 0)[0])
            equal(other("PING"), ("+", "PONG"))
            equal(len(slow.reply()[1]), n)
            equal(len(slow.reply()[1]), n)
            equal(slow.reply(), ("+", "PONG"))

    def test_blocked_verbs_pause_only_their_client(self):
        with Daemon("--appendfsync", "no") as daemon:
            busy, other = daemon.client(), daemon.client()
            busy.send_commands(["SADD", "k", 1], ["LANEMAP.FLUSH"], ["SADD", "k", 2], ["LANEMAP.IDS"], ["LANEMAP.COMPACT"],
                               ["SCARD", "k"])
            for i in range(50):
                equal(other("SADD", "o", i), (":", 1))
            equal([busy.reply()[0] for _ in range(6)], [":", "+", ":", "*", "+", ":"])
            gone = [daemon.client() for _ in range(8)]
            for i, client in enumerate(gone):
                client.send_commands([["LANEMAP.IDS"], ["LANEMAP.FLUSH"]][i % 2])
                client.close()
            equal(other("SCARD", "o"), (":", 50))
            equal(len(other("LANEMAP.IDS")[1]), 50)

    def test_half_closed_clients_get_their_replies(self):
        with Daemon() as daemon:
            client = daemon.client()
            client.send_commands(["SADD", "k", 1], ["LANEMAP.FLUSH"], ["SCARD", "k"])
            client.socket.shutdown(socket.SHUT_WR)
            equal([client.reply() for _ in range(3)], [(":", 1), ("+", "OK"), (":", 1)])
            assert closes(client)

    def test_many_clients(self):
        with Daemon("--appendfsync", "everysec") as daemon:
            clients = [daemon.client() for _ in range(500)]
            for round_ in range(3):
                for i, client in enumerate(clients):
                    client.send_commands(["SADD", "shared", i * 3 + round_], ["SADD", f"own{i}", round_], ["SCARD", f"own{i}"])
                for client in clients:
                    equal([client.reply() for _ in range(3)], [(":", 1), (":", 1), (":", round_ + 1)])
            equal(clients[0]("SCARD", "shared"), (":", 1500))
            fields = clients[0]("INFO", "stats")[1].decode()
            applies = int(next(line for line in fields.split("\r\n") if line.startswith("applies:")).split(":")[1])
            assert applies < 3000, f"{applies} applies for 3000 writes: nothing was gathered"

    def test_maxclients(self):
        with Daemon(wrapper=["prlimit", "--nofile=400:400"]) as daemon:
            clients = []
            while len(clients) < 400:
                client = daemon.client()
                clients.append(client)
                try:
                    reply = client("PING")
                except (BrokenPipeError, ConnectionResetError):
                    reply = client.reply()
                if reply != ("+", "PONG"):
                    break
            equal(reply, ("-", "ERR max number of clients reached"))
            assert len(clients) > 100
            for client in clients:
                client.close()
            eventually(lambda: daemon._is_ready())

    def test_noise(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        words = [b"*", b"$", b"\r\n", b"1", b"3", b"-1", b"SADD", b"k", b"PING", b" ", b'"', b"\0", b"'", b"EXEC", b"MULTI"]
        with Daemon("--appendfsync", "no") as daemon:
            for _ in range(300):
                client = daemon.client()
                data = b"".join(rng.choice(words) if rng.random() < 0.9 else rng.randbytes(rng.randrange(20))
                                for _ in range(rng.randrange(200)))
                try:
                    client.send(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                client.close()
            equal(daemon.client()("PING"), ("+", "PONG"), f"seed {seed}")


if __name__ == "__main__":
    main()
