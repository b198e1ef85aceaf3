"""Commands over keys: SSCAN, SMOVE, SINTER and the like, TTL; on what both have, against a real redis-server."""
import random
import signal
import unittest

from harness import Daemon, Redis, SkipTest, equal, main

ARITY = "ERR wrong number of arguments for '%s' command"

# What lanemapd and Redis must say in the same words.
SHARED = [
    "SADD a 1 2 3 4", "SADD b 3 4 5", "SADD c 4 9",
    "SSCAN a 0 COUNT 100", "SSCAN none 0", "SSCAN none 17", "SSCAN none 0 COUNT 0", "SSCAN none 0 WHAT x", "SSCAN none x",
    "SSCAN a x", "SSCAN a 1x", "SSCAN a 99999999999999999999", "SSCAN a 0 COUNT 0", "SSCAN a 0 COUNT -1", "SSCAN a 0 COUNT x",
    "SSCAN a 0 COUNT", "SSCAN a 0 MATCH", "SSCAN a 0 WHAT", "SSCAN a 0 WHAT x", "SSCAN a 0 COUNT 100 MATCH",
    "SSCAN a 0 MATCH [2-3] COUNT 100", "SSCAN a 0 match * count 100", "SSCAN a", "SSCAN",
    "SINTER a b", "SINTER a b c", "SINTER a none", "SINTER a", "SINTER a a", "SINTER none", "SINTER",
    "SUNION a b", "SUNION a b c", "SUNION a none", "SUNION none other", "SUNION a a", "SUNION",
    "SDIFF a b", "SDIFF a b c", "SDIFF none a", "SDIFF a none", "SDIFF a a", "SDIFF a", "SDIFF",
    "SINTERCARD 2 a b", "SINTERCARD 3 a b c", "SINTERCARD 1 a LIMIT 2", "SINTERCARD 1 a LIMIT 0", "SINTERCARD 1 a limit 9",
    "SINTERCARD 2 a none", "SINTERCARD 0 a", "SINTERCARD x a", "SINTERCARD -1 a", "SINTERCARD 3 a b", "SINTERCARD 1 a b",
    "SINTERCARD 1 a LIMIT", "SINTERCARD 1 a LIMIT -1", "SINTERCARD 1 a LIMIT x", "SINTERCARD 1 a WHAT 1", "SINTERCARD 1",
    "SMOVE a b 1", "SMOVE a b 1", "SMEMBERS a", "SMEMBERS b", "SMOVE a a 2", "SMOVE a a 77", "SMOVE none a 2", "SMOVE a new 2",
    "SMEMBERS new", "SMOVE a b 3", "SMOVE a b", "SMOVE a b 1 2", "SMOVE new z 2", "EXISTS new", "SCARD z",
    "TTL a", "TTL none", "PTTL a", "PTTL none", "EXPIRETIME a", "EXPIRETIME none", "PEXPIRETIME a", "PEXPIRETIME none",
    "PERSIST a", "PERSIST none", "TTL", "TTL a b", "PERSIST", "PERSIST a b", "EXPIRETIME",
    "TOUCH a b none a", "TOUCH none", "TOUCH", "UNLINK c none", "EXISTS c", "TYPE a", "TYPE c",
    "OBJECT ENCODING a", "OBJECT REFCOUNT a", "OBJECT IDLETIME a", "OBJECT FREQ a", "OBJECT FREQ none", "OBJECT IDLETIME none",
]

PATTERNS = ["*", "1*", "*1", "*1*2*", "?", "??", "?1*", "[1-3]*", "[^1]*", "[31-]*", "[9-7]", "[", "[]", "[^]", "[1", "1[0-", "\\1*", "\\",
            "1\\", "[\\1]?", "[1\\]", "**", "", "12", "1**2", "*[0]", "[a-z]*", "*?*?*", "[1-"]


def sorted_sets(reply):
    """Sets of Redis's hash tables come in any order."""
    kind, value = reply
    if kind in "*~" and value and all(v[0] == "$" for v in value):
        return kind, sorted(value, key=lambda v: v[1] or b"")
    return (kind, [sorted_sets(v) for v in value]) if isinstance(value, list) else reply


def scan(client, key, *options):
    """One whole iteration, and how many calls it took."""
    cursor, ids, calls = b"0", [], 0
    while calls == 0 or cursor != b"0":
        (_, ((_, cursor), (_, part))), calls = client("SSCAN", key, cursor, *options), calls + 1
        ids += [int(v) for _, v in part]
    return ids, calls


