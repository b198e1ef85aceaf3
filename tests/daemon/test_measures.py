"""How long commands take (LATENCY HISTOGRAM, INFO latencystats), and what memory is used for (MEMORY)."""
import random
import re
import unittest

from harness import Daemon, Redis, SkipTest, equal, main
from test_command_docs import value

LINE = re.compile(r"latency_percentiles_usec_([\w.|-]+):p50=(\d+\.\d{3}),p99=(\d+\.\d{3}),p99\.9=(\d+\.\d{3})")


def lines(client, *sections):
    return [line for line in client("INFO", *sections)[1].decode().split("\r\n") if ":" in line]


def percentiles(client):
    found = [LINE.fullmatch(line) for line in lines(client, "latencystats")]
    assert all(found), lines(client, "latencystats")
    return {match[1]: [float(match[i]) for i in (2, 3, 4)] for match in found}


def histograms(client, *commands):
    flat = value(client("LATENCY", "HISTOGRAM", *commands))
    pairs = dict(zip(flat[::2], flat[1::2]))
    return {name: (row[1], dict(zip(row[3][::2], row[3][1::2]))) for name, row in pairs.items() if row[::2] == ["calls", "histogram_usec"]}


def calls(client, name):
    return next(int(re.search(r"calls=(\d+)", line)[1]) for line in lines(client, "commandstats") if line.startswith(f"cmdstat_{name}:"))


