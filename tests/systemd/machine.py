"""A booted systemd 252 for tests: PID 1 in namespaces of its own, in a root of its own.

The root is a tmpfs with the machine's /usr below it, read-only, and what `meson install` put into a staging directory:
neither systemd nor anything that it starts sees the real root, its /tmp, its /dev/shm or its processes.

    with Machine(build) as machine:
        machine.run("systemctl", "start", "lanemapd@acme")          # as root, exit code 0 expected
        machine.run("lanemap", "get", "acme", "key", user="www-data", code=3)
        machine.journal("lanemapd@acme")

Paths below machine.root are the files of the booted system, as seen from here.
"""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NAMESPACES = ["--pid", "--mount", "--cgroup", "--ipc", "--uts"]
SYSTEMD = "/usr/lib/systemd/systemd"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"

# What a machine without hardware, users or network has no use for.
MASKED = [
    "console-getty.service", "e2scrub_reap.service", "getty.target",
    "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-binfmt.service",
    "systemd-firstboot.service", "systemd-initctl.socket", "systemd-logind.service", "systemd-modules-load.service",
    "systemd-pcrphase-sysinit.service", "systemd-pcrphase.service", "systemd-random-seed.service",
    "systemd-repart.service", "systemd-sysctl.service", "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service", "systemd-user-sessions.service", "proc-sys-fs-binfmt_misc.automount",
    "dev-hugepages.mount", "kmod-static-nodes.service", "systemd-journald-audit.socket", "systemd-timesyncd.service",
    "systemd-machine-id-commit.service", "sys-kernel-config.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "modprobe@.service", "systemd-networkd.service", "systemd-resolved.service",
]


class Skip(Exception):
    """This machine refuses what a booted system needs."""


def eventually(what, seconds=20):
    """Calls what() until it answers something true; answers that."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("did not happen in time")
        time.sleep(0.02)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def check_namespaces():
    if os.geteuid() != 0:
        raise Skip("only root may boot a system")
    if not os.path.exists(SYSTEMD):
        raise Skip(f"{SYSTEMD} is missing; tools/install-packages test")
    done = subprocess.run(["unshare", "--fork", *NAMESPACES, "mount", "--make-rprivate", "/"], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        raise Skip(f"namespaces are refused here: {done.stderr.strip()}")


def cgroup2_mount():
    """Where the machine has its cgroup2 hierarchy."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for line in file:
            _, where, kind = line.split()[:3]
            if kind == "cgroup2":
                return where
    raise Skip("no cgroup2 is mounted here")


