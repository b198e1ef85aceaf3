"""What the tests of the command line share: a lanemapd of their own, and running `lanemap`.

From the environment (meson sets them): LANEMAP, LANEMAPD: the programs; SOURCE: the source root.
"""
import glob
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

SOURCE = pathlib.Path(os.environ["SOURCE"])
LANEMAP = os.environ["LANEMAP"]
LANEMAPD = os.environ["LANEMAPD"]
STREAM = SOURCE / "tests/data/pgbench.wal2json.gz"
sys.path.insert(0, str(SOURCE / "tools/example"))


def run(*arguments, input="", **options):
    """One run of `lanemap`; text in and out."""
    return subprocess.run([LANEMAP, *map(str, arguments)], input=input, capture_output=True, text=True,
                          timeout=120, **options)


class Writer:
    """A lanemapd in a directory and under a name that nobody else uses."""

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
        except OSError:
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
        from send_command import send_command
        return send_command(self.socket, words)


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
