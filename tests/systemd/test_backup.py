"""Backups of a tenant that has a /tmp of its own and a root that is read-only: they go where the client says, or nowhere."""
import json
import os

TENANT = "safe"
SOCKET = f"/run/lanemap/{TENANT}/lanemapd.sock"
UNIT = f"lanemapd@{TENANT}"


def redis(machine, *command, code=0):
    return machine.run("redis-cli", "-s", SOCKET, *command, code=code).strip()


def expect_backup(machine, path, n_pairs):
    assert json.loads(machine.run("lanemap", "verify", "--json", path))["pairs"] == n_pairs, path
    assert not os.path.exists(machine.path(path + "/incomplete"))


def test_00_a_tenant(machine):
    machine.run("lanemap", "tenant", "add", TENANT)
    machine.run("systemctl", "start", UNIT)
    for i in range(20):
        redis(machine, "SADD", f"key-{i}", "1", "2")
    machine.add_user("saver", f"lanemapw-{TENANT}")
    machine.run("install", "-d", "-o", "saver", "/var/saver")


def test_01_of_root_where_root_says(machine):
    for path in ("/tmp/backup", "/var/backups/backup", "/root/backup"):
        machine.run("mkdir", "-p", os.path.dirname(path))
        assert machine.run("lanemap", "backup", "--socket", SOCKET, path) == ""
        expect_backup(machine, path, 40)
        assert os.stat(machine.path(path)).st_mode & 0o777 == 0o700


def test_02_of_a_writer(machine):
    assert machine.run("lanemap", "backup", "--socket", SOCKET, "/var/saver/backup", user="saver") == ""
    expect_backup(machine, "/var/saver/backup", 40)


def test_03_of_a_plain_client(machine):
    for path in ("/tmp/plain", "/var/backups/plain", "/var/lib/lanemap/plain"):
        answer = redis(machine, "LANEMAP.BACKUP", path, code=None)
        assert "may see another directory than you" in answer, answer
        assert not os.path.exists(machine.path(path))
    assert redis(machine, "LANEMAP.BACKUP", "plain") == "OK"
    expect_backup(machine, f"/var/lib/lanemap-backup/{TENANT}/plain", 40)


def test_04_they_outlive_the_writer_and_come_back(machine):
    machine.run("systemctl", "stop", UNIT + ".socket")
    for path in ("/tmp/backup", "/var/backups/backup", "/var/saver/backup", f"/var/lib/lanemap-backup/{TENANT}/plain"):
        expect_backup(machine, path, 40)
    machine.run("sh", "-ec", f"mv /var/lib/lanemap/{TENANT} /var/lost")
    machine.run("install", "-d", "-o", f"lanemap-{TENANT}", "-g", f"lanemap-{TENANT}", "-m", "0750", f"/var/lib/lanemap/{TENANT}")
    machine.run("lanemap", "restore", "/tmp/backup", f"/var/lib/lanemap/{TENANT}")
    machine.run("systemctl", "start", UNIT)
    assert redis(machine, "SCARD", "key-7") == "2"
    machine.run("systemctl", "stop", UNIT + ".socket")
