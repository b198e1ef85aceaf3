"""Clients that have not given the password: they keep nobody out (LP7)."""
import socket
import unittest

from harness import Client, Closed, Daemon, encode, equal, eventually, main
from test_health import info

PASSWORD = "open sesame"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Guarded(Daemon):
    """With a password, and a TCP port."""

    def __init__(self, *args):
        self.port = free_port()
        super().__init__("--appendfsync", "no", "--port", str(self.port), "--requirepass", PASSWORD, *args, password=PASSWORD)

    def stranger(self):
        return Client(("127.0.0.1", self.port), 60)

    def owner(self):
        client = self.client(60)
        equal(client("AUTH", PASSWORD), ("+", "OK"))
        return client

    def n_lines(self, what):
        return sum(what in line for line in self.messages().splitlines())


def is_closed(client):
    """Waits for what comes last."""
    try:
        while True:
            client.reply()
    except (Closed, ConnectionResetError):
        return True


def lines_are_few(daemon, what):
    """Ten in a minute; the test may lie in two."""
    assert 1 <= daemon.n_lines(what) <= 20, daemon.n_lines(what)


class Unauthenticated(unittest.TestCase):
    def test_connections_are_reserved_for_the_unix_socket(self):
        with Guarded("--maxclients", "80", "--timeout-auth", "0") as daemon:
            owner = daemon.owner()
            equal(owner("CONFIG", "GET", "maxclients")[1][1], ("$", b"80"))
            equal(info(owner)["max_tcp_clients"], "60")
            strangers = [daemon.stranger() for _ in range(100)]
            eventually(lambda: int(info(owner)["rejected_connections"]) == 40)
            equal(info(owner)["tcp_clients"], "60")
            for stranger in strangers[60:]:
                equal(stranger.reply(), ("-", "ERR max number of clients reached"))
                assert is_closed(stranger)
            others = [daemon.owner() for _ in range(19)]
            for other in others:
                equal(other("PING"), ("+", "PONG"))
            equal(daemon.client().reply(), ("-", "ERR max number of clients reached"))
            lines_are_few(daemon, "a connection over TCP is refused")
            equal(owner("CONFIG", "SET", "maxclients", "400"), ("+", "OK"))
            equal(info(owner)["max_tcp_clients"], "336")
            for stranger in strangers[:60]:
                equal(stranger("PING")[1][:6], "NOAUTH")

    def test_time_is_short_without_the_password(self):
        with Guarded("--timeout-auth", "3") as daemon:
            owner, late, known = daemon.owner(), daemon.stranger(), daemon.stranger()
            equal(known("AUTH", PASSWORD), ("+", "OK"))
            strangers = [daemon.stranger() for _ in range(40)]
            for stranger in strangers:
                equal(stranger("AUTH", "wrong")[1][:9], "WRONGPASS")
            equal(late("PING")[1][:6], "NOAUTH")
            for client in (late, *strangers):
                assert is_closed(client)
            equal(info(owner)["unauthenticated_disconnections"], "41")
            equal(info(owner)["acl_access_denied_auth"], "40")
            lines_are_few(daemon, "it is here for longer than timeout-auth, and it has not given the password: closed")
            lines_are_few(daemon, "wrong password")
            equal(known("SADD", "k", 1), (":", 1))
            equal(owner("SCARD", "k"), (":", 1))
            again = daemon.stranger()
            equal(again("AUTH", PASSWORD), ("+", "OK"))

    def test_little_is_kept_without_the_password(self):
        with Guarded() as daemon:
            owner = daemon.owner()
            before = int(info(owner)["mem_clients_normal"])
            half = [daemon.stranger() for _ in range(20)]
            for stranger in half:
                stranger.send(b"*2\r\n$4\r\nAUTH\r\n$16000\r\n" + b"x" * 15000)
            for stranger in half:
                eventually(stranger.is_taken)
            equal(owner("PING"), ("+", "PONG"))
            assert int(info(owner)["mem_clients_normal"]) - before < 20 * 24 * 1024
            for message in (b"*3\r\n$4\r\nAUTH\r\n$12000\r\n" + b"x" * 12000 + b"\r\n$12000\r\n" + b"x" * 11000, b"x" * 40000):
                stranger = daemon.stranger()
                stranger.send(message)
                assert is_closed(stranger)
            equal(info(owner)["unauthenticated_disconnections"], "2")
            assert daemon.n_lines("it sent a message of 16 KiB, and it has not given the password: closed") == 2

    def test_few_arguments_without_the_password(self):
        with Guarded() as daemon:
            owner = daemon.owner()
            for n, inline in ((10, False), (10, True), (11, False), (11, True), (5000, True), (5000, False)):
                words = ["QUIT"] + ["x"] * (n - 1)
                stranger = daemon.stranger()
                stranger.send(" ".join(words).encode() + b"\r\n" if inline else encode(*words))
                if n <= 10:
                    equal(stranger.reply(), ("+", "OK"))
                else:
                    what = "inline request is too long" if inline else "multibulk length"
                    equal(stranger.reply(), ("-", "ERR Protocol error: unauthenticated " + what))
                assert is_closed(stranger)
            owner.send(b"EXISTS " + b"k " * 5000 + b"\r\n")
            equal(owner.reply(), (":", 0))

    def test_replies_that_a_stranger_does_not_read(self):
        with Guarded() as daemon:
            owner, stranger = daemon.owner(), daemon.stranger()
            stranger.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stranger.socket.setblocking(False)
            commands = encode("PING") * 1000
            sent = 0
            for _ in range(5000):
                try:
                    sent += stranger.socket.send(commands)
                except BlockingIOError:
                    equal(owner("PING"), ("+", "PONG"))
            assert sent > len(commands)
            listed = owner("CLIENT", "LIST")[1].decode().splitlines()
            line = next(line for line in listed if "addr=127.0.0.1:" in line)
            waiting = int(dict(part.split("=", 1) for part in line.split(" ") if "=" in part)["obl"])
            assert waiting <= 32 * 1024, line


if __name__ == "__main__":
    main()
