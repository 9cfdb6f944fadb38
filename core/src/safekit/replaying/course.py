"""An engine on its way through a record."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from safekit import engine
from safekit.engine import NodeState, events
from safekit.engine.actions import Action
from safekit.engine.membership import sleep_s
from safekit.engine.module import Module

LATE_S: Final = 0.05
"""A timer may ring so much too late, and what it led to is on record."""
SLACK_S: Final = 0.005
"""So much too late it rings mostly: what was heard meanwhile counts."""
STILL: Final[tuple[Action, ...]] = ()


class Course:
    """`node` is the state; whoever drives it may put another one in its place."""

    def __init__(self, node: NodeState) -> None:
        self.node = node

    def step(self, event: events.Event, at_s: float) -> tuple[Action, ...]:
        self.node, actions = engine.step(self.node, event, at_s)
        return actions

    @property
    def last_tick_s(self) -> float | None:
        return self.node.membership.last_tick_s

    @property
    def stride_s(self) -> float:
        """How far apart an engine may be told that time passes before it thinks that it slept."""
        return 0.5 * sleep_s(self.node.membership.spec)

    def let_pass(self, at_s: float, late_s: float) -> tuple[Action, ...]:
        """What time alone changes is on record, or is done where it is due for so long; else the engine only is not to
        think that it slept."""
        due_s = engine.next_deadline(self.node)
        if due_s is not None and due_s + late_s <= at_s:
            return self.step(events.TimePassed(), at_s)
        told_s = at_s if due_s is None or due_s > at_s else math.nextafter(due_s, -math.inf)
        self.node = replace(self.node, membership=replace(self.node.membership, last_tick_s=told_s))
        return STILL

    @property
    def due_s(self) -> float:
        """When something will have changed by time alone, as late as timers are."""
        due_s = engine.next_deadline(self.node)
        return math.inf if due_s is None else due_s + SLACK_S


def differ(one: Module | None, other: Module | None) -> bool:
    """Whether the module is not in the same place on both."""
    return _place(one) != _place(other)


def _place(m: Module | None) -> tuple[object, ...]:
    if m is None:
        return ()
    run = (m.run.row.name, m.run.killed, m.run.order is None) if m.run else ()
    calls = m.runs, m.claim, m.right.number, m.share.number, m.share.map.epoch
    return m.state, m.readiness, run, m.host, m.active, m.desired, m.again, m.wait_rule, calls
