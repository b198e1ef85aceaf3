"""A C program on hiredis's asynchronous calls and libevent, against lanemapd that is killed and started again."""
import os
import signal
import subprocess
import unittest

from harness import Daemon, equal, free_port, main

PROGRAM = os.environ.get("CLIENT_HIREDIS_ASYNC")
PASSWORD = "correct-horse"


class HiredisAsync(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not PROGRAM:
            raise SystemExit("hiredis_async.c was not built, which this test runs against lanemapd: install libhiredis-dev "
                             "and libevent-dev (tools/install-packages build clients), and configure the build again")

    def check(self, daemon, *address):
        with daemon:
            program = subprocess.Popen([PROGRAM, *(address or [daemon.socket])], stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            said = program.stdout.readline()
            if said == "kill\n":
                daemon.stop(signal.SIGKILL)
                daemon.start()
            out, err = program.communicate(timeout=60)
            equal((said, program.returncode, err), ("kill\n", 0, ""), out)
            assert out.endswith(" passed, 0 failed\n"), out

    def test_unix_socket(self):
        self.check(Daemon("--appendfsync", "everysec"))

    def test_tcp_with_a_password(self):
        port = str(free_port())
        self.check(Daemon("--appendfsync", "everysec", "--port", port, env={"LANEMAPD_REQUIREPASS": PASSWORD},
                          password=PASSWORD), "127.0.0.1", port, PASSWORD)


if __name__ == "__main__":
    main()
