#!/usr/bin/env python3
"""Make a route table for a change stream: some of its keys, and many that it never touches.

usage: make_routes.py STREAM N_KEYS > ROUTES

Always the same for the same stream and number. Of the distinct keys that the stream looks up, one in
three gets routes: one id mostly, a few dozen for one in fifty, and 20,000 for a key that is looked up
rarely. The whole-table keys of the small tables are among them. The rest are keys of the same and
of other tables with values that do not occur.
"""
import collections
import sys
import zlib

from check_routes import change_keys, changes, table_key

LONG_POSTING = 20000


def escape(key):
    return key.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def spread(key):
    return zlib.crc32(key.encode())


def stream_routes(path):
    """key -> ids, for keys of the stream."""
    counts = collections.Counter()
    tables = set()
    for _, _, change in changes(path):
        counts.update(set(change_keys(change)))
        tables.add(table_key(change))
    routes = {}
    for key in sorted(counts):
        seed = spread(key)
        # A key of every tenth change would drown the output in ids.
        few = counts[key] < sum(counts[t] for t in tables) // 10
        if seed % 3 != 0 or (key in tables and not few):
            continue
        many = few and seed % 50 == 0
        routes[key] = {(seed + 7 * i) % 4000000000 for i in range(40 if many else 1)}
    for table in sorted(tables):
        if counts[table] < 1000:
            routes.setdefault(table, set()).add(spread(table))
    rare = min((key for key in sorted(counts) if key not in tables), key=lambda key: counts[key])
    routes[rare] = set(range(0, 3 * LONG_POSTING, 3))
    return routes, counts


def filler_keys():
    """Keys that no row has, without end."""
    i = 0
    while True:
        i += 1
        yield f"public.pgbench_accounts.aid={1000000000 + i}"
        yield f"app.users.id={(i * 0x9E3779B97F4A7C15) % 2**64:016x}-{i:x}"
        yield f"app.orders.total={i}.{i % 97 + 1:02d}1"


def main(arguments):
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(__doc__, file=sys.stderr)
        return 2
    routes, counts = stream_routes(arguments[0])
    write = sys.stdout.write
    for key, ids in routes.items():
        write(f"{escape(key)}\t{','.join(map(str, sorted(ids)))}\n")
    n_left = int(arguments[1]) - len(routes)
    for key in filler_keys():
        if n_left <= 0:
            break
        if key not in counts:
            write(f"{key}\t{spread(key) % 1000000}\n")
            n_left -= 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
