#!/usr/bin/env python3
"""Send one command to a Redis-speaking server on a Unix socket and print its reply.

usage: send_command.py SOCKET WORD...

What redis-cli -s does, for machines that do not have it. Exit codes: 0 done; 1 an error reply or no
connection; 2 usage.
"""
import socket
import sys


def read_reply(replies):
    line = replies.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("the server closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise ConnectionError(rest.decode())
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else replies.read(size + 2)[:-2].decode()
    if kind == b"*":
        return [read_reply(replies) for _ in range(int(rest))]
    return rest.decode()


def send_command(path, words):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        command = b"*%d\r\n" % len(words)
        for word in words:
            command += b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode())
        connection.sendall(command)
        with connection.makefile("rb") as replies:
            return read_reply(replies)


def main(arguments):
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(send_command(arguments[0], arguments[1:]))
    except OSError as error:
        print(f"send_command: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
