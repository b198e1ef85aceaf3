"""A tenant goes: lanemap remove, systemctl clean, lanemap tenant remove, and nothing of it is left."""
import glob
import os

from machine import eventually
from test_operate import redis

UNIT = "lanemapd@gone"
SOCKET = "/run/lanemap/gone/lanemapd.sock"
STOP = ("systemctl", "disable", "--now", "lanemapd@gone.service", "lanemapd@gone.socket")


def left(machine):
    places = ("/dev/shm/lanemap.gone", "/dev/shm/lanemap.gone.*", "/var/lib/lanemap/gone", "/etc/lanemap/gone",
              "/run/lanemap/gone/lanemapd.sock", "/etc/systemd/system/*/lanemapd@gone.*")
    return [path for place in places for path in glob.glob(machine.path(place))]


def begin(machine):
    machine.run("lanemap", "tenant", "add", "gone")
    machine.run("systemctl", "enable", "--now", UNIT)
    assert redis(machine, "SADD", "k", "1", socket=SOCKET) == "1"


def test_00_a_live_one_is_refused(machine):
    begin(machine)
    told = machine.run("lanemap", "remove", "gone", "--dir", "/var/lib/lanemap/gone", code=1)
    assert "its writer is running" in told, told
    told = machine.run("systemctl", "clean", "--what=state", UNIT, code=1)
    assert "nactive" in told, told
    assert redis(machine, "SCARD", "k", socket=SOCKET) == "1"


def test_01_stopped_with_its_socket_it_goes(machine):
    machine.run(*STOP)
    machine.run("lanemap", "remove", "gone", "--dir", "/var/lib/lanemap/gone")
    machine.run("systemctl", "clean", "--what=configuration", UNIT)
    assert left(machine) == []
    backup = machine.path("/var/lib/lanemap-backup/gone/monday")
    os.mkdir(backup)
    told = machine.run("lanemap", "tenant", "remove", "gone", code=1)
    assert "remove the backups of 'gone'" in told, told
    os.rmdir(backup)
    machine.run("lanemap", "tenant", "remove", "gone")


def test_02_clean_does_the_directories(machine):
    """The same with systemctl clean: shared memory is lanemap's to remove, before or afterwards."""
    begin(machine)
    machine.run(*STOP)
    machine.run("systemctl", "clean", "--what=state", "--what=configuration", UNIT)
    assert not os.path.exists(machine.path("/var/lib/lanemap/gone"))
    told = machine.run("lanemap", "tenant", "remove", "gone", code=1)
    assert "the index 'gone' is still there (/dev/shm/lanemap.gone)" in told, told
    machine.run("lanemap", "remove", "gone")
    assert left(machine) == []
    machine.run("lanemap", "tenant", "remove", "gone")


def test_03_the_next_of_that_name_starts_empty(machine):
    """Another user, another index: nothing of the one before is in its way."""
    machine.run("useradd", "--system", "--no-create-home", "between")  # takes the user number that became free
    begin(machine)
    assert redis(machine, "SCARD", "k", socket=SOCKET) == "1"
    assert redis(machine, "DBSIZE", socket=SOCKET) == "1"
    machine.run(*STOP)


def test_04_readers_of_a_removed_index_go_on_until_they_attach(machine):
    machine.run("systemctl", "start", UNIT)
    reader = machine.start("lanemap", "route", "gone", stdin=-1, stdout=-1, stderr=-1)
    try:
        eventually(lambda: any("lanemap.gone" in line for line in _maps(machine, reader)))
        machine.run("systemctl", "stop", "lanemapd@gone.socket")
        machine.run("lanemap", "remove", "gone", "--dir", "/var/lib/lanemap/gone")
        assert reader.poll() is None
        assert any("lanemap.gone" in line for line in _maps(machine, reader)), "what it has mapped stays"
    finally:
        reader.communicate("", timeout=20)
    assert reader.returncode == 0
    machine.run("lanemap", "get", "gone", "k", code=1)


def _maps(machine, process):
    """Of the program that nsenter became or started."""
    children = [process.pid]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                if int(file.read().rpartition(")")[2].split()[1]) == process.pid:
                    children.append(int(pid))
        except OSError:
            pass
    lines = []
    for pid in children:
        try:
            with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
                lines += file.readlines()
        except OSError:
            pass
    return lines
