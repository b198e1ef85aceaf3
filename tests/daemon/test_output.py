"""Large replies, clients that do not read theirs, and the memory of all clients (LP5, LP6)."""
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


def add(client, key, ids, n_each=50000):
    for begin in range(0, len(ids), n_each):
        part = ids[begin:begin + n_each]
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
            assert re.search(rf"client {name[3:-1]} at {re.escape(daemon.socket)}:0, name 'nobody-reads': it has read "
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


class Budget(unittest.TestCase):
    def test_thirty_that_never_read(self):
        """They have what all clients may have, and no more; who does nothing goes first, the others are answered."""
        limit = 8 * MIB
        with Daemon("--appendfsync", "no", "--maxmemory-clients", "8mb") as daemon:
            watcher, small = daemon.client(60), daemon.client(60)
            equal(watcher("CONFIG", "GET", "maxmemory-clients")[1][1], ("$", b"8388608"))
            ids, reply = posting()
            add(watcher, "big", ids)
            equal(small("SADD", "small", 7), (":", 1))
            clients = [daemon.client(60) for _ in range(30)]
            for client in clients:
                client.send_commands(*[["SMEMBERS", "big"]] * 80)
            eventually(lambda: int(info(watcher)["evicted_clients"]) > 0)
            seen = info(watcher)
            assert int(seen["mem_clients_peak"]) <= limit + 2 * MIB, seen["mem_clients_peak"]
            eventually(lambda: int(info(watcher)["mem_clients_normal"]) <= limit)
            equal(small("SMEMBERS", "small"), ("*", [("$", b"7")]))
            line = next(line for line in daemon.messages().splitlines() if "closed (maxmemory-clients" in line)
            assert re.search(rf"client \d+ at {re.escape(daemon.socket)}:0, name '': it has \d+ of the \d+ bytes that all clients "
                             r"have, \d+ of replies wait for it: closed \(maxmemory-clients is 8388608\)", line), line
            for client in clients:
                client.close()
            eventually(lambda: int(info(watcher)["connected_clients"]) == 2)
            small.send_commands(*[["SMEMBERS", "big"]] * 80)
            for i in range(80):
                expect(small, reply, f"reply {i} of who reads")
            assert int(info(watcher)["mem_clients_normal"]) < limit

    def test_half_messages(self):
        with Daemon("--appendfsync", "no", "--maxmemory-clients", "4mb") as daemon:
            watcher = daemon.client(60)
            clients = [daemon.client(60) for _ in range(20)]
            for client in clients:
                client.socket.setblocking(False)
                try:
                    client.send(b"*2\r\n$4\r\nECHO\r\n$1000000\r\n" + b"x" * 900000)
                except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                    pass  # it is not read further
            eventually(lambda: int(info(watcher)["evicted_clients"]) > 0)
            eventually(lambda: int(info(watcher)["mem_clients_normal"]) <= 4 * MIB)
            assert int(info(watcher)["mem_clients_peak"]) <= 6 * MIB
            equal(watcher("PING"), ("+", "PONG"))

    def test_a_transaction_that_may_not_answer_changes_nothing(self):
        with Daemon("--appendfsync", "no", "--maxmemory-clients", "4mb") as daemon:
            client = daemon.client(60)
            ids, _ = posting()
            add(client, "big", ids)
            client.send_commands(["MULTI"], ["SADD", "k", 1], *[["SMEMBERS", "big"]] * 30, ["EXEC"])
            equal([client.reply()[1] for _ in range(32)], ["OK"] + ["QUEUED"] * 31)
            kind, text = client.reply()
            equal(kind, "-")
            assert re.match(r"EXECABORT this would bring the memory of all clients to \d+ bytes, and maxmemory-clients is "
                            r"4194304; nothing was changed", text), text
            equal(client("EXISTS", "k"), (":", 0))
            assert int(info(client)["mem_clients_peak"]) < 6 * MIB
            equal(client("CONFIG", "SET", "maxmemory-clients", "0"), ("+", "OK"))
            eventually(lambda: info(client)["maxmemory_clients"] == "0")
            client.send_commands(["MULTI"], ["SADD", "k", 1], *[["SMEMBERS", "big"]] * 30, ["EXEC"])
            equal([client.reply()[1] for _ in range(32)], ["OK"] + ["QUEUED"] * 31)
            equal([len(part[1]) if part[0] == "*" else part for part in client.reply()[1]], [(":", 1)] + [N_IDS] * 30)

    def test_more_ids_than_all_may_have(self):
        with Daemon("--appendfsync", "no", "--maxmemory-clients", "1mb") as daemon:
            client = daemon.client(60)
            add(client, "big", posting(300000)[0], 10000)
            eventually(lambda: int(info(client)["mem_clients_normal"]) < MIB // 2)
            for command in ["SMEMBERS", "big"], ["LANEMAP.IDS"]:
                kind, text = client(*command)
                equal(kind, "-")
                assert text.startswith("OOM this would bring the memory of all clients to "), text
            equal(client("SCARD", "big"), (":", 300000))

    def test_what_is_left_of_long_lists_costs_no_more_than_it_is(self):
        """Replies that wait for the log: a list of a million ids was read for each, 5000 are left of it."""
        need_preload()

        def memory():
            with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
                return sum(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))

        with Daemon() as daemon:
            writer = daemon.client(60)
            n, n_left = 1000000, 5000
            add(writer, "a", range(n))
            add(writer, "b", range(n - n_left))
            add(writer, "c", range(n - n_left, n))
            for command in ["SDIFF", "a", "b"], ["SINTER", "a", "c"], ["SUNION", *["c"] * 40]:
                clients = [daemon.client(60) for _ in range(40)]
                equal(len(clients[0](*command)[1]), n_left)  # so what it needs while it is at it is there
                before = memory()
                touch(daemon.hold)
                writer.send_commands(["SADD", "d", 1], ["SREM", "d", 1])
                eventually(writer.is_taken)
                for client in clients:
                    client.send_commands(command)
                for client in clients:
                    eventually(client.is_taken)
                equal(daemon.client()("PING"), ("+", "PONG"))  # met after they were run
                grown = memory() - before
                os.unlink(daemon.hold)
                for client in clients:
                    equal(len(client.reply()[1]), n_left)
                    client.close()
                equal([writer.reply(), writer.reply()], [(":", 1)] * 2)
                assert grown < 12 * MIB, f"{command[0]}: {grown} bytes for 40 replies"

    def test_forms_of_the_limit(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            equal(client("CONFIG", "GET", "maxmemory-clients")[1][1], ("$", b"10%"))
            assert int(info(client)["maxmemory_clients"]) >= 16 * MIB
            for text, value in ("1gb", b"1073741824"), ("5k", b"5000"), ("7%", b"7%"), ("0", b"0"), ("123456789", b"123456789"):
                equal(client("CONFIG", "SET", "maxmemory-clients", text), ("+", "OK"))
                equal(client("CONFIG", "GET", "maxmemory-clients")[1][1], ("$", value))
            for text in "101%", "-1", "x", "", "99999999999gb", "1 gb":
                equal(client("CONFIG", "SET", "maxmemory-clients", text)[0], "-", text)
            equal(client("CONFIG", "GET", "maxmemory-clients")[1][1], ("$", b"123456789"))


if __name__ == "__main__":
    main()
