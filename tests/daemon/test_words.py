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
    "ACL CAT nosuch", "ACL CAT a b",
    "OBJECT NOSUCH k", "OBJECT ENCODING", "CONFIG GET timeout TIMEOUT", "CONFIG GET TIMEOUT timeout", "CONFIG GET timeou[t] TIMEOUT",
    "CONFIG GET TIM[E]OUT", "CONFIG GET timeou\\t", "CONFIG GET t?meout timeout [t]imeout", "CONFIG GET latency-tracking", "CONFIG GET latency-tracking-info-percentiles", "CONFIG SET requirepass",
    "MEMORY", "MEMORY NOSUCH", "MEMORY USAGE", "MEMORY USAGE nosuch", "MEMORY USAGE k SAMPLES x", "MEMORY USAGE k SAMPLES -1",
    "MEMORY USAGE k SAMPLES", "MEMORY USAGE k FOO 1", "MEMORY USAGE k 1", "MEMORY PURGE", "MEMORY PURGE x", "MEMORY STATS x",
    "LATENCY HISTOGRAM nosuch", "CONFIG SET nosuch 1", "CONFIG SET databases 2", "CONFIG SET timeout 5 timeout 6", "CONFIG SET timeout x nosuch 1",
    "CONFIG SET timeout 7 appendfsync sometimes", "CONFIG GET timeout", "CONFIG SET timeout 3600 slowlog-max-len 100",
    "CONFIG GET slowlog-max-len", "CONFIG GET slowlog-log-slower-than", "CONFIG SET slowlog-log-slower-than -1",
    "CONFIG GET slowlog-log-slower-than", "CONFIG GET latency-monitor-threshold", "CONFIG GET maxmemory-policy",
    "CONFIG GET nosuch*", "CONFIG SET timeout 0", "CONFIG RESETSTAT", "SLOWLOG RESET", "SLOWLOG LEN", "SLOWLOG GET",
    "SLOWLOG GET -1", "SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 1 2", "SLOWLOG NOSUCH", "SLOWLOG", "LATENCY LATEST",
    "LATENCY HISTORY nosuch", "LATENCY RESET", "LATENCY RESET nosuch", "LATENCY NOSUCH", "LATENCY",
    "SHUTDOWN ABORT", "SHUTDOWN ABORT NOW", "SHUTDOWN NOSAVE ABORT", "SHUTDOWN MAYBE", "SHUTDOWN ABORT NOSUCH",
]

