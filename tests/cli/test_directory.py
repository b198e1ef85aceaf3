"""lanemap verify, repair, reshard, backup and restore: what they print, and their exit codes."""
import glob
import json
import os
import shutil
import subprocess
import tempfile
import unittest

from harness import LANEMAP, Writer, run

ROUTES = "".join(f"key{i}\t{i},{i + 1}\n" for i in range(1000))


def flip(path, offset, bits=0x24):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


class DirectoryTest(unittest.TestCase):
    def setUp(self):
        self.room = tempfile.mkdtemp(prefix="lanemap-cli-")
        self.addCleanup(shutil.rmtree, self.room, ignore_errors=True)
        self.directory = os.path.join(self.room, "index")
        self.lanemap("load", "--quiet", "--dir", self.directory, input=ROUTES)

    def lanemap(self, *arguments, code=0, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def segment(self):
        return glob.glob(os.path.join(self.directory, "seg-*.lms"))[0]

    def test_sound(self):
        self.assertIn("sound", self.lanemap("verify", self.directory).stdout)
        told = json.loads(self.lanemap("verify", "--json", self.directory).stdout)
        self.assertEqual((told["sound"], told["findings"], told["keys"], told["pairs"]), (True, [], 1000, 2000))
        self.assertIn("nothing to do", self.lanemap("repair", self.directory).stdout)

    def test_damaged_and_repaired_without_loss(self):
        path = self.segment()
        flip(path, 130)
        told = json.loads(self.lanemap("verify", "--json", self.directory, code=5).stdout)
        self.assertEqual(told["findings"][0]["file"], os.path.basename(path))
        self.assertEqual(told["findings"][0]["offset"], 128)
        dry = self.lanemap("repair", "--dry-run", self.directory)
        self.assertIn("would be repaired; nothing lost", dry.stdout)
        self.lanemap("verify", self.directory, code=5)
        self.lanemap("repair", self.directory)
        self.lanemap("verify", self.directory)
        self.assertTrue(os.path.exists(os.path.join(self.directory, "quarantine", os.path.basename(path))))

    def test_repaired_with_loss(self):
        path = self.segment()
        for offset in range(os.path.getsize(path) // 2, os.path.getsize(path) // 2 + 2000, 17):
            flip(path, offset)
        out = self.lanemap("verify", self.directory, code=5).stdout
        self.assertIn("DAMAGED  " + os.path.basename(path), out)
        self.assertIn("lane", out)
        out = self.lanemap("repair", self.directory, code=6).stdout
        self.assertIn("LOST", out)
        self.lanemap("verify", self.directory)
        self.lanemap("repair", self.directory)

    def test_not_checked_and_not_repaired(self):
        self.lanemap("verify", self.room, code=1)
        self.lanemap("verify", os.path.join(self.room, "nowhere"), code=1)
        self.lanemap("repair", self.room, code=1)
        self.lanemap("verify", code=2)
        self.lanemap("repair", "a", "b", code=2)
        os.unlink(os.path.join(self.directory, "manifest.json"))
        self.assertIn("manifest.json", self.lanemap("verify", self.directory, code=5).stdout)
        self.assertIn("hash key", self.lanemap("repair", self.directory, code=1).stderr)

    def test_resharded(self):
        out = self.lanemap("reshard", self.directory, "--lanes", "7").stdout
        self.assertRegex(out, r"^7 lanes, were 64: 1000 keys, 2000 pairs, .* in \d+ files, \d+\.\d+ s\n$")
        self.assertIn("7 lanes already; nothing to do", self.lanemap("reshard", "--lanes=7", self.directory).stdout)
        told = json.loads(self.lanemap("verify", "--json", self.directory).stdout)
        self.assertEqual((told["sound"], told["keys"], told["pairs"]), (True, 1000, 2000))
        # The next writer has the keys, and removes the old files.
        self.lanemap("load", "--quiet", "--dir", self.directory, input="one more\t1\n")
        told = json.loads(self.lanemap("verify", "--json", self.directory).stdout)
        self.assertEqual((told["sound"], told["keys"], told["pairs"]), (True, 1001, 2001))
        with open(os.path.join(self.directory, "manifest.json")) as file:
            manifest = json.load(file)
        self.assertEqual(manifest["n_lanes"], 7)
        self.assertEqual(len(glob.glob(os.path.join(self.directory, "seg-*"))), len(manifest["files"]))

    def test_not_resharded(self):
        for arguments in (["--lanes", "0"], ["--lanes", "1025"], ["--lanes", "7x"], ["--lanes", "-1"], [], ["--lanes"]):
            self.assertIn("reshard", self.lanemap("reshard", self.directory, *arguments, code=2).stderr)
        self.lanemap("reshard", "--lanes", "7", code=2)
        self.lanemap("reshard", "--lanes", "7", "a", "b", code=2)
        self.assertIn("not resharded", self.lanemap("reshard", "--lanes", "7", os.path.join(self.room, "nowhere"), code=1).stderr)
        self.assertIn("not resharded", self.lanemap("reshard", "--lanes", "7", self.room, code=1).stderr)
        flip(self.segment(), os.path.getsize(self.segment()) // 2)
        self.assertIn("lanemap repair", self.lanemap("reshard", "--lanes", "7", self.directory, code=1).stderr)

    def test_backup_and_restore_of_a_directory(self):
        backup, restored = os.path.join(self.room, "backup"), os.path.join(self.room, "restored")
        self.lanemap("backup", "--dir", self.directory, backup)
        self.lanemap("restore", backup, restored)
        self.lanemap("restore", backup, restored, code=1)
        told = json.loads(self.lanemap("verify", "--json", restored).stdout)
        self.assertEqual((told["keys"], told["pairs"]), (1000, 2000))
        self.lanemap("backup", backup, code=2)
        flip(glob.glob(os.path.join(backup, "seg-*.lms"))[0], 5000)
        self.lanemap("restore", backup, os.path.join(self.room, "more"), code=1)

    def test_beside_a_writer(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        writer.start()
        writer.load(ROUTES)
        self.lanemap("verify", writer.directory)
        self.assertIn("writer", self.lanemap("repair", writer.directory, code=1).stderr)
        self.assertIn("stop it first", self.lanemap("reshard", writer.directory, "--lanes", "7", code=1).stderr)
        backup = os.path.join(self.room, "backup")
        self.lanemap("backup", "--socket", writer.socket, "backup", cwd=self.room)
        self.assertEqual(json.loads(self.lanemap("verify", "--json", backup).stdout)["pairs"], 2000)
        self.assertIn("not empty", self.lanemap("backup", "--socket", writer.socket, backup, code=1).stderr)
        self.lanemap("backup", "--dir", writer.directory, os.path.join(self.room, "b2"), code=1)

    def test_a_limit_on_file_sizes_is_a_full_disk(self):
        data, copy = os.path.join(self.room, "limited"), os.path.join(self.room, "copy")
        lines = "".join(f"key-{i}\t{i}\n" for i in range(50000))
        self.lanemap("load", "--dir", data, input=lines)
        for arguments, text in [(("load", "--dir", data), lines.replace("key", "other")),
                                (("backup", "--dir", data, copy), ""), (("reshard", data, "--lanes", "8"), "")]:
            result = subprocess.run(["prlimit", "--fsize=16384:unlimited", "--", LANEMAP, *arguments], input=text,
                                    capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(result.returncode, 1, f"{arguments}: {result.stderr}")
            self.assertRegex(result.stderr, "No space left on device|is full")
        self.lanemap("verify", data)


if __name__ == "__main__":
    unittest.main()
