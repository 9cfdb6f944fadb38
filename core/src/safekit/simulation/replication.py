"""What a directory that is replicated does in a history: whose disk has which acknowledged writes, and what of that the
engine is told. Writes count by periods: each time that a primary begins to acknowledge alone, a new one begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from safekit.engine.data import EPOCH, HOLDING, UP_TO_DATE
from safekit.engine.events import ValueSet
from safekit.engine.reports import ModuleState
from safekit.simulation.scenario import MODULE

if TYPE_CHECKING:
    from safekit.engine.actions import RunPipeline
    from safekit.simulation.host import Host
    from safekit.simulation.machine import Machine

SYNC_S: Final = 1.0
"""How often a secondary takes what it lacks."""


@dataclass(slots=True)
class Data:
    """On one machine's disk."""

    up: bool = True
    """It had every acknowledged write when it last heard its primary."""
    epoch: int = 0
    periods: frozenset[int] = frozenset()
    paired: bool = False
    """What is acknowledged is on both."""
    followed_s: float = -math.inf
    """When a secondary last took what this primary has."""
    may_pair: bool = False


class Replication:
    """Of one host; it ends with it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._machine = host.machine
        self._serial = 0
        self._holds = False

    @property
    def _data(self) -> Data:
        return self._machine.data

    def tell(self) -> None:
        self._host.say(ValueSet(MODULE, EPOCH, str(self._data.epoch), by="plugin"))
        self._host.say(ValueSet(MODULE, UP_TO_DATE, "up" if self._data.up else "down", by="plugin"))

    def promote(self, order: RunPipeline) -> None:
        self._serial += 1
        self._data.followed_s = self._machine.schedule.now_s
        self._hold(holds=False)
        if order.after is ModuleState.ALONE or not (self._data.paired and self._data.up):
            self.stand_alone(order)
        else:
            self._data.epoch = order.epoch
        self._data.up = True
        self.tell()
        self._later(self._look_at_secondary)

    def stand_alone(self, order: RunPipeline) -> None:
        data = self._data
        data.epoch, data.paired, data.may_pair = order.epoch, False, False
        self._hold(holds=False)
        data.periods |= {self._machine.watch.ledger.begin(counts=self._machine.watch.is_sole(self._machine))}
        self.tell()

    def pair(self) -> None:
        self._data.may_pair = True

    def begin_secondary(self) -> None:
        if self._machine.watch.runs_elsewhere(self._machine):
            self._data.up = False
            self.tell()

    def follow(self) -> None:
        self._serial += 1
        self._later(self._take)

    def end(self) -> None:
        self._serial += 1
        self._data.may_pair = False

    def _later(self, work: object) -> None:
        self._host.later(SYNC_S, partial(self._unless_ended, self._serial, work))

    def _unless_ended(self, serial: int, work: object) -> None:
        if serial == self._serial:
            work()  # type: ignore[operator]

    def _take(self) -> None:
        primary = self._primary()
        if primary is not None:
            self._take_from(primary)
        self._later(self._take)

    def _primary(self) -> Machine | None:
        """One that is primary and reached, both ways."""
        network = self._machine.network
        for other in self._machine.watch.machines.values():
            serves = other is not self._machine and other.primary and other.works
            if serves and network.joins(self._machine.name, other.name):
                return other
        return None

    def _take_from(self, primary: Machine) -> None:
        theirs, ours = primary.data, self._data
        theirs.paired = theirs.paired or theirs.may_pair
        if not theirs.paired:
            return
        self._machine.watch.ledger.keep_aside(ours.periods - theirs.periods)
        theirs.followed_s = self._machine.schedule.now_s
        before = (ours.up, ours.epoch)
        ours.periods, ours.epoch, ours.up, ours.paired = theirs.periods, theirs.epoch, True, True
        if before != (ours.up, ours.epoch):
            self.tell()

    def _look_at_secondary(self) -> None:
        """A primary that waits for its secondary says so."""
        data = self._data
        holds = data.paired and self._machine.schedule.now_s - data.followed_s > 2.5 * SYNC_S
        self._hold(holds=holds)
        self._later(self._look_at_secondary)

    def _hold(self, *, holds: bool) -> None:
        if holds != self._holds:
            self._holds = holds
            self._host.say(ValueSet(MODULE, HOLDING, "up" if holds else "down", by="plugin"))


class Ledger:
    """The acknowledged writes that whoever becomes primary must have, unless somebody answers for their loss."""

    def __init__(self) -> None:
        self._count = 0
        self._required: frozenset[int] = frozenset()

    def begin(self, *, counts: bool) -> int:
        """A period; one of a primary that another may run beside counts only when the two have met."""
        self._count += 1
        if counts:
            self._required |= {self._count}
        return self._count

    def confirm(self, data: Data) -> None:
        self._required |= data.periods

    def diverge(self, one: Data, other: Data) -> None:
        """Both run, and may: what only one of them has may end as a version that is kept aside."""
        self._required -= one.periods ^ other.periods

    def keep_aside(self, periods: frozenset[int]) -> None:
        """Those of a loser, when both ran."""
        self._required -= periods

    def answered_for(self, data: Data) -> None:
        """What is not here may be lost."""
        self._required &= data.periods

    def lacks(self, data: Data) -> int:
        return len(self._required - data.periods)