# Commands that lanemapd answers with a sentence: (command, what is in it).
REFUSED = [
    ("REPLICAOF NO ONE", "no replicas"), ("PSYNC ? -1", "no replicas"), ("EVAL x 0", "no scripts"), ("FCALL f 0", "no scripts"),
    ("SUBSCRIBE a", "no channels"), ("PUBLISH a b", "no channels"), ("SAVE", "LANEMAP.BACKUP"), ("BGREWRITEAOF", "LANEMAP.BACKUP"),
    ("RESTORE k 0 x", "fingerprints"), ("COPY a b", "fingerprints"), ("SWAPDB 0 1", "one database"), ("MONITOR", "SLOWLOG"),
    ("DEBUG SLEEP 1", "DEBUG command not allowed"), ("CLIENT PAUSE 100", "does not pause"),
    ("CLIENT REPLY OFF", "answers every command"), ("CLIENT TRACKING ON", "does not track"), ("ACL SETUSER x", "one user"),
    ("LATENCY GRAPH x", "draws nothing"), ("ACL LOG", "one user"), ("MODULE LOAD x", "no modules"),
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
                for command in ("ROLE", "CLIENT LIST", "CLIENT INFO", "CLIENT HELP", "ACL HELP", "MODULE HELP", "CONFIG HELP", "SLOWLOG HELP",
                                "LATENCY HELP", "LATENCY DOCTOR", "MEMORY HELP", "OBJECT HELP", "COMMAND HELP", "MEMORY DOCTOR", "MEMORY MALLOC-STATS",
                                "ACL CAT set", "INFO everything"):
                    got, wanted = shape(ours(*command.split())), shape(theirs(*command.split()))
                    if (got[0], set(got[1])) != (wanted[0], set(wanted[1])) if command.endswith("HELP") or command == "ACL CAT set" else got != wanted:
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
            mine, his = int(info["id"]), int(has(tcp, "CLIENT", "INFO")["id"])
            listed = client("CLIENT", "LIST", "ID", mine, his, 7777, his, mine)[1].splitlines()
            equal([fields(line.removeprefix(b"txt:"))["id"] for line in listed], [str(i) for i in (mine, his, his, mine)])
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

    def test_waitaof_while_the_log_cannot_be_written(self):
        """It is answered once, when the log could be written again."""
        if not Daemon.preload:
            raise SkipTest("no PRELOAD_SYNC")
        unknown = ("-", "ERR outcome unknown: the log cannot be written (Input/output error); the operation may or may not survive")
        with Daemon() as daemon:
            client = daemon.client(60)
            equal(client("SADD", "k", 1), (":", 1))
            open(daemon.fail, "w", encoding="ascii").close()
            client.send_commands(["SADD", "k", 2], ["WAITAOF", 1, 0, 0], ["PING"])
            equal(client.reply(), unknown)
            os.unlink(daemon.fail)
            equal((client.reply(), client.reply()), (("*", [(":", 1), (":", 0)]), ("+", "PONG")))

    def test_role(self):
        with Daemon() as daemon:
            client = daemon.client()
            before = client("ROLE")[1]
            equal((before[0], before[2]), (("$", b"master"), ("*", [])))
            client("SADD", "k", 1)
            assert client("ROLE")[1][1][1] > before[1][1]


    def test_slowlog(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        with Daemon() as daemon, Redis() as redis:
            long = [["SADD", "k", "1" * 9, *map(str, range(100))], ["ECHO", "x" * 300], ["EXISTS"] + ["k"] * 31, ["EXISTS"] + ["k"] * 32]
            seen = []
            for server in (daemon, redis):
                client = server.client()
                client("CLIENT", "SETNAME", "me")
                equal(client("CONFIG", "SET", "slowlog-log-slower-than", 0), ("+", "OK"))
                client("SLOWLOG", "RESET")
                for command in long:
                    client(*command)
                kind, rows = client("SLOWLOG", "GET", -1)
                equal(client("SLOWLOG", "LEN")[0], ":")
                rows = [row for _, row in rows if row[3][1][0][1].lower() in (b"sadd", b"echo", b"exists")]
                seen.append([(shape(("*", row)), row[3], row[5]) for row in rows if row[3][1][0][1].lower() != b"echo" or server is redis])
            theirs = [row for row in seen[1] if row[1][1][0][1] != b"ECHO"]
            equal(seen[0], theirs, "arguments are cut as Redis cuts them")
            client = daemon.client()
            client("CONFIG", "SET", "slowlog-max-len", 2)
            equal(client("SLOWLOG", "LEN"), (":", 2))
            equal(len(client("SLOWLOG", "GET", 1)[1]), 1)
            client("CONFIG", "SET", "slowlog-max-len", 1000)
            client("SADD", "key-of-a-batch", 1)
            batch = [row for _, row in client("SLOWLOG", "GET", -1)[1] if row[3][1][0][1] == b"lanemap.apply"][0]
            equal([v for _, v in batch[3][1]], [b"lanemap.apply", b"1 operations", b"1 commands", b"key-of-a-batch"])
            client("CONFIG", "SET", "slowlog-log-slower-than", -1)
            client("SLOWLOG", "RESET")
            client("SMEMBERS", "k")
            equal(client("SLOWLOG", "LEN"), (":", 0))

    def test_passwords_are_not_in_the_slow_log(self):
        with Daemon("--slowlog-log-slower-than", "0") as daemon:
            client = daemon.client()
            for _ in range(200): # one in some of these is timed
                client("AUTH", "default", "secret-word")
                client("HELLO", "2", "AUTH", "default", "secret-word")
            for command in ("CONFIG SET requirepass secret-word", "CONFIG SET REQUIREPASS secret-word timeout 7",
                            "config set timeout 7 masterauth secret-word", "ACL SETUSER default >secret-word", "ACL DRYRUN default AUTH secret-word",
                            "MIGRATE h 1 k 0 5 AUTH2 u secret-word", "CONFIG SET requirepass", "MULTI"):
                client(*command.split())
            equal(client("AUTH", "secret-word"), ("+", "QUEUED"))
            equal(client("HELLO", "2", "AUTH", "default", "secret-word"), ("+", "QUEUED"))
            client("EXEC")
            client("CLIENT", "SETNAME", "x")
            client("CONFIG", "SET", "timeout", "8", "slowlog-max-len", "1000")
            rows = client("SLOWLOG", "GET", -1)[1]
            said = [tuple(v for _, v in row[1][3][1]) for row in rows]
            assert any(words[0] in (b"AUTH", b"HELLO") for words in said), said
            for words in ((b"CONFIG", b"SET", b"requirepass", b"(redacted)"), (b"CONFIG", b"SET", b"REQUIREPASS", b"(redacted)", b"timeout", b"7"),
                          (b"config", b"set", b"timeout", b"7", b"masterauth", b"(redacted)"),
                          (b"ACL", b"SETUSER", b"(redacted)", b"(redacted)"), (b"MIGRATE",) + (b"(redacted)",) * 8, (b"EXEC",),
                          (b"CONFIG", b"SET", b"timeout", b"8", b"slowlog-max-len", b"1000")):
                assert words in said, (words, said)
            assert b"secret-word" not in repr(rows).encode(), rows
            for where in (client("CLIENT", "LIST"), client("INFO", "everything"), client("CONFIG", "GET", "*"), client("LATENCY", "HISTOGRAM")):
                assert "secret-word" not in repr(where), where
            assert "secret-word" not in daemon.messages()

    def test_many_arguments(self):
        """Of what is about the server; about keys there may be many."""
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            for command in ("CLIENT LIST ID", "CONFIG GET", "INFO", "COMMAND DOCS", "COMMAND INFO", "COMMAND GETKEYS DEL", "HELLO 2", "AUTH", "QUIT",
                            "PING", "LATENCY RESET", "LATENCY HISTOGRAM", "SLOWLOG GET", "CLIENT KILL", "ACL CAT"):
                words = command.split()
                wanted = None if command == "QUIT" else client(*words, *["1"] * (1024 - len(words)))
                assert wanted is None or "too many" not in repr(wanted)[:80], (command, wanted)
                name = "|".join(words[:2 if words[0] in ("CLIENT", "CONFIG", "COMMAND", "LATENCY", "SLOWLOG", "ACL") else 1]).lower()
                for n in (1025, 5000, 200000):
                    equal(client(*words, *["1"] * (n - len(words))), ("-", f"ERR too many arguments for '{name}' command: it takes at most 1024"))
            for stars, n in (("*" * 128, 1), ("*" * 129, 0), ("*" * 1000000, 0)):
                equal(client("CONFIG", "GET", stars[12:] + "timeout-auth")[1] != [], bool(n), stars[:200])
                equal(client("COMMAND", "LIST", "FILTERBY", "PATTERN", stars)[1] != [], bool(n), stars[:200])
            equal(client("SADD", "k", *range(5000)), (":", 5000))
            equal(client("EXISTS", *["k"] * 5000), (":", 5000))
            client("MULTI")
            assert client("INFO", *["1"] * 2000)[1].startswith("ERR too many")
            equal(client("EXEC")[1][:9], "EXECABORT")

    def test_latency(self):
        """A disk that hangs, and a command that takes long, are events."""
        with Daemon("--appendfsync", "no", "--latency-monitor-threshold", "1", "--slowlog-log-slower-than", "1000") as daemon:
            client = daemon.client()
            client("SADD", "k", *range(300000))
            eventually(lambda: client("SMEMBERS", "k") and "command" in self.events(client))
            assert "apply" in self.events(client), self.events(client)
            name, when, latest, worst = self.events(client)["command"]
            assert 1 <= latest <= worst and when > 1e9, (latest, worst)
            equal(client("LATENCY", "HISTORY", "command")[1][-1][1][1][0], ":")
            equal(client("LATENCY", "RESET", "command", "nosuch"), (":", 1))
            assert "command" not in self.events(client)
            assert client("SLOWLOG", "LEN")[1] >= 2
            if Daemon.preload:
                with open(daemon.hold, "w"):
                    pass
                client.send_commands(["WAITAOF", 1, 0, 0])
                other = daemon.client()
                eventually(lambda: "log" in self.events(other))
                os.unlink(daemon.hold)
                equal(client.reply(), ("*", [(":", 1), (":", 0)]))

    @staticmethod
    def events(client):
        return {row[1][0][1].decode(): [v for _, v in row[1]] for row in client("LATENCY", "LATEST")[1]}

    def test_info(self):
        with Daemon() as daemon:
            client = daemon.client()
            lines = lambda *sections: [line for line in client("INFO", *sections)[1].decode().split("\r\n") if ":" in line]
            has = lambda *sections: dict(line.split(":", 1) for line in lines(*sections))
            names = [line.split(":")[0] for line in lines()]
            used = [name for name in names if name.startswith("used_memory")]
            equal(used[0], "used_memory")
            for name in ("used_memory_human", "used_memory_rss", "used_memory_peak", "used_cpu_sys", "used_cpu_user",
                         "used_cpu_sys_main_thread", "used_cpu_user_main_thread", "run_id", "process_supervised", "tcp_port", "executable",
                         "config_file", "os", "cluster_enabled", "master_replid", "maxmemory_policy", "mem_allocator"):
                equal(names.count(name), 1, name)
            all_ = has("everything")
            assert int(all_["used_memory"]) > 0 and int(all_["used_memory_rss"]) > 0, all_
            assert int(all_["used_memory_peak"]) >= int(all_["used_memory"]), all_
            equal(len(all_["run_id"]), 40)
            equal(os.path.realpath(all_["executable"]), os.path.realpath(f"/proc/{daemon.process.pid}/exe"))
            sections = lambda *words: [l for l in client("INFO", *words)[1].decode().split("\r\n") if l.startswith("#")]
            equal(sections("cpu", "Memory", "keyspace"), ["# Memory", "# CPU", "# Keyspace"])
            equal(sections("default"), sections())
            equal(sections("all"), sections("everything"))
            equal(set(sections("all")) - set(sections()), {"# Commandstats", "# Latencystats"})
            equal(client("CONFIG", "RESETSTAT"), ("+", "OK"))
            client.send_commands(*[["SADD", "k", i] for i in range(1000)], ["SADD", "k"], ["SADD", "k", "x"], ["MULTI"], ["SADD", "k", 7],
                                 ["SCARD", "k"], ["EXEC"], ["NOSUCH"], ["EXEC"], ["AUTH", "a", "b"])
            for _ in range(1009):
                client.reply()
            stats = has("commandstats")
            counts = lambda name: dict(part.split("=") for part in stats["cmdstat_" + name].split(","))
            equal([counts("sadd")[k] for k in ("calls", "rejected_calls", "failed_calls")], ["1002", "1", "1"])
            equal([counts("scard")["calls"], counts("exec")["calls"], counts("exec")["failed_calls"]], ["1", "2", "1"])
            assert int(counts("lanemap.apply")["usec"]) > 0, stats
            errors = has("errorstats")
            equal(errors, {"errorstat_ERR": "count=4", "errorstat_WRONGPASS": "count=1"})
            other = Daemon()
            with other:
                assert dict(l.split(":", 1) for l in other.client()("INFO", "server")[1].decode().split("\r\n") if ":" in l)["run_id"] != \
                    all_["run_id"]

    def test_timeout(self):
        with Daemon("--timeout", "1") as daemon:
            idle, busy = daemon.client(), daemon.client()
            number = idle("CLIENT", "ID")[1]
            with self.assertRaises((Closed, ConnectionError)):
                eventually(lambda: busy("CLIENT", "LIST", "ID", number)[1] == b"")
                idle("PING")
            equal(busy("CONFIG", "SET", "timeout", 0), ("+", "OK"))


if __name__ == "__main__":
    main()
