"""Starting, stopping, dying: options, doors, passwords, -LOADING, restarts after SIGTERM and kill -9, systemd's protocol."""
import os
import random
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import unittest

from harness import Client, Closed, Daemon, SkipTest, encode, equal, eventually, free_port, info, main


def run(*args, env=None):
    return subprocess.run([Daemon.binary, *args], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, **(env or {})), check=False)


def choices(client):
    lines = dict(line.split(":", 1) for line in client("INFO", "lanemap")[1].decode().splitlines() if ":" in line)
    return [lines[name] for name in ("segment_kind_young", "segment_kind_bottom", "filter")]


def listening(port):
    """Addresses (hex) that listen on the port."""
    addresses = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(path, encoding="ascii") as table:
            for row in table.readlines()[1:]:
                local, state = row.split()[1], row.split()[3]
                if state == "0A" and int(local.rsplit(":", 1)[1], 16) == port:
                    addresses.append(local.rsplit(":", 1)[0])
    return addresses


def _connect(daemon):
    try:
        return daemon.client()
    except OSError:
        return None


class Lifecycle(unittest.TestCase):
    def test_usage(self):
        equal(run("--version").stdout.split()[0], "lanemapd")
        script = run("--completion").stdout + "COMP_WORDS=(lanemapd --filter a) COMP_CWORD=2; _lanemapd; echo ${COMPREPLY[*]}\n"
        equal(subprocess.run(["bash", "-eu"], input=script, capture_output=True, text=True).stdout, "auto always\n")
        assert "--appendfsync" in run("--help").stdout
        ok = ["--name", "x", "--dir", "/nonexistent/lanemap"]
        equal(run(*ok, env={"LANEMAPD_REQUIREPASS": "x" * 513}).stderr,
              "lanemapd: LANEMAPD_REQUIREPASS: a password has 1 to 512 bytes, none of them NUL\n")
        for args, text in [
            ([], "--name is needed"),
            (["--name", "x"], "--dir is needed"),
            (["--name", "a.b", "--dir", "/x"], "--name: 'a.b' is not"),
            (["--name", "", "--dir", "/x"], "--name: '' is not"),
            (["--name", "a" * 65, "--dir", "/x"], "is not 1 to 64 of"),
            (ok + ["--nosuch"], "unknown option '--nosuch'"),
            (ok + ["word"], "unexpected argument 'word'"),
            (ok + ["--port"], "--port needs a value"),
            (ok + ["--port", "0"], "--port: '0' is not a number from 1 to 65535"),
            (ok + ["--port", "70000"], "--port: '70000' is not a number from 1 to 65535"),
            (ok + ["--port", "6379"], "--port needs a password"),
            (ok + ["--requirepass-file", "/nonexistent/file"], "--requirepass-file: cannot open"),
            (ok + ["--nosuch=secret"], "unknown option '--nosuch';"),
            (ok + ["-xy"], "unknown option '-x'"),
            (["-xy"], "unknown option '-x'"),
            (ok + ["--version=1"], "--version takes no value"),
            (ok + ["--socket", ""], "--socket: the path is empty"),
            (ok + ["--socket-group", "no such group"], "--socket-group: there is no group 'no such group'"),
            (ok + ["--socket-mode", "0888"], "--socket-mode: '0888' is not an octal mode from 0600 to 0777"),
            (ok + ["--socket-mode", "1660"], "--socket-mode: '1660' is not an octal mode"),
            (ok + ["--socket-mode", "0460"], "--socket-mode: '0460' keeps lanemapd's own user out"),
            (ok + ["--serve-from", ""], "--serve-from: the name of a directory is empty"),
            (ok + ["--requirepass", ""], "--requirepass: a password has 1 to 512 bytes"),
            (ok + ["--requirepass-file", "/dev/null"], "--requirepass-file: a password has 1 to 512 bytes"),
            (ok + ["--requirepass-file", "/dev/zero"], "--requirepass-file: a password has 1 to 512 bytes, none of them NUL"),
            (ok + ["--appendfsync", "sometimes"], "'sometimes' is not everysec, always or no"),
            (ok + ["--lanes", "1025"], "--lanes: '1025' is not a number from 1 to 1024"),
            (ok + ["--lanes", "4x"], "--lanes: '4x' is not"),
            (ok + ["--fingerprint-bits", "65"], "'65' is not 64, 80 or 96"),
            (ok + ["--segment-kind-young", "pthash"], "--segment-kind-young: 'pthash' is not packed, recsplit or bbhash"),
            (ok + ["--segment-kind-bottom", ""], "--segment-kind-bottom: '' is not packed"),
            (ok + ["--filter", "never"], "--filter: 'never' is not none, auto or always"),
            (ok + ["--workers", "-1"], "--workers: '-1' is not"),
            (ok + ["--flush-bytes", "99999999999999999999999"], "--flush-bytes"),
            (ok + ["--lock-memory", "much"], "--lock-memory: 'much' is not a number from 0 to"),
            (ok + ["--serve-from"], "--serve-from needs a value"),
            (ok + ["--loglevel", "loud"], "'loud' is not debug"),
        ]:
            done = run(*args)
            equal((done.returncode, done.stdout), (2, ""), str(args))
            assert text in done.stderr and done.stderr.count("\n") == 1, (args, done.stderr)

    def test_what_cannot_be_opened(self):
        """It says what, where and what to do; and touches nothing that belongs to others."""
        with tempfile.TemporaryDirectory(prefix="lmd-") as room, socket.socket() as taken, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            file, others, data = os.path.join(room, "file"), os.path.join(room, "others"), os.path.join(room, "data")
            other.bind(others)
            open(file, "w", encoding="ascii").close()
            name = f"test-{os.getpid()}-unopened"
            for args, words in [
                (["--dir", room + "/no/data"], [room + "/no/data: the one above it is not there"]),
                (["--dir", file], [file, "Not a directory"]),
                (["--dir", data, "--socket", "/tmp/" + "x" * 120], ["at most 107 bytes", "--socket"]),
                (["--dir", data, "--socket", room + "/no/s"], [room + "/no/s: No such file"]),
                (["--dir", data, "--socket", file], [file + ": there is something that is no socket", "--socket"]),
                (["--dir", data, "--socket", others], [others + ": there is a socket of something else", "--socket"]),
                (["--dir", data, "--requirepass", "p", "--port", port],
                 [f"TCP port {port} of 127.0.0.1: Address already in use", "--port"]),
                (["--dir", data, "--serve-from", room + "/no"], [f"cannot serve {name} from {data}: ", room + "/no"]),
            ]:
                done = run("--name", name, *args)
                equal(done.returncode, 1, str(args))
                assert all(word in done.stderr for word in words), (args, done.stderr)
            assert stat.S_ISSOCK(os.stat(others).st_mode) and os.path.exists(file)
            assert not os.path.exists(os.path.join(data, "lanemapd.sock"))
            for entry in os.listdir("/dev/shm"):
                if entry.startswith("lanemap." + name):
                    os.unlink("/dev/shm/" + entry)

    def test_a_socket_file_that_is_removed_comes_back(self):
        with Daemon() as daemon:
            before = daemon.client()
            os.unlink(daemon.socket)
            after = eventually(lambda: _connect(daemon))
            equal(after("SADD", "k", 1), (":", 1))
            equal(before("SADD", "k", 1), (":", 0))
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(daemon.socket + ".other")
                other.listen()
                os.rename(daemon.socket + ".other", daemon.socket)
                eventually(lambda: "the socket's file is gone, and another server answers" in daemon.messages())
            equal(eventually(lambda: _connect(daemon))("SCARD", "k"), (":", 1))
            equal(daemon.stop(), 0)
            assert not os.path.exists(daemon.socket)

    def test_kinds_and_filter_policy_are_remembered(self):
        with Daemon("--segment-kind-bottom", "recsplit", "--filter", "always") as daemon:
            equal(choices(daemon.client()), ["packed", "recsplit", "always"])
            equal(daemon.stop(signal.SIGKILL), -signal.SIGKILL)
            daemon.args = []
            daemon.start()
            equal(choices(daemon.client()), ["packed", "recsplit", "always"])
            equal(daemon.stop(), 0)
            daemon.args = ["--filter", "none", "--segment-kind-young", "bbhash"]
            daemon.start()
            equal(choices(daemon.client()), ["bbhash", "recsplit", "none"])
            equal(daemon.stop(signal.SIGKILL), -signal.SIGKILL)
            daemon.args = []
            daemon.start()
            equal(choices(daemon.client()), ["bbhash", "recsplit", "none"])

    def test_copies_and_locked_memory_are_shown(self):
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="lanemap-test-copies-") as tmpfs:
            with Daemon("--serve-from", tmpfs, "--lock-memory", "65536") as daemon:
                client = daemon.client()
                client("SADD", "a", "1")
                equal(client("LANEMAP.FLUSH"), ("+", "OK"))
                eventually(lambda: info(client)["served_copies"] == "1" and int(info(client)["locked_bytes"]) > 0)
                shown = info(client)
                equal((shown["serve_no_room"], shown["lock_refused"]), ("0", "0"))
                equal((shown["warmed_bytes"], shown["served_bytes"]), (shown["segment_bytes"],) * 2)
                equal(len(os.listdir(tmpfs)), 1)
                equal(client("SISMEMBER", "a", "1"), (":", 1))

        with tempfile.TemporaryDirectory() as data:
            name = f"test-{os.getpid()}-nowhere"
            done = run("--name", name, "--dir", data, "--serve-from", "/nonexistent/tmpfs")
            os.unlink(f"/dev/shm/lanemap.{name}.lock")
            equal(done.returncode, 1)
            assert "the directory to serve from, /nonexistent/tmpfs" in done.stderr, done.stderr
            assert "manifest.json" not in os.listdir(data), "nothing was made"

    def test_second_daemon_on_the_same_directory(self):
        with Daemon() as daemon:
            equal(daemon.client()("SADD", "k", 1), (":", 1))
            for args in ([], ["--socket", daemon.directory + "/other.sock"]):
                done = run("--name", daemon.name + "b", "--dir", daemon.data, *args)
                equal(done.returncode, 1)
                assert done.stderr.strip(), "it says why"
            equal(daemon.client()("SCARD", "k"), (":", 1))
            assert not os.path.exists(daemon.directory + "/other.sock")

    def test_tcp_needs_the_password(self):
        port = free_port()
        with Daemon("--port", str(port), env={"LANEMAPD_REQUIREPASS": "secret"}, password="secret") as daemon:
            for address in [("127.0.0.1", port), ("::1", port), daemon.socket]:
                try:
                    client = Client(address)
                except OSError:
                    assert address[0] == "::1"
                    continue
                equal(client("SADD", "k", 1), ("-", "NOAUTH Authentication required."))
                equal(client("HELLO", 3)[1].split()[0], "NOAUTH")
                equal(client("AUTH", "wrong")[1].split()[0], "WRONGPASS")
                equal(client("AUTH", "secre")[1].split()[0], "WRONGPASS")
                equal(client("AUTH", "secretsecret")[1].split()[0], "WRONGPASS")
                equal(client("AUTH", "other", "secret")[1].split()[0], "WRONGPASS")
                equal(client("PING"), ("-", "NOAUTH Authentication required."))
                equal(client("AUTH", "secret"), ("+", "OK"))
                equal(client("SISMEMBER", "k", 1), (":", 0))
                equal(client("CONFIG", "GET", "requirepass")[1][1], ("$", b""))
                equal(client("RESET"), ("+", "RESET"))
                equal(client("PING"), ("-", "NOAUTH Authentication required."))
                equal(client("HELLO", 3, "AUTH", "default", "secret")[0], "%")
                equal(client("PING"), ("+", "PONG"))
            for data, text in [(b"*11\r\n", "unauthenticated multibulk length"),
                               (b"*1\r\n$16385\r\n", "unauthenticated bulk length")]:
                client = Client(("127.0.0.1", port))
                client.send(data)
                equal(client.reply(), ("-", f"ERR Protocol error: {text}"))
            client = Client(("127.0.0.1", port))
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                client.reply()
                raise AssertionError("HTTP was answered")
            except (Closed, ConnectionResetError):
                pass

    def test_tcp_is_loopback_only_and_password_files(self):
        port = free_port()
        with Daemon() as daemon:
            path = os.path.join(daemon.directory, "password")
            with open(path, "w", encoding="ascii") as file:
                file.write("from a file\nsecond line\n")
            equal(daemon.stop(), 0)
            daemon.args, daemon.password = ["--port", str(port), "--requirepass-file", path], "from a file"
            daemon.start()
            equal(daemon.client()("AUTH", "from a file"), ("+", "OK"))
            assert set(listening(port)) <= {"0100007F", "00000000000000000000000001000000"}, listening(port)
            assert listening(port)
            equal(daemon.stop(), 0)
            daemon.password = "on the command line"
            daemon.args = ["--port", str(port), "--requirepass", daemon.password]
            daemon.start()
            with open(f"/proc/{daemon.process.pid}/cmdline", "rb") as cmdline:
                assert b"on the command line" not in cmdline.read()

    def test_loading(self):
        if not Daemon.preload:
            raise SkipTest("nothing to hold the opening with")
        with Daemon() as daemon:
            daemon.client()("SADD", "k", 1)
            equal(daemon.stop(), 0)
            open(daemon.hold, "w", encoding="ascii").close()
            daemon.start(wait=False)
            client = eventually(lambda: _connect(daemon))
            loading = ("-", "LOADING lanemapd is loading the index")
            for command in ("PING", "SADD k 1", "SMEMBERS k", "LANEMAP.IDS", "LANEMAP.MARK", "DBSIZE", "FLUSHALL"):
                equal(client(*command.split()), loading, command)
            equal(client("SADD", "k"), ("-", "ERR wrong number of arguments for 'sadd' command"))
            assert b"loading:1" in client("INFO")[1]
            equal(client("HELLO", 2)[0], "*")
            equal(client("CONFIG", "GET", "appendfsync")[1][1], ("$", b"always"))
            equal(client("CONFIG", "SET", "appendfsync", "no"), loading)
            equal(client("MULTI"), ("+", "OK"))
            equal(client("SADD", "k", 1), loading)
            equal(client("EXEC")[1].split()[0], "EXECABORT")
            os.unlink(daemon.hold)
            eventually(lambda: client("PING") == ("+", "PONG"))
            equal(client("SCARD", "k"), (":", 1))

    def test_stop_while_loading(self):
        if not Daemon.preload:
            raise SkipTest("nothing to hold the opening with")
        with Daemon() as daemon:
            equal(daemon.stop(), 0)
            open(daemon.hold, "w", encoding="ascii").close()
            daemon.start(wait=False)
            eventually(lambda: _connect(daemon))
            daemon.process.terminate()
            eventually(lambda: "stopping" in daemon.messages())
            os.unlink(daemon.hold)
            equal(daemon.process.wait(30), 0)

    def test_restart_keeps_everything(self):
        with Daemon() as daemon:
            client = daemon.client()
            for i in range(300):
                client.send_commands(["SADD", f"k{i}", i, i + 1], ["SREM", f"k{i}", i + 1], ["SADD", "all", i])
            for i in range(900):
                equal(client.reply(), (":", 1 if i % 3 else 2))
            equal(daemon.stop(), 0)
            assert "stopped" in daemon.messages()
            daemon.start()
            client = daemon.client()
            equal(client("DBSIZE"), (":", 301))
            equal(client("SCARD", "all"), (":", 300))
            for i in range(300):
                equal(client("SMEMBERS", f"k{i}"), ("*", [("$", str(i).encode())]))

    def test_kill_keeps_what_was_acknowledged(self):
        seed = random.randrange(1 << 32)
        rng = random.Random(seed)
        with Daemon() as daemon:
            model = {}
            for round_ in range(5):
                client = daemon.client()
                killer = threading.Timer(rng.random() * 0.3, daemon.process.kill)
                killer.start()
                sent = []
                try:
                    while True:
                        burst = [("SADD" if rng.random() < 0.7 else "SREM", f"k{rng.randrange(50)}", rng.randrange(20))
                                 for _ in range(rng.randrange(1, 20))]
                        sent += burst
                        client.send_commands(*burst)
                        for _ in burst:
                            equal(client.reply()[0], ":")
                            command, key, member = sent.pop(0)
                            ids = model.setdefault(key, set())
                            ids.add(member) if command == "SADD" else ids.discard(member)
                except (Closed, ConnectionResetError, BrokenPipeError):
                    pass
                daemon.process.wait()
                daemon.start()
                client = daemon.client()
                unsure = {}
                for command, key, member in sent:
                    unsure.setdefault(key, set()).add(member)
                for key in [f"k{i}" for i in range(50)]:
                    ids = {int(m[1]) for m in client("SMEMBERS", key)[1]}
                    wrong = (ids ^ model.get(key, set())) - unsure.get(key, set())
                    assert not wrong, f"seed {seed} round {round_} {key}: {wrong}"
                    model[key] = ids
                equal(client("DBSIZE"), (":", sum(1 for ids in model.values() if ids)))

    def test_replies_arrive_before_a_clean_stop(self):
        with Daemon() as daemon:
            client = daemon.client()
            n = 2000
            client.send_commands(*[["SADD", "k", i] for i in range(n)])
            equal(client.reply(), (":", 1))
            daemon.process.terminate()
            n_replies = 1
            try:
                while True:
                    client.reply()
                    n_replies += 1
            except (Closed, ConnectionResetError):
                pass
            equal(daemon.process.wait(30), 0)
            daemon.start()
            n_kept = daemon.client()("SCARD", "k")[1]
            assert n_replies <= n_kept <= n, (n_replies, n_kept)

    def test_systemd_is_told(self):
        with Daemon() as daemon:
            equal(daemon.stop(), 0)
            path = os.path.join(daemon.directory, "notify")
            told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            told.bind(path)
            told.settimeout(10)
            daemon.env = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"}
            daemon.start()
            first = told.recv(4096)
            if b"STATUS=Loading" not in first:
                raise AssertionError(first)
            while b"READY=1" not in (message := told.recv(4096)):  # a slow start is no hang
                equal(message, b"WATCHDOG=1")
            equal(told.recv(4096).decode(), f"STATUS=Serving {daemon.name}")
            equal(told.recv(4096), b"WATCHDOG=1")
            daemon.process.terminate()
            while b"STOPPING=1" not in (message := told.recv(4096)):
                assert message == b"WATCHDOG=1", message
            equal(daemon.process.wait(30), 0)


if __name__ == "__main__":
    main()
