"""A disk that hangs under a booted systemd: STATUS says so, PING is answered, and in the end the watchdog restarts."""
import os
import shutil
import subprocess

from machine import eventually
from test_operate import SOCKET, UNIT, redis

DROP_IN = "/run/systemd/system/lanemapd@acme.service.d/hang.conf"
HOLD = "/run/lanemap-hold"


def test_10_status_and_watchdog(machine):
    """fdatasync of the unit's own lanemapd hangs, by LD_PRELOAD."""
    shutil.copy(os.path.join(machine.build, "tests/daemon/preload_sync.so"), machine.path("/run/preload_sync.so"))
    os.makedirs(os.path.dirname(machine.path(DROP_IN)))
    with open(machine.path(DROP_IN), "w", encoding="utf-8") as file:
        file.write(f"[Service]\nEnvironment=LD_PRELOAD=/run/preload_sync.so LANEMAP_TEST_HOLD={HOLD}\n"
                   "Environment=LANEMAPD_OPTIONS=\nWatchdogSec=4\nTimeoutAbortSec=5\n"
                   "ExecStart=\nExecStart=/usr/local/bin/lanemapd --name acme --dir /var/lib/lanemap/acme --hang-limit 8\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)
    assert redis(machine, "SADD", "hangs", "1") == "1"
    restarts = int(machine.property(UNIT, "NRestarts"))
    machine.run("touch", HOLD)
    client = machine.start("redis-cli", "-s", SOCKET, "SADD", "hangs", "2", stdout=subprocess.PIPE)
    eventually(lambda: "the log cannot be written or synced" in machine.property(UNIT, "StatusText"))
    assert redis(machine, "PING") == "PONG"
    assert "busy_part:log" in redis(machine, "INFO", "health")
    assert client.poll() is None, "answered before it was durable"
    assert int(machine.property(UNIT, "NRestarts")) == restarts, "restarted before the limit"
    eventually(lambda: "Watchdog timeout" in machine.journal(UNIT), 60)
    assert "the watchdog is not fed until it gets on" in machine.journal(UNIT)
    machine.run("rm", HOLD)
    eventually(lambda: int(machine.property(UNIT, "NRestarts")) > restarts, 60)
    client.communicate(timeout=60)
    assert redis(machine, "SISMEMBER", "hangs", "1") == "1"
    eventually(lambda: machine.property(UNIT, "StatusText") == "Serving acme")
    os.unlink(machine.path(DROP_IN))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", UNIT)


def test_20_removed_shared_memory(machine):
    """As RemoveIPC= or a cleaner of /dev/shm would do it."""
    assert redis(machine, "SADD", "removed", "7") == "1"
    pid = machine.main_pid(UNIT)
    machine.run("sh", "-c", "rm /dev/shm/lanemap.acme*")
    eventually(lambda: "7" in machine.run("lanemap", "get", "acme", "removed", code=None), 10)
    assert machine.main_pid(UNIT) == pid
