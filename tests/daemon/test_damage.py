"""Damage of the data directory under a running lanemapd: LANEMAP.VERIFY, INFO, the log, COMPACT, lookups."""
import glob
import os
import shutil
import signal
import socket
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Daemon, encode, equal, eventually, info, main


def filled(*options):
    daemon = Daemon("--lanes", "4", "--scrub-bytes-per-second", "off", *options)
    daemon.start()
    client = daemon.client()
    for i in range(400):
        client("SADD", f"k{i}", i, i + 1)
    equal(client("LANEMAP.FLUSH"), ("+", "OK"))
    return daemon, client


def flip(path, offset, bits=0x10):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


def with_daemon(daemon, body):
    try:
        body()
    finally:
        daemon.__exit__(None)


def send_with(client, descriptors, *command):
    socket.send_fds(client.socket, [encode(*command)], descriptors)
    return client.reply()


def many(n=20000, *options):
    """One segment file of several pages a lane, and the client."""
    daemon = Daemon("--lanes", "4", "--scrub-bytes-per-second", "off", *options)
    daemon.start()
    client = daemon.client()
    client.send_commands(*(("SADD", f"k{i}", i, i + 1) for i in range(n)))
    for _ in range(n):
        equal(client.reply(), (":", 2))
    equal(client("LANEMAP.FLUSH"), ("+", "OK"))
    equal(client("LANEMAP.COMPACT"), ("+", "OK"))
    return daemon, client


