"""README's "Operate" as it stands there; and what the units promise: writers and readers, restarts, queues."""
import os
import signal
import subprocess
import time

from machine import eventually

SOCKET = "/run/lanemap/acme/lanemapd.sock"
UNIT = "lanemapd@acme"
OPTIONS = "/etc/lanemap/acme/lanemapd.conf"
KEY = "public.users.org_id=42"


def redis(machine, *command, user=None, code=0, socket=SOCKET):
    return machine.run("redis-cli", "-s", socket, *command, user=user, code=code).strip()


def kill_writer(machine, unit=UNIT):
    pid = machine.main_pid(unit)
    machine.run("kill", "-KILL", str(pid))
    return pid


def test_00_readme_operate(machine):
    machine.run("sh", "-ec", machine.readme_operate())
    assert machine.property(UNIT, "ActiveState") == "active"
    assert machine.property(UNIT, "UnitFileState") == "enabled"
    assert machine.property(UNIT + ".socket", "UnitFileState") == "enabled"
    assert redis(machine, "SADD", KEY, "7") == "1"
    machine.add_user("reader", "lanemap-acme")
    machine.add_user("writer", "lanemapw-acme")
    machine.add_user("stranger")


def test_01_nothing_is_wrong_with_the_units(machine):
    for kind in ("service", "socket"):
        told = machine.run("systemd-analyze", "verify", "--man=no", f"/etc/systemd/system/lanemapd@.{kind}", code=None)
        assert "lanemapd" not in told, told
    warnings = machine.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT, "-u", UNIT + ".socket", "-p", "warning")
    # Network filters need a kernel feature that a test's control group may lack.
    assert all("IP firewalling" in line or "unit_bpf" in line for line in warnings.splitlines()), warnings
    assert machine.property(UNIT, "Type") == "notify"


def test_10_readers_read_and_do_not_write(machine):
    assert "7" in machine.run("lanemap", "get", "acme", KEY, user="reader")
    for who in ("reader", "stranger"):
        answer = redis(machine, "FLUSHALL", user=who, code=None)
        assert "Permission denied" in answer, f"{who} may write: {answer}"
    assert "7" in machine.run("lanemap", "get", "acme", KEY, user="reader")
    machine.run("lanemap", "get", "acme", KEY, user="stranger", code=1)


def test_11_writers_write(machine):
    assert redis(machine, "SADD", "written", "1", user="writer") == "1"
    machine.run("lanemap", "get", "acme", KEY, user="writer", code=1)


def test_12_restarts_keep_who_may_do_what(machine):
    machine.run("systemctl", "restart", UNIT)
    assert redis(machine, "SADD", "restarted", "1", user="writer") == "1"
    assert "Permission denied" in redis(machine, "PING", user="reader", code=None)
    machine.run("systemctl", "restart", UNIT + ".socket")
    assert redis(machine, "SADD", "restarted", "2", user="writer") == "1"
    assert "Permission denied" in redis(machine, "PING", user="reader", code=None)


def test_20_writes_wait_while_the_writer_restarts(machine):
    """A client that comes between the death of one writer and the start of the next hears of neither."""
    for i in range(3):
        dead = kill_writer(machine)
        assert redis(machine, "SADD", "queued", str(i), user="writer") == "1"
        assert machine.main_pid(UNIT) != dead
    machine.run("systemctl", "stop", UNIT)
    assert redis(machine, "SCARD", "queued", user="writer") == "3", "a client starts a stopped writer"


def test_21_stopping_the_socket_stops_all(machine):
    machine.run("systemctl", "stop", UNIT + ".socket")
    assert machine.property(UNIT, "ActiveState") == "inactive"
    assert not os.path.exists(machine.path(SOCKET))
    machine.run("systemctl", "start", UNIT)
    assert redis(machine, "PING") == "PONG"


def test_30_failed_starts_are_not_final(machine):
    """More failures than systemd's own limit has, quickly one after another, while a client waits; then it heals."""
    machine.run("systemctl", "stop", UNIT + ".socket")
    drop_in = machine.path("/run/systemd/system/lanemapd@acme.service.d/fail.conf")
    os.makedirs(os.path.dirname(drop_in))
    with open(drop_in, "w", encoding="utf-8") as file:
        file.write("[Service]\nExecStopPost=\nExecStartPre=/usr/bin/test ! -e /run/fail\n")
    machine.run("touch", "/run/fail")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT + ".socket")
    client = machine.start("redis-cli", "-s", SOCKET, "SADD", "healed", "1", stdout=subprocess.PIPE)
    eventually(lambda: int(machine.property(UNIT, "NRestarts")) >= 12)
    assert machine.property(UNIT + ".socket", "ActiveState") == "active"
    machine.run("rm", "/run/fail")
    assert client.communicate(timeout=20)[0].strip() == "1"
    assert machine.property(UNIT, "ActiveState") == "active"
    machine.run("rm", "-r", "/run/systemd/system/lanemapd@acme.service.d")
    machine.run("systemctl", "daemon-reload")


