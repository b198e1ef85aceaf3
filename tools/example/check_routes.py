#!/usr/bin/env python3
"""Compute from scratch what `lanemap route` must print, and compare.

An independent second implementation on the standard library alone: json, decimal, uuid, datetime.
It shares nothing with the C program but the documented rules (lanemap-route(1)).

usage: check_routes.py ROUTES STREAM OUTPUT

ROUTES  what was loaded, key<TAB>id[,id...] a line
STREAM  wal2json, format-version 2; .gz is fine; lines that are not JSON are passed over
OUTPUT  what `lanemap route` printed

Exit codes: 0 every line is as it must be, and some change touched a route; 1 otherwise; 2 usage.
"""
import datetime
import decimal
import gzip
import json
import re
import struct
import sys
import uuid

decimal.getcontext().prec = 400
DIFFERENCES_SHOWN = 10


class Number(str):
    """A JSON number, as its text."""


def parse_line(line):
    return json.loads(line, parse_int=Number, parse_float=Number, parse_constant=Number)


def numeric(text):
    number = decimal.Decimal(text)
    if not number.is_finite():
        return {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}[str(number)]
    if number == 0:
        return "0"
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def floating(text, single):
    number = float(text)
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    if single:
        bits = struct.pack("f", number)
        number = struct.unpack("f", bits)[0]
        exact = decimal.Decimal(number)
        steps = (decimal.Decimal((0, (1,), exact.adjusted() - p)) for p in range(10))
        shortest = next(str(near) for step in steps
                        for near in (exact.quantize(step), exact.quantize(step, decimal.ROUND_UP))
                        if struct.pack("f", float(near)) == bits)
    else:
        shortest = repr(number)
    sign, digits, exponent = decimal.Decimal(shortest).normalize().as_tuple()
    first = len(digits) + exponent - 1
    if -4 <= first < (6 if single else 15):
        return numeric(shortest)
    text = "".join(map(str, digits))
    text = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{text}e{'-' if first < 0 else '+'}{abs(first):02d}"


def fraction(moment):
    return f".{moment.microsecond:06d}".rstrip("0") if moment.microsecond else ""


