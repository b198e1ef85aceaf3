"""What root does in a tenant's directory, and what root began before there was a tenant."""
import os

from machine import eventually

TENANT = "owned"
DIRECTORY = f"/var/lib/lanemap/{TENANT}"
UNIT = f"lanemapd@{TENANT}"


def make_tenant(machine, name):
    machine.run("lanemap", "tenant", "add", name)


def redis(machine, tenant, *command, code=0):
    return machine.run("redis-cli", "-s", f"/run/lanemap/{tenant}/lanemapd.sock", *command, code=code).strip()


def expect_owned(machine):
    owner = os.stat(machine.path(DIRECTORY)).st_uid
    assert owner != 0
    for name in os.listdir(machine.path(DIRECTORY)):
        assert os.stat(machine.path(f"{DIRECTORY}/{name}")).st_uid == owner, name


def expect_serves(machine, key, n_ids):
    machine.run("systemctl", "start", UNIT)
    assert redis(machine, TENANT, "SCARD", key) == str(n_ids)
    machine.run("systemctl", "stop", UNIT + ".socket")


def test_00_a_tenant(machine):
    make_tenant(machine, TENANT)
    machine.run("systemctl", "start", UNIT)
    assert redis(machine, TENANT, "SADD", "a", "1") == "1"
    machine.run("systemctl", "stop", UNIT + ".socket")


def test_01_tools_of_root_leave_it_the_tenants(machine):
    machine.run("lanemap", "load", "--dir", DIRECTORY, "--name", TENANT, input="a\t2\nb\t1\n")
    expect_owned(machine)
    expect_serves(machine, "a", 2)
    machine.run("lanemap", "reshard", DIRECTORY, "--lanes", "8")
    expect_owned(machine)
    expect_serves(machine, "a", 2)
    segment = next(name for name in os.listdir(machine.path(DIRECTORY)) if name.startswith("seg-"))
    with open(machine.path(f"{DIRECTORY}/{segment}"), "r+b") as file:
        file.seek(64)
        byte = file.read(1)[0]
        file.seek(64)
        file.write(bytes([byte ^ 1]))
    machine.run("lanemap", "repair", DIRECTORY, code=None)
    expect_owned(machine)
    expect_serves(machine, "b", 1)


def test_02_lanemapd_of_root_is_the_tenants(machine):
    daemon = machine.start("lanemapd", "--name", TENANT, "--dir", DIRECTORY)
    socket = f"{DIRECTORY}/lanemapd.sock"
    eventually(lambda: machine.run("redis-cli", "-s", socket, "PING", code=None).strip() == "PONG")
    machine.run("redis-cli", "-s", socket, "SADD", "c", "1")
    machine.run("redis-cli", "-s", socket, "SHUTDOWN", code=None)
    daemon.wait(30)
    expect_owned(machine)
    expect_serves(machine, "c", 1)


def test_03_a_file_of_root_is_named_and_mended(machine):
    machine.run("chown", "root:root", f"{DIRECTORY}/manifest.json")
    machine.run("systemctl", "start", "--no-block", UNIT)
    text = f"{DIRECTORY}/manifest.json belongs to root (uid 0), the directory to uid "
    eventually(lambda: text in machine.journal(UNIT))
    command = machine.journal(UNIT).split("as root, ")[-1].splitlines()[0]
    assert command.startswith("chown -R --from=0 "), command
    machine.run("sh", "-ec", command)
    eventually(lambda: machine.property(UNIT, "ActiveState") == "active")
    assert redis(machine, TENANT, "SCARD", "c") == "1"
    machine.run("systemctl", "stop", UNIT + ".socket")


def test_04_write_as_root_then_operate(machine):
    """README's "Write" as root, then "Operate": the unit says what is in the way, and starts when it is gone."""
    directory, unit = "/var/lib/lanemap/begun", "lanemapd@begun"
    machine.run("mkdir", "-p", "/var/lib/lanemap")
    daemon = machine.start("lanemapd", "--name", "begun", "--dir", directory)
    socket = f"{directory}/lanemapd.sock"
    eventually(lambda: machine.run("redis-cli", "-s", socket, "PING", code=None).strip() == "PONG")
    machine.run("redis-cli", "-s", socket, "SADD", "a", "1")
    machine.run("redis-cli", "-s", socket, "SHUTDOWN", code=None)
    daemon.wait(30)

    make_tenant(machine, "begun")
    machine.run("systemctl", "start", "--no-block", unit)
    eventually(lambda: "lanemap remove begun" in machine.journal(unit))
    assert "belongs to root (uid 0)" in machine.journal(unit)
    if "\n  remove " in machine.run("lanemap", "--help"):
        machine.run("lanemap", "remove", "begun")
    else:
        machine.run("sh", "-ec", "rm /dev/shm/lanemap.begun /dev/shm/lanemap.begun.*")
    eventually(lambda: machine.property(unit, "ActiveState") == "active")
    assert redis(machine, "begun", "SCARD", "a") == "1"
    machine.run("systemctl", "stop", unit + ".socket")


def test_05_operate_beside_a_writer_of_root(machine):
    """The unit waits for root's writer, and systemd gives it the directory meanwhile; the last files are the unit's."""
    directory, unit = "/var/lib/lanemap/beside", "lanemapd@beside"
    daemon = machine.start("lanemapd", "--name", "beside", "--dir", directory)
    socket = f"{directory}/lanemapd.sock"
    eventually(lambda: machine.run("redis-cli", "-s", socket, "PING", code=None).strip() == "PONG")
    make_tenant(machine, "beside")
    machine.run("systemctl", "start", "--no-block", unit)
    eventually(lambda: "another writer has this data directory" in machine.journal(unit))
    assert os.stat(machine.path(directory)).st_uid != 0
    assert machine.run("redis-cli", "-s", socket, "SADD", "a", "1") == "1\n"
    machine.run("redis-cli", "-s", socket, "SHUTDOWN", code=None)
    daemon.wait(30)
    for name in os.listdir(machine.path(directory)):
        assert os.stat(machine.path(f"{directory}/{name}")).st_uid != 0, name
    machine.run("lanemap", "remove", "beside")
    eventually(lambda: machine.property(unit, "ActiveState") == "active")
    assert redis(machine, "beside", "SCARD", "a") == "1"
    machine.run("systemctl", "stop", unit + ".socket")