class Latency(unittest.TestCase):
    def test_lines_are_those_of_redis(self):
        """The same commands, called alike, are in both; lines have the same form."""
        if not Redis.is_installed():
            raise SkipTest("no redis-server")
        seen = []
        with Daemon("--appendfsync", "no") as daemon, Redis() as redis:
            for server in (daemon, redis):
                client = server.client()
                client("CONFIG", "RESETSTAT")
                for words in ("SMEMBERS k", "SMEMBERS k", "SMEMBERS k", "CONFIG GET timeout", "CLIENT LIST", "SLOWLOG GET", "COMMAND COUNT"):
                    client(*words.split())
                client("SMEMBERS") # not run
                assert all(LINE.fullmatch(line) for line in lines(client, "latencystats")), lines(client, "latencystats")
                rows = histograms(client)
                seen.append((set(percentiles(client)) - {"info"}, rows.keys() - {"info"}, {name: row[0] for name, row in rows.items() if name != "info"}))
                equal(set(histograms(client, "SMEMBERS", "config", "nosuch", "slowlog|get")), {"smembers", "config|get", "config|resetstat", "slowlog|get"})
                for n_calls, histogram in histograms(client).values():
                    counts = list(histogram.values())
                    assert counts == sorted(set(counts)) and counts[-1] == n_calls, histogram
                kind, reply = client("LATENCY", "HISTOGRAM", "smembers")
                client("HELLO", 3)
                equal([v[0] for v in client("LATENCY", "HISTOGRAM", "smembers")[1]], ["$", "%"])
                equal([(v[0], [w[0] for w in v[1][1::2]]) for v in client("LATENCY", "HISTOGRAM", "smembers")[1][1:]], [("%", [":", "%"])])
        ours, theirs = seen
        equal(ours, theirs)

    def test_histogram_has_every_call(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            client("CONFIG", "RESETSTAT")
            for n in (1, 63, 64, 65, 500):
                client("CONFIG", "RESETSTAT")
                client.send_commands(*[["SISMEMBER", "k", 1]] * n, *[["SMEMBERS", "k"]] * n)
                for _ in range(2 * n):
                    client.reply()
                equal(calls(client, "sismember"), n)
                timed = histograms(client, "sismember")["sismember"][0]
                assert n - 63 <= timed <= n and timed >= 1, (n, timed)
                equal(histograms(client, "smembers")["smembers"][0], n, "what may be long is timed each time")
            client.send_commands(["MULTI"], *[["SISMEMBER", "k", 1]] * 100, ["EXEC"])
            for _ in range(102):
                client.reply()
            equal(calls(client, "sismember"), 600, "within EXEC")
            assert histograms(client, "sismember")["sismember"][0] <= 500
            client("CONFIG", "RESETSTAT")
            equal(set(histograms(client)), {"config|resetstat"})
            client("SADD", "k", *range(200000))
            client("CONFIG", "RESETSTAT")
            for _ in range(4):
                client("SMEMBERS", "k")
            client("SADD", "k", 1)
            assert "lanemap.apply" in histograms(client, "lanemap.apply"), "batches"
            p50, p99, p999 = percentiles(client)["smembers"]
            assert 0 < p50 <= p99 <= p999, (p50, p99, p999)
            usec = next(float(re.search(r"usec_per_call=([\d.]+)", line)[1]) for line in lines(client, "commandstats") if "cmdstat_smembers" in line)
            n_below = [n for bound, n in histograms(client, "smembers")["smembers"][1].items() if bound * 1.024 <= p50 / 2]
            assert p50 / 2 <= p999 and usec <= p999 * 17 / 16 + 0.1, (usec, p999)
            assert not n_below or n_below[-1] < 4, n_below


class Memory(unittest.TestCase):
    def test_usage_of_all_keys_is_what_segments_have(self):
        """Exact with SAMPLES 0, near without."""
        number = random.Random(5)
        keys = {f"k{i}": number.sample(range(4000000000), number.choice([1, 2, 5, 40, 200, 3000])) for i in range(3000)}
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()

            def usage(*words):
                client.send_commands(*[["MEMORY", "USAGE", key, *words] for key in keys])
                return [client.reply()[1] for _ in keys]

            def stats():
                flat = value(client("MEMORY", "STATS"))
                return dict(zip(flat[::2], flat[1::2]))

            client.send_commands(*[["SADD", key, *ids] for key, ids in keys.items()])
            for ids in keys.values():
                equal(client.reply(), (":", len(ids)))
            in_overlay, of_overlays = sum(usage("SAMPLES", 0)), stats()["overlay.bytes"]
            for (key, ids), n_bytes in zip(keys.items(), usage("SAMPLES", 0)):
                assert 16 + (len(ids) > 1) * len(ids) * 4 <= n_bytes <= 64 + len(ids) * 4 * 1.3, (key, len(ids), n_bytes)
            assert in_overlay <= of_overlays <= 1.5 * in_overlay + 400000, (in_overlay, of_overlays)
            equal(client("LANEMAP.COMPACT"), ("+", "OK"))
            has = stats()
            in_segments = sum(usage("SAMPLES", 0))
            equal(has["keys.count"], len(keys))
            assert 0.97 * has["segment.live"] <= in_segments <= has["segment.live"], (in_segments, has["segment.live"])
            sampled = sum(usage())
            assert abs(sampled - in_segments) < in_segments / 20, (sampled, in_segments)
            equal(sum(usage("SAMPLES", 1000)), in_segments)
            equal(client("SREM", "k0", *keys["k0"]), (":", len(keys["k0"])))
            equal(client("MEMORY", "USAGE", "k0"), ("$", None))
            equal(client("MEMORY", "USAGE", ""), client("SCARD", ""))

    def test_stats_doctor_and_the_allocator(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            client("HELLO", 3)
            client("SADD", "k", *range(1000))
            kind, flat = client("MEMORY", "STATS")
            has = dict(zip([v[1].decode() for v in flat[::2]], [v[1] for v in flat[1::2]]))
            info = dict(line.split(":", 1) for line in lines(client, "memory", "clients", "keyspace"))
            equal(kind, "%")
            for name in ("heap.bytes", "shared.bytes", "shared.used", "overlay.bytes", "total.allocated", "startup.allocated"):
                assert has[name] > 0, (name, has)
            equal(int(info["memory_needed"]), has["memory.needed"])
            equal(has["keys.count"], 1)
            equal(has["keys.bytes-per-key"], has["dataset.bytes"])
            assert has["peak.allocated"] >= has["total.allocated"] >= has["heap.bytes"] + has["shared.used"], has
            assert b"is wrong" in client("MEMORY", "DOCTOR")[1], client("MEMORY", "DOCTOR")
            equal(client("MEMORY", "PURGE"), ("+", "OK"))
            assert len(client("MEMORY", "MALLOC-STATS")[1]) > 100

    def test_usage_within_exec_is_of_what_is_applied(self):
        with Daemon("--appendfsync", "no") as daemon:
            client = daemon.client()
            client.send_commands(["MULTI"], ["SADD", "k", 1], ["MEMORY", "USAGE", "k"], ["EXEC"], ["MEMORY", "USAGE", "k"])
            equal([client.reply() for _ in range(4)][3], ("*", [(":", 1), ("$", None)]))
            equal(client.reply(), (":", 16))


if __name__ == "__main__":
    main()