def timestamp(text, zoned):
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?([+-]\d\d(:\d\d)?)?", text):
        return text  # infinity, BC, years of five digits: the stream has none
    if zoned and re.search(r"[+-]\d\d$", text):
        text += ":00"
    main, dot, rest = text.partition(".")
    if dot:  # fromisoformat() of older versions wants three or six digits
        digits, zone = re.fullmatch(r"(\d+)(.*)", rest).groups()
        text = f"{main}.{digits:<06}{zone}"
    moment = datetime.datetime.fromisoformat(text)
    if zoned:
        moment = moment.astimezone(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + fraction(moment) + ("+00" if zoned else "")


def time_of_day(text):
    clock, zone = re.fullmatch(r"([\d:.]+)(.*)", text).groups()
    whole, _, digits = clock.partition(".")
    digits = digits.rstrip("0")
    return whole + ("." + digits if digits else "") + zone


def interval(text):
    units = {"year": 360 * 86400, "mon": 30 * 86400, "day": 86400}
    seconds = decimal.Decimal(0)
    for number, unit in re.findall(r"([+-]?\d+) (year|mon|day)s?", text):
        seconds += int(number) * units[unit]
    clock = re.search(r"([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$", text)
    if clock:
        sign, hours, minutes, rest = clock.groups()
        part = int(hours) * 3600 + int(minutes) * 60 + decimal.Decimal(rest)
        seconds += -part if sign == "-" else part
    return numeric(str(seconds))


def jsonb(text):
    """Numbers outside of strings."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", lambda m: numeric(m.group()), parts[i])
    return "".join(parts)


def array(text, base):
    """PostgreSQL's array literal, element by element."""

    def element(match):
        quoted, bare = match.groups()
        if quoted is None and bare.upper() == "NULL":
            return "NULL"
        value = re.sub(r"\\(.)", r"\1", quoted if quoted is not None else bare, flags=re.S)
        value = canonical(base, value)
        if value == "" or value.upper() == "NULL" or re.search(r'[{},"\\\s]', value):
            return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'
        return value

    bounds, equals, body = text.partition("={") if text.startswith("[") else ("", "", text)
    if equals:
        body = "{" + body
    return bounds + equals[:1] + re.sub(r'"((?:[^"\\]|\\.)*)"|([^{},"]+)', element, body, flags=re.S)


def canonical(kind, value):
    """The text of a value of the type `kind`, as format_type() names it."""
    if kind.endswith("[]"):
        return array(value, kind[:-2])
    base = kind if kind.startswith('"') else re.sub(r"\(.*\)", "", kind)
    if base in ("smallint", "integer", "bigint", "oid", "numeric"):
        return numeric(value)
    if base in ("real", "double precision"):
        return floating(value, base == "real")
    if base == "boolean":
        return {"true": "t", "false": "f", "t": "t", "f": "f"}[value]
    if base == "uuid":
        return str(uuid.UUID(value))
    if base.startswith("timestamp"):
        return timestamp(value, base.endswith("with time zone"))
    if base.startswith("time "):
        return time_of_day(value)
    if base == "interval":
        return interval(value)
    if base == "bytea":
        return value.removeprefix("\\x").lower()
    if base in ("character", "bpchar"):
        return value.rstrip(" ")
    if base == "jsonb":
        return jsonb(value)
    return value


def identifier(name):
    return re.sub(r"([.=\\])", r"\\\1", name)


def table_key(change):
    return identifier(change["schema"]) + "." + identifier(change["table"])


def column_keys(change, columns):
    for column in columns:
        value = column["value"]
        if value is None:
            continue
        if isinstance(value, bool):
            value = "true" if value else "false"
        yield (table_key(change) + "." + identifier(column["name"]) + "="
               + canonical(column["type"], value))


def change_keys(change):
    """Every key that a change of action I, U, D or T looks up."""
    keys = [table_key(change)]
    if change["action"] in "IU":
        keys += column_keys(change, change["columns"])
    if change["action"] in "UD":
        keys += column_keys(change, change.get("identity", []))
    return keys


def open_stream(path):
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return open(path, encoding="utf-8", newline="\n")


def changes(path):
    """(transaction position, xid, change) of every change of a stream."""
    begin = {}
    with open_stream(path) as stream:
        for line in stream:
            try:
                record = parse_line(line)
                action = record["action"]
            except (ValueError, KeyError, TypeError):
                continue
            if action in "BC":
                begin = record if action == "B" else {}
            elif action in "IUDT":
                yield begin.get("lsn", record.get("lsn")), begin.get("xid", record.get("xid")), record


def read_routes(path):
    routes = {}
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            key, tab, ids = line.rstrip("\n").partition("\t")
            if not tab:
                continue
            key = re.sub(r"\\(.)", lambda m: {"t": "\t", "n": "\n"}.get(m[1], m[1]), key)
            routes.setdefault(key, set()).update(map(int, ids.split(",")))
    return routes


def expected(routes, stream):
    for lsn, xid, change in changes(stream):
        ids = set()
        for key in change_keys(change):
            ids |= routes.get(key, set())
        if not ids and change["action"] != "T":
            continue
        answer = {"schema": change["schema"], "table": change["table"], "action": change["action"],
                  "ids": sorted(ids)}
        if lsn is not None:
            answer["lsn"] = lsn
        if xid is not None:
            answer["xid"] = int(xid)
        if change["action"] == "T":
            answer["whole_table"] = True
        yield answer


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    routes, stream, output = arguments
    with open(output, encoding="utf-8", newline="\n") as lines:
        found = [json.loads(line) for line in lines]
    wanted = list(expected(read_routes(routes), stream))
    n_different = 0
    for i in range(max(len(wanted), len(found))):
        want = wanted[i] if i < len(wanted) else None
        have = found[i] if i < len(found) else None
        if want == have:
            continue
        n_different += 1
        if n_different <= DIFFERENCES_SHOWN:
            print(f"line {i + 1} differs\n  must be {json.dumps(want)[:500]}\n"
                  f"  is      {json.dumps(have)[:500]}")
    n_ids = sum(len(answer["ids"]) for answer in wanted)
    n_touching = sum(1 for answer in wanted if answer["ids"])
    print(f"{len(wanted)} lines with {n_ids} ids computed independently, {len(found)} lines routed, "
          f"{n_different} differences")
    if n_touching == 0:
        print("no change touched any route: that proves nothing")
    return 1 if n_different or n_touching == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
