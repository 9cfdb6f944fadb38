"""What all replicated directories of a module together say to the engine: the module's data are no better than the
worst of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

UPTODATE: Final = "rfs.uptodate"
EPOCH: Final = "rfs.epoch"
DEGRADED: Final = "rfs.degraded"
HOLDING: Final = "rfs.holding"
LINK: Final = "rfs.link"
VERIFIED: Final = "rfs.verified"
PUBLISHED: Final = (UPTODATE, EPOCH, DEGRADED, HOLDING, LINK, VERIFIED)
SetValue = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one directory."""

    is_up_to_date: bool = False
    epoch: int = 0
    """Of the primary whose writes it has."""
    is_degraded: bool = True
    """The other node does not have everything that is acknowledged here."""
    is_holding: bool = False
    """A primary that acknowledges nothing, as its secondary does not answer."""
    has_link: bool = False
    is_verified: bool | None = None
    """What the last comparison on this node found; None: there was none."""

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Standing:
        """Of a status of the data path."""
        return cls(
            is_up_to_date=bool(status["up_to_date"]),
            epoch=int(status["epoch"]),
            is_degraded=bool(status["degraded"]),
            is_holding=bool(status["holding"]),
            has_link=bool(status["connected"]),
            is_verified=not verified["differences"] if (verified := status["verified"]) else None,
        )


class Seat:
    """The place of one directory's standing among those of its module; gone with the resource that holds it.

    It is there from the beginning, so that nothing is said of the module before all of it is known. One that is made
    while others speak already (a new configuration is looked at, and perhaps taken over) comes when it has something to
    say, and takes the place of the one of the same name."""

    def __init__(self, node: str, module: str, name: str) -> None:
        self.standing = Standing()
        self._name = name
        self._round = _rounds.setdefault((node, module), Round())
        if not self._round.has_spoken:
            self._round.seats[name] = self

    def say(self, standing: Standing, set_value: SetValue) -> None:
        self.standing = standing
        self._round.seats[self._name] = self
        self._round.publish(set_value)


class Round:
    """All directories of one module in this process."""

    def __init__(self) -> None:
        self.seats: WeakValueDictionary[str, Seat] = WeakValueDictionary()
        self.has_spoken = False
        self._said: dict[str, str] = {}

    def publish(self, set_value: SetValue) -> None:
        """The epoch goes first: whoever reads that the data are up to date then knows as of when. Nothing when nothing
        changed, else everything."""
        self.has_spoken = True
        standings = [seat.standing for seat in self.seats.values()]
        epochs = {standing.epoch for standing in standings}
        values = {
            EPOCH: str(min(epochs)),
            UPTODATE: _word(all(standing.is_up_to_date for standing in standings) and len(epochs) == 1),
            DEGRADED: _word(any(standing.is_degraded for standing in standings)),
            HOLDING: _word(any(standing.is_holding for standing in standings)),
            LINK: _word(all(standing.has_link for standing in standings)),
        }
        verified = {standing.is_verified for standing in standings}
        if False in verified or verified == {True}:
            values[VERIFIED] = _word(False not in verified)
        if values != self._said:
            for name, value in values.items():
                set_value(name, value)
            self._said = values

    def forget(self) -> None:
        """The next `publish` says everything again."""
        self._said = {}


def say_again(node: str, module: str) -> None:
    _rounds.setdefault((node, module), Round()).forget()


_rounds: dict[tuple[str, str], Round] = {}


def _word(is_so: bool) -> str:
    return "up" if is_so else "down"
