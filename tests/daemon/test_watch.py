"""WATCH: EXEC does nothing when a watched key was changed; what counts as a change, against a real redis-server."""
import random
import unittest

from harness import Daemon, Redis, SkipTest, equal, eventually, main
from test_keys import sorted_sets

OK, QUEUED = ("+", "OK"), ("+", "QUEUED")

SHARED = [
    "WATCH a", "MULTI", "SADD a 1", "EXEC", "SCARD a", "WATCH a", "SADD a 1", "MULTI", "SADD a 2", "EXEC",
    "WATCH a", "SADD a 9", "MULTI", "SADD a 2", "EXEC", "SCARD a", "MULTI", "SADD a 2", "EXEC",
    "WATCH a", "SREM a 77", "MULTI", "PING", "EXEC", "WATCH a", "SREM a 1", "MULTI", "PING", "EXEC",
    "WATCH none", "DEL none", "MULTI", "PING", "EXEC", "WATCH a", "DEL a", "MULTI", "PING", "EXEC",
    "WATCH none", "FLUSHALL", "MULTI", "PING", "EXEC", "SADD a 1", "WATCH a", "FLUSHALL", "MULTI", "PING", "EXEC",
    "WATCH a", "SADD a 1", "UNWATCH", "MULTI", "PING", "EXEC", "WATCH a", "SADD a 2", "MULTI", "UNWATCH", "EXEC",
    "WATCH a", "SADD a 3", "MULTI", "PING", "DISCARD", "MULTI", "PING", "EXEC", "WATCH a", "SADD a 4", "EXEC", "MULTI", "PING", "EXEC",
    "WATCH a", "SADD a 5", "DISCARD", "MULTI", "PING", "EXEC", "WATCH a", "SADD a 6", "MULTI", "NOSUCH", "EXEC", "MULTI", "PING", "EXEC",
    "WATCH a b", "SMOVE a c 6", "MULTI", "PING", "EXEC", "WATCH c", "SMOVE a c 5", "MULTI", "PING", "EXEC",
    "WATCH c", "SMOVE c c 5", "SMOVE a c 555", "MULTI", "PING", "EXEC", "MULTI", "WATCH a", "PING", "EXEC",
    "WATCH", "MULTI", "WATCH", "EXEC", "UNWATCH", "UNWATCH x", "MULTI", "UNWATCH", "EXEC", "WATCH a a", "MULTI", "SADD a 70", "EXEC",
    "WATCH a", "SADD a 71", "MULTI", "EXEC x", "EXEC", "MULTI", "PING", "EXEC", "WATCH a", "SADD a 72", "WATCH b", "MULTI", "EXEC",
    "WATCH a", "SADD a 73", "RESET",
]


def random_command(rng):
    key, other, one = rng.choice("abcd"), rng.choice("abcd"), str(rng.randrange(4))
    return rng.choice([
        ["WATCH", key], ["WATCH", key, other], ["MULTI"], ["MULTI"], ["EXEC"], ["EXEC"], ["EXEC"], ["SADD", key, one], ["SREM", key, one],
        ["SMOVE", key, other, one], ["SCARD", key], ["SMEMBERS", key],
        ["FLUSHALL"] if rng.random() < 0.1 else ["PING"], ["DEL", key] if rng.random() < 0.3 else ["SISMEMBER", key, one],
        ["UNWATCH"] if rng.random() < 0.3 else ["SADD", key, one], ["DISCARD"] if rng.random() < 0.3 else ["EXEC"],
    ])


