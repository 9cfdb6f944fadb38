"""What a promotable agent is told by its action `notify`, as Pacemaker tells it of a clone with two instances."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Moment = Literal["pre", "post"]
Operation = Literal["start", "stop", "promote", "demote"]
_AFTER: Final[dict[Operation, str]] = {"start": "started", "stop": "", "promote": "promoted", "demote": "started"}


@dataclass(frozen=True, slots=True)
class Pair:
    """How the instances of both nodes are: `started`, `promoted`, or empty for stopped or not heard."""

    own: str
    peer: str = ""
    own_is: str = ""
    peer_is: str = ""

    def after(self, node: str, operation: Operation) -> Pair:
        state = _AFTER[operation]
        return replace(self, own_is=state) if node == self.own else replace(self, peer_is=state)

    def nodes(self, *states: str) -> str:
        """The names of the nodes whose instance is in one of these, in their order."""
        known = ((self.own, self.own_is), (self.peer, self.peer_is))
        return " ".join(sorted(node for node, state in known if node and state in states))


def operation_between(before: str, after: str) -> Operation | None:
    """What the other node has done, by what its instance was and is."""
    if before == after:
        return None
    if not after:
        return "stop"
    if after == "promoted":
        return "promote"
    return "demote" if before == "promoted" else "start"


def environment(pair: Pair, instance: str, moment: Moment, operation: Operation, node: str) -> dict[str, str]:
    """As it is before the operation, also in what is told after it: so Pacemaker has it."""
    groups = {
        "active": pair.nodes("started", "promoted"),
        "available": pair.nodes("", "started", "promoted"),
        "inactive": pair.nodes(""),
        "master": pair.nodes("promoted"),
        "promoted": pair.nodes("promoted"),
        "slave": pair.nodes("started"),
        "unpromoted": pair.nodes("started"),
        **{name: node if name == operation else "" for name in ("start", "stop", "promote", "demote")},
    }
    said = {"type": moment, "operation": operation, "all_uname": groups["available"], "all_hosts": groups["available"]}
    for name, nodes in groups.items():
        said[f"{name}_uname"] = nodes
        said[f"{name}_resource"] = " ".join(instance for _ in nodes.split())
    return {f"OCF_RESKEY_CRM_meta_notify_{name}": value for name, value in said.items()}
