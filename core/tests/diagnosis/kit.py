"""Facts of a cluster that is well, and the findings that a change of them brings."""

from __future__ import annotations

from typing import Any

from safekit.diagnosis import ClusterFacts, Finding, diagnose
from safekit.diagnosis.facts import (
    ClockFacts,
    DiskFacts,
    FarmFacts,
    MachineFacts,
    ModuleFacts,
    NodeAnswer,
    NodeFacts,
    PeerFacts,
    ProcessFacts,
    WitnessFacts,
)

NODES = ("a", "b")
DISK = DiskFacts(path="/var/lib/safekit", total_bytes=100 << 30, free_bytes=50 << 30, files=1000, files_free=900)
MACHINE = MachineFacts(
    version="1.0",
    plugins={"safekit.resources vip": "safekit-resource-vip 1.0"},
    disks=(DISK,),
    watchdog_device="/dev/watchdog",
    watchdog_present=True,
    sysrq="/proc/sysrq-trigger",
    sysrq_writable=True,
)
PROCESS = ProcessFacts(pid=7, version="1.0")
LEASE = WitnessFacts(
    plugin="lease", resource="splitbrain.lease", lease_s=10.0, timeout_s=1.0, exclusive=True, value="up"
)
PRIMARY = ModuleFacts(
    name="web",
    kind="mirror",
    nodes=NODES,
    state="PRIM",
    readiness="Ready",
    active=True,
    witness=LEASE,
    signature="1.aa",
    packages=("safekit-resource-vip",),
)
SECONDARY = PRIMARY.model_copy(update={"state": "SECOND", "active": False})
SERVER = PRIMARY.model_copy(
    update={"kind": "farm", "state": "UP", "witness": None, "farm": FarmFacts(serving=True, weight=100, unowned=0)}
)


def changed(facts: Any, **changes: Any) -> Any:
    return facts.model_copy(update=changes)


def node(name: str, *modules: ModuleFacts, **changes: Any) -> NodeFacts:
    other = next(one for one in NODES if one != name)
    peer = PeerFacts(node=other, alive=True, silent_s={"lan": 0.05, "back": 0.05})
    facts = NodeFacts(
        node=name,
        machine=MACHINE,
        process=PROCESS,
        revision=3,
        networks=("back", "lan"),
        peers=(peer,),
        beats_s=600.0,
        modules=modules,
    )
    return facts.model_copy(update=changes)


def cluster(*nodes: NodeFacts, silent: tuple[str, ...] = ()) -> ClusterFacts:
    clock = ClockFacts(ahead_s=0.0, error_s=0.001)
    answers = [NodeAnswer(node=facts.node, facts=facts, clock=clock) for facts in nodes]
    answers += [NodeAnswer(node=name) for name in silent]
    return ClusterFacts(asker="a", asked_wall=1_000_000.0, nodes=tuple(answers))


def mirror(primary: ModuleFacts = PRIMARY, secondary: ModuleFacts = SECONDARY) -> ClusterFacts:
    return cluster(node("a", primary), node("b", secondary))


def on_both(**changes: Any) -> ClusterFacts:
    """A mirror whose configuration is another one."""
    return mirror(changed(PRIMARY, **changes), changed(SECONDARY, **changes))


def found(facts: ClusterFacts) -> dict[str, Finding]:
    """By name."""
    return {finding.name: finding for finding in diagnose(facts).findings}


def only(facts: ClusterFacts) -> Finding:
    """The one thing that is wrong."""
    (finding,) = diagnose(facts).findings
    return finding
