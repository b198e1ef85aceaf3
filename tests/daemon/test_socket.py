"""The Unix socket: whose it is, who makes it, what becomes of it; and one that the service manager passes."""
import fcntl
import grp
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import unittest
import uuid

from harness import Daemon, SkipTest, equal, eventually, main


def _connect(daemon):
    try:
        return daemon.client()
    except OSError:
        return None


def _answers(daemon):
    client = _connect(daemon)
    return client and client("PING") == ("+", "PONG")


def _start_passed(daemon, *sockets, args=()):
    """A daemon that finds these sockets as a service manager passes them: from descriptor 3 on."""
    pass_them = "".join(f"exec {3 + i}<&{s.fileno()}; " for i, s in reversed(list(enumerate(sockets))))
    with open(daemon.log, "ab") as log:
        daemon.process = subprocess.Popen(
            ["bash", "-c", f'{pass_them}LISTEN_PID=$$ LISTEN_FDS={len(sockets)} exec "$@"', "bash", Daemon.binary,
             "--name", daemon.name, "--dir", daemon.data, *args], stdout=log, stderr=log,
            pass_fds=[s.fileno() for s in sockets])


def _high(listener):
    """The socket at a descriptor that is in nobody's way."""
    high = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 100)
    listener.close()
    return socket.socket(fileno=high)


class Socket(unittest.TestCase):
    def test_unix_socket_is_for_its_user_and_goes_away(self):
        with Daemon() as daemon:
            mode = os.stat(daemon.socket).st_mode
            assert stat.S_ISSOCK(mode)
            equal(stat.S_IMODE(mode), 0o600)
            equal(daemon.stop(), 0)
            assert not os.path.exists(daemon.socket)
            daemon.start()
            daemon.stop(signal.SIGKILL)
            assert os.path.exists(daemon.socket)
            daemon.start()
            equal(daemon.client()("PING"), ("+", "PONG"), "a dead socket is replaced")
            equal(daemon.stop(signal.SIGINT), 0)

    def test_socket_group_and_mode(self):
        if os.geteuid() != 0:
            raise SkipTest("only root may give a socket to any group")
        for args, gid, mode in ((["--socket-group", "daemon"], grp.getgrnam("daemon").gr_gid, 0o660),
                                (["--socket-group", "4242"], 4242, 0o660),
                                (["--socket-mode", "0666"], os.getegid(), 0o666),
                                (["--socket-group", "4242", "--socket-mode", "620"], 4242, 0o620)):
            with Daemon(*args) as daemon:
                status = os.stat(daemon.socket)
                equal((status.st_gid, stat.S_IMODE(status.st_mode)), (gid, mode), args)
        with Daemon("--socket-group", "4242") as daemon:
            os.unlink(daemon.socket)
            eventually(lambda: os.path.exists(daemon.socket) and _answers(daemon))
            status = os.stat(daemon.socket)
            equal((status.st_gid, stat.S_IMODE(status.st_mode)), (4242, 0o660), "the one that is made again")

    def test_a_group_that_the_user_is_not_in(self):
        """The socket is nobody's before it has its group, and is gone when it cannot have it."""
        if os.geteuid() != 0:
            raise SkipTest("only root may become another user")
        with tempfile.TemporaryDirectory(prefix="lmd-") as room:
            os.chown(room, 65534, 65534)
            binary = shutil.copy(Daemon.binary, room)  # where that user may execute it
            done = subprocess.run([binary, "--name", "t" + uuid.uuid4().hex[:20], "--dir", room + "/data",
                                   "--socket-group", "0"], user=65534, group=65534, extra_groups=[], capture_output=True,
                                  text=True, timeout=60, check=False)
            equal(done.returncode, 1, done.stderr)
            assert "to group 0: Operation not permitted; --socket-group names a group" in done.stderr, done.stderr
            assert not os.path.exists(room + "/data/lanemapd.sock")

    def test_a_socket_that_is_passed_outlives_the_daemon(self):
        with Daemon() as daemon:
            daemon.stop()
            daemon.socket = os.path.join(daemon.directory, "passed.sock")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(daemon.socket)
            listener.listen()
            listener = _high(listener)
            early = daemon.client()
            early.send_commands(["SADD", "k", 1], ["SCARD", "k"])
            for how in (signal.SIGKILL, signal.SIGTERM):
                _start_passed(daemon, listener)
                equal((early.reply()[0], early.reply()), (":", (":", 1)), "who came early was served, and heard no LOADING")
                equal(early("CONFIG", "GET", "unixsocket")[1][1], ("$", daemon.socket.encode()))
                assert not os.path.exists(os.path.join(daemon.data, "lanemapd.sock"))
                daemon.stop(how)
                assert os.path.exists(daemon.socket), "it is not the daemon's to remove"
                early = daemon.client()
                early.send_commands(["SADD", "k", 1], ["SCARD", "k"])
            _start_passed(daemon, listener)
            equal(early.reply(), (":", 0))
            os.unlink(daemon.socket)
            eventually(lambda: "is gone, and clients do not find it: restart the unit" in daemon.messages())
            equal(daemon.stop(), 0)
            listener.close()

    def test_what_is_passed_and_cannot_be_taken(self):
        with Daemon() as daemon:
            daemon.stop()
            with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
                tcp.listen()
                for i, unix in enumerate((one, two)):
                    unix.bind(os.path.join(daemon.directory, f"passed{i}.sock"))
                two.listen()
                for sockets, args, told in (
                        ([tcp], [], "takes one listening Unix stream socket"),
                        ([one], [], "takes one listening Unix stream socket"),
                        ([two, tcp], [], "passes 2 descriptors (LISTEN_FDS)"),
                        ([two], ["--socket-group", "0"], "set SocketGroup= and SocketMode= in its unit"),
                        ([two], ["--socket-mode", "0666"], "set SocketGroup= and SocketMode= in its unit")):
                    _start_passed(daemon, *sockets, args=args)
                    equal(daemon.process.wait(30), 1, daemon.messages())
                    assert told in daemon.messages().splitlines()[-1], daemon.messages()


if __name__ == "__main__":
    main()
