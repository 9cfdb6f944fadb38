"""What an engine does that people notice: it counts a node as lost, takes over, obeys a rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from safekit.engine import NodeState
from safekit.engine.actions import Action, Explain
from safekit.engine.module import Module
from safekit.engine.spec import Kind as ModuleKind


class Kind(StrEnum):
    LOSS = "loss"
    """A node counts as lost."""
    FAILOVER = "failover"
    """The module is started here because its other node is lost."""
    RETREAT = "retreat"
    """The module goes on alone or waits because its other node is lost."""
    RULE = "rule"
    """A rule of the module acts."""


_BY_ROW: Final = {
    "takeover": (Kind.FAILOVER, "takes over"),
    "become-alone": (Kind.FAILOVER, "starts alone"),
    "fence": (Kind.FAILOVER, "fences the other node"),
    "left": (Kind.RETREAT, "goes on alone"),
    "wait": (Kind.RETREAT, "waits, and is secondary no more"),
}
"""What a transition is when it begins while the other node is not heard."""
MAX_LOOPS: Final = "max_loops"


@dataclass(frozen=True, slots=True)
class Act:
    at_s: float
    wall: float
    kind: Kind
    module: str
    """Empty for the node."""
    what: str
    """Two acts that say the same here are the same act, at whatever time."""
    why: str
    """The engine's words."""
    peer: str = ""
    """The node that is lost."""
    incarnation: int = 0
    """Of that node, when it was heard last."""
    heard_s: float = 0.0
    """When that was."""
    rule: str = ""
    run: int = 0
    """The number of the transition that it begins; 0 for none."""


def losses(before: NodeState, after: NodeState, at_s: float, wall: float) -> Iterator[Act]:
    for name, peer in after.membership.peers.items():
        known = before.membership.peers.get(name)
        if known is not None and known.alive and not peer.alive:
            why = f"silent for {at_s - known.last_s:.2f} s on every network"
            what = f"{name} counts as lost"
            yield Act(at_s, wall, Kind.LOSS, "", what, why, name, known.incarnation, known.last_s)


def doings(
    before: Module | None, after: NodeState, name: str, actions: Iterable[Action], at_s: float, wall: float
) -> Iterator[Act]:
    """Of one module; one at most."""
    module = after.modules[name]
    run = module.run if module.run is not None and before is not None and module.run.number > before.runs else None
    said = [action for action in actions if isinstance(action, Explain) and action.module == name]
    labels = {rule.label: rule.action for rule in module.spec.rules}
    by_rule = [each for each in said if (each.rule in labels or each.rule == MAX_LOOPS) and (run or _holds(each))]
    number = run.number if run else 0
    if by_rule:
        rule, why = by_rule[-1].rule, by_rule[-1].decision
        what = f"stops: {MAX_LOOPS}" if rule == MAX_LOOPS else f"{labels[rule]} by rule '{rule}'"
        yield Act(at_s, wall, Kind.RULE, name, what, why, rule=rule, run=number)
    elif run is not None and run.row.name in _BY_ROW and (peer := silent_peer(after, module)):
        kind, what = _BY_ROW[run.row.name]
        known = after.membership.peers[peer]
        yield Act(at_s, wall, kind, name, what, module.reason, peer, known.incarnation, known.last_s, run=number)


def _holds(said: Explain) -> bool:
    """A wait rule that keeps it from starting."""
    return said.before != said.after and said.after.endswith("/NotReady")


def silent_peer(node: NodeState, module: Module) -> str:
    """The other node of a mirror, when it is not heard."""
    others = [name for name in module.spec.nodes if name != node.name]
    known = node.membership.peers.get(others[0]) if others and module.spec.kind is ModuleKind.MIRROR else None
    return known.node if known is not None and not known.alive else ""
