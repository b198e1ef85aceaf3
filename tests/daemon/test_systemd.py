"""The unit as it is installed: systemd-analyze verify, with a program that exists; and what the sysusers file says."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

source = sys.argv[1]
wrong = []
with tempfile.TemporaryDirectory(prefix="lms-") as directory:
    program = shutil.copy("/bin/true", os.path.join(directory, "lanemapd"))
    with open(os.path.join(source, "lanemapd@.service.in"), encoding="utf-8") as file:
        text = file.read()
    unit = os.path.join(directory, "lanemapd@test.service")
    with open(unit, "w", encoding="utf-8") as file:
        # The users need not exist where the test runs, nor the man page.
        file.write(re.sub(r"^(User|Group|SupplementaryGroups|Documentation)=.*\n", "",
                          text.replace("@bindir@", directory), flags=re.M))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60,
                          check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "lanemapd@" in line]
    if ours:
        wrong.append("systemd-analyze verify: " + "\n".join(ours))
    elif done.returncode:
        print(f"SKIP systemd-analyze verify does not work here: {done.stderr.strip()[:200]}")
for line in ("Type=notify", "RemoveIPC=no", "User=lanemap", "NoNewPrivileges=yes"):
    if f"\n{line}\n" not in text:
        wrong.append(f"{line} is missing")
if "DynamicUser=yes" in text:
    wrong.append("a dynamic user loses its shared memory on stop")
with open(os.path.join(source, "lanemap.sysusers"), encoding="utf-8") as file:
    entries = [line.split()[:2] for line in file if line.strip() and not line.startswith("#")]
if ["u", "lanemap"] not in entries or ["g", "lanemap-readers"] not in entries:
    wrong.append(f"sysusers: {entries}")
for problem in wrong:
    print("FAIL " + problem)
print(f"{0 if wrong else 1} passed, {1 if wrong else 0} failed")
sys.exit(1 if wrong else 0)
