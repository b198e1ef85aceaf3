"""Whose files are: what root does in a service's directory leaves nothing there that the service cannot open, and where
another user's file is in the way, the error says whose it is and what to do. For root only: it takes two users."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import LANEMAP, LANEMAPD, Writer, run

UID, GID = 64001, 64002


def as_service(*command, **options):
    """One run as the service's user, which has no name in any file."""
    options.setdefault("timeout", 120)
    return subprocess.run(["setpriv", f"--reuid={UID}", f"--regid={GID}", "--clear-groups", "--", *map(str, command)],
                          capture_output=True, text=True, check=False, **options)


class Service(Writer):
    """A lanemapd of that user, in a directory that is that user's."""

    def __init__(self):
        super().__init__()
        os.chown(self.directory, UID, GID)
        os.chmod(self.directory, 0o750)
        self.log = self.directory + ".log"

    def remove(self):
        super().remove()
        pathlib.Path(self.log).unlink(missing_ok=True)

    def start_as(self, uid, *options):
        before, self.process = self.process, None
        assert before is None
        log = self.log
        user = ["setpriv", f"--reuid={uid}", f"--regid={GID if uid else 0}", "--clear-groups", "--"] if uid else []
        with open(log, "w", encoding="utf-8") as file:
            self.process = subprocess.Popen([*user, LANEMAPD, "--name", self.name, "--dir", self.directory, *options],
                                            stdout=file, stderr=file)
        while not self.answers():
            if self.process.poll() is not None:
                return pathlib.Path(log).read_text()
        return None