def random_command(rng):
    key, other, third, one = *(rng.choice("abcdef") for _ in range(3)), str(rng.randrange(12))
    return rng.choice([
        ["SADD", key, *(str(rng.randrange(12)) for _ in range(rng.randrange(1, 9)))], ["SADD", key, one], ["SREM", key, one],
        ["SMOVE", key, other, one], ["SMOVE", key, other, one], ["SINTER", key, other], ["SINTER", key, other, third],
        ["SUNION", key, other, third, "f"], ["SDIFF", key, other], ["SDIFF", key, other, third], ["SUNION", key],
        ["SINTERCARD", "2", key, other], ["SINTERCARD", "2", key, other, "LIMIT", str(rng.randrange(4))],
        ["SSCAN", key, "0", "COUNT", "100"], ["SSCAN", key, "0", "MATCH", rng.choice(PATTERNS), "COUNT", "100"],
        ["TTL", key], ["PERSIST", key], ["TOUCH", key, other], ["UNLINK", key], ["SMISMEMBER", key, one, "3"], ["SCARD", key],
    ])


class Keys(unittest.TestCase):
    def test_shared_subset_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        wrong = []
        with Daemon() as daemon, Redis() as redis:
            for protocol in (2, 3):
                ours, theirs = daemon.client(), redis.client()
                for client in (ours, theirs):
                    client("FLUSHALL")
                    client("HELLO", protocol)
                for command in SHARED:
                    got, wanted = sorted_sets(ours(*command.split())), sorted_sets(theirs(*command.split()))
                    if got != wanted:
                        wrong.append(f"RESP{protocol} {command}: {got!r:.200}, Redis says {wanted!r:.200}")
        assert not wrong, "\n".join(wrong)

    def test_random_pipelines_and_transactions_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon("--appendfsync", "no") as daemon, Redis() as redis:
            ours, theirs = daemon.client(), redis.client()
            for step in range(500):
                commands = [random_command(rng) for _ in range(rng.randrange(1, 30))]
                if rng.random() < 0.5:
                    commands = [["MULTI"], *commands, ["EXEC"]]
                for client in (ours, theirs):
                    client.send_commands(*commands)
                for i, command in enumerate(commands):
                    equal(sorted_sets(ours.reply()), sorted_sets(theirs.reply()), f"seed {seed} step {step} {commands[:i + 1]}")

    def test_patterns_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        ids = [*range(130), 1000, 1212, 4294967294]
        with Daemon() as daemon, Redis() as redis:
            ours, theirs = daemon.client(), redis.client()
            for client in (ours, theirs):
                client("SADD", "k", *ids)
            for pattern in PATTERNS:
                found = scan(ours, "k", "MATCH", pattern, "COUNT", 1000)[0]
                equal(found, sorted(scan(theirs, "k", "MATCH", pattern, "COUNT", 1000)[0]), repr(pattern))

    def test_sscan_of_any_length_in_any_parts(self):
        with Daemon() as daemon:
            client = daemon.client()
            for n in (0, 1, 2, 7, 8, 100, 129, 5000):
                ids = sorted(random.sample(range(0, 2 * n), n))
                client("DEL", "k")
                for at in range(0, n, 1000):
                    client("SADD", "k", *ids[at:at + 1000])
                for place in ("overlay", "segment"):
                    for count in (1, 2, 9, 128, 1000, 10**6, 10**18):
                        if n / count < 600:
                            got, calls = scan(client, "k", "COUNT", count)
                            equal(got, ids, f"{n} ids by {count}, {place}")
                            equal(calls, max(1, -(-n // min(count, 8192))), f"{n} ids by {count}")
                    client("LANEMAP.COMPACT")
            equal(scan(client, "k")[1], 500, "10 at a time, unless asked for more")
            equal(client("SSCAN", "k", "4294967295"), ("*", [("$", b"0"), ("*", [])]))
            equal(client("SSCAN", "k", "18446744073709551615"), ("*", [("$", b"0"), ("*", [])]))
            equal(client("SSCAN", "", 0), ("-", "ERR key must have 1 to 65535 bytes"))

    def test_sscan_returns_what_stays(self):
        """Whatever else comes and goes: an id that is there from the beginning to the end is returned, once."""
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            stays, others = range(0, 4000, 2), range(1, 4000, 2)
            client("SADD", "k", *stays)
            for _ in range(10):
                cursor, got, count = b"0", [], rng.choice([3, 10, 50])
                while not got or cursor != b"0":
                    (_, ((_, cursor), (_, part))) = client("SSCAN", "k", cursor, "COUNT", count)
                    got += [int(v) for _, v in part]
                    for command in ("SADD", "SREM"):
                        client(command, "k", *(rng.choice(others) for _ in range(5)))
                    if rng.random() < 0.05:
                        client("LANEMAP.FLUSH")
                equal([i for i in got if i % 2 == 0], list(stays), f"seed {seed}")
                equal(len(got), len(set(got)), f"seed {seed}")

    def test_long_keys(self):
        """What needs a part of a long key copies a part of it; what would need too much says so."""
        def memory(daemon):
            with open(f"/proc/{daemon.process.pid}/status") as status:
                return sum(int(line.split()[1]) for line in status if line.startswith("RssAnon"))

        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            client("SADD", "short", 5, 999999, 2000000)
            for at in range(0, 1000000, 1000):
                client("SADD", "long", *range(at, at + 1000))
            client("LANEMAP.COMPACT")
            client("SSCAN", "short", 0)
            before = memory(daemon)
            equal(client("SSCAN", "long", 0, "COUNT", 2), ("*", [("$", b"2"), ("*", [("$", b"0"), ("$", b"1")])]))
            equal(client("SSCAN", "long", 777000, "COUNT", 3),
                  ("*", [("$", b"777003"), ("*", [("$", b"77700%d" % i) for i in range(3)])]))
            assert memory(daemon) - before < 2000, "KiB: the posting takes 4000"
            equal(client("SINTER", "long", "long", "none"), ("*", []))
            equal(client("SINTER", "long", "short"), ("*", [("$", b"5"), ("$", b"999999")]))
            equal(client("SDIFF", "short", "long"), ("*", [("$", b"2000000")]))
            equal(client("SMISMEMBER", "long", 3, 2000000, 999999), ("*", [(":", 1), (":", 0), (":", 1)]))
            equal(client("SINTERCARD", 2, "long", "long", "LIMIT", 17), (":", 17))
            equal(client("SUNION", "short", "long")[1][-1], ("$", b"2000000"))
            equal(len(client("SDIFF", "long", "short")[1]), 999998)
            kind, text = client("SUNION", *["long"] * 10)
            assert kind == "-" and text.startswith("ERR too much for one 'sunion'"), text
            kind, text = client("SDIFF", *["long"] * 10)
            assert kind == "-" and text.startswith("ERR too much for one 'sdiff'"), text

    def test_smove_is_one_thing(self):
        """Beside many who move and look at both keys at once, the ids are always somewhere, once."""
        with Daemon("--appendfsync", "no") as daemon:
            movers, looker = [daemon.client() for _ in range(4)], daemon.client()
            looker("SADD", "a", *range(100))
            for step in range(200):
                for n, mover in enumerate(movers):
                    mover.send_commands(*[["SMOVE", *rng_pair, i] for i in range(n, 100, 4)
                                          for rng_pair in [("a", "b") if step % 2 else ("b", "a")]])
                looker.send_commands(["SINTERCARD", 2, "a", "b"], ["MULTI"], ["SCARD", "a"], ["SCARD", "b"], ["EXEC"])
                equal(looker.reply(), (":", 0))
                equal([looker.reply()[0] for _ in range(3)], ["+"] * 3)
                (_, ((_, a), (_, b))) = looker.reply()
                equal(a + b, 100)
                for n, mover in enumerate(movers):
                    equal([mover.reply() for _ in range(25)], [(":", 1 if step else 0)] * 25, f"step {step}")
            equal(looker("SMOVE", "a", "b", "x")[0], "-")
            equal(looker("SMOVE", "", "b", "1")[0], "-")

    def test_smove_comes_after_what_others_sent_before(self):
        """In one round of the loop, of which the order is the daemon's: what SMOVE answers is what it did."""
        with Daemon("--appendfsync", "no") as daemon:
            remover, mover = daemon.client(), daemon.client()
            for step in range(30):
                remover("DEL", "a", "b")
                remover("SADD", "a", 1)
                daemon.process.send_signal(signal.SIGSTOP)
                (remover if step % 2 else mover).send_commands(["SREM", "a", 1])
                (mover if step % 2 else remover).send_commands(["SMOVE", "a", "b", 1])
                daemon.process.send_signal(signal.SIGCONT)
                removed, moved = (remover if step % 2 else mover).reply(), (mover if step % 2 else remover).reply()
                equal(removed[1] + moved[1], 1, "one of them had it")
                equal(mover("SMEMBERS", "b")[1], [("$", b"1")] * moved[1])

    def test_what_is_not_here_says_why(self):
        with Daemon() as daemon:
            client = daemon.client()
            for command, why in [("EXPIRE k 1", "keys do not expire"), ("PEXPIREAT k 1", "keys do not expire"),
                                 ("SINTERSTORE d a b", "a result is not stored"), ("SUNIONSTORE d a b", "a result is not stored"),
                                 ("SPOP k", "lanemapd picks no ids by chance"), ("SRANDMEMBER k 3", "lanemapd picks no ids by chance"),
                                 ("RENAME a b", "keys are not stored"), ("COPY a b", "keys are not stored"),
                                 ("DUMP k", "keys are not stored"), ("SCAN 0", "keys are not stored"),
                                 ("KEYS *", "keys are not stored"), ("RANDOMKEY", "keys are not stored"),
                                 ("SORT k", "keys are not stored")]:
                kind, text = client(*command.split())
                assert kind == "-" and text.startswith("ERR " + why), (command, text)


if __name__ == "__main__":
    main()
