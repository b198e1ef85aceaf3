"""Shared by the tests in Python: starting lanemapd, running `lanemap`, speaking RESP, waiting for what is to happen.

Tests are unittest TestCases. Each file runs alone, `python3 tests/daemon/test_signals.py Signals.test_reload`, with this folder in
PYTHONPATH; meson sets that, and:

LANEMAPD, LANEMAP   the programs; without: those of build/dev
PRELOAD_SYNC        a library that decides when fdatasync ends, for all daemons here; may be unset

A reply is a pair (type byte, value), so that a test sees a set where an array was right: (':', 1), ('+', 'OK'),
('-', 'ERR ...'), ('$', b'..' or None), ('*', [...]), ('~', [...]), ('%', [...]), ('=', b'txt:..'), ('_', None).
"""
import array
import fcntl
import glob
import importlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import uuid

SOURCE = pathlib.Path(__file__).resolve().parents[2]
LANEMAPD = os.path.abspath(os.environ.get("LANEMAPD", SOURCE / "build/dev/src/daemon/lanemapd"))
LANEMAP = os.path.abspath(os.environ.get("LANEMAP", SOURCE / "build/dev/tools/lanemap/lanemap"))
STREAM = SOURCE / "tests/data/pgbench.wal2json.gz"

SkipTest = unittest.SkipTest


class Closed(Exception):
    """The server closed the connection."""


class Client:
    def __init__(self, address, timeout=20):
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
        else:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        self.buffer, self.at = b"", 0

    def send(self, data):
        self.socket.sendall(data)

    def send_commands(self, *commands):
        self.send(b"".join(encode(*c) for c in commands))

    def _more(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise Closed()
        self.buffer = self.buffer[self.at:] + data
        self.at = 0

    def _line(self):
        while (end := self.buffer.find(b"\r\n", self.at)) < 0:
            self._more()
        line, self.at = self.buffer[self.at:end], end + 2
        return line

    def _bytes(self, n):
        while len(self.buffer) - self.at < n + 2:
            self._more()
        data, self.at = self.buffer[self.at:self.at + n], self.at + n + 2
        return data

    def reply(self):
        line = self._line()
        kind, rest = chr(line[0]), line[1:]
        if kind in "+-":
            return kind, rest.decode()
        if kind == ":":
            assert -(1 << 63) <= int(rest) < 1 << 63, f"not RESP: {line!r}"
            return kind, int(rest)
        if kind == ",":
            return kind, float(rest)
        if kind in "$=":
            return kind, None if rest == b"-1" else self._bytes(int(rest))
        if kind in "*~%":
            if rest == b"-1":
                return kind, None
            return kind, [self.reply() for _ in range(int(rest) * (2 if kind == "%" else 1))]
        if kind == "_":
            return kind, None
        raise AssertionError(f"not RESP: {line!r}")

    def __call__(self, *command):
        self.send(encode(*command))
        return self.reply()

    def is_taken(self):
        """Whether the server has read everything that was sent. What it read in one round it runs in that round."""
        n_bytes = array.array("i", [0])
        fcntl.ioctl(self.socket, termios.TIOCOUTQ, n_bytes)
        return n_bytes[0] == 0

    def is_silent(self, seconds):
        """Whether nothing arrives in that time."""
        if self.at < len(self.buffer):
            return False
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)
        if not data:
            raise Closed()
        self.buffer, self.at = data, 0
        return False

    def close(self):
        self.socket.close()


def encode(*command):
    args = [str(a).encode() if isinstance(a, int) else a.encode() if isinstance(a, str) else a for a in command]
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args)


def info(client):
    """The fields of INFO, by name."""
    kind, text = client("INFO", "everything")
    equal(kind, "$")
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