class Watch(unittest.TestCase):
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
                for i, command in enumerate(SHARED):
                    got, wanted = sorted_sets(ours(*command.split())), sorted_sets(theirs(*command.split()))
                    if got != wanted:
                        wrong.append(f"RESP{protocol} {SHARED[max(i - 4, 0):i + 1]}: {got!r:.200}, Redis says {wanted!r:.200}")
        assert not wrong, "\n".join(wrong)

    def test_three_clients_as_redis(self):
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon("--appendfsync", "no") as daemon, Redis() as redis:
            ours, theirs = [daemon.client() for _ in range(3)], [redis.client() for _ in range(3)]
            said, nulls = [], 0
            for step in range(8000):
                i, command = rng.randrange(3), random_command(rng)
                said.append(f"{i}: {' '.join(command)}")
                got = sorted_sets(ours[i](*command))
                equal(got, sorted_sets(theirs[i](*command)), f"seed {seed} step {step} {said[-30:]}")
                nulls += got == ("*", None)
            assert nulls > 50, f"seed {seed}: {nulls} transactions found a change"

    def test_counters_by_many_lose_nothing(self):
        """Each moves the counter, the one id of a key, by one: read, compute, change if nobody else has."""
        with Daemon("--appendfsync", "no") as daemon:
            clients, n_done = [daemon.client() for _ in range(5)], 0
            clients[0]("SADD", "counter", 0)
            while n_done < 300:
                for client in clients:
                    client.send_commands(["WATCH", "counter"], ["SMEMBERS", "counter"])
                for client in clients:
                    equal(client.reply(), OK)
                    (_, ((_, value),)) = client.reply()
                    client.send_commands(["MULTI"], ["SREM", "counter", value], ["SADD", "counter", int(value) + 1], ["EXEC"])
                for client in clients:
                    equal([client.reply() for _ in range(3)], [OK, QUEUED, QUEUED])
                    result = client.reply()
                    assert result in (("*", None), ("*", [(":", 1), (":", 1)])), result
                    n_done += result[1] is not None
            equal(clients[0]("SMEMBERS", "counter"), ("*", [("$", b"%d" % n_done)]))

    def test_a_batch_that_a_thread_applies(self):
        """One command removes 30,000 keys beside the loop; of 500 who watch the first one, none sees it change."""
        with Daemon("--appendfsync", "no") as daemon:
            writer, watchers = daemon.client(), [daemon.client() for _ in range(500)]
            keys = ["watched", *(f"k{i}" for i in range(30000))]
            for _ in range(4):
                for at in range(0, len(keys), 1000):
                    writer.send_commands(*[["SADD", key, 1] for key in keys[at:at + 1000]])
                    equal({writer.reply() for _ in keys[at:at + 1000]}, {(":", 1)})
                for watcher in watchers:
                    equal(watcher("WATCH", "watched"), OK)
                writer.send_commands(["DEL", *keys])
                for watcher in watchers:
                    watcher.send_commands(["MULTI"], ["SCARD", "watched"], ["EXEC"])
                for watcher in watchers:
                    equal([watcher.reply(), watcher.reply()], [OK, QUEUED])
                    assert watcher.reply() in (("*", None), ("*", [(":", 1)]))
                equal(writer.reply(), (":", len(keys)))

    def test_limit_and_end(self):
        with Daemon() as daemon:
            client, other = daemon.client(), daemon.client()
            watched = lambda: int(other("INFO", "clients")[1].split(b"total_watched_keys:")[1].split()[0])
            equal(client("WATCH", *range(4096)), OK)
            equal(client("WATCH", *range(4096)), OK, "the same ones")
            equal(client("WATCH", "more"), ("-", "ERR a client watches at most 4096 keys"))
            equal(client("WATCH", ""), ("-", "ERR key must have 1 to 65535 bytes"))
            equal(watched(), 4096)
            other("SADD", 4095, 1)
            equal([client("MULTI"), client("EXEC")], [OK, ("*", None)])
            equal(watched(), 0)
            client("WATCH", "a", "b")
            other("WATCH", "a")
            client.close()
            eventually(lambda: watched() == 1)
            other("SADD", "a", 1)
            equal([other("MULTI"), other("EXEC")], [OK, ("*", None)])
            for end in (["UNWATCH"], ["DISCARD"], ["RESET"], ["EXEC"]):
                other("WATCH", "a")
                if end[0] in ("DISCARD", "EXEC"):
                    other("MULTI")
                other(*end)
                equal(watched(), 0, end[0])


if __name__ == "__main__":
    main()
