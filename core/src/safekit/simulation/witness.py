"""The witness: a third machine with a clock of its own, or an address that answers whoever reaches it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from safekit.engine.actions import AskWitness, WitnessCall
from safekit.engine.events import WitnessAnswered
from safekit.simulation.scenario import MODULE, Scenario
from safekit.simulation.schedule import Schedule

if TYPE_CHECKING:
    from safekit.engine.spec import WitnessSpec

Reply = Callable[[WitnessAnswered], None]


class Witness:
    """One lease. What it has given it knows again after a restart, and counts in full from then on."""

    def __init__(self, scenario: Scenario, spec: WitnessSpec, schedule: Schedule, rng: Random) -> None:
        self.spec = spec
        self.holder = ""
        self.up = True
        self.cut: set[str] = set()
        """The nodes that do not reach it."""
        self._scenario = scenario
        self._schedule = schedule
        self._rng = rng
        self._epoch = 0
        self._epochs: dict[str, int] = {}
        """The last that each node was given."""
        self._until_s = -math.inf

    def _local_s(self) -> float:
        return self._schedule.now_s * self._scenario.witness_rate

    def lets(self, node: str) -> bool:
        """Whether the node has the lease now."""
        return self.holder == node and self._local_s() < self._until_s

    def mend(self) -> None:
        """Start it again, when it is down."""
        if not self.up:
            self.up = True
            self._until_s = self._local_s() + self.spec.lease_s

    def ask(self, node: str, asked: AskWitness, reply: Reply) -> None:
        self._schedule.after(self._delay_s(), partial(self._arrive, node, asked, reply))

    def _delay_s(self) -> float:
        return self._rng.uniform(*self._scenario.delay_s)

    def _reaches(self, node: str) -> bool:
        return self.up and node not in self.cut and self._rng.random() >= self._scenario.loss

    def _arrive(self, node: str, asked: AskWitness, reply: Reply) -> None:
        if self._reaches(node):
            answer = self._answer(node, asked)
            if self._reaches(node):
                self._schedule.after(self._delay_s(), partial(reply, answer))
                return
        lost = WitnessAnswered(MODULE, asked.number, reached=False, text="no answer")
        self._schedule.after(self.spec.timeout_s, partial(reply, lost))

    def _answer(self, node: str, asked: AskWitness) -> WitnessAnswered:
        free = not self.holder or self._local_s() >= self._until_s
        if not self.spec.exclusive:
            return self._given(asked, asked.epoch)
        if asked.call is WitnessCall.ACQUIRE and (free or self.holder == node):
            unknown = [other for other, epoch in self._epochs.items() if other != node and epoch > _after(asked)]
            if unknown:
                return WitnessAnswered(MODULE, asked.number, reached=True, text=f"{unknown[0]} was primary since")
            self.holder, self._epoch = node, max(asked.epoch, self._epoch + 1)
            self._epochs[node] = self._epoch
            return self._given(asked, self._epoch)
        last = (self.holder, self._epoch) == (node, asked.epoch)
        if asked.call is WitnessCall.RENEW and last:
            return self._given(asked, self._epoch)
        if asked.call is WitnessCall.RELEASE and last:
            self.holder = ""
        return WitnessAnswered(MODULE, asked.number, reached=True, text=f"{self.holder or 'nobody'} has the lease")

    def _given(self, asked: AskWitness, epoch: int) -> WitnessAnswered:
        self._until_s = self._local_s() + self.spec.lease_s
        return WitnessAnswered(MODULE, asked.number, True, True, epoch, self.spec.lease_s, "given")


def _after(asked: AskWitness) -> float:
    return math.inf if asked.after is None else asked.after
