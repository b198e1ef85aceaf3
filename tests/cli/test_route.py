#!/usr/bin/env python3
"""lanemap route: streams written by hand, the recorded one, and one recorded now."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest

from harness import LANEMAP, SOURCE, STREAM, Writer, WriterTest, run

sys.path.insert(0, str(SOURCE / "tools/example"))
import check_routes


def column(name, value, kind="integer"):
    return {"name": name, "type": kind, "value": value}


def change(action, new=None, old=None, table="t", schema="public", **more):
    record = {"action": action, "schema": schema, "table": table, **more}
    if new is not None:
        record["columns"] = new
    if old is not None:
        record["identity"] = old
    return record


def lines_of(*records):
    return "".join(json.dumps(record) + "\n" for record in records)


BEGIN = {"action": "B", "xid": 7, "lsn": "0/A0"}
COMMIT = {"action": "C", "xid": 7, "lsn": "0/A0"}


class Route(WriterTest):
    def route(self, *records, code=0, options=()):
        text = "".join(r if isinstance(r, str) else lines_of(r) for r in records)
        result = self.lanemap("route", *options, self.writer.name, input=text, code=code)
        return [json.loads(line) for line in result.stdout.splitlines()], result.stderr

    def ids(self, *records, **more):
        return [answer["ids"] for answer in self.route(*records, **more)[0]]

    def test_insert_new_delete_old_update_both(self):
        self.writer.load("public.r1.id=1\t10\npublic.r1.id=2\t20,10\n")
        one, two = [column("id", 1)], [column("id", 2)]
        self.assertEqual(self.ids(change("I", new=one, table="r1")), [[10]])
        self.assertEqual(self.ids(change("D", old=two, table="r1")), [[10, 20]])
        self.assertEqual(self.ids(change("U", new=one, old=two, table="r1")), [[10, 20]])
        self.assertEqual(self.ids(change("U", new=two, old=two, table="r1")), [[10, 20]])

    def test_an_answer_carries_position_and_table(self):
        self.writer.load("public.r2.id=1\t5\n")
        insert = change("I", new=[column("id", 1)], table="r2", lsn="0/99", xid=8)
        answers, _ = self.route(BEGIN, insert, COMMIT, insert)
        common = {"schema": "public", "table": "r2", "action": "I", "ids": [5]}
        self.assertEqual(answers, [{"lsn": "0/A0", "xid": 7, **common}, {"lsn": "0/99", "xid": 8, **common}])
        answers, _ = self.route(change("I", new=[column("id", 1)], table="r2"))
        self.assertEqual(answers, [common])

    # PO1 to PO3 in tools/lanemap/position.h

    def transaction(self, lsn, *changes):
        return [{"action": "B", "xid": 7, "lsn": lsn}, *changes, {"action": "C", "xid": 7, "lsn": lsn}]

    def test_after_a_position(self):
        self.writer.load("public.resume.id=1\t1\npublic.resume.id=2\t2\n")
        one, two, none = (change("I", new=[column("id", i)], table="resume") for i in (1, 2, 3))

        def printed(*records, after, code=0):
            answers, error = self.route(*records, options=("--after", after), code=code)
            return [(answer["lsn"], answer.get("ids", "commit")) for answer in answers], error

        stream = [*self.transaction("0/A0", one, two), *self.transaction("0/B0", none), *self.transaction("1/1", two)]
        a, c = [("0/A0", [1]), ("0/A0", [2]), ("0/A0", "commit")], [("1/1", [2]), ("1/1", "commit")]
        self.assertEqual(printed(*stream, after="0/0")[0], a + c)
        self.assertEqual(printed(*stream, after="0/9f")[0], a + c)
        self.assertEqual(printed(*stream, after="0/A0")[0], c)
        self.assertEqual(printed(*stream, after="0/B0")[0], c)
        self.assertEqual(printed(*stream, after="1/1")[0], [])
        # A receiver that was killed: the last transaction is cut off, and what was not confirmed comes again.
        torn = json.dumps(one)[:-9] + "\n"
        self.assertEqual(printed(*stream, stream[0], two, *stream, after="0/0")[0], a + c)
        again = printed(*stream[:-1], torn, *stream, after="0/0", code=4)
        self.assertEqual(again[0], a + c)
        # Without its commit nothing of a transaction is printed.
        self.assertEqual(printed(*stream[:3], after="0/0")[0], [])

    def test_after_a_position_nothing_is_passed_over(self):
        self.writer.load("public.strict\t1\n")
        insert = change("I", new=[column("id", 1)], table="strict")
        stream = self.transaction("0/A0", insert)

        def refused(*records, text):
            answers, error = self.route(*records, options=("--after", "0/0"), code=1)
            self.assertEqual(answers, [])
            self.assertIn(text, error)

        refused(insert, *stream, text="line 1: a change outside of a transaction")
        refused({"action": "B"}, *stream, text="line 1: --after needs begin records with a position")
        refused(stream[0], "{\n", *stream[1:], text="line 4: the commit of a transaction with a malformed line")
        refused(stream[0], insert, {"action": "C", "lsn": "0/B0"}, text="line 3: the commit of a transaction whose begin")
        refused(stream[2], text="line 1: the commit of a transaction whose begin")
        # What begins again behind a malformed line is whole.
        answers, error = self.route(stream[0], "{\n", *stream, options=("--after", "0/0"), code=4)
        self.assertEqual([answer["action"] for answer in answers], ["I", "C"])
        self.assertIn("line 2: malformed", error)
        for wrong in ("", "0", "0/x", "1/2/3"):
            self.assertIn("--after wants a position", self.route(options=(f"--after={wrong}",), code=2)[1])

    def test_a_stream_of_nothing_names_what_refuses_it(self):
        error = self.route()[1]
        self.assertIn("ALTER SYSTEM SET output_plugin_libraries = pgoutput, wal2json;", error)
        self.assertIn("not one quoted string", error)
        self.assertEqual(self.route(BEGIN, COMMIT)[1], "")

    def test_other_tables_columns_and_schemas_do_not_mix(self):
        self.writer.load("public.r3.id=1\t1\n")
        for other in (change("I", new=[column("id", 1)], table="r4"),
                      change("I", new=[column("id2", 1)], table="r3"),
                      change("I", new=[column("id", 1)], table="r3", schema="other"),
                      change("I", new=[column("id", 11)], table="r3"),
                      change("I", new=[column("id=1", 1)], table="r3"),
                      change("I", new=[column("id", 1)], table="r3.id=1")):
            self.assertEqual(self.ids(other), [], other)

    def test_identifiers_with_dots_equals_and_backslashes(self):
        self.writer.load("a\\\\.b.c\\\\=d.e\\\\\\\\f=x=y.z\t9\n")
        insert = change("I", new=[column("e\\f", "x=y.z", "text")], schema="a.b", table="c=d")
        self.assertEqual(self.ids(insert), [[9]])

    def test_a_shape_without_predicate_sees_every_change_of_its_table(self):
        self.writer.load("public.r5\t3\n")
        row = [column("id", None)]
        self.assertEqual(self.ids(change("I", new=row, table="r5"), change("U", new=row, old=row, table="r5"),
                                  change("D", old=row, table="r5"), change("I", new=row, table="r55")),
                         [[3], [3], [3]])

    def test_null_matches_nothing(self):
        self.writer.load("public.r6.x=\t1\npublic.r6.x=null\t2\npublic.r6.x=NULL\t3\n")
        self.assertEqual(self.ids(change("I", new=[column("x", None, "text")], table="r6")), [])
        self.assertEqual(self.ids(change("I", new=[column("x", "", "text")], table="r6")), [[1]])
        self.assertEqual(self.ids(change("I", new=[column("x", "null", "text")], table="r6")), [[2]])

    def test_equal_values_find_the_same_route(self):
        self.writer.load("public.r7.n=1.5\t1\npublic.r7.u=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t2\n"
                         "public.r7.z=2026-01-02 03:04:05.1+00\t3\n")
        for text in ("1.5", "1.50", "1.500000000000000000000000000000", "15e-1"):
            line = ('{"action":"I","schema":"public","table":"r7","columns":'
                    '[{"name":"n","type":"numeric","value":%s}]}\n' % text)
            self.assertEqual(self.ids(line), [[1]], text)
        for text in ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"):
            self.assertEqual(self.ids(change("I", new=[column("u", text, "uuid")], table="r7")), [[2]])
        for text in ("2026-01-02 03:04:05.100+00", "2026-01-02 08:34:05.1+05:30"):
            row = [column("z", text, "timestamp with time zone")]
            self.assertEqual(self.ids(change("I", new=row, table="r7")), [[3]])

    def test_digits_beyond_a_double_are_kept(self):
        self.writer.load("public.r8.n=12345678901234567890.0123456789\t1\n")
        for text, ids in (("12345678901234567890.0123456789", [[1]]),
                          ("12345678901234567890.0123456788", [])):
            line = ('{"action":"I","schema":"public","table":"r8","columns":'
                    '[{"name":"n","type":"numeric(38,10)","value":%s}]}\n' % text)
            self.assertEqual(self.ids(line), ids)

    def test_a_domain_by_option(self):
        self.writer.load("public.r9.p=1\t1\n")
        insert = change("I", new=[column("p", "1.00", "shop.price")], table="r9")
        self.assertEqual(self.ids(insert), [])
        self.assertEqual(self.ids(insert, options=["--type", "shop.price=numeric"]), [[1]])

    def test_truncate_touches_the_whole_table(self):
        self.writer.load("public.r10\t4\n")
        answers, _ = self.route(BEGIN, change("T", table="r10"), change("T", table="r11"), COMMIT)
        common = {"lsn": "0/A0", "xid": 7, "schema": "public", "action": "T", "whole_table": True}
        self.assertEqual(answers, [{**common, "table": "r10", "ids": [4]},
                                   {**common, "table": "r11", "ids": []}])

    def test_messages_and_empty_transactions_print_nothing(self):
        message = {"action": "M", "xid": None, "transactional": False, "prefix": "p", "content": "{"}
        self.assertEqual(self.route(BEGIN, message, COMMIT, message)[0], [])

    def test_removed_routes_stop_at_once_and_sharers_stay(self):
        self.writer.load("public.r12.id=1\t1,2\n")
        insert = change("I", new=[column("id", 1)], table="r12")
        self.writer.command("SREM", "public.r12.id=1", "1")
        self.assertEqual(self.ids(insert), [[2]])
        self.writer.command("SREM", "public.r12.id=1", "2")
        self.assertEqual(self.ids(insert), [])
        self.writer.load("public.r12.id=1\t1\n")
        self.assertEqual(self.ids(insert), [[1]])

    def test_answers_larger_than_the_first_room(self):
        first, second = set(range(0, 60000, 3)), set(range(0, 60000, 5))
        for key, ids in (("public.r13", first), ("public.r13.id=1", second)):
            self.writer.load(f"{key}\t{','.join(map(str, sorted(ids)))}\n")
        self.assertEqual(self.ids(change("I", new=[column("id", 1)], table="r13")), [sorted(first | second)])

    def test_malformed_lines_are_told_and_passed_over(self):
        self.writer.load("public.r14.id=1\t1\n")
        insert = lines_of(change("I", new=[column("id", 1)], table="r14"))
        answers, stderr = self.route(insert, "nonsense\n", insert, insert[:-20] + "\n", "[]\n", "\n", insert,
                                     '{"change":[]}\n', insert[:-1], code=4)
        self.assertEqual(len(answers), 4)
        for number in (2, 4, 5, 8):
            self.assertIn(f"line {number}: malformed", stderr)
        self.assertEqual(stderr.count("malformed"), 4)
        self.assertIn("format-version", stderr)

    def test_a_line_beyond_the_limit_is_passed_over(self):
        self.writer.load("public.r15.id=1\t1\n")
        insert = lines_of(change("I", new=[column("id", 1)], table="r15"))
        answers, stderr = self.route("x" * (65 << 20) + "\n", insert, code=4)
        self.assertEqual(len(answers), 1)
        self.assertIn("line 1: longer than 67108864 bytes", stderr)

    def test_a_value_too_long_for_a_key_does_not_stop_the_stream(self):
        self.writer.load("public.r16.id=1\t1\n")
        row = [column("text", "x" * 100000, "text"), column("id", 1)]
        answers, stderr = self.route(change("I", new=row, table="r16"), options=["--stats"])
        self.assertEqual([answer["ids"] for answer in answers], [[1]])
        self.assertIn("1 values, too long for a key", stderr)

    def test_incomplete_old_rows_are_told_once_per_table(self):
        full = [column("id", 1), column("x", 2)]
        _, stderr = self.route(change("I", new=full), change("U", new=full, old=full),
                               change("U", new=full, old=full[:1]), change("U", new=full),
                               change("D", old=full[:1], table="t"),
                               change("U", new=full, table="other"))
        self.assertEqual(stderr.count("REPLICA IDENTITY FULL"), 2)
        self.assertIn("public.t ", stderr)
        self.assertIn("public.other ", stderr)

    def test_stats(self):
        self.writer.load("public.r17.id=1\t1\n")
        rows = [change("I", new=[column("id", i)], table="r17") for i in range(100)]
        _, stderr = self.route(BEGIN, *rows, COMMIT, options=["--stats"])
        self.assertRegex(stderr, r"changes +100, \d+ changes/s, 1 touch a route")
        self.assertRegex(stderr, r"lookups +200, \d+ lookups/s")
        self.assertRegex(stderr, r"lookup latency +p50 [\d.]+ us, p99 [\d.]+ us, p99.9 [\d.]+ us")

    def test_a_broken_output_is_code_1(self):
        self.writer.load("public.r18\t1\n")
        with open("/dev/full", "w") as full:
            result = subprocess.run([LANEMAP, "route", self.writer.name], stdout=full, text=True,
                                    stderr=subprocess.PIPE, input=lines_of(change("T", table="r18")))
        self.assertEqual(result.returncode, 1)
        self.assertIn("cannot write", result.stderr)


class Live(WriterTest):
    """A stream that does not end: who waits for an answer gets it."""

    def start(self):
        self.writer.load("public.live\t1\n")
        process = subprocess.Popen([LANEMAP, "route", "--stats", self.writer.name], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.addCleanup(process.communicate)
        return process

    def test_answers_come_before_the_input_ends(self):
        process = self.start()
        insert = change("I", new=[], table="live")
        for records in ((BEGIN, insert, COMMIT), (insert,)):
            process.stdin.write(lines_of(*records))
            process.stdin.flush()
            self.assertEqual(json.loads(process.stdout.readline())["ids"], [1])

    def test_each_commit_is_flushed_although_more_input_is_there(self):
        self.writer.load("public.live\t1\n")
        insert = change("I", new=[], table="live")
        # In packet mode a pipe keeps the writes apart.
        reading, writing = os.pipe2(os.O_DIRECT)
        with tempfile.TemporaryFile("w+") as stream:
            stream.write(lines_of(BEGIN, insert, insert, COMMIT) * 3)
            stream.seek(0)
            subprocess.run([LANEMAP, "route", self.writer.name], stdin=stream, stdout=writing, check=True)
        os.close(writing)
        packets = []
        while packet := os.read(reading, 65536):
            packets.append(packet.count(b"\n"))
        os.close(reading)
        self.assertEqual(packets, [2, 2, 2])

    def test_sigint_and_sigterm_end_it_in_good_order(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start()
            process.stdin.write(lines_of(change("I", new=[], table="live")) + '{"action":"I"')
            process.stdin.flush()
            process.stdout.readline()
            process.send_signal(number)
            # Not communicate(): that would close the input, which also ends the stream.
            self.assertEqual(process.wait(timeout=30), 0)
            self.assertIn("lookup latency", process.stderr.read())

    def test_it_follows_a_writer_that_is_killed_and_reborn(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        writer.start().load("public.live\t1\n")
        process = subprocess.Popen([LANEMAP, "route", writer.name], text=True, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.addCleanup(process.communicate)

        def ids():
            process.stdin.write(lines_of(change("I", new=[], table="live")))
            process.stdin.flush()
            return json.loads(process.stdout.readline())["ids"]

        self.assertEqual(ids(), [1])
        writer.process.kill()
        writer.process.wait()
        self.assertEqual(ids(), [1])
        writer.start().load("public.live\t2\n")
        self.assertEqual(ids(), [1, 2])

    def test_it_waits_for_a_writer(self):
        writer = Writer()
        self.addCleanup(writer.remove)
        process = subprocess.Popen([LANEMAP, "route", "--wait", "30", writer.name], text=True,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        writer.start()
        self.assertEqual(process.communicate(lines_of(BEGIN, COMMIT), timeout=60)[1], "")
        self.assertEqual(process.returncode, 0)


class Stream(WriterTest):
    """Real streams, line by line against an independent computation from the same files."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="lanemap-cli-")
        self.addCleanup(directory.cleanup)
        self.routes = os.path.join(directory.name, "routes")
        self.answers = os.path.join(directory.name, "answers")
        self.recording = os.path.join(directory.name, "stream")

    def every_key_of(self, stream):
        """A route table with an id of its own for each key that any change looks up."""
        keys = {}
        for _, _, record in check_routes.changes(str(stream)):
            for key in check_routes.change_keys(record):
                keys.setdefault(key, len(keys))
        with open(self.routes, "w", encoding="utf-8", newline="\n") as routes:
            for key, number in keys.items():
                escaped = key.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")
                routes.write(f"{escaped}\t{number}\n")
        return keys

    def compare(self, stream, plain):
        self.every_key_of(stream)
        self.writer.command("FLUSHALL")
        self.lanemap("load", "--socket", self.writer.socket, self.routes)
        with open(plain, "rb") as text, open(self.answers, "w") as answers:
            result = subprocess.run([LANEMAP, "route", self.writer.name], stdin=text, stdout=answers,
                                    stderr=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("REPLICA IDENTITY FULL"), 1)
        self.assertIn("shop.notes", result.stderr)
        self.assertEqual(check_routes.main([self.routes, str(stream), self.answers]), 0)

    def test_the_recorded_stream(self):
        with open(self.recording, "wb") as plain:
            subprocess.run(["gzip", "-dc", STREAM], stdout=plain, check=True)
        self.compare(STREAM, self.recording)
        # The comparison itself: one id too many, one line too few, and no match at all.
        with open(self.answers) as answers:
            lines = answers.readlines()
        for broken in (lines[:50] + [lines[50].replace("]}", ",4000000000]}")] + lines[51:], lines[:-1]):
            with open(self.answers, "w") as answers:
                answers.writelines(broken)
            self.assertEqual(check_routes.main([self.routes, str(STREAM), self.answers]), 1)
        open(self.routes, "w").close()
        open(self.answers, "w").close()
        self.assertEqual(check_routes.main([self.routes, str(STREAM), self.answers]), 1)

    def test_a_stream_recorded_now(self):
        result = subprocess.run([SOURCE / "tools/record-stream", "--transactions", "100", "--output",
                                 self.recording], capture_output=True, text=True, timeout=300)
        if result.returncode == 77:
            self.skipTest(result.stderr.strip())
        self.assertEqual(result.returncode, 0, result.stderr)
        actions = {record["action"] for _, _, record in check_routes.changes(self.recording)}
        self.assertEqual(actions, set("IUDT"))
        self.compare(self.recording, self.recording)


if __name__ == "__main__":
    unittest.main(verbosity=2)
