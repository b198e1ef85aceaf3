"""Two tenants: what one's daemon, readers and writers reach of the other's; and `lanemap tenant`."""
import os
import shutil

from machine import HERE, write
from test_operate import redis

BETA = "/run/lanemap/beta/lanemapd.sock"


def paths_of(machine, name):
    """Everything of a tenant but the directories that all share."""
    shared = [f"/dev/shm/{entry}" for entry in os.listdir(machine.path("/dev/shm"))
              if entry.startswith(f"lanemap.{name}.") or entry == f"lanemap.{name}"]
    assert len(shared) >= 4, shared  # control, data, lock, spare
    return [f"/var/lib/lanemap/{name}", f"/run/lanemap/{name}", *sorted(shared)]


def reach(machine, user, name):
    pid = machine.main_pid(f"lanemapd@{name}")
    assert pid > 0
    # Files are named by root: a user who may not list a directory may know the names in it.
    paths = machine.run("find", *paths_of(machine, name)).split()
    told = machine.run("python3", "/run/reach.py", str(pid), *paths, user=user)
    return set(told.splitlines()), pid


def test_00_two_tenants(machine):
    shutil.copy(os.path.join(HERE, "reach.py"), machine.path("/run/reach.py"))
    told = machine.run("lanemap", "tenant", "add", "beta")
    assert "group   lanemapw-beta: its members write\n" in told, told
    assert "user    lanemap-beta: owns the index\n" in told, told
    machine.run("systemctl", "enable", "--now", "lanemapd@beta")
    assert redis(machine, "SADD", "key of beta", "1", socket=BETA) == "1"
    assert redis(machine, "LANEMAP.FLUSH", socket=BETA) == "OK"
    machine.add_user("reader-b", "lanemap-beta")
    machine.add_user("writer-b", "lanemapw-beta")
    machine.add_user("both-a", "lanemap-acme", "lanemapw-acme")


def test_10_nobody_of_one_reaches_anything_of_the_other(machine):
    for user in ("lanemap-acme", "reader", "writer", "both-a", "stranger"):
        told, _ = reach(machine, user, "beta")
        # The directory of the socket may be listed by all; the socket in it is shut.
        assert told <= {"list /run/lanemap/beta"}, f"{user} reaches {sorted(told)}"
    for user in ("lanemap-beta", "reader-b", "writer-b"):
        told, _ = reach(machine, user, "acme")
        assert told <= {"list /run/lanemap/acme"}, f"{user} reaches {sorted(told)}"


def test_11_a_tenants_own_reach_what_they_need(machine):
    """No more either: a reader opens what it maps, and neither the manifest nor the log."""
    control, data, *_ = [path for path in paths_of(machine, "beta") if path.startswith("/dev/shm")]
    told, _ = reach(machine, "reader-b", "beta")
    segments = {f"read /var/lib/lanemap/beta/{name}" for name in os.listdir(machine.path("/var/lib/lanemap/beta"))
                if name.endswith(".lms")}
    assert segments
    wanted = {"list /run/lanemap/beta", "list /var/lib/lanemap/beta", f"read {control}", f"read {data}"} | segments
    assert told == wanted, sorted(told ^ wanted)
    told, _ = reach(machine, "writer-b", "beta")
    assert told == {"list /run/lanemap/beta", f"connect {BETA}"}, told
    told, pid = reach(machine, "lanemap-beta", "beta")
    for what in (f"signal {pid}", "read /var/lib/lanemap/beta/manifest.json", f"write {control}", f"connect {BETA}",
                 f"rename {control}", "create in /var/lib/lanemap/beta"):
        assert what in told, f"reach.py does not see: {what}"


def test_12_the_tools_of_one_do_not_open_the_other(machine):
    for user in ("lanemap-acme", "reader", "writer"):
        machine.run("lanemap", "get", "beta", "key of beta", user=user, code=1)
        machine.run("lanemap", "verify", "/var/lib/lanemap/beta", user=user, code=1)
        machine.run("lanemapd", "--name", "beta", "--dir", "/tmp/x", user=user, code=1)
    assert "1" in machine.run("lanemap", "get", "beta", "key of beta", user="reader-b")


