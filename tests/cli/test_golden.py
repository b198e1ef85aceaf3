"""What another version wrote, as the programs meet it: lanemapd, lanemap verify, lanemap stat (W9)."""
import glob
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import unittest
import uuid

from harness import LANEMAPD, SOURCE, Writer, run

ARCHIVES = sorted((SOURCE / "tests/data/golden/v1").glob("*.tar.gz"))


class GoldenTest(unittest.TestCase):
    def setUp(self):
        self.room = tempfile.mkdtemp(prefix="lanemap-cli-")
        self.addCleanup(shutil.rmtree, self.room, ignore_errors=True)
        self.directory = os.path.join(self.room, "data")
        self.name = f"cli-{uuid.uuid4().hex[:12]}"
        self.addCleanup(self.unpublish)

    def unpublish(self):
        for path in glob.glob(f"/dev/shm/lanemap.{self.name}*"):
            os.unlink(path)

    def unpack(self, archive):
        shutil.rmtree(self.directory, ignore_errors=True)
        with tarfile.open(archive) as tar:
            for member in tar.getmembers():
                member.uid, member.gid = os.getuid(), os.getgid()
                tar.extract(member, self.room)

    def edit_manifest(self, old, new):
        path = os.path.join(self.directory, "manifest.json")
        with open(path, encoding="ascii") as file:
            text = file.read().replace(old, new)
        text = re.sub(r'[0-9a-f]{64}"\n}\n$', "0" * 64 + '"\n}\n', text)
        digits = hashlib.blake2b(text.encode(), digest_size=32).hexdigest()
        with open(path, "w", encoding="ascii") as file:
            file.write(re.sub(r'0{64}"\n}\n$', digits + '"\n}\n', text))

    def publish(self, version):
        for what in ("control", "data"):
            with open(os.path.join(self.room, "shm", what), "rb") as file:
                content = bytearray(file.read())
            if what == "control":
                generation = struct.unpack_from("<Q", content, 80)[0]
                struct.pack_into("<I", content, 8, version)
            path = f"/dev/shm/lanemap.{self.name}" + ("" if what == "control" else f".{generation:016x}")
            with open(path, "wb") as file:
                file.write(content)
            os.chmod(path, 0o640)

    def daemon(self):
        return subprocess.run([LANEMAPD, "--name", self.name, "--dir", self.directory], capture_output=True, text=True,
                              timeout=60, check=False)

    def test_today_serves_it(self):
        self.assertEqual(len(ARCHIVES), 3)
        for archive in ARCHIVES:
            self.unpack(archive)
            self.assertIn("sound", run("verify", self.directory).stdout)
            writer = Writer(self.directory, self.name).start()
            self.addCleanup(writer.stop)
            self.assertEqual(run("get", self.name, "key-370", "key-12").returncode, 0)
            self.assertIn("370000", run("get", self.name, "key-370").stdout)
            self.assertEqual(writer.command("SCARD", "key-370"), "300")
            self.assertEqual(writer.command("SCARD", "key-59"), "0")
            self.assertEqual(writer.command("SCARD", "torn"), "0")
            writer.stop()
            self.unpublish()

    def test_a_later_directory_is_refused(self):
        for old, new, says in (('"format_version": 1', '"format_version": 2', "format version 2"),
                               ('"incompatible": []', '"incompatible": ["tides"]', '"tides"')):
            self.unpack(ARCHIVES[0])
            self.edit_manifest(old, new)
            for result in (self.daemon(), run("verify", self.directory)):
                self.assertNotIn(result.returncode, (0, None))
                self.assertIn(says, result.stdout + result.stderr)

    def test_a_later_region_is_refused(self):
        self.unpack(ARCHIVES[0])
        self.publish(version=2)
        for command in (("stat", self.name), ("get", self.name, "key-1")):
            result = run(*command)
            self.assertEqual(result.returncode, 1)
            self.assertIn("format version 2", result.stderr)
            self.assertIn("upgrade the older", result.stderr)
        result = self.daemon()
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("format", result.stdout + result.stderr)


if __name__ == "__main__":
    unittest.main()
