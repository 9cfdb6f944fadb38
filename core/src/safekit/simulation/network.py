"""The networks between the nodes: delay, loss, duplicates, reordering, and cuts in one or both directions."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from safekit.engine.events import HeartbeatHeard
from safekit.engine.reports import Heartbeat

if TYPE_CHECKING:
    from safekit.simulation.machine import Machine
    from safekit.simulation.scenario import Scenario
    from safekit.simulation.schedule import Schedule

Link = tuple[str, str, str]
"""Network, from, to."""


class Network:
    def __init__(self, scenario: Scenario, schedule: Schedule, rng: Random) -> None:
        self._scenario = scenario
        self._schedule = schedule
        self._rng = rng
        self._machines: dict[str, Machine] = {}
        self._links_from = {sender: [link for link in self.links() if link[1] == sender] for sender in scenario.nodes}
        self._cuts: dict[Link, int] = {}
        self.calm = False
        """Nothing is lost any more: at rest it is seen whether what is decided stays so."""
        self.noise = 0.0
        """Additional loss, and its square root of a loss time as additional delay."""

    def connect(self, machines: dict[str, Machine]) -> None:
        self._machines = machines

    def links(self) -> list[Link]:
        nodes = self._scenario.nodes
        return [(net, a, b) for net in self._scenario.networks for a in nodes for b in nodes if a != b]

    def joins(self, a: str, b: str) -> bool:
        """Both ways on one network."""
        cuts = self._cuts
        return any(not cuts.get((net, a, b)) and not cuts.get((net, b, a)) for net in self._scenario.networks)

    def cut(self, links: list[Link]) -> None:
        for link in links:
            self._cuts[link] = self._cuts.get(link, 0) + 1

    def mend(self, links: list[Link]) -> None:
        for link in links:
            self._cuts[link] -= 1

    def send(self, sender: str, beat: Heartbeat) -> None:
        for link in self._links_from[sender]:
            if not self._cuts.get(link):
                self._send(link[0], self._machines[link[2]], beat)

    def _send(self, network: str, to: Machine, beat: Heartbeat) -> None:
        rng, scenario = self._rng, self._scenario
        event = HeartbeatHeard(network, beat)
        if rng.random() < (0.0 if self.calm else scenario.loss + self.noise):
            return
        for _ in range(2 if rng.random() < scenario.twice else 1):
            delay_s = rng.uniform(*scenario.delay_s)
            if self.noise:
                delay_s += rng.random() * self.noise * 2 * scenario.lost_after_s
            self._schedule.after(delay_s, partial(to.receive, event))
