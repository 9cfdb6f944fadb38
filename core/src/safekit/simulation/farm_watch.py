"""What must be true of a farm's buckets at every step, judged by what each kernel really accepts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from safekit.engine.reports import ModuleState
from safekit.engine.share import ALL
from safekit.simulation.scenario import MODULE
from safekit.simulation.violation import Promise

if TYPE_CHECKING:
    from safekit.simulation.machine import Machine
    from safekit.simulation.watch import Watch


class FarmWatch:
    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._apart: dict[str, set[str]] = {}
        """With whom each node was not in contact when it decided on its share."""
        self._parted_s: dict[frozenset[str], float] = {}
        """When one of two nodes last lost the other, or heard it again."""
        self._able_before: frozenset[str] = frozenset()
        self._served_s = 0.0
        """When every bucket was last served by somebody, or those who could serve changed."""
        self._once_s = 0.0
        """When every bucket of a farm was last served by one node at most."""

    def share_ordered(self, machine: Machine) -> None:
        self._apart[machine.name] = self._out_of_contact(machine)

    def serves_more(self, machine: Machine, buckets: int) -> None:
        """Nobody with whom it was in contact serves them, nor anybody who has been dead or frozen for the loss time."""
        if not buckets or self._watch.scenario.clocks_stand:
            return
        self._watch.note(
            machine.name, f"serves {machine.serves.bit_count()} buckets, {buckets.bit_count()} of them anew"
        )
        apart = self._out_of_contact(machine) | self._apart.get(machine.name, set())
        if self._watch.schedule.now_s - machine.woke_s < 0.9 * self._watch.scenario.least_lost_after_s:
            apart = set()  # what it knows is from before its sleep
        for other in self._watch.machines.values():
            twice = other.serves & buckets if other is not machine else 0
            if twice and (other.name not in apart or other.still_for_s > 0.87 * self._watch.scenario.lost_after_s):
                self._watch.violated(
                    Promise.ONE_SERVER,
                    f"{machine.name} serves {twice.bit_count()} buckets that {other.name} serves too",
                )

    def _out_of_contact(self, machine: Machine) -> set[str]:
        """The nodes that have lost it, or that it has lost, or did so lately: neither can know what the other does."""
        found = set()
        lately_s = self._watch.schedule.now_s - 2 * self._watch.scenario.lost_after_s
        for other in self._watch.machines.values():
            parted = self._parted_s.get(frozenset({machine.name, other.name}), -math.inf) > lately_s
            if other is not machine and (parted or not (_hears(machine, other) and _hears(other, machine))):
                found.add(other.name)
        return found

    def served_twice(self) -> int:
        """How many buckets are served by several nodes."""
        seen = twice = 0
        for machine in self._watch.machines.values():
            twice |= seen & machine.serves
            seen |= machine.serves
        return twice.bit_count()

    def unserved(self) -> int:
        served = 0
        for machine in self._watch.machines.values():
            served |= machine.serves
        return (ALL & ~served).bit_count()

    def parted(self, one: str, other: str) -> None:
        """One has lost the other, or hears it again."""
        self._parted_s[frozenset({one, other})] = self._watch.schedule.now_s

    def look(self) -> None:
        able = self._able()
        if able != self._able_before or not able or not self.unserved():
            self._able_before, self._served_s = able, self._watch.schedule.now_s
        bound_s = 4 * self._watch.scenario.lost_after_s + 2.0
        if self._watch.schedule.now_s - max(self._served_s, self._watch.quiet_since_s) > bound_s:
            self._watch.violated(
                Promise.SERVED, f"{self.unserved()} buckets are served by nobody though {', '.join(sorted(able))} could"
            )
        if not self.served_twice():
            self._once_s = self._watch.schedule.now_s
        since_s = max(self._once_s, self._watch.quiet_since_s)
        if self._watch.schedule.now_s - since_s > bound_s:
            self._watch.violated(
                Promise.ONE_SERVER, f"{self.served_twice()} buckets have been served twice without any fault"
            )

    def _able(self) -> frozenset[str]:
        """The nodes of a farm that could serve clients."""
        daemons = {name: m.daemon for name, m in self._watch.machines.items() if m.daemon is not None}
        modules = {name: daemon.node.modules.get(MODULE) for name, daemon in daemons.items()}
        return frozenset(
            name
            for name, m in modules.items()
            if m is not None and m.steady and m.state is ModuleState.UP and m.weight and m.wanted
        )


def _hears(machine: Machine, other: Machine) -> bool:
    if machine.daemon is None:
        return False
    known = machine.daemon.node.membership.peers.get(other.name)
    return known is not None and known.alive
