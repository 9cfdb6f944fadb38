from __future__ import annotations

import grp
import json
import subprocess
import sys

IN_A_COPY_OF_ETC = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/upper /mnt/work
mount -t overlay none -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
exec "$@"
"""
SETUP = """
import grp, json, os, pathlib, pwd, socket
from safekit_sdk.service_user import become_user, make_user
place = pathlib.Path("/mnt")
door, var = place / "run/control.sock", place / "var"
door.parent.mkdir()
listening = socket.socket(socket.AF_UNIX)
listening.bind(str(door))
listening.listen()
made = [make_user("safekit-trial", "safekit-door", door) for _ in range(2)]
made += [make_user("safekit-door", "safekit-door", door) for _ in range(2)]
assert pwd.getpwnam("safekit-door").pw_gid == grp.getgrnam("safekit-door").gr_gid
become_user("safekit-trial", "safekit-door", var, setup="setup")
socket.socket(socket.AF_UNIX).connect(str(door))
(var / "own").write_text("")
try:
    os.setuid(0)
    is_root = True
except PermissionError:
    is_root = False
bound = "NoNewPrivs:\\t1" in pathlib.Path("/proc/self/status").read_text()
print(json.dumps([made, is_root or not bound, os.getuid(), len(os.getgroups()), oct(var.stat().st_mode & 0o777)]))
"""


def test_a_service_becomes_a_user_that_reaches_safekitd_and_nothing_else() -> None:
    inside = ["sh", "-c", IN_A_COPY_OF_ETC, "sh", sys.executable, "-c", SETUP]
    done = subprocess.run(["unshare", "--mount", *inside], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    made, is_root, uid, groups, mode = json.loads(done.stdout)
    assert (made, is_root, groups, mode) == ([True, False, True, False], False, 1, "0o700")
    assert uid > 0
    assert not [group for group in grp.getgrall() if group.gr_name == "safekit-door"]


def test_a_user_that_is_not_there_is_told_with_the_command_that_makes_it() -> None:
    become = "become_user('nobody-at-all', 'root', setup='safekit x setup')"
    code = f"from safekit_sdk.service_user import become_user; {become}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "ConfigError" in done.stderr
    assert "`safekit x setup` makes them" in done.stderr
