"""How long a guest is away, as a client sees it: the longest time between two acknowledgements. And when it was found.

What was found is in the log of safekitd with its time; from there to the next acknowledgement the guest is restarted.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import figures
import kvm_lab
import recorder
from kvm_lab import ADDRESS, NAME, Host, tell
from lab_cluster import SAFEKIT, Cluster

from safekit_lab.node import Node
from safekit_lab.process import Process

BOOT_S = 120.0
PATIENT = recorder.CLIENT.replace("timeout=0.3", "timeout=1.5").replace("print(number, file", "print(time.time(), file")
"""It keeps its connection for longer than a moved guest stands, and writes down when it was answered."""


@dataclass(frozen=True, slots=True)
class Fault:
    deed: Callable[[Cluster, Host], None]
    found: str = ""
    """What the log says when it is found; empty where nothing is to be found."""


def panic(made: Cluster, host: Host) -> None:
    tell(made.lab.client(), "panic", timeout_s=1.0)


def hang(made: Cluster, host: Host) -> None:
    tell(made.lab.client(), "hang", timeout_s=1.0)


def swap_by_a_boot(made: Cluster, host: Host) -> None:
    kvm_lab.set_step(made, "kvm-vm", move="0s")
    try:
        kvm_lab.swap(made, host)
    finally:
        kvm_lab.set_step(made, "kvm-vm", move="60s")


FAULTS = {
    "qemu_killed": Fault(kvm_lab.kill_qemu, "rule '"),
    "guest_panic": Fault(panic, "rule '"),
    "guest_hang": Fault(hang, "rule '"),
    "node_crash": Fault(kvm_lab.crash, "takeover"),
    "swap": Fault(kvm_lab.swap),
    "swap_by_a_boot": Fault(swap_by_a_boot),
}


def measure_outages(rounds: int) -> list[figures.Figure]:
    with kvm_lab.cluster() as (made, host):
        kvm_lab.add(made)
        made.write(made.lab.client(), "/opt/client.py", PATIENT)
        found: dict[str, list[float]] = {}
        for _, (name, fault) in itertools.product(range(rounds), FAULTS.items()):
            for statistic, value in _measured(made, host, fault).items():
                found.setdefault(f"{statistic}.{name}", []).append(value)
        made.safekit(made.nodes[0], "module", "stop", NAME, "--all")
    return [_figure(name, values) for name, values in found.items()]


def _figure(name: str, values: list[float]) -> figures.Figure:
    return figures.Figure(name=name, value=round(statistics.median(values), 2), unit="s", runs=len(values))


def _measured(made: Cluster, host: Host, fault: Fault) -> dict[str, float]:
    client = made.lab.client()
    asking = _asked(made)
    fault.deed(made, host)
    made.wait(lambda: kvm_lab.is_paired(made), "both have everything again", BOOT_S)
    before = len(recorder.acknowledged(client))
    made.wait(lambda: len(recorder.acknowledged(client)) > before + 20, "it goes on", BOOT_S)
    asking.kill()
    asking.wait(10.0)
    times = [float(word) for word in recorder.acknowledged(client)]
    from_s, to_s = max(itertools.pairwise(times), key=lambda pair: pair[1] - pair[0])
    found = {"outage": to_s - from_s}
    if fault.found:
        found_s = min(at for node in made.nodes for at in _said(node, fault.found) if at > from_s)
        found |= {"found": found_s - from_s, "restarted": to_s - found_s}
    return found


def _said(node: Node, words: str) -> list[float]:
    entries = json.loads(node.run([SAFEKIT, "log", NAME, "--last", "200", "--output", "json"]).stdout)
    return [float(entry["wall"]) for entry in entries if words in json.dumps(entry)]


def _asked(made: Cluster) -> Process:
    client = made.lab.client()
    client.run(["rm", "-f", recorder.ACKNOWLEDGED])
    asking = client.start(["python3", "/opt/client.py", ADDRESS])
    made.wait(lambda: len(recorder.acknowledged(client)) > 50, "the guest acknowledges", BOOT_S)
    return asking
