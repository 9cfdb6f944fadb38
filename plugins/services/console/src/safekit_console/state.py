"""What the nodes say, as the console keeps it: typed at the edge, never changed, with ages turned into times."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

_AGES: Final = frozenset({"since_s", "networks", "hears_us", "facts", "incarnation", "modules_of_peers"})
"""They change without anything having changed."""


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Value(_Said):
    resource: str
    value: str
    reason: str = ""
    since_s: float = 0.0
    facts: dict[str, str] = {}


class Step(_Said):
    step: str
    scope: str
    state: str
    detail: str = ""


class Farm(_Said):
    epoch: int
    leader: str
    owners: tuple[str, ...]
    weight: int
    held: int
    moving: int


class ModuleStatus(_Said):
    name: str
    kind: str
    nodes: tuple[str, ...]
    state: str
    readiness: str
    reason: str
    since_s: float
    desired: bool
    failover: bool
    running: str
    loops: int
    revision: int = 0
    values: tuple[Value, ...] = ()
    steps: tuple[Step, ...] = ()
    farm: Farm | None = None

    @property
    def is_ready(self) -> bool:
        return self.readiness == "Ready"

    @property
    def is_primary(self) -> bool:
        return self.state in {"PRIM", "ALONE"}

    @property
    def runs(self) -> bool:
        return self.state in {"PRIM", "ALONE", "UP"}


class Peer(_Said):
    node: str
    alive: bool


class NodeStatus(_Said):
    node: str
    cluster: str
    started: float
    alarms: tuple[str, ...] = ()
    peers: tuple[Peer, ...] = ()
    modules: tuple[ModuleStatus, ...] = ()

    @property
    def hears_all(self) -> bool:
        return all(peer.alive for peer in self.peers)


@dataclass(frozen=True, slots=True)
class Seen:
    """One node, as it was last heard of."""

    name: str
    status: NodeStatus | None = None
    trouble: str = ""
    """Why there is no status."""
    wall: float = 0.0
    mark: str = ""
    """Of what it said; two that are alike say the same."""

    def module(self, name: str) -> ModuleStatus | None:
        found = self.status.modules if self.status else ()
        return next((module for module in found if module.name == name), None)


@dataclass(frozen=True, slots=True)
class Snapshot:
    number: int = 0
    own: str = ""
    """The node whose safekitd is asked."""
    cluster: str = ""
    nodes: dict[str, Seen] = field(default_factory=dict)

    def modules(self) -> dict[str, dict[str, ModuleStatus | None]]:
        """Each module on each of its nodes; None where the node does not answer."""
        found: dict[str, dict[str, ModuleStatus | None]] = {}
        for seen in self.nodes.values():
            for module in seen.status.modules if seen.status else ():
                found.setdefault(module.name, dict.fromkeys(module.nodes))[seen.name] = module
        return dict(sorted(found.items()))

    def module(self, name: str) -> dict[str, ModuleStatus | None]:
        return self.modules().get(name, {})


def read(name: str, raw: dict[str, Any], wall: float) -> Seen:
    return Seen(name, NodeStatus.model_validate(raw), "", wall, json.dumps(_steady(raw)))


def _steady(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: _steady(value) for key, value in raw.items() if key not in _AGES}
    return [_steady(one) for one in raw] if isinstance(raw, list) else raw
