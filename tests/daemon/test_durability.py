"""The gate: no reply of any kind leaves before the log is durable through what it may tell of."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import unittest

from harness import Client, Daemon, SkipTest, encode, equal, eventually, info, main, run

UNKNOWN = "ERR outcome unknown: the log cannot be written (Input/output error); the operation may or may not survive"


def touch(path):
    open(path, "w", encoding="ascii").close()


def need_preload():
    if not Daemon.preload:
        raise SkipTest("nothing to hold or fail fdatasync with")


CALL = re.compile(r"^(\d+) +(\w+)\((\d+)<(.*?)>[,)](.*) = (-?\d+)")
UNFINISHED = re.compile(r"^(\d+) +(\w+)\((\d+)<(.*?)>(.*)<unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>.* = (-?\d+)")


def trace_events(lines):
    """(start line, end line, call, path behind the descriptor, arguments, result) in the order of their ends."""
    pending, events = {}, []
    for number, line in enumerate(lines):
        if match := UNFINISHED.match(line):
            pending[match[1], match[2]] = number, match[4], match[5]
        elif match := RESUMED.match(line):
            start, file, args = pending.pop((match[1], match[2]), (number, "", ""))
            events.append((start, number, match[2], file, args, int(match[3])))
        elif match := CALL.match(line):
            events.append((number, number, match[2], match[4], match[5], int(match[6])))
    return events


def check_trace(events, data):
    """
    Requests come one at a time, each changes something. So between two replies the log is written, and behind that
    synced, and that is over before the second reply begins to leave.
    """
    n_checked = n_early = 0
    last_send, last_write, synced = -1, None, False
    for start, end, call, path, args, result in events:
        in_log = path.startswith(data) and "log" in os.path.basename(path)
        if call in ("pwrite64", "write", "pwritev", "writev") and in_log and result > 0 and start > last_send:
            last_write = end
        elif call == "fdatasync" and in_log and result == 0 and last_write is not None and start > last_write:
            synced = True
        elif call == "sendto" and '":1\\r\\n' in args:
            n_checked += 1
            n_early += not synced
            last_send, last_write, synced = end, None, False
    return n_checked, n_early


def traced(daemon, calls, body):
    """Runs body() beside a daemon under strace. Return: the lines of its trace."""
    if not shutil.which("strace"):
        raise SkipTest("no strace")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode:
        raise SkipTest("strace is not permitted here")
    with daemon:
        equal(daemon.stop(), 0)
        trace = os.path.join(daemon.directory, "trace")
        daemon.wrapper = ["strace", "-f", "-y", "-s", "16", "-o", trace, "-e", f"trace={calls}"]
        daemon.env = {"LD_PRELOAD": ""}
        daemon.start()
        try:
            body()
        finally:
            children = subprocess.run(["pgrep", "-P", str(daemon.process.pid)], capture_output=True, text=True, check=False)
            for child in children.stdout.split():
                os.kill(int(child), signal.SIGTERM)
            daemon.process.wait(30)
        with open(trace, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()


class Durability(unittest.TestCase):
    def test_replies_wait_for_fdatasync(self):
        need_preload()
        with Daemon() as daemon:
            clients = [daemon.client() for _ in range(5)]
            clients[0]("SADD", "k", 1)
            equal([clients[3](*c) for c in (["MULTI"], ["SCARD", "k"])], [("+", "OK"), ("+", "QUEUED")])
            touch(daemon.hold)
            commands = [[["SADD", "k", 2]], [["SMEMBERS", "k"]], [["SADD", "k", 2], ["NOSUCH"], ["SCARD", "k"]],
                        [["EXEC"]], [["LANEMAP.IDS"]]]
            for client, sent in zip(clients, commands):
                client.send_commands(*sent)
                eventually(client.is_taken)  # and so applied before anything that is sent from now on is read
            for client, sent in zip(clients, commands):
                assert client.is_silent(0.2), f"{sent} was answered before the log was durable"
            os.unlink(daemon.hold)
            two = [("$", b"1"), ("$", b"2")]
            equal(clients[0].reply(), (":", 1))
            equal(clients[1].reply(), ("*", two))
            equal([clients[2].reply()[0] for _ in range(3)], [":", "-", ":"])
            equal(clients[3].reply(), ("*", [(":", 2)]))
            equal(clients[4].reply(), ("*", [(":", 1), (":", 2)]))

    def test_the_count_of_keys_waits_for_a_long_apply_that_nobody_has_joined(self):
        """The thread of the apply has counted the key, and the loop does not know yet: DBSIZE waits until it is durable."""
        need_preload()
        daemon = Daemon()
        room, loop = os.path.join(daemon.directory, "room"), os.path.join(daemon.directory, "loop")
        daemon.env = {"LANEMAP_TEST_HOLD_ROOM": room, "LANEMAP_TEST_HOLD_LOOP": loop}
        with daemon:
            writer, asker, other = (daemon.client(60) for _ in range(3))
            equal(other("SADD", "here", 1), (":", 1))
            touch(room)
            writer.send_commands(["SADD", "long", *range(400000)])
            eventually(lambda: os.path.exists(room + ".waits"))
            touch(daemon.hold)
            touch(loop)
            other.send_commands(["PING"])
            eventually(lambda: os.path.exists(loop + ".waits"))
            asker.send_commands(["DBSIZE"])  # before the end of the apply is: it is met first
            os.unlink(room)
            eventually(lambda: json.loads(run("stat", "--json", daemon.name).stdout)["keys"] == 2)
            os.unlink(loop)
            equal([other.reply(), other("PING")], [("+", "PONG")] * 2)
            assert asker.is_silent(0.05), "a key was counted that a crash would undo"
            os.unlink(daemon.hold)
            equal((asker.reply(), writer.reply()), ((":", 2), (":", 400000)))

    def test_ids_that_wait_at_the_gate_are_answered_in_a_stop(self):
        need_preload()
        with Daemon() as daemon:
            writer, reader = daemon.client(), daemon.client()
            touch(daemon.hold)
            writer.send_commands(["SADD", "k", 1])
            eventually(writer.is_taken)
            reader.send_commands(["LANEMAP.IDS"])
            assert reader.is_silent(0.2)  # gathered by now, most likely; if not, the stop is told
            daemon.process.terminate()
            eventually(lambda: "stopping" in daemon.messages())
            os.unlink(daemon.hold)
            equal(writer.reply(), (":", 1))
            reply = reader.reply()
            assert reply in (("*", [(":", 1)]), ("-", "ERR lanemapd is stopping")), reply
            equal(daemon.process.wait(30), 0)

    def test_other_policies_do_not_wait(self):
        need_preload()
        for policy in ("everysec", "no"):
            with Daemon("--appendfsync", policy) as daemon:
                client = daemon.client()
                eventually(lambda: b"\r\nloading:0" in client("INFO")[1])
                touch(daemon.hold)
                try:
                    client.send_commands(["SADD", "k", 1], ["SCARD", "k"])  # at once: everysec waits after a second
                    equal([client.reply() for _ in range(2)], [(":", 1)] * 2, policy)
                finally:
                    os.unlink(daemon.hold)

    def test_a_sync_under_way_holds_up_no_write(self):
        """The log is written while it is synced: who need not wait for the disk does not."""
        need_preload()
        with Daemon("--appendfsync", "no") as daemon:
            asks, writer, other = daemon.client(30), daemon.client(), daemon.client()
            equal(asks("SADD", "k", 0), (":", 1))
            touch(daemon.hold)
            try:
                asks.send_commands(["WAITAOF", 1, 0, 0])
                eventually(lambda: os.path.exists(daemon.hold + ".waits"))
                for i in range(1, 300):
                    equal(writer("SADD", "k", i), (":", 1))
                    equal(other("SCARD", "k"), (":", i + 1))
                assert asks.is_silent(0.01)
                # Its own reply says when it is durable, and what comes meanwhile is not.
                eventually(lambda: int(info(other)["log_sync_pending_ns"]) > 1500000000, 30)
                equal(info(other)["log_slow_syncs"], "0")
            finally:
                os.unlink(daemon.hold)
            equal(asks.reply(), ("*", [(":", 1), (":", 0)]))
            eventually(lambda: info(other)["log_slow_syncs"] == "1")
            assert int(info(other)["log_sync_max_ns"]) > 1500000000
            eventually(lambda: info(other)["log_sync_pending_ns"] == "0")
            eventually(lambda: re.search(r"writing and syncing the log took \d+\.\d s", daemon.messages()))
            equal(daemon.stop(signal.SIGKILL), -9)
            daemon.start()
            equal(daemon.client()("SCARD", "k"), (":", 300))

    def test_the_thread_that_applied_writes_the_log(self):
        """Without a sync in the way an add costs no hand-over to another thread."""
        daemon, pids = Daemon("--appendfsync", "no"), []

        def body():
            client = daemon.client(60)
            for i in range(300):
                equal(client("SADD", f"k{i}", i), (":", 1))
            pids.append(int(info(client)["process_id"]))
        trace = traced(daemon, "pwrite64,pwritev,pwritev2", body)
        writes = [int(line.split()[0]) for line in trace if re.search(rf"pwrite\w*\(\d+<{re.escape(daemon.data)}/log-", line)]
        assert len(writes) >= 100, f"{len(writes)} writes"
        assert writes.count(pids[0]) > len(writes) // 2, f"{writes.count(pids[0])} of {len(writes)} by the loop"

    def test_everysec_waits_when_a_record_is_a_second_old(self):
        need_preload()
        with Daemon("--appendfsync", "everysec") as daemon:
            client = daemon.client()
            client("SADD", "k", 0)
            touch(daemon.hold)
            longest, start = 0, time.monotonic()
            try:
                for i in range(1, 1000):
                    client.send_commands(["SADD", "k", i])
                    if client.is_silent(0.5):
                        break
                    client.reply()
                    longest = time.monotonic() - start
                    time.sleep(0.02)
                else:
                    raise AssertionError("acknowledged for ever without one fdatasync")
            finally:
                os.unlink(daemon.hold)
            equal(client.reply(), (":", 1))
            assert longest < 4, f"acknowledged for {longest} s without fdatasync"

    def test_reads_go_on_in_a_paused_pipeline(self):
        """A client whose replies wait is not read without bound, and gets every reply in the end."""
        need_preload()
        with Daemon() as daemon:
            client = daemon.client(60)
            client("SADD", "big", *range(1000000, 1020000))
            touch(daemon.hold)
            client.send_commands(["SADD", "k", 1], *[["SMEMBERS", "big"]] * 100)
            assert client.is_silent(0.5)
            rss = int(next(line for line in open(f"/proc/{daemon.process.pid}/status")
                           if line.startswith("VmRSS")).split()[1])
            os.unlink(daemon.hold)
            equal(client.reply(), (":", 1))
            for _ in range(100):
                equal(len(client.reply()[1]), 20000)
            assert rss < 400 * 1024, f"{rss} KiB"

    def test_outcome_unknown(self):
        need_preload()
        with Daemon() as daemon:
            writer, reader = daemon.client(60), daemon.client(60)
            equal(writer("SADD", "k", 1), (":", 1))
            equal(writer("SADD", "big", *range(20000)), (":", 20000))
            touch(daemon.fail)
            writer.send_commands(["SADD", "k", 2], ["SADD", "k", 3], ["SCARD", "k"], ["MULTI"], ["SREM", "k", 1], ["EXEC"])
            replies = [writer.reply() for _ in range(6)]
            for i, reply in enumerate(replies):
                equal(reply, ("-", UNKNOWN), f"reply {i}")
            kind, text = writer("SADD", "k", 4)
            equal(kind, "-")
            assert text == UNKNOWN or text.startswith("ERR log cannot be written"), text
            equal(reader("SCARD", "k"), ("-", UNKNOWN))
            reader.send_commands(["SMEMBERS", "big"], ["SCARD", "k"], ["SMEMBERS", "big"])
            for _ in range(3):
                equal(reader.reply(), ("-", UNKNOWN), "ids in place of which it stands")
            os.unlink(daemon.fail)
            eventually(lambda: reader("SCARD", "k")[0] == ":")
            eventually(lambda: writer("SADD", "k", 5)[0] == ":")
            equal(writer("SISMEMBER", "k", 5), (":", 1))
            before = writer("SMEMBERS", "k")
            equal(daemon.stop(signal.SIGKILL), -9)
            daemon.start()
            equal(daemon.client()("SMEMBERS", "k"), before, "what was acknowledged after the trouble")

    def test_system_calls_are_in_order(self):
        calls = "fdatasync,fsync,pwrite64,pwritev,write,writev,sendto"
        daemon = Daemon()

        def body():
            client = daemon.client(60)
            for i in range(40):
                equal(client("SADD", f"k{i}", i), (":", 1))
            for i in range(10):
                client.send_commands(*[["SADD", f"p{i}", j] for j in range(20)])
                for _ in range(20):
                    equal(client.reply(), (":", 1))
            client.close()
        n_checked, n_early = check_trace(trace_events(traced(daemon, calls, body)), daemon.data)
        assert n_checked >= 50, f"{n_checked} replies seen in the trace"
        equal(n_early, 0, "replies sent before the log was durable")


if __name__ == "__main__":
    main()
