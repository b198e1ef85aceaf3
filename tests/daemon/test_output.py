"""Large replies, and clients that do not read theirs (S5)."""
import hashlib
import os
import re
import unittest

from harness import Closed, Daemon, encode, equal, eventually, main
from test_health import info, need_preload, touch

N_IDS = 100000
MIB = 1 << 20


def posting(n_ids=N_IDS, step=41):
    """Ids, and the bytes of SMEMBERS."""
    ids = range(0, n_ids * step, step)
    return ids, b"*%d\r\n" % n_ids + b"".join(b"$%d\r\n%d\r\n" % (len(str(i)), i) for i in ids)


def add(client, key, ids):
    for begin in range(0, len(ids), 50000):
        part = ids[begin:begin + 50000]
        equal(client("SADD", key, *part), (":", len(part)))


def receive(client, n_bytes):
    """A digest of the next bytes."""
    digest = hashlib.sha256()
    while n_bytes > 0:
        data = client.socket.recv(min(n_bytes, 1 << 18))
        if not data:
            raise Closed()
        digest.update(data)
        n_bytes -= len(data)
    return digest.hexdigest()


def expect(client, wanted, what=""):
    equal(receive(client, len(wanted)), hashlib.sha256(wanted).hexdigest(), what)


def n_commands(client):
    return int(info(client)["total_commands_processed"])


def eventually_still(number):
    """Waits until number() is the same for a hundred calls of it, and so for a hundred rounds of the loop."""
    last, n_same = number(), 0
    while n_same < 100:
        value = number()
        n_same = n_same + 1 if value == last else 0
        last = value
    return last


class Output(unittest.TestCase):
    def test_commands_wait_until_replies_were_read(self):
        """30 clients ask for 80 times 100,000 ids; not one reads, and then one does."""
        with Daemon("--appendfsync", "no") as daemon:
            watcher = daemon.client(60)
            ids, reply = posting()
            add(watcher, "big", ids)
            clients = [daemon.client(60) for _ in range(30)]
            before = n_commands(watcher)
            for client in clients:
                client.send_commands(*[["SMEMBERS", "big"]] * 80)
            n_asked = [0]

            def n_run():
                n_asked[0] += 1
                return n_commands(watcher) - before - n_asked[0]

            n_each = -(-4 * MIB // len(reply)) + 2  # a few MiB wait, and what the kernel has taken
            assert eventually_still(n_run) <= 30 * n_each, f"{n_run()} commands were run, {n_each} for each"
            for i in range(80):
                expect(clients[0], reply, f"reply {i}")
            equal(clients[0]("PING"), ("+", "PONG"))
            equal(info(watcher)["timeout_output_disconnections"], "0")

    def test_a_long_posting_between_others(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            ids, reply = posting(600000)
            add(client, "big", ids)
            client("SADD", "small", 5)
            client.send_commands(["SMEMBERS", "small"], ["SMEMBERS", "big"], ["SADD", "small", 6], ["LANEMAP.IDS"],
                                 ["SMEMBERS", "big"], ["PING"])
            all_ids = sorted({5, 6} | set(ids))
            expect(client, b"*1\r\n$1\r\n5\r\n" + reply + b":1\r\n" + b"*%d\r\n" % len(all_ids)
                   + b"".join(b":%d\r\n" % i for i in all_ids) + reply + b"+PONG\r\n")
            equal(client("HELLO", "3")[0], "%")
            client.send_commands(["SMEMBERS", "big"])
            expect(client, b"~" + reply[1:])

    def test_a_transaction_with_more_than_64_mib_of_replies(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            ids, reply = posting()
            add(client, "big", ids)
            n = 64 * MIB // len(reply) + 2
            commands = [["SADD", "k", 1], *[["SMEMBERS", "big"]] * n, ["SADD", "k", 2], ["SMEMBERS", "k"],
                        ["LANEMAP.ADD", "k", 3]]
            client.send_commands(["MULTI"], *commands, ["EXEC"])
            expect(client, b"+OK\r\n" + b"+QUEUED\r\n" * len(commands) + b"*%d\r\n:1\r\n" % len(commands) + reply * n
                   + b":1\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n*2\r\n:1\r\n:3\r\n")
            equal(client("SCARD", "k"), (":", 3))

    def test_a_client_that_takes_nothing_is_closed(self):
        """... and one that takes little is not."""
        with Daemon("--appendfsync", "no", "--timeout-output", "3") as daemon:
            watcher, reader, deaf, waiting = (daemon.client(60) for _ in range(4))
            equal(watcher("CONFIG", "GET", "timeout-output"), ("*", [("$", b"timeout-output"), ("$", b"3")]))
            ids, reply = posting()
            add(watcher, "big", ids)
            deaf("CLIENT", "SETNAME", "nobody-reads")
            name = f"id={deaf('CLIENT', 'ID')[1]} "
            for client in (reader, deaf):
                client.send_commands(*[["SMEMBERS", "big"]] * 40)
            n_taken = 0

            def is_closed():
                nonlocal n_taken
                n_taken += len(reader.socket.recv(4096))
                return info(watcher)["timeout_output_disconnections"] == "1"

            eventually(is_closed)
            assert n_taken < 40 * len(reply), "the reader was to be slow"
            assert name not in watcher("CLIENT", "LIST")[1].decode()
            line = next(line for line in daemon.messages().splitlines() if "has read nothing for" in line)
            assert re.search(rf"client {name[3:-1]} at {re.escape(daemon.socket)}, name 'nobody-reads': it has read "
                             r"nothing for \d+ seconds, and \d{7,} bytes of replies wait for it: closed", line), line
            receive(reader, 40 * len(reply) - n_taken)
            equal(reader("PING"), ("+", "PONG"))
            equal(waiting("PING"), ("+", "PONG"))
            equal(watcher("CONFIG", "SET", "timeout-output", "0"), ("+", "OK"))

    def test_who_waits_for_the_log_is_not_closed(self):
        need_preload()
        with Daemon("--timeout-output", "1") as daemon:
            watcher, client = daemon.client(60), daemon.client(60)
            equal(client("SADD", "k", 1), (":", 1))
            touch(daemon.hold)
            client.send(encode("SADD", "k", 2) + encode("SMEMBERS", "k"))
            begin = int(info(watcher)["uptime_in_seconds"])
            eventually(lambda: int(info(watcher)["uptime_in_seconds"]) > begin + 3)
            os.unlink(daemon.hold)
            equal(client.reply(), (":", 1))
            equal(client.reply(), ("*", [("$", b"1"), ("$", b"2")]))


if __name__ == "__main__":
    main()
