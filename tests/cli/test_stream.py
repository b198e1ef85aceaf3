"""The recipe of lanemap-route(1), as it stands there, on a real PostgreSQL: its processes are killed in the midst, and
each transaction is in the output once, in order."""
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import LANEMAP, LANEMAPD, SOURCE, run

BIN = os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin")
TRANSACTIONS = 300
KILLS = 12
INDEX = f"stream-{os.getpid()}"


def installed():
    plugin = os.path.join(os.path.dirname(BIN), "lib/wal2json.so")
    return all(os.path.exists(path) for path in (f"{BIN}/postgres", f"{BIN}/pg_recvlogical", plugin))


def recipe():
    """The two loops of the manual."""
    text = (SOURCE / "tools/man/lanemap-route.1").read_text().split("\n.SH RESUMING\n")[1].split("\n.SH ")[0]
    blocks = [block.split("\n.EE")[0] for block in text.split("\n.EX\n")[1:]]
    return [block.replace("\\-", "-").replace("\\e", "\\") for block in blocks]


@unittest.skipUnless(installed(), "PostgreSQL 15 and wal2json are not installed: tools/install-packages postgres")
class StreamTest(unittest.TestCase):
    def setUp(self):
        self.room = tempfile.mkdtemp(prefix="lanemap-stream-")
        self.addCleanup(shutil.rmtree, self.room, True)
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:
            shutil.chown(self.room, "postgres", "postgres")
        self.env = dict(os.environ, PGHOST=self.room, PGUSER="postgres", PGDATABASE="shop", LC_ALL="C.UTF-8", HOME=self.room,
                        PATH=f"{BIN}:{os.path.dirname(LANEMAP)}:{os.environ['PATH']}")
        self.processes = []
        self.addCleanup(self.stop_all)

    # Running things as the user that PostgreSQL wants

    def command(self, *command):
        who = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []
        return [*who, *map(str, command)]

    def do(self, *command):
        done = subprocess.run(self.command(*command), cwd=self.room, env=self.env, capture_output=True, text=True,
                              timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def start(self, *command, log):
        file = open(os.path.join(self.room, log), "a", encoding="utf-8")
        self.addCleanup(file.close)
        process = subprocess.Popen(self.command(*command), cwd=self.room, env=self.env, stdout=file, stderr=file,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        self.processes.append(process)
        return process

    def stop_all(self):
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        subprocess.run(self.command(f"{BIN}/pg_ctl", "-D", f"{self.room}/data", "-m", "immediate", "-w", "stop"),
                       env=self.env, capture_output=True, check=False)
        for path in pathlib.Path("/dev/shm").glob(f"lanemap.{INDEX}*"):
            path.unlink()

    def sql(self, text):
        return self.do(f"{BIN}/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text)

    def postgres_start(self):
        self.do(f"{BIN}/initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C.UTF-8")
        settings = ["listen_addresses = ''", f"unix_socket_directories = '{self.room}'", "wal_level = logical"]
        described = subprocess.run([f"{BIN}/postgres", "--describe-config"], env=self.env, capture_output=True, text=True,
                                   check=False).stdout
        with open(f"{self.room}/data/postgresql.conf", "a", encoding="utf-8") as file:
            file.write("\n".join(settings) + "\n")
        self.do(f"{BIN}/pg_ctl", "-D", "data", "-w", "-l", "postgres.log", "start")
        self.do(f"{BIN}/createdb", "shop")
        if "output_plugin_libraries" in described:
            # As the manual says it, in a session of its own each: ALTER SYSTEM is for no transaction.
            self.sql("ALTER SYSTEM SET output_plugin_libraries = pgoutput, wal2json")
            self.sql("SELECT pg_reload_conf()")
        self.sql("CREATE TABLE t (id serial PRIMARY KEY, k text); CREATE TABLE made (xid bigint, n int)")
        self.until(lambda: subprocess.run(
            self.command(f"{BIN}/pg_recvlogical", "-d", "shop", "--slot", "routes", "--create-slot", "--if-not-exists",
                         "-P", "wal2json"), cwd=self.room, env=self.env, capture_output=True, check=False).returncode == 0)

    def until(self, what, seconds=90):
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                logs = "".join(f"== {log}\n{pathlib.Path(self.room, log).read_text()[-2000:]}"
                               for log in ("receive.log", "route.log") if os.path.exists(os.path.join(self.room, log)))
                self.fail("did not happen in time\n" + logs)
            time.sleep(0.05)

    def kill_one(self, program):
        """SIGKILL for that program of ours. Returns whether there was one."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = pathlib.Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
                where = os.readlink(f"/proc/{pid}/cwd")
            except OSError:
                continue
            if where == self.room and os.path.basename(words[0]).decode() == program[0] and program[1].encode() in words:
                os.kill(int(pid), signal.SIGKILL)
                return True
        return False

    # The tests

    def test_the_pipeline_of_readme_prints_what_readme_says(self):
        block = (SOURCE / "README.md").read_text().split("\n## Route a change stream\n")[1].split("```")[1]
        pipeline = "pg_recvlogical" + block.split("pg_recvlogical")[-1]
        for word, here in (("-d app", "-d shop"), ("--slot s ", "--slot routes "), ("route acme", f"route --wait 60 {INDEX}")):
            self.assertIn(word, pipeline)
            pipeline = pipeline.replace(word, here)
        self.postgres_start()
        self.start(LANEMAPD, "--name", INDEX, "--dir", os.path.join(self.room, "index"), log="writer.log")
        socket = os.path.join(self.room, "index", "lanemapd.sock")
        self.until(lambda: os.path.exists(socket))
        run("load", "--socket", socket, input="public.t.k=even\t2\n")
        self.start("bash", "-c", f"( {pipeline.strip()} ) >routed", log="route.log")
        self.until(lambda: os.path.exists(os.path.join(self.room, "routed")))
        self.sql("INSERT INTO t (k) VALUES ('even')")
        self.until(lambda: "ids" in pathlib.Path(self.room, "routed").read_text())
        line = json.loads(pathlib.Path(self.room, "routed").read_text().splitlines()[0])
        self.assertRegex(line.pop("lsn", ""), "^[0-9A-F]+/[0-9A-F]+$")
        self.assertEqual(line, {"schema": "public", "table": "t", "action": "I", "ids": [2]})

    def transactions(self):
        """Of what was committed, one after another: transaction number and changes of t."""
        rows = self.sql("SELECT xid, n FROM made ORDER BY xid").splitlines()
        return [tuple(map(int, row.split("|"))) for row in rows]

    def test_nothing_is_lost_and_nothing_comes_twice(self):
        receive, route = recipe()
        self.postgres_start()
        run("load", "--dir", os.path.join(self.room, "index"), "--name", INDEX, input="public.t\t1\npublic.t.k=even\t2\n")
        subprocess.run(["chown", "-R", self.user, os.path.join(self.room, "index")], check=True)
        for path in pathlib.Path("/dev/shm").glob(f"lanemap.{INDEX}*"):
            path.unlink()
        self.start(LANEMAPD, "--name", INDEX, "--dir", os.path.join(self.room, "index"), log="writer.log")
        self.do("touch", "changes", "routes")
        self.start("bash", "-c", receive.replace("sleep 1", "sleep 0.1"), log="receive.log")
        self.start("bash", "-c", route.replace("sleep 1", "sleep 0.1").replace(" acme", f" --wait 60 {INDEX}"), log="route.log")

        chance, killed, n = random.Random(17), {"lanemap": 0, "pg_recvlogical": 0}, 0
        while min(killed.values()) < KILLS or n < TRANSACTIONS:
            statements = []
            for _ in range(chance.randrange(1, 10)):
                rows = chance.choice([1, 1, 2, 7, 3000])
                statements.append(
                    "WITH r AS (INSERT INTO t (k) SELECT CASE WHEN i % 2 = 0 THEN 'even' END "
                    f"FROM generate_series(1, {rows}) AS i RETURNING 1) "
                    "INSERT INTO made SELECT pg_current_xact_id()::text::bigint, count(*) FROM r;")
                n += 1
            self.sql("\n".join(f"BEGIN; {statement} COMMIT;" for statement in statements))
            for program in (("lanemap", "route"), ("pg_recvlogical", "routes")):
                if chance.random() < 0.5 and self.kill_one(program):
                    killed[program[0]] += 1
            self.assertLess(n, 50 * TRANSACTIONS, f"killed {killed}")

        made = self.transactions()
        self.until(lambda: f'"xid":{made[-1][0]},' in pathlib.Path(self.room, "routes").read_text())
        self.until(lambda: pathlib.Path(self.room, "routes").read_text().endswith('"action":"C"}\n'))
        self.expect(pathlib.Path(self.room, "routes").read_text().splitlines(), made)
        self.assertGreaterEqual(min(killed.values()), KILLS)

    def expect(self, lines, made):
        found, count, last = [], {}, 0
        for line in map(json.loads, lines):
            if line["action"] == "C":
                high, low = line["lsn"].split("/")
                position = int(high, 16) << 32 | int(low, 16)
                self.assertGreater(position, last, "transactions are in order")
                last = position
                found += count.items()
                count = {}
            elif line["table"] == "t":
                self.assertEqual(line["ids"][0], 1)
                count[line["xid"]] = count.get(line["xid"], 0) + 1
        self.assertEqual(len(found), len(made))
        self.assertEqual(found, made)


if __name__ == "__main__":
    unittest.main()