def eventually(what, seconds=20):
    """Calls what() until it is true; answers what it answered."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen in time")
        time.sleep(0.01)


class Daemon:
    """One lanemapd with a name and a directory of its own; both are gone after `with`."""

    binary = LANEMAPD
    preload = os.environ.get("PRELOAD_SYNC")

    def __init__(self, *args, env=None, wrapper=(), password=None):
        self.directory = tempfile.mkdtemp(prefix="lmd-")
        self.data = os.path.join(self.directory, "data")
        self.socket = os.path.join(self.data, "lanemapd.sock")
        self.hold = os.path.join(self.directory, "hold")
        self.fail = os.path.join(self.directory, "fail")
        self.log = os.path.join(self.directory, "stderr")
        self.name = "t" + uuid.uuid4().hex[:20]
        self.args = list(args)
        self.env = env or {}
        self.wrapper = list(wrapper)
        self.password = password
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, failed, *_):
        if failed and self.process and self.process.poll() not in (None, 0):
            print(f"lanemapd ended with {self.process.returncode}: {self.messages()[-8000:]}")
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()
        for entry in os.listdir("/dev/shm"):
            if entry.startswith(f"lanemap.{self.name}"):
                os.unlink(os.path.join("/dev/shm", entry))
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, wait=True):
        env = dict(os.environ, LANEMAP_TEST_HOLD=self.hold, LANEMAP_TEST_FAIL=self.fail, **self.env)
        env.pop("NOTIFY_SOCKET", None)
        env.update(self.env)
        if Daemon.preload and "LD_PRELOAD" not in env:
            env["LD_PRELOAD"] = Daemon.preload
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [Daemon.binary, "--name", self.name, "--dir", self.data] + self.args,
                stderr=log, stdout=log, env=env)
        if wait:
            self.wait_until_ready()

    def _is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"lanemapd ended with {self.process.returncode}: {self.messages()}")
        try:
            client = self.client()
            if self.password:
                client("AUTH", self.password)
            reply = client("PING")
            client.close()
        except (OSError, Closed):
            return False
        return not reply[1].startswith("LOADING")

    def wait_until_ready(self):
        eventually(self._is_ready, 60)

    def client(self, timeout=20):
        return Client(self.socket, timeout)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(30)

    def messages(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()


class Redis:
    """A real redis-server, the oracle; None of it when it is not installed."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="lmr-")
        self.socket = os.path.join(self.directory, "redis.sock")
        self.process = None

    @staticmethod
    def is_installed():
        return shutil.which("redis-server") is not None

    def __enter__(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.socket, "--save", "", "--dir", self.directory],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._answers)
        return self

    def _answers(self):
        try:
            self.client().close()
        except OSError:
            return False
        return True

    def client(self):
        return Client(self.socket)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


def free_port():
    """A TCP port of the loopback address that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def need_program(name, package):
    """Where a program is that a test can't do without."""
    path = shutil.which(name)
    if not path:
        raise SystemExit(f"there is no {name}, which this test runs against lanemapd: install {package} "
                         "(tools/install-packages clients)")
    return path


def need_module(name, package):
    """A module that a test can't do without."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SystemExit(f"{sys.executable} has no module {name}, which this test runs against lanemapd: install "
                         f"{package} (tools/install-packages clients)") from error


def equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r:.400}, wanted {wanted!r:.400}")


def run(*arguments, input="", **options):
    """One run of `lanemap`; text in and out."""
    return subprocess.run([LANEMAP, *map(str, arguments)], input=input, capture_output=True, text=True,
                          timeout=120, **options)


def plain(reply):
    """A reply as a person sees it; an error reply is an exception."""
    kind, value = reply
    if kind == "-":
        raise ConnectionError(value)
    if kind in "*~%":
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode()
    return value if value is None else str(value)


class Writer:
    """A lanemapd in a directory and under a name that nobody else uses, for tests of `lanemap`."""

    def __init__(self, directory=None, name=None, options=()):
        self.name = name or f"cli-{uuid.uuid4().hex[:12]}"
        self.directory = directory or tempfile.mkdtemp(prefix="lanemap-cli-")
        self.socket = os.path.join(self.directory, "lanemapd.sock")
        self.options = list(options)
        self.process = None

    def start(self):
        log = os.path.join(self.directory, "log")
        with open(log, "a", encoding="utf-8") as file:
            self.process = subprocess.Popen([LANEMAPD, "--name", self.name, "--dir", self.directory]
                                            + self.options,
                                            stdout=file, stderr=file)
        deadline = time.monotonic() + 30
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(log, encoding="utf-8") as file:
                    raise RuntimeError("lanemapd did not start: " + file.read())
            time.sleep(0.02)
        return self

    def answers(self):
        """Not before it listens, and not while it says LOADING."""
        try:
            return self.command("PING") == "PONG"
        except (OSError, Closed):
            return False

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=30)
            self.process = None

    def remove(self):
        self.stop()
        for path in glob.glob(f"/dev/shm/lanemap.{self.name}*"):
            os.unlink(path)
        shutil.rmtree(self.directory, ignore_errors=True)

    def load(self, text):
        """Routes that must all be good."""
        result = run("load", "--socket", self.socket, input=text)
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return result

    def command(self, *words):
        client = Client(self.socket)
        try:
            return plain(client(*words))
        finally:
            client.close()


class WriterTest(unittest.TestCase):
    """Tests that share one running writer."""

    @classmethod
    def setUpClass(cls):
        cls.writer = Writer()
        cls.addClassCleanup(cls.writer.remove)
        cls.writer.start()

    def lanemap(self, *arguments, code=0, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        return result


def main():
    """A line for each test, and how long all took."""
    unittest.main(verbosity=2, warnings="ignore")