@unittest.skipUnless(os.geteuid() == 0, "needs root: it takes two users")
class OwnerTest(unittest.TestCase):
    def service(self):
        service = Service()
        self.addCleanup(service.remove)
        return service

    def expect_owned(self, directory):
        for path in [pathlib.Path(directory), *pathlib.Path(directory).rglob("*")]:
            status = path.lstat()
            self.assertEqual((status.st_uid, status.st_gid), (UID, GID), path)

    def expect_serves(self, service, *keys):
        self.assertIsNone(service.start_as(UID), "it starts as the service's user")
        for key in keys:
            self.assertEqual(service.command("SCARD", key), "1", key)
        service.stop()

    def test_load_into_a_services_directory(self):
        service = self.service()
        secret = pathlib.Path(service.directory + ".routes")
        secret.write_text("a\t1\nb\t2\n")
        secret.chmod(0o600)
        self.addCleanup(secret.unlink)
        result = run("load", "--dir", service.directory, "--name", service.name, secret)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.expect_owned(service.directory)
        self.expect_serves(service, "a", "b")
        result = run("load", "--dir", service.directory, input="c\t3\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.expect_owned(service.directory)
        self.expect_serves(service, "a", "b", "c")

    def test_reshard_repair_and_restore(self):
        service = self.service()
        self.assertIsNone(service.start_as(UID))
        for key in "abc":
            service.command("SADD", key, "1")
        service.stop()
        os.unlink(os.path.join(service.directory, "lock"))

        self.assertEqual(run("reshard", service.directory, "--lanes", "8").returncode, 0)
        self.expect_owned(service.directory)
        self.expect_serves(service, "a", "b", "c")

        segment = next(pathlib.Path(service.directory).glob("seg-*.lms"))
        with open(segment, "r+b") as file:
            file.seek(-8, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        result = run("repair", service.directory)
        self.assertIn(result.returncode, (0, 6), result.stderr)
        self.assertTrue(os.path.isdir(os.path.join(service.directory, "quarantine")), result.stdout)
        self.expect_owned(service.directory)
        self.expect_serves(service, "a", "b", "c")

        restored = self.service()
        shutil.rmtree(restored.directory)
        os.mkdir(restored.directory, 0o750)
        os.chown(restored.directory, UID, GID)
        result = run("restore", service.directory, restored.directory)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.expect_owned(restored.directory)
        self.expect_serves(restored, "a", "b", "c")

    def test_a_second_name_of_a_file_from_elsewhere_is_not_given_away(self):
        service = self.service()
        self.assertIsNone(service.start_as(UID))
        service.stop()
        elsewhere = pathlib.Path(tempfile.mkstemp(prefix="lanemap-elsewhere-", dir=os.path.dirname(service.directory))[1])
        self.addCleanup(elsewhere.unlink)
        lock = os.path.join(service.directory, "lock")
        os.unlink(lock)
        os.link(elsewhere, lock)
        run("reshard", service.directory, "--lanes", "3")
        self.assertEqual(elsewhere.stat().st_uid, 0)

    def test_lanemapd_of_root_becomes_the_owner(self):
        service = self.service()
        self.assertIsNone(service.start_as(0))
        self.assertIn(f"running as uid {UID}", pathlib.Path(service.log).read_text())
        status = pathlib.Path(f"/proc/{service.process.pid}/status").read_text()
        self.assertRegex(status, rf"(?m)^Uid:\t{UID}\t{UID}\t{UID}\t{UID}$")
        self.assertRegex(status, rf"(?m)^Gid:\t{GID}\t{GID}\t{GID}\t{GID}$")
        self.assertRegex(status, r"(?m)^Groups:\s*$")
        service.command("SADD", "a", "1")
        service.stop()
        self.expect_owned(service.directory)
        self.expect_serves(service, "a")

    def test_files_of_another_user_are_named(self):
        service = self.service()
        self.assertIsNone(service.start_as(UID))
        service.command("SADD", "a", "1")
        service.stop()
        for name in ["lock", "manifest.json", next(pathlib.Path(service.directory).glob("log-*")).name,
                     next(pathlib.Path(service.directory).glob("seg-*")).name]:
            path = os.path.join(service.directory, name)
            mode = os.stat(path).st_mode
            os.chown(path, 0, 0)
            os.chmod(path, 0o600)
            error = service.start_as(UID)
            self.assertIsNotNone(error, name)
            self.assertIn(f"{path} belongs to root (uid 0), the directory to uid {UID}", error)
            command = re.search(r"as root, (chown -R --from=0 \d+:\d+ \S+)", error)
            for tool, reads in [("repair", ("lock", "manifest", "log", "seg")), ("verify", ("manifest", "log", "seg")),
                                ("reshard", ("lock", "manifest", "seg"))]:
                if name.startswith(reads):
                    result = as_service(LANEMAP, tool, service.directory, *(["--lanes=3"] if tool == "reshard" else []))
                    self.assertNotEqual(result.returncode, 0, f"{tool} {name}")
                    self.assertIn(command.group(1), result.stderr, f"{tool} {name}")
            service.process = None
            subprocess.run(command.group(1).split(), check=True)
            os.chmod(path, mode)
        self.expect_owned(service.directory)
        self.expect_serves(service, "a")

    def test_a_directory_of_another_user_is_named(self):
        service = self.service()
        os.chown(service.directory, 0, 0)
        error = as_service(LANEMAPD, "--name", service.name, "--dir", service.directory).stderr
        self.assertIn(f"{service.directory} belongs to root (uid 0), and this process is uid {UID}", error)

    def test_what_root_published_is_named_and_can_be_removed(self):
        """README's "Write" as root, then "Operate" under the service's user."""
        service = self.service()
        os.chown(service.directory, 0, 0)
        self.assertIsNone(service.start_as(0))
        service.command("SADD", "a", "1")
        service.stop()
        subprocess.run(["chown", "-R", f"{UID}:{GID}", service.directory], check=True)  # as systemd does
        error = service.start_as(UID)
        self.assertIsNotNone(error)
        self.assertRegex(error, rf"/dev/shm/lanemap\.{service.name}\S* belongs to root \(uid 0\), and this process is "
                                rf"uid {UID}")
        self.assertIn(f"lanemap remove {service.name}", error)
        service.process = None
        for path in pathlib.Path("/dev/shm").glob(f"lanemap.{service.name}*"):
            path.unlink()
        self.expect_serves(service, "a")


@unittest.skipUnless(os.geteuid() == 0, "needs root: it takes two users and a mount namespace")
class BackupTest(unittest.TestCase):
    """lanemapd as under its unit: another user, with a /tmp of its own and a root that is read-only."""

    def setUp(self):
        self.service = Service()
        self.addCleanup(self.service.remove)
        self.room = tempfile.mkdtemp(prefix="lanemap-room-")
        self.addCleanup(shutil.rmtree, self.room, True)
        self.to = os.path.join(self.room, "to")

    def start(self, *options):
        data = self.service.directory
        inside = (f"mount --make-rprivate / && mkdir -p /run/lanemap-test.$$ && mount --bind {data} /run/lanemap-test.$$ && "
                  f"mount -t tmpfs -o mode=1777 none /tmp && mkdir {data} && mount --move /run/lanemap-test.$$ {data} && "
                  f"rmdir /run/lanemap-test.$$ && exec setpriv --reuid={UID} --regid={GID} --clear-groups -- \"$@\"")
        with open(self.service.log, "w", encoding="utf-8") as file:
            self.service.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-ec", inside, "sh", LANEMAPD, "--name", self.service.name, "--dir", data,
                 *options], stdout=file, stderr=file)
        while not self.service.answers():
            if self.service.process.poll() is not None:
                self.fail(pathlib.Path(self.service.log).read_text())
        for i in range(100):
            self.service.command("SADD", f"key-{i}", "1")

    def expect_backup(self):
        result = run("verify", "--json", self.to)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["pairs"], 100)
        self.assertEqual(os.stat(self.to).st_mode & 0o777, self.mode)
        self.assertFalse(os.path.exists(os.path.join(self.to, "incomplete")))

    def test_the_clients_directory_and_no_other(self):
        self.start()
        self.mode = 0o700
        for user in (None, 64009):
            with self.subTest(user=user):
                if user:
                    os.chown(self.room, user, user)
                    os.chown(self.service.socket, -1, user)
                    os.chmod(self.service.socket, 0o660)
                    os.chmod(self.service.directory, 0o755)
                prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"] if user else []
                result = subprocess.run([*prefix, LANEMAP, "backup", "--socket", self.service.socket, self.to],
                                        capture_output=True, text=True, check=False, timeout=60)
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.expect_backup()
                self.assertEqual(os.stat(self.to).st_uid, user or 0)
                shutil.rmtree(self.to)

    def test_a_directory_that_is_there_keeps_its_mode(self):
        self.start()
        os.mkdir(self.to)
        os.chmod(self.to, 0o751)
        self.mode = 0o751
        result = run("backup", "--socket", self.service.socket, self.to)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.expect_backup()
        result = run("backup", "--socket", self.service.socket, self.to)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Directory not empty", result.stderr)

    def test_a_path_that_the_writer_sees_otherwise_is_refused(self):
        self.start()
        with self.assertRaisesRegex(ConnectionError, "may see another directory than you"):
            self.service.command("LANEMAP.BACKUP", self.to)
        self.assertFalse(os.path.exists(self.to))

    def test_a_failure_leaves_nothing(self):
        result = run("backup", "--socket", self.service.socket, self.to)
        self.assertEqual(result.returncode, 1)
        self.assertFalse(os.path.exists(self.to))
        self.start()
        self.service.command("LANEMAP.FLUSH")
        segment = next(pathlib.Path(self.service.directory).glob("seg-*"))
        with open(segment, "r+b") as file:
            file.seek(-100, os.SEEK_END)
            file.write(b"\xff" * 50)
        self.service.command("LANEMAP.VERIFY")
        result = run("backup", "--socket", self.service.socket, self.to)
        self.assertEqual(result.returncode, 1)
        self.assertIn("repair", result.stderr)
        self.assertFalse(os.path.exists(self.to))


if __name__ == "__main__":
    unittest.main()
