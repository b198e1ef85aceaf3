"""Redis's words for clients and operators: shapes and errors beside a real redis-server, and what is lanemapd's own."""
import os
import signal
import unittest

from harness import Closed, Daemon, Redis, SkipTest, equal, eventually, free_port, main

SYNTAX = ("-", "ERR syntax error")

# Replies that are the same, byte for byte.
SAME = [
    "CLIENT GETREDIR", "CLIENT TRACKINGINFO", "CLIENT UNPAUSE", "CLIENT REPLY ON", "CLIENT REPLY MAYBE", "CLIENT CACHING YES",
    "CLIENT TRACKING OFF", "CLIENT TRACKING MAYBE", "CLIENT NO-EVICT on", "CLIENT LIST TYPE nosuch", "CLIENT LIST TYPE pubsub",
    "CLIENT LIST TYPE replica", "CLIENT LIST ID 0", "CLIENT LIST ID x", "CLIENT LIST ID", "CLIENT LIST nosuch", "CLIENT LIST TYPE",
    "CLIENT KILL 127.0.0.1:1", "CLIENT KILL ID 999999", "CLIENT KILL ID 0", "CLIENT KILL ID x", "CLIENT KILL ADDR nobody:1",
    "CLIENT KILL LADDR nobody:1", "CLIENT KILL USER nosuch", "CLIENT KILL TYPE nosuch", "CLIENT KILL TYPE pubsub",
    "CLIENT KILL SKIPME maybe ID 5", "CLIENT KILL ID 5 ADDR", "CLIENT KILL NOSUCH 5", "CLIENT KILL TYPE normal SKIPME yes",
    "CLIENT KILL", "CLIENT UNBLOCK 999999", "CLIENT UNBLOCK x", "CLIENT UNBLOCK 5 MAYBE", "CLIENT UNBLOCK 5 ERROR", "CLIENT UNBLOCK",
    "MODULE LIST", "MODULE NOSUCH", "MODULE", "ACL WHOAMI", "ACL USERS", "ACL LIST", "ACL GETUSER default", "ACL GETUSER nosuch",
    "ACL NOSUCH", "ACL", "ROLE x", "CLUSTER INFO", "CLUSTER SLOTS", "READONLY", "READWRITE", "ASKING", "SHUTDOWN SAVE NOSAVE",
    "SHUTDOWN ABORT", "SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT", "SHUTDOWN MAYBE", "SHUTDOWN ABORT NOSUCH",
]

# Commands that lanemapd answers with a sentence: (command, what is in it).
REFUSED = [
    ("REPLICAOF NO ONE", "no replicas"), ("PSYNC ? -1", "no replicas"), ("EVAL x 0", "no scripts"), ("FCALL f 0", "no scripts"),
    ("SUBSCRIBE a", "no channels"), ("PUBLISH a b", "no channels"), ("SAVE", "LANEMAP.BACKUP"), ("BGREWRITEAOF", "LANEMAP.BACKUP"),
    ("RESTORE k 0 x", "fingerprints"), ("COPY a b", "fingerprints"), ("SWAPDB 0 1", "one database"), ("MONITOR", "SLOWLOG"),
    ("DEBUG SLEEP 1", "DEBUG command not allowed"), ("CLIENT PAUSE 100", "does not pause"),
    ("CLIENT REPLY OFF", "answers every command"), ("CLIENT TRACKING ON", "does not track"), ("ACL SETUSER x", "one user"),
    ("ACL CAT", "one user"), ("MODULE LOAD x", "no modules"),
]


def shape(reply):
    kind, value = reply
    return (kind, [shape(v) for v in value]) if isinstance(value, list) else kind


def fields(line):
    return dict(part.split("=", 1) for part in line.decode().removeprefix("txt:").split())


