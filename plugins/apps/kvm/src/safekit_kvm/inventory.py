"""A domain as libvirt has it on this node."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_sdk import ConfigError
from safekit_sdk.surroundings import search_path

ASK_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Guest:
    name: str
    images: tuple[Path, ...]
    """The files that it writes."""
    needs: dict[str, Any]
    """Of a machine that is to run it, as the resource writes it."""


def find(uri: str, domain: str) -> Guest:
    """ConfigError that names the domains which there are."""
    dumped = _virsh(uri, "dumpxml", domain, "--inactive")
    if dumped.returncode != 0:
        known = ", ".join(_virsh(uri, "list", "--all", "--name").stdout.split()[:10]) or "none"
        raise ConfigError(
            f"libvirt has no domain '{domain}' on this node; it has: {known}", hint="--set domain=NAME, on its node"
        )
    root = ET.fromstring(dumped.stdout)
    disks = [disk for disk in root.iterfind("devices/disk") if disk.get("device", "disk") in ("disk", "lun")]
    for disk in disks:
        if disk.find("readonly") is None and disk.get("type") != "file":
            target = disk.find("target")
            name = target.get("dev") if target is not None else "?"
            raise ConfigError(
                f"disk {name} of {domain} is of type {disk.get('type')}; only files are replicated",
                hint="copy it into a file: `qemu-img convert -O raw`",
            )
    sources = [disk.find("source") for disk in disks if disk.find("readonly") is None]
    images = tuple(Path(source.get("file", "")) for source in sources if source is not None)
    return Guest(domain, images, _needs(root))


def _needs(root: ET.Element) -> dict[str, Any]:
    machine, cpu = root.find("os/type"), root.findtext("cpu/model")
    found: dict[str, Any] = {"type": root.get("type")} if root.get("type") == "qemu" else {}
    if machine is not None and machine.get("machine"):
        found["machine"] = machine.get("machine")
    if cpu and root.find("cpu[@mode='custom']") is not None:
        found["cpu"] = cpu.strip()
        if features := [name for one in root.iterfind("cpu/feature[@policy='require']") if (name := one.get("name"))]:
            found["features"] = features
    for kind, key in (("bridge", "bridges"), ("network", "networks")):
        sources = root.iterfind(f"devices/interface[@type='{kind}']/source")
        if names := sorted({name for source in sources if (name := source.get(kind))}):
            found[key] = names
    return found


def _virsh(uri: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"LC_ALL": "C", "PATH": search_path()}
    argv = ["virsh", "--quiet", "--connect", uri, *words]
    try:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"libvirt cannot be asked: {error}", hint="apt-get install libvirt-daemon-system") from None
    if done.returncode != 0 and "failed to connect" in done.stderr:
        raise ConfigError(f"libvirt does not answer at {uri}", hint="`systemctl start libvirtd`")
    return done
