"""Many virtual machines, each a module: more than SafeKit's 32, and as many of them running as the machine carries."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import kvm_lab
from kvm_lab import Host
from lab_cluster import SAFEKIT, Cluster, change_file
from ruamel.yaml import YAML

from safekit_lab.node import Node

DEFINED = 100
PLACE = "/srv/many"
GUEST_BYTES = 450 << 20
"""What a running one costs: QEMU, and on both nodes a host and a data path of rfs."""
GUESTS_A_PROCESSOR = 6
"""More would be a test of how long emulated processors take to boot."""
AT_ONCE = 2
BOOTING_S = 5


def names(count: int) -> list[str]:
    return [f"vm{number:03}" for number in range(count)]


def room() -> int:
    """How many this machine carries."""
    found = re.search(r"MemAvailable: +(\d+)", Path("/proc/meminfo").read_text())
    available_bytes = int(found[1]) << 10 if found else 0
    return min(DEFINED, available_bytes // GUEST_BYTES, GUESTS_A_PROCESSOR * len(os.sched_getaffinity(0)))


def define(made: Cluster, host: Host, every: Sequence[str]) -> None:
    """In libvirt of the first node, with a directory on both."""
    for node in made.nodes:
        (host.place / node.name / "many").mkdir()
        node.run(["mkdir", "-p", PLACE])
        node.run(["mount", "--bind", f"/srv/disks/{node.name}/many", PLACE])
        for name in every:
            (host.image(node, "many") / name).mkdir()
    first = made.nodes[0]
    for number, name in enumerate(every):
        folder = host.image(first, "many") / name
        (folder / f"{name}.img").touch()
        os.truncate(folder / f"{name}.img", 16 << 20)
        (folder / "guest.xml").write_text(_definition(name, number))
    first.run(["virsh", "--quiet", "; ".join(f"define {PLACE}/{name}/guest.xml" for name in every)], timeout_s=120.0)
    for name in every:
        (host.image(first, "many") / name / "guest.xml").unlink()


def _definition(name: str, number: int) -> str:
    uuid = f"6f1f8f5e-0003-4c52-9d55-{number:012x}"
    return kvm_lab.guest().definition(name, image=f"{PLACE}/{name}/{name}.img", uuid=uuid, bridge="", watchdog="")


def add(made: Cluster, name: str, priority: int = 0) -> None:
    """What a user types."""
    words = ("--set", f"domain={name}", "--set", f"priority={priority}")
    made.safekit(made.nodes[0], "module", "add", name, "--app", "kvm", *words)


def start(made: Cluster, every: Sequence[str]) -> None:
    """On both nodes, the guests on the first: until all are well."""
    first, second = made.nodes
    for name in every:
        change_file(made, first, _quick, name)
        made.safekit(first, "module", "prim", name, "--force")
        made.safekit(second, "module", "start", name, "--no-wait")
    made.wait(lambda: pairs(made) == set(every), "all are well", 30.0 * len(every))


def _quick(text: str) -> str:
    """All settings at once: each `apply` asks both nodes."""
    module = YAML(typ="safe", pure=True).load(f"{text}{kvm_lab.AVAILABLE}heartbeat: {{lost_after: 3s}}\n")
    step = next(entry["kvm-vm"] for entry in module["pipeline"] if "kvm-vm" in entry)
    step.update(at_once=AT_ONCE, booting=f"{BOOTING_S}s", shutdown="1s")
    return json.dumps(module)


def pairs(made: Cluster) -> set[str]:
    """The modules of which one node is primary and the other one secondary."""
    states: dict[str, set[str]] = {}
    for answer in made.statuses(made.nodes[0]).values():
        for module in (answer.get("result") or {}).get("modules", ()):
            states.setdefault(module["name"], set()).add(f"{module['state']}/{module['readiness']}")
    return {name for name, found in states.items() if found == {"PRIM/Ready", "SECOND/Ready"}}


def known(made: Cluster, node: Node) -> set[str]:
    """The modules that this node has."""
    result = made.statuses(node).get(node.name, {}).get("result") or {}
    return {module["name"] for module in result.get("modules", ())}


def started_s(node: Node) -> dict[str, float]:
    """By guest of this node, when its QEMU was started, in seconds since the machine's boot."""
    pids = kvm_lab.running(node)
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for pid in pids:
        name = re.search(r"guest=(\w+)", node.run(["cat", f"/proc/{pid}/cmdline"]).stdout)
        stat = node.run(["cat", f"/proc/{pid}/stat"]).stdout
        if name:
            found[name[1]] = int(stat.rpartition(")")[2].split()[19]) / ticks
    return found


def stop(made: Cluster, node: Node, every: Sequence[str]) -> None:
    for name in every:
        node.run([SAFEKIT, "module", "stop", name, "--no-wait"], check=False)
    made.wait(lambda: kvm_lab.running(node) == [], "no guest is left", 30.0 * len(every))