class Words(unittest.TestCase):
    def test_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        wrong = []
        with Daemon() as daemon, Redis() as redis:
            for protocol in (2, 3):
                ours, theirs = daemon.client(), redis.client()
                for client in (ours, theirs):
                    client("HELLO", protocol)
                for command in SAME:
                    got, wanted = ours(*command.split()), theirs(*command.split())
                    if got != wanted:
                        wrong.append(f"RESP{protocol} {command}: {got!r:.200}, Redis says {wanted!r:.200}")
                for command in ("ROLE", "CLIENT LIST", "CLIENT INFO", "CLIENT HELP", "ACL HELP", "MODULE HELP"):
                    got, wanted = shape(ours(*command.split())), shape(theirs(*command.split()))
                    if (got[0], set(got[1])) != (wanted[0], set(wanted[1])) if command.endswith("HELP") else got != wanted:
                        wrong.append(f"RESP{protocol} {command}: {got!r:.200}, Redis has {wanted!r:.200}")
                ours_has, theirs_has = fields(ours("CLIENT", "INFO")[1]), fields(theirs("CLIENT", "INFO")[1])
                equal([name for name in ours_has if name in theirs_has], list(theirs_has), "the order of the fields")
                equal(list(ours_has)[-2:], ["lib-name", "lib-ver"])
        assert not wrong, "\n".join(wrong)

    def test_what_is_not_here_says_why(self):
        with Daemon() as daemon:
            client = daemon.client()
            for command, what in REFUSED:
                kind, text = client(*command.split())
                assert kind == "-" and what in text, (command, text)
            for word in ("cluster", "debug", "monitor"):
                equal(client("COMMAND", "INFO", word), ("*", [("$", None)]))

    def test_client_info(self):
        port = free_port()
        with Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": "secret"}, password="secret") as daemon:
            client, tcp = daemon.client(), daemon.client()
            tcp.close()
            from harness import Client
            tcp = Client(("127.0.0.1", port))
            client("AUTH", "secret")
            has = lambda who, *words: fields(who(*words)[1])
            seen = next(fields(line) for line in client("CLIENT", "LIST")[1].splitlines() if b":%d" % tcp.socket.getsockname()[1] in line)
            equal((seen["addr"], seen["laddr"], seen["user"], seen["flags"], seen["events"]),
                  ("127.0.0.1:%d" % tcp.socket.getsockname()[1], f"127.0.0.1:{port}", "(unauthenticated)", "N", "r"))
            tcp("AUTH", "secret")
            equal(has(tcp, "CLIENT", "INFO")["user"], "default")
            equal(client("CLIENT", "SETNAME", "me"), ("+", "OK"))
            equal(client("CLIENT", "SETINFO", "LIB-NAME", "redis-py(x)"), ("+", "OK"))
            equal(client("CLIENT", "SETINFO", "lib-ver", "5.0"), ("+", "OK"))
            for name, value in (("lib-name", "a b"), ("LIB-VER", "a\n"), ("LIB-NAME", "\xff")):
                equal(client("CLIENT", "SETINFO", name, value),
                      ("-", f"ERR {name} cannot contain spaces, newlines or special characters."))
            equal(client("CLIENT", "SETINFO", "lib-name", "x" * 64), ("-", "ERR lib-name has at most 63 bytes"))
            equal(client("CLIENT", "SETINFO", "lib-who", "x"), ("-", "ERR Unrecognized option 'lib-who'"))
            info = has(client, "CLIENT", "INFO")
            equal([info[k] for k in ("name", "lib-name", "lib-ver", "flags", "db", "multi", "redir", "resp", "cmd", "addr", "laddr")],
                  ["me", "redis-py(x)", "5.0", "U", "0", "-1", "-1", "2", "client|info"] + [daemon.socket + ":0"] * 2)
            assert int(info["tot-mem"]) >= int(info["rbs"]) + int(info["qbuf"]) + int(info["qbuf-free"]) > 0, info
            equal(client("CLIENT", "LIST", "ID", 999, info["id"], "7777")[1].count(b"\n"), 1)
            other = daemon.client()
            other("AUTH", "secret")
            other("MULTI")
            other("SADD", "k", 1)
            seen = has(client, "CLIENT", "LIST", "ID", int(info["id"]) + 0)
            line = [l for l in client("CLIENT", "LIST")[1].splitlines() if b"multi=1" in l]
            equal((len(line), fields(line[0])["cmd"], fields(line[0])["flags"]), (1, "sadd", "xU"))
            assert int(fields(line[0])["multi-mem"]) > 0, line
            equal(other("EXEC"), ("*", [(":", 1)]))
            equal(other("RESET"), ("+", "RESET"))

    def test_replies_that_wait_are_in_client_list(self):
        """obl, oll, omem of a client that reads nothing; the sizes are those of what it then reads."""
        with Daemon("--appendfsync", "no") as daemon:
            client, lazy = daemon.client(), daemon.client()
            client("SADD", "k", *range(100000))
            number = lazy("CLIENT", "ID")[1]
            lazy.send_commands(*[["SMEMBERS", "k"]] * 8)

            def stuck():
                has = fields(client("CLIENT", "LIST", "ID", number)[1])
                return has if "w" in has["events"] and has["cmd"] == "smembers" else None

            has = eventually(stuck)
            assert int(has["oll"]) >= 1 and int(has["omem"]) >= 400000 and int(has["tot-mem"]) >= int(has["omem"]), has
            for _ in range(8):
                equal(len(lazy.reply()[1]), 100000)

    def test_client_kill(self):
        port = free_port()
        with Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": "secret"}, password="secret") as daemon:
            from harness import Client

            def connect(tcp=False):
                client = Client(("127.0.0.1", port)) if tcp else daemon.client()
                client("AUTH", "secret")
                return client

            def is_closed(client):
                with self.assertRaises((Closed, ConnectionError)):
                    client("PING")

            me = connect()
            number = lambda who: who("CLIENT", "ID")[1]
            address = lambda who: "127.0.0.1:%d" % who.socket.getsockname()[1]
            one, two, three = connect(), connect(True), connect(True)
            equal(me("CLIENT", "KILL", "ID", number(one), "TYPE", "pubsub"), (":", 0))
            equal(me("CLIENT", "KILL", "ID", number(one), "USER", "default", "TYPE", "NORMAL"), (":", 1))
            is_closed(one)
            equal(me("CLIENT", "KILL", address(two)), ("+", "OK"))
            is_closed(two)
            equal(me("CLIENT", "KILL", address(two)), ("-", "ERR No such client"))
            equal(me("CLIENT", "KILL", "ADDR", address(three), "LADDR", "127.0.0.1:1"), (":", 0))
            equal(me("CLIENT", "KILL", "ADDR", address(three), "LADDR", f"127.0.0.1:{port}"), (":", 1))
            is_closed(three)
            others = [connect() for _ in range(3)]
            equal(me("CLIENT", "KILL", "MAXAGE", 1000), (":", 0))
            equal(me("CLIENT", "KILL", "ADDR", daemon.socket + ":0"), (":", 3))
            for other in others:
                is_closed(other)
            equal(me("CLIENT", "KILL", "ID", number(me)), (":", 0))
            equal(me("CLIENT", "KILL", "ID", number(me), "SKIPME", "no"), (":", 1))
            is_closed(me)

    def test_a_killed_clients_write_that_was_sent_is_whole(self):
        with Daemon("--appendfsync", "no") as daemon:
            victim, killer = daemon.client(), daemon.client()
            number = victim("CLIENT", "ID")[1]
            victim.send_commands(["SADD", "k", *range(50000)], ["SADD", "k", *range(50000, 100000)])
            equal(killer("CLIENT", "KILL", "ID", number), (":", 1))
            with self.assertRaises((Closed, ConnectionError)):
                while True:
                    victim.reply()
            assert killer("SCARD", "k")[1] in (0, 50000, 100000)

    def test_waitaof(self):
        for policy in ("always", "everysec", "no"):
            with Daemon("--appendfsync", policy) as daemon:
                client = daemon.client()
                local = lambda n: ("*", [(":", n), (":", 0)])
                equal(client("SADD", "k", 1), (":", 1))
                equal(client("WAITAOF", 1, 0, 0), local(1), policy)
                equal(client("WAITAOF", 1, 0, 0), local(1))
                client.send_commands(["SADD", "k", 2], ["WAITAOF", 1, 0, 0], ["PING"])
                equal([client.reply() for _ in range(3)], [(":", 1), local(1), ("+", "PONG")])
                equal(client("WAITAOF", 2, 0, 0), ("-", "ERR value is out of range, must be between 0 and 1"))
                equal(client("WAITAOF", -1, 0, 0), ("-", "ERR value is out of range, must be between 0 and 1"))
                equal(client("WAITAOF", 0, -1, 0), ("-", "ERR value is out of range, must be positive"))
                equal(client("WAITAOF", 0, 0, -1), ("-", "ERR timeout is negative"))
                equal(client("WAITAOF", 0, 0, "x"), ("-", "ERR timeout is not an integer or out of range"))
                equal(client("WAITAOF", 1, 3, 20), local(1), "replicas never come: the timeout ends it")
                client("MULTI")
                client("WAITAOF", 1, 1, 0)
                equal(client("EXEC"), ("*", [local(1)]), "EXEC does not wait")

    def test_waitaof_while_the_disk_hangs(self):
        """Nobody but the client waits; with a timeout it learns that nothing is durable; CLIENT UNBLOCK ends a wait."""
        if not Daemon.preload:
            raise SkipTest("no PRELOAD_SYNC")
        with Daemon("--appendfsync", "no") as daemon:
            client, other = daemon.client(), daemon.client()
            number = client("CLIENT", "ID")[1]
            with open(daemon.hold, "w"):
                pass
            equal(client("SADD", "k", 1), (":", 1))
            equal(client("WAITAOF", 1, 0, 30), ("*", [(":", 0), (":", 0)]))
            equal(client("WAITAOF", 0, 0, 0), ("*", [(":", 0), (":", 0)]))
            blocked = lambda: fields(other("CLIENT", "LIST", "ID", number)[1])["flags"] == "bU"
            for reason, answer in (("TIMEOUT", ("*", [(":", 0), (":", 0)])),
                                   ("ERROR", ("-", "UNBLOCKED client unblocked via CLIENT UNBLOCK"))):
                client.send_commands(["WAITAOF", 1, 0, 0], ["PING"])
                eventually(blocked)
                equal(other("SCARD", "k"), (":", 1))
                equal(other("CLIENT", "UNBLOCK", number, reason), (":", 1))
                equal((client.reply(), client.reply()), (answer, ("+", "PONG")))
                equal(other("CLIENT", "UNBLOCK", number), (":", 0))
            client.send_commands(["WAITAOF", 1, 0, 0])
            eventually(blocked)
            os.unlink(daemon.hold)
            equal(client.reply(), ("*", [(":", 1), (":", 0)]))
            # One that waits for replicas for ever, and goes.
            client.send_commands(["WAITAOF", 0, 1, 0])
            eventually(blocked)
            client.close()
            eventually(lambda: other("CLIENT", "LIST", "ID", number)[1] == b"")
            equal(daemon.stop(signal.SIGTERM), 0)

    def test_role(self):
        with Daemon() as daemon:
            client = daemon.client()
            before = client("ROLE")[1]
            equal((before[0], before[2]), (("$", b"master"), ("*", [])))
            client("SADD", "k", 1)
            assert client("ROLE")[1][1][1] > before[1][1]


if __name__ == "__main__":
    main()
