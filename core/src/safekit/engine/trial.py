"""What the rules of a module look at now, and what they would lead to: nothing is touched by asking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from safekit.engine import commands, firing
from safekit.engine.actions import Explain
from safekit.engine.around import PeerView, Surroundings
from safekit.engine.module import HostState, Module, Turn, Value
from safekit.engine.node import NodeState
from safekit.engine.reports import ModuleReport, ModuleState, Readiness
from safekit.engine.rules import Values
from safekit.engine.spec import Kind, ModuleSpec
from safekit.engine.transitions import ALONE, PRIM, PRIMARY, SECOND, UP, WAIT
from safekit.engine.view import peers

_STATES: Final = {Kind.MIRROR: (PRIM, ALONE, SECOND, WAIT), Kind.FARM: (UP, WAIT), Kind.LIGHT: (UP, WAIT)}
_OTHER: Final = {PRIM: SECOND, SECOND: PRIM}


def states(spec: ModuleSpec) -> tuple[ModuleState, ...]:
    """Those in which rules are looked at."""
    return _STATES[spec.kind] if spec.kind is not Kind.MIRROR or len(spec.nodes) > 1 else (ALONE, WAIT)


@dataclass(frozen=True, slots=True)
class Present:
    """What the rules of a module look at on this node."""

    state: ModuleState
    readiness: Readiness
    values: dict[str, Value]
    """With the moment since when, on this node's monotonic clock."""
    remote: dict[str, str]
    held_s: dict[str, float]
    """For how long each rule with a hold time has been true."""
    swap_obstacle: str
    loops: int


def present(node: NodeState, name: str, now_s: float) -> Present | None:
    module = node.modules.get(name)
    if module is None:
        return None
    others = [peer for peer in peers(node, now_s) if peer.node in module.spec.nodes]
    seen = PeerView()
    if module.spec.kind is Kind.MIRROR and others:
        seen = PeerView(others[0].node, others[0].alive, report=others[0].modules.get(name))
    turn = Turn(module, _around(node.name, seen), now_s)
    return Present(
        module.state,
        module.readiness,
        module.values,
        firing.remote_values(turn),
        {rule.label: firing.held_s(turn, rule) for rule in module.spec.rules if rule.label in module.holding},
        commands.swap_obstacle(turn),
        len(module.loops),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the engine decides in one state."""

    state: ModuleState
    label: str = ""
    """Of the rule that acts; empty when none does."""
    action: str = ""
    after_s: float = 0.0
    """How long the values must have been so."""
    why: str = ""
    considered: tuple[str, ...] = ()
    """Rules that are true and do not act, and why."""


def try_rules(spec: ModuleSpec, node: str, state: ModuleState, local: Values, remote: Values) -> Outcome:
    """The first thing that follows when the values stay as they are: by the same functions as on a node. Where there is
    another node it is heard, and can take over."""
    module = _in_state(spec, state, local)
    if state is WAIT:
        return _waiting(_turn(module, node, remote, 0.0))
    moments = sorted({0.0, *(rule.hold_s for rule in spec.rules)})
    turn = _turn(module, node, remote, 0.0)
    for now_s in sorted({*moments, *(at_s + spec.handle_time_s for at_s in moments)}):
        turn = _turn(turn.m, node, remote, now_s)
        firing.note_holding(turn)
        if commands.act_on_rule(turn):
            said = next(action for action in turn.actions if isinstance(action, Explain))
            acting = next(rule for rule in spec.rules if rule.label == said.rule)
            return Outcome(state, acting.label, acting.action, now_s, said.decision, said.considered)
    return Outcome(state, considered=tuple(commands.passed_over(turn)))


def _waiting(turn: Turn) -> Outcome:
    if not commands.held_in_wait(turn):
        return Outcome(WAIT)
    return Outcome(WAIT, _label_of(turn), "wait", why=turn.m.reason)


def _label_of(turn: Turn) -> str:
    return next(action.rule for action in turn.actions if isinstance(action, Explain))


def _in_state(spec: ModuleSpec, state: ModuleState, local: Values) -> Module:
    """Steady for long, and without an automatic restart so far."""
    values = {name: Value(value, "", 0.0) for name, value in local.items()}
    active = state in PRIMARY
    return Module(
        spec,
        state,
        Readiness.READY,
        epoch=1,
        was_primary=active,
        active=active,
        desired=True,
        host=HostState.READY,
        values=values,
    )


def _turn(module: Module, node: str, remote: Values, now_s: float) -> Turn:
    return Turn(module, _around(node, _peer(module, node, remote)), now_s)


def _around(node: str, peer: PeerView) -> Surroundings:
    """Of what is here only the peer matters to rules."""
    return Surroundings(node, 1, peer, "", lost_after_s=1.0, lapse_s=1.0)


def _peer(module: Module, node: str, remote: Values) -> PeerView:
    other = next((name for name in module.spec.nodes if name != node), "")
    if module.spec.kind is not Kind.MIRROR or not other:
        return PeerView()
    state = _OTHER.get(module.state, ModuleState.STOP)
    active = state is PRIM
    report = ModuleReport(state, Readiness.READY, 1, active, active, values=tuple(remote.items()))
    return PeerView(other, alive=True, absent=False, report=report)
