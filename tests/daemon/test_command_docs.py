"""COMMAND: what it says of commands beside a real redis-server, and what redis-cli makes of it."""
import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import termios
import time
import unittest
from pathlib import Path

from harness import Daemon, Redis, SkipTest, equal, main

# Replies that are the same, byte for byte; "#" is a bar.
SAME = [
    "COMMAND LIST FILTERBY", "COMMAND LIST FILTERBY MODULE x", "COMMAND LIST FILTERBY ACLCAT nosuch", "COMMAND LIST x",
    "COMMAND LIST FILTERBY x y", "COMMAND LIST FILTERBY PATTERN nosuch*", "COMMAND LIST FILTERBY PATTERN CLIENT#GETN*",
    "COMMAND LIST FILTERBY PATTERN smembers", "COMMAND LIST FILTERBY PATTERN s[m]embe?s", "COMMAND LIST FILTERBY PATTERN x y",
    "COMMAND GETKEYS SADD k 1", "COMMAND GETKEYS DEL a b c", "COMMAND GETKEYS SMOVE a b 1", "COMMAND GETKEYS SINTERCARD 2 a b",
    "COMMAND GETKEYS SINTERCARD 2 a b LIMIT 1", "COMMAND GETKEYS SINTERCARD 3 a b", "COMMAND GETKEYS SINTERCARD 0 a b",
    "COMMAND GETKEYS SINTERCARD x a b", "COMMAND GETKEYS SINTERCARD -1 a b", "COMMAND GETKEYS PING x", "COMMAND GETKEYS GET",
    "COMMAND GETKEYS nosuch x", "COMMAND GETKEYS SADD k", "COMMAND GETKEYS OBJECT ENCODING k", "COMMAND GETKEYS OBJECT nosuch k",
    "COMMAND GETKEYS OBJECT ENCODING", "COMMAND GETKEYS MEMORY USAGE k", "COMMAND GETKEYS", "COMMAND GETKEYS DBSIZE x",
    "COMMAND GETKEYS OBJECT#ENCODING k", "COMMAND GETKEYSANDFLAGS SADD k 1", "COMMAND GETKEYSANDFLAGS SMOVE a b 1",
    "COMMAND GETKEYSANDFLAGS SINTERCARD 1 a", "COMMAND GETKEYSANDFLAGS DEL a b", "COMMAND GETKEYSANDFLAGS EXISTS a",
    "COMMAND GETKEYSANDFLAGS SREM a 1", "COMMAND GETKEYSANDFLAGS SMEMBERS a", "COMMAND GETKEYSANDFLAGS WATCH a",
    "COMMAND GETKEYSANDFLAGS TTL a", "COMMAND GETKEYSANDFLAGS MEMORY USAGE a", "COMMAND INFO nosuch", "COMMAND INFO CLIENT#NOSUCH",
    "COMMAND INFO nosuch#x", "COMMAND DOCS nosuch", "COMMAND COUNT x", "COMMAND NOSUCH", "COMMAND INFO #", "COMMAND DOCS CLIENT#",
]

# Their categories are not Redis's: PERSIST writes nothing; WAIT is in the one of its group, ROLE and LASTSAVE are not in admin.
OTHER_CATEGORIES = {"persist", "wait", "waitaof", "role", "lastsave"}


def value(reply):
    """Without its type; maps as dicts where RESP3 has them."""
    kind, content = reply
    if kind == "%":
        flat = [value(part) for part in content]
        return dict(zip(flat[::2], flat[1::2]))
    if isinstance(content, list):
        return [value(part) for part in content]
    return content.decode() if isinstance(content, bytes) else content


def rows_of(client):
    """Of commands and subcommands, by full name."""
    rows = {}
    for row in value(client("COMMAND", "INFO")):
        rows[row[0]] = row
        rows.update({sub[0]: sub for sub in row[9]})
    return rows


