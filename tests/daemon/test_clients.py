"""Programs that others wrote: redis-cli, redis-benchmark, and a C program on hiredis, as they are."""
import os
import re
import shutil
import subprocess
import unittest

from harness import Daemon, SkipTest, equal, main

hiredis_program = os.path.abspath(os.environ.get("CLIENT_HIREDIS", "client_hiredis.c"))


def run(*args, stdin=None):
    return subprocess.run(args, input=stdin, capture_output=True, text=True, timeout=120, check=False)


def need(program):
    if not shutil.which(program):
        raise SkipTest(f"no {program}")


class Clients(unittest.TestCase):
    def test_redis_cli(self):
        need("redis-cli")
        with Daemon() as daemon:
            cli = lambda *args, stdin=None: run("redis-cli", "-s", daemon.socket, *args, stdin=stdin).stdout
            equal(cli("SADD", "public.users.id=42", "7", "9"), "2\n")
            equal(cli("SMEMBERS", "public.users.id=42"), "7\n9\n")
            equal(cli("-3", "--no-raw", "SMEMBERS", "public.users.id=42"), '1~ "7"\n2~ "9"\n')
            equal(cli("--no-raw", "SADD", "k", "x"), "(error) ERR value is not an integer or out of range\n")
            equal(cli("--no-raw", stdin="MULTI\nSADD t 1\nSCARD t\nEXEC\n"),
                  "OK\nQUEUED\nQUEUED\n1) (integer) 1\n2) (integer) 1\n")
            assert "keys=2" in cli("INFO", "keyspace")

    def test_redis_cli_pipe(self):
        need("redis-cli")
        with Daemon() as daemon:
            done = run("redis-cli", "-s", daemon.socket, "--pipe", stdin="".join(f"SADD k{i} {i}\r\n" for i in range(20000)))
            assert "errors: 0, replies: 20000" in done.stdout, done.stdout + done.stderr
            equal(daemon.client()("DBSIZE"), (":", 20000))

    def test_redis_benchmark(self):
        need("redis-benchmark")
        with Daemon("--appendfsync", "everysec") as daemon:
            bench = lambda *args: run("redis-benchmark", "-s", daemon.socket, "--csv", *args)
            done = bench("-n", "20000", "-r", "100000", "SADD", "k:__rand_int__", "7")
            equal(done.returncode, 0, done.stdout + done.stderr)
            done = bench("-n", "200000", "-r", "100000", "-P", "64", "SADD", "k:__rand_int__", "7")
            equal(done.returncode, 0, done.stdout + done.stderr)
            assert re.search(r'"SADD k:__rand_int__ 7","\d+', done.stdout), done.stdout
            equal(bench("-n", "2000", "-t", "ping").returncode, 0)
            n_keys = daemon.client()("DBSIZE")[1]
            assert 50000 < n_keys <= 100000, n_keys

    def test_hiredis(self):
        if not os.path.exists(hiredis_program):
            raise SkipTest("built without hiredis")
        with Daemon() as daemon:
            done = run(hiredis_program, daemon.socket)
            equal((done.returncode, done.stderr), (0, ""))
            assert done.stdout.endswith("0 failed\n"), done.stdout


if __name__ == "__main__":
    main()
