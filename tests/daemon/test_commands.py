"""Every command: the type of its reply and the text of its errors; on the shared subset, against a real redis-server."""
import random
import re
import unittest

from harness import Closed, Daemon, Redis, SkipTest, equal, eventually, main

ARITY = "ERR wrong number of arguments for '%s' command"
NOT_INTEGER = ("-", "ERR value is not an integer or out of range")

# What lanemapd and Redis must say in the same words. Keys are fresh: k1 has 1 2 3.
SHARED = [
    "SADD k1 1 2 3", "SADD k1 3 4", "SADD k1 4", "SREM k1 4 9", "SREM none 1", "SCARD k1", "SCARD none",
    "SMEMBERS k1", "SMEMBERS none", "SISMEMBER k1 2", "SISMEMBER k1 7", "SISMEMBER none 7", "SMISMEMBER k1 1 7 3",
    "SMISMEMBER none 1 2", "EXISTS k1", "EXISTS k1 none k1", "TYPE k1", "TYPE none", "DBSIZE", "OBJECT ENCODING k1",
    "OBJECT ENCODING none", "OBJECT REFCOUNT k1", "DEL none", "SADD k2 5", "DEL k1 k2 k1", "SADD k2 5", "UNLINK k2 k2",
    "EXISTS k1 k2", "PING", "PING hello", "ECHO hello", "SELECT 0", "SELECT 99999", "SELECT x", "FLUSHALL", "FLUSHDB",
    "FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHALL NOW", "FLUSHALL A B", "CLIENT GETNAME", "CLIENT SETNAME me",
    "CLIENT GETNAME", "CLIENT NOSUCH", "CLIENT SETNAME", "CLIENT NO-EVICT on", "CLIENT NO-EVICT maybe", "CONFIG NOSUCH",
    "CONFIG GET", "CONFIG SET appendfsync", "CONFIG SET appendfsync everysec", "CONFIG SET databases 1",
    "CONFIG GET appendfsync", "CONFIG SET appendfsync sometimes", "CONFIG RESETSTAT", "CONFIG REWRITE", "WAIT 0 0",
    "WAIT x 0", "WAIT 0 -1", "WAIT 0 x", "MULTI", "MULTI", "SADD t 1", "SADD t 2", "SCARD t", "SMEMBERS t", "EXEC",
    "EXEC", "DISCARD", "MULTI", "DISCARD", "MULTI", "SADD t", "EXEC", "MULTI", "NOSUCH", "SADD t 9", "EXEC", "SCARD t",
    "MULTI", "EXEC", "MULTI", "PING", "SISMEMBER t 1", "SISMEMBER t 7", "DBSIZE", "DEL t", "EXISTS t", "DBSIZE",
    "SADD t 4", "TYPE t", "SMISMEMBER t 1 4", "EXEC", "MULTI", "SHUTDOWN", "DISCARD", "RESET", "CLIENT GETNAME",
    "HELLO 9", "HELLO x", "HELLO 2 FOO", "HELLO 2 SETNAME", "AUTH x", "AUTH a b c", "AUTH default x", "AUTH other x",
    "SADD", "SADD k", "SREM k", "SMEMBERS", "SMEMBERS a b", "SISMEMBER k", "SMISMEMBER k", "SCARD", "DEL", "UNLINK",
    "EXISTS", "TYPE", "DBSIZE x", "ECHO", "ECHO a b", "PING a b", "SELECT", "OBJECT", "OBJECT ENCODING", "OBJECT NOSUCH k",
    "COMMAND NOSUCH", "COMMAND COUNT x", "WAIT 1", "TIME x", "LASTSAVE x", "MULTI x", "EXEC x", "DISCARD x", "RESET x",
    "NOSUCH", "NOSUCH a b c", "nosuch " + "x" * 200, "CLIENT", "CONFIG", "SHUTDOWN MAYBE", "SHUTDOWN ABORT",
    "COMMAND INFO nosuch", "COMMAND DOCS nosuch", "CONFIG GET nosuch*",
]


def shape(reply):
    """Sets of Redis's hash tables come in any order."""
    kind, value = reply
    if kind in "*~" and value and all(v[0] == "$" for v in value):
        return kind, sorted(value, key=lambda v: v[1] or b"")
    return (kind, [shape(v) for v in value]) if isinstance(value, list) else reply


