"""redis-cli, as it is: what it does besides sending one command (tests/daemon/test_clients.py has that)."""
import re
import subprocess
import unittest

from harness import Daemon, equal, free_port, main, need_program

CLI = need_program("redis-cli", "redis-tools")
PASSWORD = "correct horse"


def run(*args, stdin=None):
    return subprocess.run([CLI, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)


class RedisCli(unittest.TestCase):
    def test_pipe_of_the_protocol(self):
        with Daemon() as daemon:
            words = "".join(f"*3\r\n$4\r\nSADD\r\n${len(f'k{i % 500}')}\r\nk{i % 500}\r\n${len(str(i))}\r\n{i}\r\n"
                            for i in range(50000))
            done = run("-s", daemon.socket, "--pipe", stdin=words)
            assert "errors: 0, replies: 50000" in done.stdout, done.stdout + done.stderr
            equal(run("-s", daemon.socket, "SCARD", "k7").stdout, "100\n")

    def test_pipe_says_how_many_errors(self):
        with Daemon() as daemon:
            done = run("-s", daemon.socket, "--pipe", stdin="SADD k 1\r\nSADD k x\r\nNOSUCHWORD\r\nSADD k 2\r\n")
            assert "errors: 2, replies: 4" in done.stdout, done.stdout + done.stderr
            equal(run("-s", daemon.socket, "SMEMBERS", "k").stdout, "1\n2\n")

    def test_stat(self):
        with Daemon() as daemon:
            client = daemon.client()
            for i in range(7):
                client("SADD", f"k{i}", 1)
            with subprocess.Popen([CLI, "-s", daemon.socket, "--stat", "-i", "0.05"], stdout=subprocess.PIPE, text=True) as cli:
                lines = [cli.stdout.readline() for _ in range(5)]
                cli.kill()
            # keys, memory, clients, blocked, requests and how many more than before, connections
            rows = [re.fullmatch(r"(\d+) +([\d.]+[BKMG]) +(\d+) +(\d+) +(\d+) \(\+(\d+)\) +(\d+) *\n", line)
                    for line in lines[2:]]
            assert all(rows), lines
            equal([row[1] for row in rows], ["7"] * 3, lines)
            assert all(row[2] != "0B" and row[3] == "2" and row[4] == "0" for row in rows), lines
            assert int(rows[2][5]) > int(rows[0][5]) >= 8, lines
            client.close()

    def test_latency(self):
        with Daemon() as daemon:
            done = run("-s", daemon.socket, "--latency", "-i", "0.2", "--raw")
            low, high, average, n = map(float, done.stdout.split())
            assert low <= average <= high and n >= 1, done.stdout

    def test_bigkeys_and_scan_say_why_not(self):
        with Daemon() as daemon:
            daemon.client()("SADD", "k", 1)
            for option in ("--scan", "--bigkeys", "--memkeys"):
                done = run("-s", daemon.socket, option)
                assert "only their fingerprints" in done.stdout + done.stderr, (option, done)

    def test_tcp_with_a_password_both_protocols(self):
        port = str(free_port())
        with Daemon("--port", port, env={"LANEMAPD_REQUIREPASS": PASSWORD}, password=PASSWORD):
            cli = lambda *args, stdin=None: run("-p", port, "--no-auth-warning", *args, stdin=stdin).stdout
            equal(cli("-a", PASSWORD, "SADD", "k", "3", "1"), "2\n")
            equal(cli("-a", PASSWORD, "-3", "--no-raw", "SMEMBERS", "k"), '1~ "1"\n2~ "3"\n')
            equal(cli("-2", "--no-raw", "-a", PASSWORD, "SMEMBERS", "k"), '1) "1"\n2) "3"\n')
            assert cli("SCARD", "k").startswith("NOAUTH "), cli("SCARD", "k")
            assert "WRONGPASS" in run("-p", port, "-a", "wrong", "PING").stderr
            equal(cli("-u", f"redis://default:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}", "SCARD", "k"), "2\n")

    def test_repeats_and_reconnects(self):
        with Daemon() as daemon:
            equal(run("-s", daemon.socket, "-r", "5", "SADD", "k", "1").stdout, "1\n0\n0\n0\n0\n")
            with subprocess.Popen([CLI, "-s", daemon.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, bufsize=1) as cli:
                cli.stdin.write("SADD k 2\n")
                equal(cli.stdout.readline(), "1\n")
                daemon.stop()
                daemon.start()
                cli.stdin.write("SADD k 3\n") # redis-cli reports the lost connection, and connects for the next one
                equal(cli.stdout.readline(), "Error: Broken pipe\n")
                cli.stdin.write("SADD k 3\n")
                equal(cli.stdout.readline(), "1\n")
                cli.stdin.close()
            equal(run("-s", daemon.socket, "SMEMBERS", "k").stdout, "1\n2\n3\n")


if __name__ == "__main__":
    main()
