"""SNMP traps through the program of Debian's package snmp. Secrets are in a file that it reads, never on its command
line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from safekit_notify.config import Snmp
from safekit_notify.message import Message

BASE: Final = "1.3.6.1.4.1.8072.9999.9999.7353"
"""In the part of the tree that is free for such use; see SAFEKIT-MIB.txt."""
INCIDENT: Final = f"{BASE}.0.1"
OBJECTS: Final = ("severity", "cluster", "node", "module", "title", "text", "key")
"""Numbered from 1 below `BASE`.1."""
LONGEST: Final = {"title": 250, "text": 900}
"""A datagram stays below what every network takes in one piece."""
TIMEOUT_S: Final = 15.0


def send(manager: Snmp, message: Message, place: Path) -> str:
    """Empty when it was sent, and acknowledged if that was asked for; else why not. `place`: for its files."""
    program = shutil.which("snmptrap")
    if program is None:
        return "there is no program snmptrap: apt-get install snmp"
    _write_secrets(manager, place)
    argv = [program, "-v", manager.version, "-m", "", "-t", "3", "-r", "2", *(["-Ci"] if manager.inform else [])]
    argv += [_target(manager), "", INCIDENT, *_objects(message)]
    environment = {"SNMPCONFPATH": str(place), "SNMP_PERSISTENT_DIR": str(place / "state"), "PATH": os.defpath}
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"{manager.host} did not acknowledge it within {TIMEOUT_S:g} s"
    if done.returncode == 0:
        return ""
    return done.stderr.decode(errors="replace").strip().partition("\n")[0][:300] or f"snmptrap: {done.returncode}"


def _target(manager: Snmp) -> str:
    return f"udp6:[{manager.host}]:{manager.port}" if ":" in manager.host else f"udp:{manager.host}:{manager.port}"


def _objects(message: Message) -> list[str]:
    """OID, type and value of each."""
    found = []
    for number, name in enumerate(OBJECTS, 1):
        value = message.plain()[name][: LONGEST.get(name, 250)]
        found += [f"{BASE}.1.{number}.0", "s", f" {value}" if value.startswith("-") else value]
    return found


def _write_secrets(manager: Snmp, place: Path) -> None:
    lines = ["dontLoadHostConfig yes"]
    if manager.community is not None:
        lines.append(f'defCommunity "{manager.community.get_secret_value()}"')
    if manager.user and manager.auth_password and manager.privacy_password:
        lines += [
            f"defSecurityName {manager.user}",
            "defSecurityLevel authPriv",
            f"defAuthType {manager.auth}",
            f'defAuthPassphrase "{manager.auth_password.get_secret_value()}"',
            f"defPrivType {manager.privacy}",
            f'defPrivPassphrase "{manager.privacy_password.get_secret_value()}"',
        ]
    (place / "state").mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(place / "snmp.conf", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write("\n".join(lines) + "\n")
