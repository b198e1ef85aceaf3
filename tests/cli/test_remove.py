"""lanemap remove: what is gone, what stays, whom it refuses."""
import glob
import os
import shutil
import signal
import tempfile
import unittest

from harness import Writer, run


def objects(name):
    return sorted(glob.glob(f"/dev/shm/lanemap.{name}") + glob.glob(f"/dev/shm/lanemap.{name}.*"))


class RemoveTest(unittest.TestCase):
    def setUp(self):
        self.room = tempfile.mkdtemp(prefix="lanemap-cli-")
        self.addCleanup(shutil.rmtree, self.room, ignore_errors=True)
        self.writer = self.new_writer("index")

    def new_writer(self, directory, name=None):
        path = os.path.join(self.room, directory)
        os.makedirs(path, exist_ok=True)
        writer = Writer(directory=path, name=name)
        self.addCleanup(writer.remove)
        writer.start()
        writer.load("a\t1\nb\t2\n")
        self.assertEqual(writer.command("LANEMAP.FLUSH"), "OK")
        writer.load("c\t3\n")
        return writer

    def remove(self, *arguments, code=0):
        result = run("remove", *arguments)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        return result

    def test_a_live_one_is_refused(self):
        before = objects(self.writer.name), sorted(os.listdir(self.writer.directory))
        for arguments in ([], ["--dir", self.writer.directory]):
            told = self.remove(self.writer.name, *arguments, code=1).stderr
            self.assertIn(f"its writer is running (it holds lanemap.{self.writer.name}.lock): stop it first", told)
        # Under another name too: the directory is locked.
        told = self.remove("no-" + self.writer.name, "--dir", self.writer.directory, code=1).stderr
        self.assertIn("its writer is running (it holds lock)", told)
        self.assertEqual((objects(self.writer.name), sorted(os.listdir(self.writer.directory))), before)
        self.assertEqual(objects("no-" + self.writer.name), [])
        self.assertEqual(run("get", self.writer.name, "c").stdout, "c\t3\n")

    def test_shared_memory_goes_and_the_directory_stays(self):
        name, other = self.writer.name, self.new_writer("other", self.writer.name + "x")
        self.writer.stop()
        self.assertGreaterEqual(len(objects(name)), 4)
        self.assertIn(f"removed {len(objects(name))} objects of shared memory", self.remove(name).stdout)
        self.assertEqual(objects(name), [])
        self.assertEqual(run("get", name, "a").returncode, 1)
        self.assertGreaterEqual(len(objects(other.name)), 4, "a name that begins like it")
        self.assertEqual(run("get", other.name, "c").stdout, "c\t3\n")
        self.assertIn("removed 0 objects", self.remove(name).stdout)
        self.writer.start()
        self.assertEqual(run("get", name, "a", "c").stdout, "a\t1\nc\t3\n")

    def test_the_directory_too(self):
        self.writer.process.send_signal(signal.SIGKILL)
        self.writer.process.wait()
        os.unlink(os.path.join(self.writer.directory, "log"))  # of this test's harness
        quarantine = os.path.join(self.writer.directory, "quarantine")
        os.mkdir(quarantine)
        shutil.copy(glob.glob(os.path.join(self.writer.directory, "seg-*"))[0], quarantine)
        self.assertTrue(os.path.exists(self.writer.socket))
        self.remove("--dir", self.writer.directory, self.writer.name)
        self.assertEqual(objects(self.writer.name), [])
        self.assertFalse(os.path.exists(self.writer.directory))
        self.remove("--dir", self.writer.directory, self.writer.name)

    def test_files_of_others_stay(self):
        self.writer.stop()
        told = self.remove("--dir", self.writer.directory, self.writer.name, code=1).stderr
        self.assertIn("'log' in it is not the index's", told)
        self.assertEqual(os.listdir(self.writer.directory), ["log"])

    def test_what_a_crash_left_half_removed(self):
        self.writer.stop()
        os.unlink(os.path.join(self.writer.directory, "log"))
        os.unlink(os.path.join(self.writer.directory, "manifest.json"))
        os.unlink(f"/dev/shm/lanemap.{self.writer.name}")
        os.unlink(f"/dev/shm/lanemap.{self.writer.name}.lock")
        self.remove("--dir", self.writer.directory, self.writer.name)
        self.assertEqual(objects(self.writer.name), [])
        self.assertFalse(os.path.exists(self.writer.directory))

    def test_a_directory_of_another_index(self):
        other = self.new_writer("other")
        self.writer.stop()
        other.stop()
        before = objects(self.writer.name), sorted(os.listdir(other.directory))
        told = self.remove("--dir", other.directory, self.writer.name, code=1).stderr
        self.assertIn("holds another index than the one that was published as", told)
        self.assertEqual((objects(self.writer.name), sorted(os.listdir(other.directory))), before)

    def test_a_directory_of_no_index(self):
        self.writer.stop()
        before = objects(self.writer.name)
        for directory in ("plain", "empty"):
            path = os.path.join(self.room, directory)
            os.mkdir(path)
            if directory == "plain":
                with open(os.path.join(path, "notes"), "w", encoding="utf-8") as file:
                    file.write("mine")
            self.assertIn("holds no index", self.remove("--dir", path, self.writer.name, code=1).stderr)
            self.assertTrue(os.path.isdir(path))
        self.assertEqual(objects(self.writer.name), before)

    def test_misuse(self):
        for arguments in ([], ["a", "b"], ["--bad", "a"], ["--dir"]):
            self.remove(*arguments, code=2)
        self.assertIn("no name of an index", self.remove("a.b", code=1).stderr)
        self.assertIn("Usage: lanemap remove", run("remove", "--help").stdout)


if __name__ == "__main__":
    unittest.main()
