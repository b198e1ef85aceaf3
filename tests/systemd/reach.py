"""What of a tenant the calling user reaches: paths, sockets and processes, a line each. Nothing is changed by it.

Runs in the booted system, as one user after another. Usage: reach.py PID PATH...
"""
import os
import signal
import socket
import stat
import sys


def attempt(what, do):
    try:
        do()
    except OSError:
        return
    print(what)


def opened(path, flags):
    os.close(os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK))


def connected(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(path)


def everything(path):
    yield path
    for directory, directories, files in os.walk(path):
        yield from (os.path.join(directory, name) for name in directories + files)


def path_try(path):
    try:
        status = os.lstat(path)
    except OSError:
        return
    if stat.S_ISSOCK(status.st_mode):
        attempt(f"connect {path}", lambda: connected(path))
    elif stat.S_ISDIR(status.st_mode):
        attempt(f"list {path}", lambda: os.listdir(path))
        probe = os.path.join(path, f"reach-{os.getpid()}")
        attempt(f"create in {path}", lambda: os.close(os.open(probe, os.O_CREAT | os.O_EXCL)) or os.unlink(probe))
    else:
        attempt(f"read {path}", lambda: opened(path, os.O_RDONLY))
        attempt(f"write {path}", lambda: opened(path, os.O_RDWR))
    # To its own name: nothing changes, and what forbids to rename or remove it forbids this.
    attempt(f"chmod {path}", lambda: os.chmod(path, stat.S_IMODE(status.st_mode)))
    attempt(f"rename {path}", lambda: renamed(path))


def renamed(path):
    os.rename(path, path + ".reach")
    os.rename(path + ".reach", path)


def process_try(pid):
    attempt(f"signal {pid}", lambda: os.kill(pid, 0))
    attempt(f"continue {pid}", lambda: os.kill(pid, signal.SIGCONT))
    for name in ("mem", "environ", "maps", "io"):
        attempt(f"read /proc/{pid}/{name}", lambda: opened(f"/proc/{pid}/{name}", os.O_RDONLY))
    attempt(f"list /proc/{pid}/fd", lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt(f"root of {pid}", lambda: os.listdir(f"/proc/{pid}/root/"))


process_try(int(sys.argv[1]))
for root in sys.argv[2:]:
    for path in everything(root):
        path_try(path)