class Command(unittest.TestCase):
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
                    words = command.replace("#", "|").split()
                    got, wanted = ours(*words), theirs(*words)
                    if got != wanted:
                        wrong.append(f"RESP{protocol} {command}: {got!r:.200}, Redis says {wanted!r:.200}")
        assert not wrong, "\n".join(wrong)

    def test_rows_are_those_of_redis(self):
        """Name, arity, keys, key specifications; categories; fast, write, readonly. Of what both have."""
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        with Daemon() as daemon, Redis() as redis:
            ours, theirs = daemon.client(), redis.client()
            for client in (ours, theirs):
                client("HELLO", 3)
            has, wanted = rows_of(ours), rows_of(theirs)
            both = set(has) & set(wanted)
            assert len(both) > 90, sorted(both)
            wrong = []
            for name in sorted(both):
                a, b = has[name], wanted[name]
                for what, i in (("arity", 1), ("first key", 3), ("last key", 4), ("step", 5), ("key specifications", 8)):
                    ok = a[i] == b[i]
                    if name == "persist" and i == 8:
                        ok = a[i][0]["flags"] == ["RO"]
                    if not ok:
                        wrong.append(f"{name}: {what} {a[i]}, Redis has {b[i]}")
                if name not in OTHER_CATEGORIES and set(a[6]) != set(b[6]):
                    wrong.append(f"{name}: categories {a[6]}, Redis has {b[6]}")
                for flag in ("write", "readonly", "fast", "no_auth", "movablekeys", "admin"):
                    if name != "persist" and (flag in a[2]) != (flag in b[2]):
                        wrong.append(f"{name}: flags {a[2]}, Redis has {b[2]}")
            assert not wrong, "\n".join(wrong)
            for category in value(ours("ACL", "CAT")):
                members = value(ours("COMMAND", "LIST", "FILTERBY", "ACLCAT", category))
                equal(value(ours("ACL", "CAT", category.upper())), members)
                equal(set(members), {name for name, row in has.items() if "@" + category in row[6]})
                assert category in value(theirs("ACL", "CAT")), category
            equal(set(value(ours("COMMAND", "LIST"))), set(has))
            equal(value(ours("COMMAND", "COUNT")), len(value(ours("COMMAND"))))

    def test_each_command_of_redis_is_here_or_says_why_not(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        with Daemon() as daemon, Redis() as redis:
            client = daemon.client()
            has = value(client("COMMAND", "LIST"))
            others = [row for name, row in rows_of(redis.client()).items() if name not in has]
            assert len(others) > 150, others
            for name, arity, *_ in others:
                kind, text = client(*name.split("|"), *["1"] * (abs(arity) - 1 - name.count("|")))
                assert kind == "-" and "unknown" not in text and "wrong number" not in text, (name, text)

    def test_the_manual_names_each_command(self):
        manual = (Path(__file__).resolve().parents[2] / "tools/man/lanemapd.8").read_text().replace("\\-", "-")
        words = set(re.findall(r"[A-Z][A-Z.-]+", manual))
        with Daemon() as daemon:
            client = daemon.client()
            for name in value(client("COMMAND", "LIST")):
                assert set(name.upper().split("|")) <= words, f"{name} is not in lanemapd.8"
            for option in value(client("CONFIG", "GET", "*"))[::2]:
                kind, text = client("CONFIG", "SET", option, "x")
                assert "immutable" in text or option in manual, f"{option} is not in lanemapd.8"

    def test_docs(self):
        """The shape of Redis 7: the same fields of a document and of an argument, the same group and version."""
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        known = {"name", "type", "key_spec_index", "token", "flags", "arguments"}
        types = {"string", "integer", "key", "pattern", "pure-token", "oneof", "block"}

        def arguments_check(name, arguments):
            for argument in arguments:
                assert set(argument) <= known and argument["type"] in types and argument["name"], (name, argument)
                assert set(argument.get("flags", [])) <= {"optional", "multiple"}, (name, argument)
                equal("arguments" in argument, argument["type"] in ("oneof", "block"), name)
                assert "token" in argument or argument["type"] != "pure-token", (name, argument)
                equal("key_spec_index" in argument, argument["type"] == "key", name)
                arguments_check(name, argument.get("arguments", []))

        with Daemon() as daemon, Redis() as redis:
            ours, theirs = daemon.client(), redis.client()
            for client in (ours, theirs):
                client("HELLO", 3)
            has, wanted = value(ours("COMMAND", "DOCS")), value(theirs("COMMAND", "DOCS"))
            equal(set(has), {name for name in rows_of(ours) if "|" not in name})
            for docs in (has, wanted):
                for name in list(docs):
                    docs.update(docs[name].get("subcommands", {}))
            equal(set(has), set(rows_of(ours)))
            for name, document in has.items():
                assert set(document) <= {"summary", "since", "group", "complexity", "arguments", "subcommands"}, (name, document)
                assert all(document[field] for field in ("summary", "since", "group", "complexity")), (name, document)
                arguments_check(name, document.get("arguments", []))
                if name in wanted:
                    for field in ("since", "group"):
                        equal(document[field], wanted[name][field], f"{name}: {field}")
            # Arguments, but for names, as Redis has them.
            def plain(argument):
                return {k: [plain(a) for a in v] if k == "arguments" else v for k, v in argument.items() if k not in ("name", "since", "summary")}
            for name in ("sadd", "srem", "smembers", "scard", "smove", "sinter", "sunion", "sdiff", "del", "exists", "sintercard", "sscan", "echo",
                         "flushall", "watch", "ttl", "wait", "client|reply", "client|no-evict", "config|set", "memory|usage"):
                a, b = ([plain(argument) for argument in docs[name]["arguments"]] for docs in (has, wanted))
                for argument in a:
                    if argument["type"] == "integer" and name in ("sadd", "srem", "smove"):
                        argument["type"] = "string" # an id
                equal(a, b, name)
            equal(list(value(ours("COMMAND", "DOCS", "client|kill", "nosuch", "SADD"))), ["client|kill", "sadd"])
            flat = daemon.client()("COMMAND", "DOCS", "sadd")
            equal((flat[0], flat[1][1][0]), ("*", "*"), "RESP2 has arrays")

    def test_redis_cli_help(self):
        """It renders the arguments of each command as they stand in HELP."""
        if not shutil.which("redis-cli"):
            raise SkipTest("no redis-cli")
        with Daemon() as daemon:
            client = daemon.client()
            names = [name for name in value(client("COMMAND", "LIST"))]
            run = subprocess.run(["redis-cli", "-s", daemon.socket], input="".join(f"help {n.replace('|', ' ')}\n" for n in names).encode(),
                                 capture_output=True, timeout=60, check=True)
            text = re.sub(r"\x1b\[\d*m", "", run.stdout.decode().replace("\r", ""))
            shown = dict(re.findall(r"^  ([A-Z][\w. -]*?) ((?:[a-z\[].*|[A-Z-]+\|.*)?)\n  summary: .+\n  since: [\d.]+\n", text, re.M))
            equal(len(shown), len(names), text)
            equal(shown["SADD"], "key id [id ...]")
            equal(shown["SINTERCARD"], "numkeys key [key ...] [LIMIT limit]")
            equal(shown["CONFIG SET"], "parameter value [parameter value ...]")
            equal(shown["HELLO"], "[protover] [AUTH username password] [SETNAME clientname]")
            n = 0
            for container in {name.split("|")[0] for name in names if "|" in name}:
                lines = [line for _, line in client(container, "HELP")[1][1::2]]
                for line in lines:
                    name, _, words = line.partition(" ")
                    full = f"{container.upper()} {name}"
                    if full in shown:
                        equal(shown[full], words, full)
                        n += 1
            assert n > 40, n

    @staticmethod
    def wait_for(fd, what):
        seen, until = b"", time.monotonic() + 20
        while what not in seen and select.select([fd], [], [], max(0, until - time.monotonic()))[0]:
            seen += os.read(fd, 65536)
        assert what in seen, (what, seen)

    def test_redis_cli_hints(self):
        """On a terminal it shows what comes next while one types."""
        if not shutil.which("redis-cli"):
            raise SkipTest("no redis-cli")
        with Daemon() as daemon:
            child, fd = pty.fork()
            if child == 0:
                os.environ["TERM"] = "xterm"
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
                os.execvp("redis-cli", ["redis-cli", "-s", daemon.socket])
            try:
                self.wait_for(fd, b"> ") # what is typed before is dropped
                for typed, hint in ((b"sintercard 2 a ", b"[key ...] [LIMIT limit]"), (b"lanemap.backup ", b"directory [DESCRIPTOR]"),
                                    (b"config set ", b"parameter value [parameter value ...]"), (b"memory usage ", b"key [SAMPLES count]")):
                    os.write(fd, typed)
                    self.wait_for(fd, hint)
                    os.write(fd, b"\x15") # the line is empty again
            finally:
                os.close(fd)
                os.kill(child, 9)
                os.waitpid(child, 0)


if __name__ == "__main__":
    main()
