"""A smaller history that breaks the same promise: what is left of it is what it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from safekit.engine.spec import Kind
from safekit.simulation.history import Outcome, play
from safekit.simulation.scenario import Injection, Scenario

PATIENCE_S: Final = 20.0
TRIES: Final = 400
LEAST_PART: Final = 0.1

Player = Callable[[Scenario], Outcome]


@dataclass(frozen=True, slots=True)
class Shrunk:
    scenario: Scenario
    outcome: Outcome
    tries: int


def shrink(
    scenario: Scenario, outcome: Outcome, *, patience_s: float = PATIENCE_S, tries: int = TRIES, player: Player = play
) -> Shrunk:
    """`outcome`: what the scenario came to. Ends after so many tries, or sooner when the time is over."""
    search = _Search(outcome, replace(scenario, injections=outcome.injections), player)
    search.until_s = time.monotonic() + patience_s
    search.tries_left = tries
    while search.is_patient and search.improve():
        pass
    return Shrunk(search.best, play(search.best, trace=True), tries - search.tries_left)


class _Search:
    def __init__(self, outcome: Outcome, scenario: Scenario, player: Player) -> None:
        self.best = scenario
        self.until_s = 0.0
        self.tries_left = 0
        self._promise = outcome.promise
        self._play = player

    @property
    def is_patient(self) -> bool:
        return self.tries_left > 0 and time.monotonic() < self.until_s

    def improve(self) -> bool:
        """One round of all that could make it smaller. False when nothing did."""
        before = self.best
        self._drop()
        for simpler in SIMPLER:
            self._try(simpler(self.best))
        for number in range(len(self._injections)):
            for change in (_halve_duration, _halve_delay):
                while self._try(self._with(number, change)):
                    pass
        return self.best != before

    @property
    def _injections(self) -> tuple[Injection, ...]:
        return self.best.injections or ()

    def _drop(self) -> None:
        """Halves first, then quarters, then each alone."""
        size = len(self._injections)
        while size:
            place = 0
            while place < len(self._injections):
                kept = self._injections[:place] + self._injections[place + size :]
                place += 0 if self._try(replace(self.best, injections=kept)) else size
            size //= 2

    def _with(self, number: int, change: Callable[[Injection], Injection]) -> Scenario:
        changed = (change(one) if place == number else one for place, one in enumerate(self._injections))
        return replace(self.best, injections=tuple(changed))

    def _try(self, candidate: Scenario) -> bool:
        """Whether it breaks the same promise; then it is the best so far."""
        if candidate == self.best or not self.is_patient:
            return False
        self.tries_left -= 1
        if self._play(candidate).promise != self._promise:
            return False
        self.best = candidate
        return True


def _halve_duration(injection: Injection) -> Injection:
    return replace(injection, part=injection.part / 2) if injection.part > LEAST_PART else injection


def _halve_delay(injection: Injection) -> Injection:
    return replace(injection, at_s=injection.at_s / 2) if injection.at_s > LEAST_PART else injection


def _with_fewer_nodes(scenario: Scenario) -> Scenario:
    if scenario.module.kind is Kind.MIRROR or len(scenario.nodes) < 3:
        return scenario
    nodes = scenario.nodes[:-1]
    module = replace(scenario.module, nodes=nodes)
    return replace(scenario, nodes=nodes, rates=scenario.rates[:-1], module=module)


def _with_a_plain_module(scenario: Scenario) -> Scenario:
    return replace(scenario, module=replace(scenario.module, rules=(), default_primary=None))


SIMPLER: Final[tuple[Callable[[Scenario], Scenario], ...]] = (
    lambda scenario: replace(scenario, may_end_alone=False),
    _with_fewer_nodes,
    _with_a_plain_module,
    lambda scenario: replace(scenario, networks=scenario.networks[:1]),
    lambda scenario: replace(scenario, loss=0.0, twice=0.0),
    lambda scenario: replace(scenario, rates=(1.0,) * len(scenario.nodes), witness_rate=1.0),
    lambda scenario: replace(scenario, delay_s=(0.0005, 0.002), save_s=0.001),
)


def story(shrunk: Shrunk, before: Outcome) -> Iterator[str]:
    """For people: what was injected, what broke, and why it was decided."""
    outcome = shrunk.outcome
    yield f"shrunk from {len(before.injections)} to {len(outcome.injections)} faults in {shrunk.tries} tries:"
    yield from outcome.events
    yield f"then: {outcome.violation}"
    yield from outcome.why