class Machine:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.room = self.root = self.cgroup = self.process = self.init_pid = None

    def __enter__(self):
        check_namespaces()
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.init_pid:
            try:
                os.kill(self.init_pid, signal.SIGKILL)  # the namespace ends with its first process
            except ProcessLookupError:
                pass
        if self.process:
            self.process.kill()
            self.process.wait()
        try:
            if self.cgroup:
                eventually(self._cgroup_remove)
        finally:
            if self.room:
                shutil.rmtree(self.room, ignore_errors=True)

    def _cgroup_remove(self):
        for directory, _, _ in os.walk(self.cgroup, topdown=False):
            try:
                os.rmdir(directory)
            except OSError:
                return False
        return True

    # The root

    def _install(self, stage):
        done = subprocess.run(["meson", "install", "-C", self.build, "--no-rebuild", "--quiet"],
                              env=dict(os.environ, DESTDIR=stage), capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"meson install: {done.stdout}{done.stderr}")
        if not os.path.isdir(os.path.join(stage, "usr/local")):
            raise Skip("the build is configured for another prefix than /usr/local")

    def _make_etc(self, etc):
        write(f"{etc}/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n")
        write(f"{etc}/group", "root:x:0:\nnogroup:x:65534:\n")
        write(f"{etc}/shadow", "root:*:19000::::::\n")
        write(f"{etc}/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n")
        write(f"{etc}/machine-id", os.urandom(16).hex() + "\n")
        write(f"{etc}/hostname", "lanemap-test\n")
        write(f"{etc}/fstab", "")
        write(f"{etc}/systemd/journald.conf", "[Journal]\nStorage=volatile\nRateLimitBurst=0\n")
        write(f"{etc}/systemd/system.conf", "[Manager]\nLogTarget=journal\nStatusUnitFormat=name\n")
        for path in ("ld.so.conf", "ld.so.conf.d", "login.defs"):
            if os.path.isdir(f"/etc/{path}"):
                shutil.copytree(f"/etc/{path}", f"{etc}/{path}")
            elif os.path.exists(f"/etc/{path}"):
                shutil.copy(f"/etc/{path}", f"{etc}/{path}")
        for unit in MASKED:
            os.symlink("/dev/null", f"{etc}/systemd/system/{unit}")
        os.symlink("/usr/lib/systemd/system/multi-user.target", f"{etc}/systemd/system/default.target")

    # Life

    def _start(self):
        self.room = tempfile.mkdtemp(prefix="lms-")
        root, stage = os.path.join(self.room, "root"), os.path.join(self.room, "stage")
        os.makedirs(root)
        os.makedirs(f"{stage}/etc/systemd/system")
        self._install(stage)
        self._make_etc(f"{stage}/etc")
        cgroup = os.path.join(cgroup2_mount(), os.path.basename(self.room))
        try:
            os.mkdir(cgroup)
        except OSError as error:
            raise Skip(f"control groups are refused here: {error}") from None
        self.cgroup = cgroup
        self.messages = open(os.path.join(self.room, "messages"), "w+", encoding="utf-8")
        # The shell is moved before the cgroup namespace is made, so that the namespace's root is this group.
        self.process = subprocess.Popen(
            ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup,
             "setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--kill-child", *NAMESPACES,
             os.path.join(HERE, "init.sh"), root, stage, "--log-target=journal", "--show-status=false"],
            stdin=subprocess.DEVNULL, stdout=self.messages, stderr=self.messages)
        self.init_pid = eventually(self._find_init)
        self.root = f"/proc/{self.init_pid}/root"
        try:
            eventually(self._is_up, 60)
        except AssertionError:
            self.messages.seek(0)
            raise AssertionError("systemd does not come up: " + self.messages.read()[-4000:]) from None

    def _find_init(self):
        if self.process.poll() is not None:
            self.messages.seek(0)
            raise AssertionError(f"unshare ended with {self.process.returncode}: {self.messages.read()[-4000:]}")
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    parent = file.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if int(parent) == self.process.pid:
                return int(pid)
        return None

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"systemd ended with {self.process.returncode}")
        with open(f"/proc/{self.init_pid}/comm", encoding="utf-8") as file:
            if file.read().strip() != "systemd":
                return False
        done = self.start("systemctl", "is-system-running", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.communicate()[0].strip() in ("running", "degraded")

    # Looking at it, and working in it

    def start(self, *command, user=None, groups=(), env=None, **options):
        """A process in the booted system; `user`: by name, with the groups that /etc/group gives it."""
        enter = ["nsenter", "-t", str(self.init_pid), "-p", "-m", "-i", "-u", "-C", "--root", "--wdns=/"]
        if user:
            enter += ["setpriv", f"--reuid={user}", "--regid=" + self.group_of(user), "--init-groups"]
        # In a session of its own: what it sends to its process group stays there.
        return subprocess.Popen([*enter, *command], text=True, env=dict(env or {}, PATH=PATH, LC_ALL="C.UTF-8"),
                                start_new_session=True, **options)

    def run(self, *command, user=None, input=None, code=0, timeout=60):
        """Runs a command to its end; answers what it printed, stdout and stderr. `code` None: any."""
        process = self.start(*command, user=user, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        try:
            out, _ = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # what it started holds the pipe, too
            raise AssertionError(f"{' '.join(command)} did not end: {process.communicate()[0]}") from None
        if code is not None and process.returncode != code:
            raise AssertionError(f"{' '.join(command)} ended with {process.returncode}, wanted {code}: {out}")
        return out

    def add_user(self, name, *groups):
        self.run("useradd", "--system", "--no-create-home", *(["--groups", ",".join(groups)] if groups else []), name)

    @staticmethod
    def readme_operate():
        """The commands of README's "Operate": the first block of shell there."""
        with open(os.path.join(HERE, "../../README.md"), encoding="utf-8") as file:
            return file.read().split("\n## Operate\n")[1].split("```sh\n")[1].split("```")[0]

    def group_of(self, user):
        return subprocess.run(["nsenter", "-t", str(self.init_pid), "-m", "--root", "id", "-g", user],
                              capture_output=True, text=True, check=True).stdout.strip()

    def path(self, path):
        return self.root + path

    def property(self, unit, name):
        return self.run("systemctl", "show", "-P", name, unit).strip()

    def main_pid(self, unit):
        """As the booted system counts."""
        pid = int(self.property(unit, "MainPID"))
        if pid <= 0:
            raise AssertionError(f"{unit} has no process")
        return pid

    def journal(self, unit):
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", unit)