def test_31_a_usage_error_is_final(machine):
    write_options(machine, "lanes nonsense\n")
    machine.run("systemctl", "stop", UNIT + ".socket")
    machine.run("systemctl", "start", UNIT, code=1)
    eventually(lambda: machine.property(UNIT, "ActiveState") == "failed")
    assert "lanemapd.conf:1: --lanes: 'nonsense' is not a number from 1 to 1024" in machine.journal(UNIT)
    os.unlink(machine.path(OPTIONS))
    machine.run("systemctl", "restart", UNIT)
    assert redis(machine, "PING") == "PONG"


def test_32_a_start_without_room_waits_for_some(machine):
    """On a full disk it neither fails nor leaves its clients without a word; it serves as soon as there is room."""
    socket = "/run/lanemap/full/lanemapd.sock"
    machine.run("lanemap", "tenant", "add", "full")
    machine.run("sh", "-ec", "mkdir -p /var/lib/lanemap/full && mount -t tmpfs -o size=1m tmpfs /var/lib/lanemap/full")
    machine.run("dd", "if=/dev/zero", "of=/var/lib/lanemap/full/filler", "bs=4k", code=1)
    machine.run("systemctl", "start", "--no-block", "lanemapd@full")
    eventually(lambda: "aiting for room" in machine.property("lanemapd@full", "StatusText"))
    assert "waits for room" in redis(machine, "SADD", "k", "1", socket=socket, code=None)
    assert machine.property("lanemapd@full", "ActiveState") == "activating"
    machine.run("rm", "/var/lib/lanemap/full/filler")
    eventually(lambda: machine.property("lanemapd@full", "ActiveState") == "active")
    assert redis(machine, "SADD", "k", "1", socket=socket) == "1"
    assert machine.property("lanemapd@full", "NRestarts") == "0"
    machine.run("systemctl", "stop", "lanemapd@full.socket")
    machine.run("umount", "/var/lib/lanemap/full")


def test_40_reload(machine):
    pid = machine.main_pid(UNIT)
    write_options(machine, "appendfsync everysec\nloglevel info\nlanes 3\n")
    machine.run("systemctl", "reload", UNIT)
    eventually(lambda: "reloaded: appendfsync everysec, loglevel info; only a restart changes lanes" in machine.journal(UNIT))
    assert redis(machine, "CONFIG", "GET", "appendfsync").split() == ["appendfsync", "everysec"]
    eventually(lambda: machine.property(UNIT, "SubState") == "running")
    os.unlink(machine.path(OPTIONS))
    machine.run("kill", "-HUP", str(pid))  # by whoever else sends it
    eventually(lambda: machine.journal(UNIT).count("reloaded: ") == 2)
    assert machine.main_pid(UNIT) == pid, "a reload restarts nothing"
    eventually(lambda: machine.property(UNIT, "SubState") == "running")


def test_41_no_signal_stops_it_for_good(machine):
    """Harmless ones leave the process; those that end it leave a line, and a new one, but for a stop that was asked for."""
    pid = machine.main_pid(UNIT)
    for name in ("USR1", "USR2", "PIPE", "ALRM", "XFSZ", "PROF", "RTMIN", "64"):
        machine.run("kill", "-" + name, str(pid))
    assert redis(machine, "PING") == "PONG"
    assert machine.main_pid(UNIT) == pid
    assert "SIGUSR1 from process" in machine.journal(UNIT)
    for name in ("SEGV", "ABRT", "BUS", "KILL", "XCPU"):
        pid = machine.main_pid(UNIT)
        machine.run("kill", "-" + name, str(pid))
        assert redis(machine, "PING") == "PONG", name
        assert machine.main_pid(UNIT) != pid, name
        told = {"XCPU": "SIGXCPU from process", "KILL": "status=9/KILL"}.get(name, f"SIG{name}: process {pid} ends")
        assert told in machine.journal(UNIT), name


def write_options(machine, text):
    with open(machine.path(OPTIONS), "w", encoding="utf-8") as file:
        file.write(text)
