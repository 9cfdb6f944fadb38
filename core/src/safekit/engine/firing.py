"""Which of a module's rules is to act now, and on what it does."""

from __future__ import annotations

from typing import Final

from safekit.engine import rules
from safekit.engine.module import Module, Turn
from safekit.engine.rules import Rule
from safekit.engine.transitions import LEAVE_IT_ALONE

_THEN: Final = "then "
"""No label begins with it: it has a blank."""


def firing(turn: Turn, *, may_swap: bool) -> Rule | None:
    """The strongest rule that holds now, its hold time included, and whose action is possible; where the action must
    have been the same for a time, after that."""
    rule = rules.strongest(r for r in turn.m.spec.rules if _is_due(turn, r) and (may_swap or r.action != "swap"))
    if not turn.m.spec.handle_time_s:
        return rule
    kept = {label: since_s for label, since_s in turn.m.holding.items() if not label.startswith(_THEN)}
    if rule is None:
        turn.set(holding=kept)
        return None
    since_s = turn.m.holding.get(_THEN + rule.action, turn.now_s)
    turn.set(holding={**kept, _THEN + rule.action: since_s})
    return rule if turn.now_s >= since_s + turn.m.spec.handle_time_s else None


def _is_due(turn: Turn, rule: Rule) -> bool:
    if rule.action not in rules.STRENGTH or not is_true(turn, rule):
        return False
    return turn.now_s >= turn.m.holding.get(rule.label, turn.now_s) + rule.hold_s  # as the deadline is reckoned


def is_true(turn: Turn, rule: Rule) -> bool:
    return rules.holds(rule.condition, turn.m.plain_values(), remote_values(turn))


def held_s(turn: Turn, rule: Rule) -> float:
    """For how long a rule with a hold time has been true."""
    return turn.now_s - turn.m.holding.get(rule.label, turn.now_s)


def remote_values(turn: Turn) -> dict[str, str]:
    """What the other node of a mirror says of its resources that rules look at; nothing when it is not heard."""
    report = turn.peer.report
    return dict(report.values) if report is not None and turn.peer.alive else {}


def note_holding(turn: Turn) -> None:
    """Remember since when the rules with a hold time have been true. What is on its way up or down is no reason to act
    on it again: the times begin when it has ended."""
    holding: dict[str, float] = {}
    if turn.m.run is None or turn.m.run.row.name in LEAVE_IT_ALONE:
        known = turn.m.holding
        holding = {label: since_s for label, since_s in known.items() if label.startswith(_THEN)}
        for rule in turn.m.spec.rules:
            if rule.hold_s > 0 and is_true(turn, rule):
                holding[rule.label] = known.get(rule.label, turn.now_s)
    if holding != turn.m.holding:
        turn.set(holding=holding)


def deadlines(module: Module) -> list[float]:
    """When each rule that is true, and each action, has been so for as long as it has to be."""
    holds = {rule.label: rule.hold_s for rule in module.spec.rules}
    actions_s = module.spec.handle_time_s
    return [since_s + holds.get(label, actions_s) for label, since_s in module.holding.items()]


def facts(turn: Turn, rule: Rule) -> dict[str, str]:
    """The rule's text and the verdicts it looked at; first those by which it is true."""
    local, remote = turn.m.plain_values(), remote_values(turn)
    looked_at = list(rules.evidence(rule.condition, local, remote))
    for test in rules.comparisons(rule.condition):
        looked_at += rules.observed(test, local, remote)
    return {"rule": rule.text or rule.label, **{name: _verdict(turn, name, remote) for name in looked_at}}


def _verdict(turn: Turn, name: str, remote: rules.Values) -> str:
    """Of a resource as rules write it."""
    value = turn.m.values.get(name)
    if value is None:
        return remote.get(name.removeprefix("remote."), rules.UNKNOWN)
    return f"{value.value} for {turn.now_s - value.since_s:.2f} s: {value.reason}".rstrip(": ")
