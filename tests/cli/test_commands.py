#!/usr/bin/env python3
"""get, load and stat: what they print, and their exit codes."""
import json
import os
import pty
import re
import select
import subprocess
import tempfile
import time
import unittest

from harness import LANEMAP, SOURCE, Writer, WriterTest, run


class Usage(unittest.TestCase):
    def test_misuse_is_code_2_and_points_to_help(self):
        for arguments in ([], ["nonsense"], ["get"], ["get", "name"], ["get", "--bad", "n", "k"],
                          ["load"], ["load", "--socket", "a", "--dir", "b"],
                          ["load", "--socket", "a", "--name", "b"], ["load", "--socket", "a", "f", "g"],
                          ["stat"], ["stat", "a", "b"], ["stat", "--bad", "a"], ["route"],
                          ["route", "--wait", "1s", "a"], ["route", "--wait", "-1", "a"],
                          ["route", "--type", "numeric", "a"], ["route", "--type", "a=nothing", "a"],
                          ["tenant"], ["tenant", "add"], ["tenant", "make", "a"], ["tenant", "add", "a", "b"],
                          ["tenant", "remove", "--print", "a"], ["tenant", "add", "--bad", "a"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 2)
                self.assertEqual(result.stdout, "")
                self.assertIn("--help", result.stderr)
                self.assertTrue(result.stderr.startswith("lanemap: "), result.stderr)

    def test_help_and_version(self):
        for arguments in (["--help"], ["get", "--help"], ["load", "--help"], ["stat", "--help"],
                          ["route", "--help"], ["tenant", "--help"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 0)
                self.assertIn("Usage: lanemap", result.stdout)
                self.assertIn("Exit codes", result.stdout)
        self.assertRegex(run("--version").stdout, r"^lanemap \d+\.\d+\.\d+")

    def test_names_of_tenants(self):
        for name in ("a" * 23, "-a", "a.b", "a/b", "", "a b"):
            with self.subTest(name):
                result = run("tenant", "add", "--print", "--", name)
                self.assertEqual((result.returncode, result.stdout), (2, ""))
                self.assertIn("22", result.stderr)
        self.assertEqual(run("tenant", "add", "--print", "A_-" + "9" * 19).stdout.splitlines()[1],
                         "g lanemapw-A_-" + "9" * 19 + " -")

    def test_a_name_that_does_not_exist(self):
        for arguments in (["get", "no-such-name", "k"], ["stat", "no-such-name"],
                          ["route", "no-such-name"]):
            with self.subTest(arguments):
                result = run(*arguments)
                self.assertEqual(result.returncode, 1)
                self.assertIn("no-such-name", result.stderr)

    def test_a_broken_output_is_code_1(self):
        with open("/dev/full", "w") as full:
            result = subprocess.run([LANEMAP, "--help"], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 1)


class Scripts(unittest.TestCase):
    def test_misuse_is_code_2_and_help_0(self):
        for script, *bad in (("record-stream", ["--transactions", "x"], ["--transactions"], ["--output"],
                              ["--bad"]),
                             ("quickstart", ["--routes"], ["--routes", "0"], ["--build"], ["--bad"]),
                             ("install-packages", [], ["nonsense"]),
                             ("../tests/run", ["nonsense"], ["--stage"], ["--stage", "x"], ["--build"], ["--bad"])):
            for arguments, code in [(words, 2) for words in bad] + [(["--help"], 0)]:
                with self.subTest(script=script, arguments=arguments):
                    result = subprocess.run([SOURCE / "tools" / script, *arguments], timeout=60,
                                            capture_output=True, text=True)
                    self.assertEqual(result.returncode, code, result.stderr)

    def test_a_build_folder_without_programs(self):
        result = subprocess.run([SOURCE / "tools/quickstart", "--no-install", "--build", "/nowhere"],
                                timeout=60, capture_output=True, text=True)
        self.assertEqual(result.returncode, 1)
        self.assertIn("/nowhere", result.stderr)

    def test_without_postgresql_it_says_so(self):
        result = subprocess.run([SOURCE / "tools/record-stream"], timeout=60, capture_output=True,
                                text=True, env={**os.environ, "PG_BIN": "/nowhere"})
        self.assertEqual(result.returncode, 77)
        self.assertIn("tools/install-packages postgres", result.stderr)


class GetAndLoad(WriterTest):
    def test_ids_are_sorted_and_distinct(self):
        self.writer.load("sorted\t9,1,007,9\nsorted\t3\n")
        result = self.lanemap("get", self.writer.name, "sorted", "absent")
        self.assertEqual(result.stdout, "sorted\t1,3,7,9\nabsent\t\n")

    def test_no_key_found_is_code_3(self):
        result = self.lanemap("get", self.writer.name, "absent", "also absent", code=3)
        self.assertEqual(result.stdout, "absent\t\nalso absent\t\n")

    def test_empty_and_too_long_keys_are_refused(self):
        self.lanemap("get", self.writer.name, "", code=1)
        self.lanemap("get", self.writer.name, "x" * 65536, code=1)
        self.lanemap("get", self.writer.name, "x" * 65535, code=3)

    def test_output_of_get_loads_again(self):
        key = "tab\there, newline\nthere, back\\slash, \\t, é"
        self.writer.load("tab\\there, newline\\nthere, back\\\\slash, \\\\t, é\t5,6\n")
        line = self.lanemap("get", self.writer.name, key).stdout
        self.assertEqual(line.count("\n"), 1)
        self.assertIn("(0 new)", self.writer.load(line).stdout)
        self.assertIn("(1 new)", self.writer.load(line.replace("5,6", "5,6,7")).stdout)

    def test_loading_twice_changes_nothing(self):
        self.assertIn("with 2 ids (2 new)", self.writer.load("twice\t1,2\n").stdout)
        self.assertIn("with 2 ids (0 new)", self.writer.load("twice\t1,2\n").stdout)

    def test_bad_lines_are_told_and_counted_and_the_others_loaded(self):
        lines = ["good 1\t1", "no tab", "no ids\t", "word\tx", "negative\t-1", "big\t4294967295",
                 "list\t1,,2", "space\t1, 2", "escape\\q\t1", "\t1", "x" * 65536 + "\t1", "",
                 "good 2\t4294967294", "last\\\t1"]
        result = self.lanemap("load", "--socket", self.writer.socket, "-", code=4,
                              input="\n".join(lines))
        bad = [i + 1 for i, line in enumerate(lines) if line and not line.startswith("good")]
        for number in bad:
            self.assertIn(f"line {number}: ", result.stderr)
        self.assertEqual(result.stderr.count("line "), len(bad))
        self.assertIn(f"{len(bad)} lines refused", result.stdout)
        found = self.lanemap("get", self.writer.name, "good 1", "good 2").stdout
        self.assertEqual(found, "good 1\t1\ngood 2\t4294967294\n")

    def test_many_bad_lines_are_not_all_told(self):
        result = self.lanemap("load", "--socket", self.writer.socket, code=4, input="bad\n" * 1000)
        self.assertLess(len(result.stderr.splitlines()), 30)
        self.assertIn("1000 lines refused", result.stdout)

    def test_a_long_posting(self):
        ids = list(range(0, 300000, 3))
        self.writer.load("long\t" + ",".join(map(str, ids)) + "\n")
        line = self.lanemap("get", self.writer.name, "long").stdout
        self.assertEqual(list(map(int, line.split("\t")[1].split(","))), ids)

    def test_many_lines_keep_their_replies_apart(self):
        text = "".join(f"many:{i}\t{i},{i + 1}\n" for i in range(20000))
        self.assertIn("loaded 20000 lines with 40000 ids (40000 new)", self.writer.load(text).stdout)

    def test_a_file_that_does_not_exist(self):
        result = self.lanemap("load", "--socket", self.writer.socket, "/nowhere/at/all", code=1)
        self.assertIn("/nowhere/at/all", result.stderr)

    def test_no_writer_at_the_socket(self):
        result = self.lanemap("load", "--socket", self.writer.socket + ".not", code=1)
        self.assertIn("cannot connect", result.stderr)

    def test_a_socket_path_that_is_too_long_is_not_cut(self):
        with tempfile.TemporaryDirectory(prefix="lanemap-cli-") as room:
            cut = os.path.join(room, "x" * (107 - len(room) - 1))
            os.symlink(self.writer.socket, cut)
            self.lanemap("load", "--quiet", "--socket", cut, input="cut\t1\n")
            for path in (cut + "x", ""):
                result = self.lanemap("load", "--quiet", "--socket", path, input="cut\t2\n", code=1)
                self.assertIn("has 1 to 107 bytes", result.stderr)
        self.assertEqual(self.lanemap("get", self.writer.name, "cut").stdout, "cut\t1\n")

    def test_quiet_says_nothing(self):
        result = self.lanemap("load", "--socket", self.writer.socket, "--quiet", input="q\t1\n")
        self.assertEqual(result.stdout + result.stderr, "")

    def test_a_progress_bar_on_a_terminal_after_a_second(self):
        self.assertRegex(self.on_a_terminal(["load", "--socket", self.writer.socket], 60), r"\d+ lines, \d+/s")
        self.assertEqual(self.on_a_terminal(["load", "--quiet", "--socket", self.writer.socket], 1.6), "")

    def on_a_terminal(self, command, seconds_max):
        """What `lanemap` writes to its stderr while it gets lines, until there is something or the time is over."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen([LANEMAP, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=theirs)
        os.close(theirs)
        deadline = time.monotonic() + seconds_max
        try:
            while time.monotonic() < deadline and not select.select([ours], [], [], 0.05)[0]:
                process.stdin.write(b"".join(b"slow:%d\t1\n" % i for i in range(300)))
                process.stdin.flush()
            process.stdin.close()
        except BrokenPipeError:
            pass
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        self.assertEqual(process.wait(timeout=60), 0)
        return shown.decode()

    def test_a_directory_that_is_served_is_busy(self):
        result = self.lanemap("load", "--dir", self.writer.directory, code=1, input="k\t1\n")
        self.assertIn("--socket", result.stderr)


class LoadDirectory(unittest.TestCase):
    def test_a_writer_serves_what_was_loaded_into_its_directory(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        before = set(os.listdir("/dev/shm"))
        result = run("load", "--dir", writer.directory, input="a\t1,2\nbad\nb\t3\n")
        self.assertEqual(result.returncode, 4, result.stderr)
        self.assertIn("loaded 2 lines with 3 ids (3 new)", result.stdout)
        # What other loads of this moment have there goes when they end; what this one left would stay.
        left = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("lanemap.load-")}
        deadline = time.monotonic() + 60
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left &= set(os.listdir("/dev/shm"))
        self.assertEqual(left, set())
        writer.start()
        self.assertEqual(run("get", writer.name, "a", "b").stdout, "a\t1,2\nb\t3\n")

    def test_under_a_name_it_stays_readable(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        directory = os.path.join(writer.directory, "new")
        result = run("load", "--dir", directory, "--name", writer.name, input="a\t1\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(run("get", writer.name, "a").stdout, "a\t1\n")

    def test_a_bad_name(self):
        with tempfile.TemporaryDirectory(prefix="lanemap-cli-") as directory:
            for name in ("has.dot", "x" * 65):
                result = run("load", "--dir", directory, "--name", name, input="a\t1\n")
                self.assertEqual(result.returncode, 1)


class Stat(WriterTest):
    def test_counts_and_odds(self):
        self.writer.load("".join(f"stat:{i}\t{i}\n" for i in range(1000)) + "stat:0\t5,6\n")
        answer = json.loads(self.lanemap("stat", "--json", self.writer.name).stdout)
        self.assertEqual(answer["keys"], 1000)
        self.assertEqual(answer["pairs"], 1002)
        self.assertEqual(answer["state"], "running")
        self.assertTrue(answer["writer_alive"])
        self.assertIn(f"lanemap.{self.writer.name}.{answer['generation']}", os.listdir("/dev/shm"))
        self.assertAlmostEqual(answer["false_route_per_lookup"] / (1000 / 2**64), 1, 3)
        self.assertAlmostEqual(answer["collision_per_index"] / (1000**2 / 2**65), 1, 3)
        self.assertNotIn("lookups_per_second", answer)
        answer = json.loads(self.lanemap("stat", "--json", "--lookups-per-second", "250000", self.writer.name).stdout)
        self.assertEqual(answer["lookups_per_second"], 250000)
        for bits in (64, 80, 96):
            seconds = answer["seconds_between_false_routes"][str(bits)]
            self.assertAlmostEqual(seconds / (2**bits / 1000 / 250000), 1, 5)
        table = self.lanemap("stat", "--lookups-per-second", "250000", self.writer.name).stdout
        self.assertRegex(table, r"false routes +64 bits: one expected every 2338 years \(this index\)\n")
        self.assertRegex(table, r" +80 bits: one expected every 153 million years\n")
        self.assertIn("at 250,000 lookups of absent keys a second\n", table)
        for bad in ("0", "-1", "many"):
            self.lanemap("stat", "--lookups-per-second", bad, self.writer.name, code=2)
        table = self.lanemap("stat", self.writer.name).stdout
        self.assertNotIn("false routes", table)
        self.assertRegex(table, r"keys +1,000\n")
        self.assertRegex(table, r"pairs +1,002\n")
        self.assertRegex(table, r"n / 2\^64")


class StatOfKinds(unittest.TestCase):
    def test_kinds_of_segments(self):
        writer = Writer(options=["--segment-kind-bottom", "recsplit", "--filter", "always"])
        self.addCleanup(writer.remove)
        writer.start().load("".join(f"stat:{i}\t{i}\n" for i in range(1000)))
        self.assertEqual(writer.command("LANEMAP.COMPACT"), "OK")
        answer = json.loads(run("stat", "--json", writer.name).stdout)
        kinds = [answer["segments_" + name] for name in ("packed", "recsplit", "bbhash", "filtered")]
        self.assertEqual(kinds, [0, 64, 0, 64])
        self.assertRegex(run("stat", writer.name).stdout, r"kinds +64 recsplit, 64 with a filter\n")


class StatOfAmplification(unittest.TestCase):
    def test_what_the_writer_says_on_its_socket(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        writer.start()
        self.assertRegex(run("stat", "--socket", writer.socket, writer.name).stdout,
                         r"amplification +write (none yet|1.00): .*\n +entries written per change none yet\n +read 0.00: .*; 0 at most\n")
        writer.load("".join(f"stat:{i}\t{i}\n" for i in range(1000)))
        self.assertEqual(writer.command("LANEMAP.FLUSH"), "OK")
        writer.load("".join(f"stat:{i}\t{i + 1}\n" for i in range(1000)))
        self.assertEqual(writer.command("LANEMAP.COMPACT"), "OK")
        answer = json.loads(run("stat", "--json", "--socket", writer.socket, writer.name).stdout)
        told = answer["writer"]
        self.assertEqual((told["uuid"], told["n_keys"], told["n_pairs"]), (answer["uuid"], 1000, 2000))
        self.assertGreater(told["segment_bytes_written"], told["segment_bytes"])
        self.assertAlmostEqual(told["write_amplification"], 1 + told["segment_bytes_written"] / told["user_bytes_in"], 3)
        self.assertAlmostEqual(told["entries_written_per_change"],
                               (told["flush_entries_written"] + told["merge_entries_written"]) / told["n_changed"], 3)
        self.assertAlmostEqual(told["read_amplification"], 1, 1)
        table = run("stat", "--socket", writer.socket, writer.name).stdout
        # Between two looks an idle log may have grown by a record.
        after = json.loads(run("stat", "--json", "--socket", writer.socket, writer.name).stdout)["writer"]
        shown = float(re.search(r"amplification +write ([\d.]+): ", table)[1])
        self.assertLessEqual(shown, told["write_amplification"] + 0.01)
        self.assertGreaterEqual(shown, after["write_amplification"] - 0.01)
        self.assertRegex(table, r"read 1.00: .*; 1 at most\n")
        self.assertNotIn("amplification", run("stat", writer.name).stdout)

    def test_another_writer_is_refused(self):
        one, other = Writer(), Writer()
        for writer in (one, other):
            self.addCleanup(writer.remove)
            writer.start()
        result = run("stat", "--socket", other.socket, one.name)
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertIn("give the socket of its own writer", result.stderr)
        self.assertIn("cannot connect", run("stat", "--socket", one.socket + ".not", one.name).stderr)


class StatOfADeadWriter(unittest.TestCase):
    def test_killed_and_closed(self):
        writer = Writer().start()
        self.addCleanup(writer.remove)
        self.assertRegex(run("stat", writer.name).stdout, r"writer +running\n")
        writer.process.kill()
        writer.process.wait()
        self.assertRegex(run("stat", writer.name).stdout, r"writer +dead")
        self.assertFalse(json.loads(run("stat", "--json", writer.name).stdout)["writer_alive"])
        writer.start()
        writer.stop()
        self.assertRegex(run("stat", writer.name).stdout, r"writer +closed")


if __name__ == "__main__":
    unittest.main(verbosity=2)
