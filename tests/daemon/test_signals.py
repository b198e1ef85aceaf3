"""Signals: which end lanemapd and what it says then, which do not; SIGHUP reads the options again."""
import os
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import Daemon, equal, eventually, main

FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS)
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
# They do nothing by themselves, or stop and continue a process.
LEFT = (signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH)
STOPPING = (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
SILENT = (signal.SIGPIPE, signal.SIGXFSZ)
OTHERS = [number for number in signal.valid_signals()
          if number not in {*FAULTS, *STOPS, *LEFT, *STOPPING, *SILENT, signal.SIGKILL, signal.SIGHUP, signal.SIGXCPU}]


def name_of(number):
    return signal.Signals(number).name if number < 32 else f"signal {number}"


def _blocks(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = [line for line in status if line.startswith("SigBlk:")][0]
    return int(line.split()[1], 16) >> (number - 1) & 1


def reload(daemon):
    """What the reload says."""
    n_before = daemon.messages().count("reloaded")
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: daemon.messages().count("reloaded") > n_before)
    return [line for line in daemon.messages().splitlines() if "reloaded" in line][-1].split("]: ")[1]


def written(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


class Signals(unittest.TestCase):
    def test_signals_that_are_harmless(self):
        """Every signal that is not listed above is tried: each leaves a line, and the daemon."""
        assert {signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGRTMIN, signal.SIGRTMAX} <= set(OTHERS)
        with Daemon() as daemon:
            for number in OTHERS:
                daemon.process.send_signal(number)
                # signal 29 has two names, SIGIO and SIGPOLL, and 16 is not one that Python knows.
                eventually(lambda: f"from process {os.getpid()} (uid {os.geteuid()}): ignored" in daemon.messages())
                line = daemon.messages().splitlines()[-1]
                assert line.endswith(": ignored"), line
                if number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM):
                    assert f"{name_of(number)} from process" in line, line
                open(daemon.log, "w", encoding="utf-8").close()
            for number in (*SILENT, *LEFT):
                daemon.process.send_signal(number)
            equal(daemon.client()("SADD", "k", 1), (":", 1))
            equal(daemon.stop(), 0)

    def test_signals_that_stop(self):
        with Daemon() as daemon:
            for number in STOPS:
                equal(daemon.stop(number), 0)
                assert f"{name_of(number)} from process {os.getpid()} (uid {os.geteuid()}): stopping" in daemon.messages()
                daemon.start()
            equal(daemon.stop(signal.SIGXCPU), 1, "so that it is started again, with time of its own")
            assert "SIGXCPU from process" in daemon.messages()

    def test_faults_leave_a_line(self):
        for number in FAULTS:
            with Daemon() as daemon:
                equal(daemon.stop(number), -number, "it ends as the signal says")
                assert f"{number.name}: process {daemon.process.pid} ends" in daemon.messages(), daemon.messages()

    def test_a_signal_before_the_options_are_read(self):
        """Signals wait from the first moment: a SIGHUP that comes early ends nothing."""
        with Daemon() as daemon:
            daemon.stop()
            for _ in range(20):
                daemon.start(wait=False)
                # In the process of before exec too: ignored there, and handled as soon as the program is lanemapd.
                eventually(lambda: _blocks(daemon.process.pid, signal.SIGHUP))
                daemon.process.send_signal(signal.SIGHUP)
                daemon.wait_until_ready()
                eventually(lambda: "reloaded: nothing has changed" in daemon.messages())
                equal(daemon.stop(), 0)

    def test_reload(self):
        with tempfile.TemporaryDirectory(prefix="lmd-") as room:
            path, password = os.path.join(room, "options"), os.path.join(room, "password")
            written(password, "one\n")
            written(path, "# a comment\n\n  --appendfsync   everysec  \nloglevel notice\n"
                          f"requirepass-file={password}\r\nworkers 2")
            with Daemon("--options-file", path, password="one") as daemon:
                early = daemon.client()
                equal(early("AUTH", "one"), ("+", "OK"))
                equal(early("CONFIG", "GET", "appendfsync")[1][1], ("$", b"everysec"))
                equal(reload(daemon), "reloaded: nothing has changed")

                written(path, f"appendfsync no\nloglevel info\nhang-limit 5\nrequirepass-file {password}\nworkers 3\nlanes 7\n")
                written(password, "two\n")
                equal(reload(daemon), "reloaded: the password, appendfsync no, hang-limit 5, loglevel info; only a restart "
                                      "changes lanes, workers")
                equal(early("CONFIG", "GET", "appendfsync")[1][1], ("$", b"no"))
                equal(early("CONFIG", "GET", "loglevel")[1][1], ("$", b"info"))
                equal(early("PING"), ("+", "PONG"), "a connection that knew the password stays")
                late = daemon.client()
                equal(late("AUTH", "one")[0], "-")
                equal(late("AUTH", "two"), ("+", "OK"))

                equal(early("CONFIG", "SET", "appendfsync", "always"), ("+", "OK"))
                equal(reload(daemon), "reloaded: appendfsync no; only a restart changes lanes, workers")

                written(path, "appendfsync always\nlanes many\n")
                equal(reload(daemon), f"not reloaded, everything stays as it was: {path}:2: --lanes: 'many' is not a number "
                                      "from 1 to 1024")
                equal(early("CONFIG", "GET", "appendfsync")[1][1], ("$", b"no"))
                os.unlink(path)
                assert reload(daemon).endswith(f"--options-file: cannot open {path}: No such file or directory")
                equal(daemon.client()("AUTH", "two"), ("+", "OK"))
                daemon.password = "two"

    def test_reload_keeps_a_password_that_was_wiped(self):
        for args, env in ((["--requirepass", "secret"], None), ([], {"LANEMAPD_REQUIREPASS": "secret"})):
            with Daemon(*args, "--options-file", "-/nonexistent/options", env=env, password="secret") as daemon:
                equal(reload(daemon), "reloaded: nothing has changed")
                client = daemon.client()
                equal(client("PING")[0], "-")
                equal(client("AUTH", "secret"), ("+", "OK"))

    def test_options_files(self):
        with tempfile.TemporaryDirectory(prefix="lmd-") as room:
            path = os.path.join(room, "options")
            for text, told in (("lanes\n", ":1: --lanes needs a value"), ("\n\nnosuch 1", ":3: unknown option '--nosuch'"),
                               ("options-file x", ":1: 'options-file' is for the command line only"),
                               ("help", ":1: 'help' is for the command line only"),
                               ("lanes 1 2", ":1: --lanes: '1 2' is not a number"), ("lanes = 0", "--lanes: '= 0' is not"),
                               ("a\0b", "has more than 65536 bytes, or a NUL"), ("#" * 65537, "has more than 65536 bytes")):
                written(path, text)
                done = subprocess.run([Daemon.binary, "--name", "x", "--dir", room + "/no/where", "--options-file", path],
                                      capture_output=True, text=True, timeout=30, check=False)
                equal(done.returncode, 2, text)
                assert told in done.stderr, (text, done.stderr)
            written(path, "lanes 9\nrequirepass a # b\n")
            with Daemon("--options-file", path, "--lanes", "3", password="a # b") as daemon:
                client = daemon.client()
                equal(client("AUTH", "a # b"), ("+", "OK"))
                assert b"\r\nn_lanes:3\r\n" in client("INFO")[1], "the command line counts for more"

    def test_systemd_is_told_of_a_reload(self):
        with tempfile.TemporaryDirectory(prefix="lmd-") as room:
            path = os.path.join(room, "notify")
            told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            told.bind(path)
            told.settimeout(20)
            with Daemon(env={"NOTIFY_SOCKET": path}) as daemon:
                reload(daemon)
                words = []
                while words[-1:] != [b"READY=1"] or b"RELOADING=1" not in words:
                    words.append(told.recv(4096).split(b"\n")[0])
                assert words.index(b"RELOADING=1") > words.index(b"READY=1"), words
            told.close()


if __name__ == "__main__":
    main()