def test_20_adding_is_repeatable(machine):
    with open(machine.path("/etc/passwd"), encoding="utf-8") as file:
        before = file.read()
    told = machine.run("lanemap", "tenant", "add", "beta")
    assert told.count("(was there)") == 2, told
    machine.run("lanemap", "tenant", "add", "beta", user="stranger")
    with open(machine.path("/etc/passwd"), encoding="utf-8") as file:
        assert file.read() == before
    machine.run("groupdel", "lanemapw-beta")
    told = machine.run("lanemap", "tenant", "add", "beta", user="stranger", code=1)
    assert "only root may make users" in told, told
    machine.run("lanemap", "tenant", "add", "beta")
    assert "lanemapw-beta" in machine.run("getent", "group", "lanemapw-beta")


def test_21_names(machine):
    longest = "a" * 22
    for name in ("a" * 23, "-a", "a.b", "a/b", "", "ä"):
        told = machine.run("lanemap", "tenant", "add", "--", name, code=2)
        assert "22" in told, told
    told = machine.run("lanemap", "tenant", "add", longest)
    assert f"lanemapw-{longest}" in told
    machine.run("systemctl", "start", f"lanemapd@{longest}")
    assert redis(machine, "SADD", "k", "1", socket=f"/run/lanemap/{longest}/lanemapd.sock") == "1"
    machine.run("systemctl", "stop", f"lanemapd@{longest}.socket")


def test_22_an_account_that_is_something_else_is_refused(machine):
    machine.run("useradd", "--system", "--no-create-home", "--gid", "nogroup", "lanemap-gamma")
    told = machine.run("lanemap", "tenant", "add", "gamma", code=1)
    assert "the group of the user 'lanemap-gamma' is not 'lanemap-gamma'" in told, told
    machine.run("useradd", "--system", "--no-create-home", "--non-unique", "--uid", "0", "lanemap-delta")
    told = machine.run("lanemap", "tenant", "add", "delta", code=1)
    assert "is root" in told, told
    machine.run("sed", "-i", "/^lanemap-delta:/d", "/etc/passwd", "/etc/shadow")


def test_23_without_systemd_sysusers(machine):
    """The tools of shadow make the same accounts."""
    machine.run("sh", "-ec", "mount --bind /dev/null /usr/bin/systemd-sysusers")
    try:
        told = machine.run("lanemap", "tenant", "add", "plain")
    finally:
        machine.run("umount", "/usr/bin/systemd-sysusers")
    assert "user    lanemap-plain" in told, told
    entry = machine.run("getent", "passwd", "lanemap-plain").strip().split(":")
    assert entry[5:] == ["/var/lib/lanemap/plain", "/usr/sbin/nologin"], entry
    assert "lanemapw-plain" in machine.run("getent", "group", "lanemapw-plain")


def test_24_by_hand(machine):
    """The template says what the command does."""
    template = machine.run("sed", "/^#/d; s/TENANT/hand/g", "/usr/local/share/lanemap/lanemap-tenant.sysusers")
    assert template == machine.run("lanemap", "tenant", "add", "--print", "hand", user="stranger")
    write(machine.path("/etc/sysusers.d/lanemap-hand.conf"), template)
    machine.run("systemd-sysusers")
    assert machine.run("lanemap", "tenant", "add", "hand").count("(was there)") == 2


def test_30_a_tenant_goes_when_nothing_of_it_is_left(machine):
    told = machine.run("lanemap", "tenant", "remove", "beta", code=1)
    assert "the index 'beta' is still there" in told, told
    machine.run("lanemap", "tenant", "remove", "hand")
    for database, name in (("passwd", "lanemap-hand"), ("group", "lanemap-hand"), ("group", "lanemapw-hand")):
        machine.run("getent", database, name, code=2)
    machine.run("lanemap", "tenant", "remove", "hand")
