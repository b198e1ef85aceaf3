"""Damage of the data directory under a running lanemapd: LANEMAP.VERIFY, INFO, the log, COMPACT, lookups."""
import glob
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Daemon, equal, eventually, main


def filled():
    daemon = Daemon("--lanes", "4", "--scrub-bytes-per-second", "off")
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


def info(client):
    return dict(line.split(":", 1) for line in client("INFO", "everything")[1].decode().split("\r\n") if ":" in line)


def test_verify_of_a_sound_index_answers_an_empty_array():
    daemon, client = filled()
    with_daemon(daemon, lambda: equal(client("LANEMAP.VERIFY"), ("*", [])))


def with_daemon(daemon, body):
    try:
        body()
    finally:
        daemon.__exit__(None)


def test_damage_is_told_everywhere_and_the_rest_goes_on():
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
        equal(client("LANEMAP.COMPACT")[0], "-")
        n_right = sum(client("SCARD", f"k{i}") == (":", 2) for i in range(400))
        assert n_right > 250, n_right

        equal(client("FLUSHALL"), ("+", "OK"))
        client("LANEMAP.FLUSH")
        eventually(lambda: info(client)["degraded"] == "0")
        assert os.path.exists(os.path.join(daemon.data, "quarantine", os.path.basename(path)))
    with_daemon(daemon, body)


def test_others_are_served_while_it_verifies():
    daemon, client = filled()

    def body():
        other = daemon.client()
        client.send_commands(("LANEMAP.VERIFY",), ("PING",))
        equal(other("PING"), ("+", "PONG"))
        equal(client.reply(), ("*", []))
        equal(client.reply(), ("+", "PONG"))
    with_daemon(daemon, body)


def test_a_backup_is_an_index_of_its_own():
    daemon, client = filled()

    def body():
        to = os.path.join(daemon.directory, "backup")
        equal(client("LANEMAP.BACKUP", "relative")[0], "-")
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
    with_daemon(daemon, body)


main(globals())