class Damage(unittest.TestCase):
    def test_verify_of_a_sound_index_answers_an_empty_array(self):
        daemon, client = filled()
        with_daemon(daemon, lambda: equal(client("LANEMAP.VERIFY"), ("*", [])))

    def test_damage_is_told_everywhere_and_the_rest_goes_on(self):
        daemon, client = filled()

        def body():
            path = glob.glob(os.path.join(daemon.data, "seg-*.lms"))[0]
            flip(path, os.path.getsize(path) // 2)
            (kind, findings) = client("LANEMAP.VERIFY")
            equal(kind, "*")
            equal(len(findings), 1, findings)
            fields = [value for _, value in findings[0][1]]
            finding = dict(zip(fields[::2], fields[1::2]))
            equal(finding[b"file"], os.path.basename(path).encode())
            assert finding[b"keys"] > 0 and len(finding[b"what"]) > 5, finding
            equal(info(client)["degraded"], "1")
            assert os.path.basename(path) in daemon.messages(), daemon.messages()

            equal(client("SADD", "another", 5), (":", 1))
            equal(client("SMEMBERS", "another"), ("*", [("$", b"5")]))
            equal(client("LANEMAP.FLUSH"), ("+", "OK"))
            kind, text = client("LANEMAP.COMPACT")
            equal(kind, "-")
            equal("a segment file is damaged; the log and LANEMAP.VERIFY tell which" in text, True)
            n_right = sum(client("SCARD", f"k{i}") == (":", 2) for i in range(400))
            assert n_right > 250, n_right

            equal(client("FLUSHALL"), ("+", "OK"))
            client("LANEMAP.FLUSH")
            eventually(lambda: info(client)["degraded"] == "0")
            assert os.path.exists(os.path.join(daemon.data, "quarantine", os.path.basename(path)))
        with_daemon(daemon, body)

    def test_others_are_served_while_it_verifies(self):
        daemon, client = filled()

        def body():
            other = daemon.client()
            client.send_commands(("LANEMAP.VERIFY",), ("PING",))
            equal(other("PING"), ("+", "PONG"))
            equal(client.reply(), ("*", []))
            equal(client.reply(), ("+", "PONG"))
        with_daemon(daemon, body)

    def test_a_backup_is_an_index_of_its_own(self):
        room = tempfile.mkdtemp(prefix="lmd-")
        daemon, client = filled("--backup-dir", room + "/")

        def body():
            to = os.path.join(room, "backup")
            for path in ["..", ".", "a/b", "../x", room, room + "/", room + "/a/b", room + "/..", "/elsewhere", room + "x/y"]:
                kind, error = client("LANEMAP.BACKUP", path)
                assert kind == "-" and "may see another directory" in error and "DIR/NAME or NAME" in error, error
            equal(client("SADD", "late", 3), (":", 1))
            equal(client("LANEMAP.BACKUP", to), ("+", "OK"))
            equal(client("LANEMAP.BACKUP", to)[0], "-")
            equal(client("SADD", "later", 3), (":", 1))
            other = Daemon()
            other.data = to
            other.socket = os.path.join(to, "lanemapd.sock")

            def other_body():
                other.start()
                copy = other.client()
                equal(copy("LANEMAP.VERIFY"), ("*", []))
                equal(copy("SMEMBERS", "late"), ("*", [("$", b"3")]))
                equal(copy("SCARD", "later"), (":", 0))
                equal(copy("DBSIZE"), (":", 401))
                equal(copy("SADD", "own", 1), (":", 1))
                equal(copy("LANEMAP.COMPACT"), ("+", "OK"))
            with_daemon(other, other_body)
            equal(client("LANEMAP.VERIFY"), ("*", []))
            equal(client("DBSIZE"), (":", 402))
            equal(client("LANEMAP.BACKUP", "by-its-name"), ("+", "OK"))
            assert os.path.exists(os.path.join(room, "by-its-name", "manifest.json"))
        try:
            with_daemon(daemon, body)
        finally:
            shutil.rmtree(room)

    def test_a_backup_by_name_is_refused_where_no_directory_is_said(self):
        daemon, client = filled()

        def body():
            to = os.path.join(daemon.directory, "backup")
            kind, error = client("LANEMAP.BACKUP", to)
            assert kind == "-" and "lanemap backup --socket" in error and "--backup-dir" in error, error
            assert not os.path.exists(to)
            equal(client("LANEMAP.BACKUP", to, "SOMETHING"), ("-", "ERR no backup was made: LANEMAP.BACKUP path [DESCRIPTOR]"))
        with_daemon(daemon, body)

    def test_a_backup_goes_where_the_descriptor_leads(self):
        daemon, client = filled()

        def n_open():
            return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

        def body():
            to, full = os.path.join(daemon.directory, "to"), os.path.join(daemon.directory, "full")
            os.mkdir(to)
            os.mkdir(full)
            open(os.path.join(full, "file"), "w").close()
            directory, file = os.open(to, os.O_RDONLY), os.open(os.path.join(full, "file"), os.O_RDONLY)
            not_empty = os.open(full, os.O_PATH)
            before = n_open()

            kind, error = client("LANEMAP.BACKUP", to, "DESCRIPTOR")
            assert kind == "-" and f"no descriptor of {to} came with the command" in error, error
            for bad, text in [(file, "Not a directory"), (not_empty, "not empty")]:
                kind, error = send_with(client, [bad], "LANEMAP.BACKUP", "/nowhere/at/all", "DESCRIPTOR")
                assert kind == "-" and text in error and "/nowhere/at/all: " in error, error
            equal(os.listdir(to), [])
            equal(send_with(client, [directory], "LANEMAP.BACKUP", "/nowhere/at/all", "descriptor"), ("+", "OK"))
            assert "manifest.json" in os.listdir(to), os.listdir(to)
            kind, error = client("LANEMAP.BACKUP", "/nowhere/at/all", "DESCRIPTOR")
            assert kind == "-" and "no descriptor" in error, "it was taken"

            # However many come, with whatever command, one is kept, and none when the client has gone.
            for _ in range(200):
                equal(send_with(client, [directory, file, not_empty] * 20, "PING"), ("+", "PONG"))
            assert n_open() <= before + 1, n_open() - before
            other = daemon.client()
            equal(send_with(other, [directory], "PING"), ("+", "PONG"))
            other.close()
            client.close()
            eventually(lambda: n_open() == before - 1)
            for descriptor in (directory, file, not_empty):
                os.close(descriptor)
        with_daemon(daemon, body)

    def test_a_segment_file_cut_short_under_it_is_damage_and_no_end(self):
        room = tempfile.mkdtemp(prefix="lmd-")
        daemon, client = many(20000, "--backup-dir", room + "/")

        def body():
            path = max(glob.glob(os.path.join(daemon.data, "seg-*.lms")), key=os.path.getsize)
            os.truncate(path, os.path.getsize(path) // 2 // 4096 * 4096)

            def refused_keys():
                refused = []
                for i in range(20000):
                    kind, value = client("SCARD", f"k{i}")
                    if kind == "-":
                        assert "segment file is damaged" in value, value
                        refused.append(i)
                    else:
                        equal((kind, value), (":", 2), f"k{i} is there")
                assert 0 < len(refused) < 20000, len(refused)
                return refused

            refused_keys()
            eventually(lambda: info(client)["degraded"] == "1")
            eventually(lambda: os.path.basename(path) in daemon.messages())
            assert "offset" in daemon.messages() and "lane" in daemon.messages(), daemon.messages()
            refused = refused_keys()
            sound = min(set(range(20000)) - set(refused))

            # In one batch: what lies elsewhere is applied, before and behind what is refused.
            client.send_commands(("SADD", f"k{sound}", 77777), ("SADD", f"k{refused[0]}", 9), ("SADD", f"k{sound}", 77778),
                                 ("SADD", f"k{refused[-1]}", 9), ("SREM", f"k{sound}", 77777))
            replies = [client.reply() for _ in range(5)]
            equal([reply[0] for reply in replies], [":", "-", ":", "-", ":"], replies)

            equal(client("LANEMAP.FLUSH"), ("+", "OK"))
            equal(client("LANEMAP.COMPACT")[0], "-")
            kind, findings = client("LANEMAP.VERIFY")
            assert kind == "*" and findings, findings
            kind, error = client("LANEMAP.BACKUP", os.path.join(room, "backup"))
            assert kind == "-" and "a segment file is damaged" in error, error
            equal(client("LANEMAP.IDS")[0], "-")
            equal(client("SCARD", f"k{sound}"), (":", 3))
            equal(daemon.process.poll(), None)
        with_daemon(daemon, body)
        shutil.rmtree(room)

    def test_a_bus_error_elsewhere_ends_it_with_a_line_that_says_so(self):
        daemon, client = filled()

        def body():
            for entry in os.listdir("/dev/shm"):
                if entry.startswith(f"lanemap.{daemon.name}"):
                    os.truncate(os.path.join("/dev/shm", entry), 0)
            try:
                client.send_commands(*(("SADD", f"more{i}", i) for i in range(1000)))
            except BrokenPipeError:  # it has ended before it took them all
                pass
            equal(daemon.process.wait(30), -signal.SIGBUS)
            assert "SIGBUS at 0x" in daemon.messages() and "shared memory" in daemon.messages(), daemon.messages()
        with_daemon(daemon, body)


if __name__ == "__main__":
    main()
