"""A fence agent of the usual convention. Its machines are processes: `plug` names a file with a process id. What it
does wrong is said by a file `modes` beside it, what it was told is in the file `log`. It needs no other module."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARAMETERS = ("action", "ip", "plug", "password", "verbose")


def main() -> int:
    told = dict(line.split("=", 1) for line in sys.stdin.read(65536).splitlines() if "=" in line)
    action = told.get("action", "")
    note(told)
    mode = take_mode(action)
    if mode.startswith("exit "):
        print(f"{action}: no luck", file=sys.stderr)
        return int(mode.removeprefix("exit "))
    misbehave(mode, told)
    return perform(action, told, mode)


def note(told: dict[str, str]) -> None:
    command_line = Path("/proc/self/cmdline").read_text().split("\0")
    with (HERE / "log").open("a") as log:
        print(json.dumps({"told": told, "command": command_line, "environment": dict(os.environ)}), file=log)


def take_mode(action: str) -> str:
    """The first of its modes is used up, the last one stays."""
    modes = json.loads((HERE / "modes").read_text())
    mine = modes.get(action, [""])
    if len(mine) > 1:
        (HERE / "modes").write_text(json.dumps({**modes, action: mine[1:]}))
    return str(mine[0])


def misbehave(mode: str, told: dict[str, str]) -> None:
    if mode == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if mode == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "print":
        for _ in range(80):
            print("x" * 100_000)
    if mode == "verbose":
        print(told, file=sys.stderr)


def perform(action: str, told: dict[str, str], mode: str) -> int:
    if action == "metadata":
        print(metadata(mode))
        return 0
    if action == "monitor":
        return 0
    pid = int((HERE / told["plug"]).read_text())
    if action == "off" and mode != "lie":
        os.kill(pid, signal.SIGKILL)
    if action == "status":
        return 0 if mode == "on" or runs(pid) else 2
    return 0 if action == "off" else 1


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def metadata(mode: str) -> str:
    actions = [name for name in ("on", "off", "status", "monitor", "metadata") if mode != f"without {name}"]
    lines = [f'<parameter name="{name}"><getopt mixed="--{name}=[{name}]"/></parameter>' for name in PARAMETERS]
    lines = ["<resource-agent>", "<parameters>", *lines, "</parameters>", "<actions>"]
    lines += [f'<action name="{name}"/>' for name in actions]
    lines += ["</actions>", "</resource-agent>"]
    if mode == "doctype":
        lines.insert(1, '<!DOCTYPE x [<!ENTITY a "aaaa">]>')
    return "\n".join(['<?xml version="1.0"?>', *lines] if mode != "nothing" else [])


if __name__ == "__main__":
    sys.exit(main())
