"""What a node says of itself, as numbers with names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_metrics import families as f
from safekit_metrics.families import Metric

PRIMARY: Final = ("PRIM", "ALONE", "UP")
Sample = tuple[Metric, tuple[str, ...], float]
MAX_MODULES: Final = 1000
MAX_RESOURCES: Final = 200
"""Of a module."""
MAX_PEERS: Final = 200


@dataclass(frozen=True, slots=True)
class Told:
    """What one look at the daemon gave."""

    status: dict[str, Any]
    version: str
    took_s: float
    inspected: dict[str, dict[str, dict[str, str]]]
    """By module and resource, what replicated directories say of themselves."""


def samples(told: Told) -> Iterator[Sample]:
    status, node = told.status, str(told.status["node"])
    yield f.INFO, (node, str(status["cluster"]), told.version), 1.0
    yield f.STARTED, (node,), float(status["started"])
    yield f.ANSWER, (node,), told.took_s
    yield f.ALARMS, (node,), float(len(status["alarms"]))
    if (size := memory_bytes(int(status["pid"]))) is not None:
        yield f.MEMORY, (node,), float(size)
    for peer in status["peers"][:MAX_PEERS]:
        yield from _peer(node, peer)
    for module in status["modules"][:MAX_MODULES]:
        yield from _module(node, module)
    for module_name, resources in told.inspected.items():
        for resource, facts in list(resources.items())[:MAX_RESOURCES]:
            yield from _replicated((node, module_name, resource), facts)


def left_out(status: dict[str, Any]) -> int:
    """How many peers, modules and resources are over the bounds."""
    modules = status["modules"][:MAX_MODULES]
    over = [len(status["peers"]) - MAX_PEERS, len(status["modules"]) - MAX_MODULES]
    return sum(max(0, n) for n in (*over, *(len(module["values"]) - MAX_RESOURCES for module in modules)))


def memory_bytes(pid: int) -> int | None:
    """None where the kernel does not say."""
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _peer(node: str, peer: dict[str, Any]) -> Iterator[Sample]:
    name = str(peer["node"])
    yield f.PEER_ALIVE, (node, name), float(peer["alive"])
    for network, age_s in peer["networks"].items():
        yield f.HEARTBEAT, (node, name, str(network)), float(age_s)


def _module(node: str, module: dict[str, Any]) -> Iterator[Sample]:
    at = (node, str(module["name"]))
    for state in f.STATES:
        yield f.STATE, (*at, state), float(module["state"] == state)
    for readiness in f.READINESS:
        yield f.READY, (*at, readiness), float(module["readiness"] == readiness)
    yield f.PRIMARY, (*at, str(module["kind"])), float(module["state"] in PRIMARY)
    yield f.STATE_AGE, at, float(module["since_s"])
    yield f.EPOCH, at, float(module["epoch"])
    yield f.DESIRED, at, float(module["desired"])
    yield f.FAILOVER, at, float(module["failover"])
    yield f.RESTARTS, at, float(module["loops"])
    for value in module["values"][:MAX_RESOURCES]:
        if value["value"] in f.VERDICTS:
            for verdict in f.VERDICTS:
                yield f.VERDICT, (*at, str(value["resource"]), verdict), float(value["value"] == verdict)
    if module["farm"]:
        yield from _farm(at, module["farm"])


def _farm(at: tuple[str, str], farm: dict[str, Any]) -> Iterator[Sample]:
    owners = farm["owners"]
    yield f.OWNED, at, float(owners.count(at[0]))
    yield f.HELD, at, float(farm["held"])
    yield f.UNOWNED, at, float(sum(not owner for owner in owners))
    yield f.MOVING, at, float(farm["moving"])
    yield f.SHARE, at, farm["held"] / len(owners) if owners else 0.0
    yield f.WEIGHT, at, float(farm["weight"])


def _replicated(at: tuple[str, str, str], facts: dict[str, str]) -> Iterator[Sample]:
    if "lag_bytes" not in facts:
        return
    for fact, metric in f.RFS.items():
        if (number := _number(facts.get(fact, ""))) is not None:
            yield metric, at, number


def _number(text: str) -> float | None:
    if text in {"True", "False"}:
        return float(text == "True")
    try:
        return float(text)
    except ValueError:
        return None
