"""node-redis and ioredis, as they are, against lanemapd.

The programs are in node/. Their packages, of the versions in node/package-lock.json, are installed into the build folder:
CLIENTS_NODE names a folder there.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

from harness import Daemon, equal, free_port, main, need_program

HERE = pathlib.Path(__file__).resolve().parent / "node"
PASSWORD = "correct horse"


def packages_install(folder):
    """As the lock file says, unless they are there; no package runs a program of its own meanwhile."""
    for name in ("package.json", "package-lock.json", "harness.mjs", "node_redis.mjs", "ioredis.mjs"):
        shutil.copy(HERE / name, folder / name)
    lock, stamp = (folder / "package-lock.json").read_bytes(), folder / "installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    done = subprocess.run([need_program("npm", "nodejs and npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                          cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SystemExit("npm ci could not install node-redis and ioredis, which this test runs against lanemapd; it "
                         f"needs a package registry that npm reaches:\n{done.stdout}{done.stderr}")
    stamp.write_bytes(lock)


class Control:
    """Kills and starts the daemon when a program of node/ says so."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.path = os.path.join(daemon.directory, "control")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("r") as words:
                if words.readline() == "kill\n":
                    self.daemon.stop(signal.SIGKILL)
                else:
                    self.daemon.start()
                connection.sendall(b"done\n")


class Node(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need_program("node", "nodejs")
        cls.folder = pathlib.Path(os.environ.get("CLIENTS_NODE") or tempfile.mkdtemp(prefix="lmd-node-"))
        cls.folder.mkdir(parents=True, exist_ok=True)
        if "CLIENTS_NODE" not in os.environ:
            cls.addClassCleanup(shutil.rmtree, cls.folder)
        packages_install(cls.folder)

    def run_program(self, name):
        port = free_port()
        daemon = Daemon("--port", str(port), "--appendfsync", "everysec", env={"LANEMAPD_REQUIREPASS": PASSWORD},
                        password=PASSWORD)
        with daemon:
            control = Control(daemon)
            env = dict(os.environ, LANEMAPD_SOCKET=daemon.socket, LANEMAPD_PORT=str(port), LANEMAPD_PASSWORD=PASSWORD,
                       CONTROL=control.path)
            with subprocess.Popen(["node", "--test-reporter=spec", name], cwd=self.folder, env=env, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
                stopper = threading.Timer(90, program.kill)
                stopper.start()
                said = program.stdout.read()
                stopper.cancel()
            control.listener.close()
        equal(program.returncode, 0, said[-8000:])

    def test_node_redis(self):
        self.run_program("node_redis.mjs")

    def test_ioredis(self):
        self.run_program("ioredis.mjs")


if __name__ == "__main__":
    main()