def random_command(rng):
    key, ids = rng.choice("abcd"), [str(rng.randrange(6)) for _ in range(rng.randrange(1, 4))]
    return rng.choice([
        ["SADD", key, *ids], ["SADD", key, *ids], ["SREM", key, *ids], ["SMEMBERS", key], ["SISMEMBER", key, ids[0]],
        ["SMISMEMBER", key, *ids], ["SCARD", key], ["EXISTS", key, "a"], ["TYPE", key], ["DBSIZE"], ["DEL", key, "b"],
        ["PING"], ["FLUSHALL"] if rng.random() < 0.2 else ["ECHO", "x"],
    ])


class Commands(unittest.TestCase):
    def test_shared_subset_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        wrong = []
        with Daemon() as daemon, Redis() as redis:
            for protocol in (2, 3):
                ours, theirs = daemon.client(), redis.client()
                for client in (ours, theirs):
                    client("FLUSHALL")
                    equal(client("HELLO", protocol)[0], "*" if protocol == 2 else "%")
                for command in SHARED:
                    got, wanted = shape(ours(*command.split())), shape(theirs(*command.split()))
                    if got != wanted:
                        wrong.append(f"RESP{protocol} {command[:60]}: {got!r:.200}, Redis says {wanted!r:.200}")
                    if command == "RESET":
                        ours("HELLO", protocol), theirs("HELLO", protocol)
        assert not wrong, "\n".join(wrong)

    def test_random_pipelines_and_transactions_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon("--appendfsync", "no") as daemon, Redis() as redis:
            ours, theirs = daemon.client(), redis.client()
            for step in range(1000):
                commands = [random_command(rng) for _ in range(rng.randrange(1, 30))]
                if rng.random() < 0.5:
                    commands = [["MULTI"], *commands, ["EXEC"]]
                for client in (ours, theirs):
                    client.send_commands(*commands)
                for i, command in enumerate(commands):
                    equal(shape(ours.reply()), shape(theirs.reply()), f"seed {seed} step {step} {commands[:i + 1]}")

    def test_members(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", "007", "7", "0", "00000000000000000000000000000004294967294"), (":", 3))
            equal(client("SMEMBERS", "k"), ("*", [("$", b"0"), ("$", b"7"), ("$", b"4294967294")]))
            equal(client("SISMEMBER", "k", "0007"), (":", 1))
            for member in ["", "x", "-1", "+1", " 1", "1 ", "1.0", "4294967295", "18446744073709551617", "1\0", "0x1"]:
                for command in ["SADD", "SREM", "SISMEMBER", "SMISMEMBER", "LANEMAP.ADD", "LANEMAP.REM"]:
                    equal(client(command, "k", member), NOT_INTEGER, f"{command} {member!r}")
            equal(client("SADD", "k", 1, 2, "x"), NOT_INTEGER)
            equal(client("SCARD", "k"), (":", 3), "nothing of a refused SADD is there")

    def test_keys(self):
        with Daemon() as daemon:
            client = daemon.client()
            wrong = ("-", "ERR key must have 1 to 65535 bytes")
            for key in ["", "x" * 65536, "x" * 100000]:
                for command in [("SADD", key, 1), ("SREM", key, 1), ("SMEMBERS", key), ("SISMEMBER", key, 1), ("SCARD", key),
                                ("SMISMEMBER", key, 1), ("DEL", "a", key), ("EXISTS", "a", key), ("TYPE", key),
                                ("OBJECT", "ENCODING", key), ("LANEMAP.ADD", key, 1), ("LANEMAP.REM", key, 1)]:
                    equal(client(*command), wrong, command[0])
            for key in [b"\0", b"\r\n", bytes(range(256)), b"x" * 65535]:
                equal(client("SADD", key, 1), (":", 1))
                equal(client("SMEMBERS", key), ("*", [("$", b"1")]))
                equal(client("DEL", key), (":", 1))

    def test_own_verbs(self):
        with Daemon() as daemon:
            client = daemon.client()
            pair = lambda a, b: ("*", [(":", a), (":", b)])
            equal(client("LANEMAP.ADD", "k", 5), pair(1, 1))
            equal(client("lanemap.add", "k", 5), pair(0, 1))
            equal(client("LANEMAP.ADD", "k", 6), pair(1, 2))
            equal(client("LANEMAP.REM", "k", 5), pair(1, 1))
            equal(client("LANEMAP.REM", "k", 5), pair(0, 1))
            equal(client("LANEMAP.REM", "k", 6), pair(1, 0))
            equal(client("LANEMAP.REM", "k", 6), pair(0, 0))
            equal(client("LANEMAP.ADD", "k"), ("-", ARITY % "lanemap.add"))
            equal(client("LANEMAP.ADD", "k", 1, 2), ("-", ARITY % "lanemap.add"))
            equal(client("LANEMAP.IDS"), ("*", []))
            client("SADD", "a", 3, 1, 2)
            client("SADD", "b", 2, 9)
            equal(client("LANEMAP.IDS"), ("*", [(":", i) for i in (1, 2, 3, 9)]))
            for verb in ("FLUSH", "COMPACT", "FLIP"):
                equal(client(f"LANEMAP.{verb}"), ("+", "OK"))
                equal(client(f"LANEMAP.{verb}", "x"), ("-", ARITY % f"lanemap.{verb.lower()}"))
            equal(client("SMEMBERS", "a"), ("*", [("$", b"1"), ("$", b"2"), ("$", b"3")]))
            equal(client("LANEMAP.IDS"), ("*", [(":", i) for i in (1, 2, 3, 9)]))
            equal(client("LANEMAP.RESHARD"), ("-", "ERR resharding is for a stopped writer: stop lanemapd, then run "
                                                   "'lanemap reshard DIR --lanes N'"))
            for verb in ("IDS", "FLUSH", "COMPACT", "FLIP"):
                client("MULTI")
                equal(client(f"LANEMAP.{verb}"), ("-", "ERR Command not allowed inside a transaction"))
                equal(client("EXEC")[1].split()[0], "EXECABORT")

    def test_mark(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("LANEMAP.MARK")[1][0], ("$", None))
            equal(client("LANEMAP.MARK", b"0/16\0B3"), ("+", "OK"))
            kind, (mark, position) = client("LANEMAP.MARK")
            equal((kind, mark, position[0]), ("*", ("$", b"0/16\0B3"), ":"))
            assert position[1] > 0
            equal(client("LANEMAP.MARK", "x" * 256), ("-", "ERR mark must have at most 255 bytes"))
            equal(client("LANEMAP.MARK", "x" * 255), ("+", "OK"))
            equal(client("LANEMAP.MARK", "a", "b"), ("-", ARITY % "lanemap.mark"))
            client.send_commands(["MULTI"], ["SADD", "k", 1], ["LANEMAP.MARK", "m2"], ["LANEMAP.ADD", "k", 2], ["EXEC"])
            replies = [client.reply() for _ in range(5)]
            equal(replies[4], ("*", [(":", 1), ("+", "OK"), ("*", [(":", 1), (":", 2)])]))
            equal(client("LANEMAP.MARK")[1][0], ("$", b"m2"))
            equal(daemon.stop(), 0)
            daemon.start()
            client = daemon.client()
            equal(client("LANEMAP.MARK")[1][0], ("$", b"m2"), "after a restart")

    def test_stats_and_info(self):
        with Daemon() as daemon:
            client = daemon.client()
            client("SADD", "k", 1, 2)
            client("SADD", "l", 1)
            kind, flat = client("LANEMAP.STATS")
            equal(kind, "*")
            stats = {flat[i][1].decode(): flat[i + 1][1] for i in range(0, len(flat), 2)}
            equal((stats["n_keys"], stats["n_pairs"]), (2, 3))
            assert stats["position"] >= 2 and len(stats["uuid"]) == 36
            assert int(stats["generation"]) > 0 and isinstance(stats["generation"], bytes), "random 64 bits are no integer"
            described = dict(line[1].split(": ", 1) for line in client("LANEMAP.STATS", "HELP")[1])
            equal(sorted(described), sorted(stats.keys() - {"uuid", "generation"}))
            equal(described["n_keys"], "gauge, keys; live, exact")
            equal((stats["filter"], stats["segment_kind_bottom"]), (b"auto", b"packed"))
            equal(client("LANEMAP.STATS", "x"), ("-", "ERR syntax error"))
            equal(client("DBSIZE"), (":", 2))
            text = client("INFO")[1].decode()
            sections = [line[2:] for line in text.split("\r\n") if line.startswith("# ")]
            for section in ["Server", "Clients", "Memory", "Persistence", "Stats", "Lanemap", "Keyspace"]:
                assert section in sections, section
            fields = dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)
            equal(fields["db0"], "keys=2,expires=0,avg_ttl=0")
            equal(fields["appendfsync"], "always")
            equal(int(fields["process_id"]), daemon.process.pid)
            equal(fields["loading"], "0")
            assert int(fields["durable"]) >= 2
            equal(client("INFO", "keyspace")[1], b"# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n")
            equal(client("INFO", "nosuch")[1], b"")
            client("HELLO", "3")
            equal(client("INFO", "keyspace")[0], "=")
            equal(client("SMEMBERS", "k"), ("~", [("$", b"1"), ("$", b"2")]))
            equal(client("CONFIG", "GET", "append*")[0], "%")
            equal(client("CLIENT", "GETNAME"), ("_", None))

    def test_settings(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("CONFIG", "GET", "appendfsync"), ("*", [("$", b"appendfsync"), ("$", b"always")]))
            for policy in ("everysec", "no", "ALWAYS"):
                equal(client("CONFIG", "SET", "appendfsync", policy), ("+", "OK"))
                equal(client("CONFIG", "GET", "APPENDFSYNC")[1][1], ("$", policy.lower().encode()))
                equal(client("SADD", "k" + policy, 1), (":", 1))
            equal(client("CONFIG", "SET", "loglevel", "debug", "appendfsync", "no"), ("+", "OK"))
            equal(client("CONFIG", "GET", "loglevel")[1][1], ("$", b"debug"))
            equal(client("CONFIG", "SET", "loglevel", "loud")[0], "-")
            equal(client("CONFIG", "SET", "appendfsync", "always", "lanes", "3")[0], "-")
            equal(client("CONFIG", "GET", "appendfsync")[1][1], ("$", b"no"), "all or none")
            equal(client("CONFIG", "GET", "save", "appendonly")[1][1::2], [("$", b"yes"), ("$", b"")])
            equal(client("CONFIG", "GET", "requirepass")[1][1], ("$", b""))

    def test_command_table(self):
        with Daemon() as daemon:
            client = daemon.client()
            count = client("COMMAND", "COUNT")[1]
            names = [n[1].decode() for n in client("COMMAND", "LIST")[1]]
            equal(len([name for name in names if "|" not in name]), count)
            equal(len(client("COMMAND")[1]), count)
            equal(len(client("COMMAND", "DOCS")[1]), 2 * count)
            row = client("COMMAND", "INFO", "sadd")[1][0][1]
            equal(row[:2], [("$", b"sadd"), (":", -3)])
            equal([row[i][1] for i in (3, 4, 5)], [1, 1, 1])
            for name in names:
                assert client(*name.split("|"), *["x"] * 9)[0] in "-:*+$" or name == "quit", name
                if name in ("quit", "shutdown", "multi", "exec", "reset"):
                    client = daemon.client()

    def test_what_is_not_here_says_why(self):
        with Daemon() as daemon:
            client = daemon.client()
            for command in ("KEYS *", "SCAN 0", "RANDOMKEY"):
                kind, text = client(*command.split())
                equal((kind, text.split(";")[0]), ("-", "ERR keys are not stored, only their fingerprints"))
            for command in ("GET k", "SET k v", "HSET k f v", "LPUSH k v", "ZADD k 1 m", "INCR k"):
                equal(client(*command.split()), ("-", "ERR lanemapd stores sets of integers only"))

    def test_clients(self):
        with Daemon() as daemon:
            one, two = daemon.client(), daemon.client()
            equal(one("CLIENT", "SETNAME", "with space")[0], "-")
            equal(one("CLIENT", "SETINFO", "lib-name", "x"), ("+", "OK"))
            assert two("CLIENT", "ID")[1] > one("CLIENT", "ID")[1]
            equal(one("CLIENT", "LIST")[1].count(b"\n"), 2)
            assert one("CLIENT", "INFO")[1].startswith(b"id=%d " % one("CLIENT", "ID")[1])
            equal(two("QUIT"), ("+", "OK"))
            try:
                two.reply()
                raise AssertionError("QUIT left the connection open")
            except Closed:
                pass
            eventually(lambda: one("CLIENT", "LIST")[1].count(b"\n") == 1)

    def test_transaction_bounds(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            ids = list(range(20000))
            client("SADD", "big", *ids)
            client.send_commands(["MULTI"], *[["SADD", "k", i] for i in ids], *[["SCARD", "k"]] * 20000, ["EXEC"])
            for _ in range(40001):
                client.reply()
            replies = client.reply()[1]
            equal(len(replies), 40000)
            assert ("-", "ERR cannot read (Argument list too long)") in replies, "reads behind writes are bounded"
            equal(client("SCARD", "k"), (":", 20000))

    def test_reads_of_a_long_posting_in_a_transaction_are_bounded(self):
        """Behind a write they copy it. A transaction that has written nothing reads as everybody does."""
        too_much = ("-", "ERR cannot read (Argument list too long)")
        part = ("*", [("$", b"9"), ("*", [("$", b"7"), ("$", b"8")])])
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            client("SADD", "big", *range(100000))
            client("SADD", "few", 7, 100001)

            def execute(*commands):
                client.send_commands(["MULTI"], *commands, ["EXEC"])
                for _ in range(len(commands) + 1):
                    client.reply()
                return client.reply()[1]

            replies = execute(["SADD", "other", 1], *[["SISMEMBER", "big", 7]] * 30000)
            equal((replies[1], replies[-1]), ((":", 1), too_much))
            for command, wanted in ((["SISMEMBER", "big", 7], (":", 1)), (["SMISMEMBER", "big", 7, 100001], ("*", [(":", 1), (":", 0)])),
                                    (["SSCAN", "big", 7, "COUNT", 2], part), (["SINTER", "few", "big"], ("*", [("$", b"7")])),
                                    (["SINTERCARD", 2, "big", "few"], (":", 1))):
                equal(execute(*[command] * 30000), [wanted] * 30000, command)
            equal(client("SISMEMBER", "big", 7), (":", 1))

    def test_dbsize_behind_writes_of_a_transaction(self):
        """Each DBSIZE knows what is before it; with many of them each write is still looked at once."""
        rng = random.Random(5)
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client(60)
            client("SADD", "k1", 1)
            client("SADD", "k2", 1)
            model, commands, wanted = {b"k1": {1}, b"k2": {1}}, [], []
            for _ in range(60000):
                key, id_, what = f"k{rng.randrange(500)}".encode(), rng.randrange(3), rng.randrange(1000)
                if what == 0:
                    commands.append(["FLUSHALL"])
                    model.clear()
                elif what < 100:
                    commands.append(["DEL", key])
                    model.pop(key, None)
                elif what < 500:
                    commands.append(["SREM", key, id_])
                    model.get(key, set()).discard(id_)
                else:
                    commands.append(["SADD", key, id_])
                    model.setdefault(key, set()).add(id_)
                commands.append(["DBSIZE"])
                wanted.append((":", sum(1 for ids in model.values() if ids)))
            client.send_commands(["MULTI"], *commands, ["EXEC"])
            for _ in range(len(commands) + 1):
                client.reply()
            equal(client.reply()[1][1::2], wanted)
            equal(client("DBSIZE"), wanted[-1])

    def test_no_space(self):
        """Shared memory is full: a command is done or not, reads and removals go on, and there is room again after them."""
        with Daemon("--appendfsync", "no", "--shared-bytes-max", "1048576") as daemon:
            client = daemon.client(60)
            kept, refused = 0, None
            while not refused and kept < 1000000:
                kind, told = client("SADD", "long", *range(kept, kept + 2000))
                kept += told if kind == ":" else 0
                refused = told if kind == "-" else None
            equal(refused, "ERR no space: the disk or the shared memory is full; nothing was changed, retry when there is room")
            equal(client("SCARD", "long"), (":", kept))
            eventually(lambda: client("SREM", "long", 0)[0] == ":")
            equal(client("SCARD", "long"), (":", kept - 1))
            eventually(lambda: client("DEL", "long")[0] == ":")
            eventually(lambda: client("SADD", "new", *range(1000))[0] == ":")
            equal(client("SCARD", "new"), (":", 1000))

    def test_a_command_or_transaction_without_room_changes_nothing(self):
        with Daemon("--appendfsync", "no", "--shared-bytes-max", "1048576") as daemon:
            client = daemon.client(60)
            no_space = ("-", "ERR no space: the disk or the shared memory is full; nothing was changed, retry when there is room")
            equal(client("SADD", "long", 1, 2, 3), (":", 3))
            equal(client("SADD", "long", *range(500000)), no_space)
            equal(client("SMEMBERS", "long"), ("*", [("$", b"1"), ("$", b"2"), ("$", b"3")]))
            client.send_commands(["MULTI"], ["SADD", "first", 1], ["FLUSHALL"], ["SADD", "new", 1], ["SADD", "long", *range(500000)],
                                 ["DEL", "long"], ["LANEMAP.MARK", "m"], ["SADD", "new", *range(500000)], ["EXEC"])
            for _ in range(8):
                client.reply()
            # The removal leaves nothing of "long", but "new" is too much.
            equal(client.reply(), ("-", "EXECABORT Transaction discarded: it is too much for one log record, which holds 524288 "
                                        "operations and 16773120 bytes; nothing was changed"))
            client.send_commands(["MULTI"], ["SADD", "first", 1], ["FLUSHALL"], ["SADD", "new", *range(500000)], ["EXEC"])
            for _ in range(4):
                client.reply()
            equal(client.reply(), no_space)
            equal(client("EXISTS", "first", "new", "long"), (":", 1))
            equal(client("LANEMAP.MARK")[1][0], ("$", None))
            # A pipeline: what has no room is refused, each of the others is done.
            client.send_commands(["SADD", "a", 1], ["SADD", "long", *range(500000)], ["SADD", "b", 1])
            equal([client.reply() for _ in range(3)], [(":", 1), no_space, (":", 1)])
            equal(client("DBSIZE"), (":", 3))

    def test_a_hundred_thousand_ids_need_little_shared_memory(self):
        """Random ids, in one command, in one transaction, in one pipeline: a few bytes each."""
        ids = random.Random(7).sample(range(2**32 - 2), 100000)
        with Daemon("--appendfsync", "no", "--shared-bytes-max", "4194304") as daemon:
            client = daemon.client(60)
            equal(client("SADD", "command", *ids), (":", 100000))
            equal(client("SADD", "command", *ids), (":", 0))
            client.send_commands(["MULTI"], *[["SADD", "transaction", i] for i in ids], ["EXEC"])
            for _ in range(100001):
                client.reply()
            equal(client.reply(), ("*", [(":", 1)] * 100000))
            client.send_commands(*[["LANEMAP.ADD", "pipeline", i] for i in ids])
            equal([client.reply() for _ in ids], [("*", [(":", 1), (":", n + 1)]) for n in range(100000)])
            equal([client("SCARD", key) for key in ("command", "transaction", "pipeline")], [(":", 100000)] * 3)

    def test_every_error_reply_is_counted(self):
        with Daemon() as daemon:
            client = daemon.client()
            bad = [["NOSUCH"], ["SADD", "k"], ["SADD", "k", "x"], ["EXEC"], ["DISCARD"], ["SELECT", "1"], ["AUTH", "a"], ["GET", "k"],
                   ["FLUSHALL", "x"], ["WAIT", "a", "b"], ["HELLO", "9"], ["CLIENT", "NO-EVICT", "x"], ["SHUTDOWN", "x"],
                   ["LANEMAP.BACKUP", "relative"], ["MULTI"], ["SADD", "k", "x"], ["GET", "k"], ["SADD", "k", "1"], ["EXEC"],
                   ["MULTI"], ["MULTI"], ["DISCARD"], ["CONFIG", "SET", "appendfsync", "x"]]
            equal(client("CONFIG", "RESETSTAT"), ("+", "OK"))  # LOADING may have been said before
            client.send_commands(*bad)
            replies = [client.reply() for _ in bad]
            n_errors = sum(kind == "-" for kind, _ in replies) + sum(kind == "-" for kind, _ in replies[18][1])
            equal(n_errors, 14 + 2 + 1 + 1, replies)
            fields = client("INFO", "stats")[1].decode()
            assert f"total_error_replies:{n_errors}\r\n" in fields, (n_errors, fields)

    def test_shutdown(self):
        with Daemon() as daemon:
            client = daemon.client()
            equal(client("SADD", "k", 1), (":", 1))
            client.send_commands(["SHUTDOWN", "NOSAVE"])
            equal(daemon.process.wait(30), 0)
            daemon.start()
            equal(daemon.client()("SCARD", "k"), (":", 1))


if __name__ == "__main__":
    main()
