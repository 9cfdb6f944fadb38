"""What all replicated directories of a module together say to the engine: the module's data are no better than the
worst of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

UPTODATE: Final = "rfs.uptodate"
EPOCH: Final = "rfs.epoch"
DEGRADED: Final = "rfs.degraded"
HOLDING: Final = "rfs.holding"
LINK: Final = "rfs.link"
PUBLISHED: Final = (UPTODATE, EPOCH, DEGRADED, HOLDING, LINK)
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

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Standing:
        """Of a status of the data path."""
        return cls(
            is_up_to_date=bool(status["up_to_date"]),
            epoch=int(status["epoch"]),
            is_degraded=bool(status["degraded"]),
            is_holding=bool(status["holding"]),
            has_link=bool(status["connected"]),
        )


class Seat:
    """The place of one directory's standing among those of its module; gone with the resource that holds it."""

    def __init__(self, node: str, module: str) -> None:
        self.standing = Standing()
        self._round = _rounds.setdefault((node, module), Round())
        self._round.seats.add(self)

    def say(self, standing: Standing, set_value: SetValue) -> None:
        self.standing = standing
        self._round.publish(set_value)


class Round:
    """All directories of one module in this process."""

    def __init__(self) -> None:
        self.seats: WeakSet[Seat] = WeakSet()
        self._said: dict[str, str] = {}

    def publish(self, set_value: SetValue) -> None:
        """The epoch goes first: whoever reads that the data are up to date then knows as of when. Nothing when nothing
        changed, else everything."""
        standings = [seat.standing for seat in self.seats]
        epochs = {standing.epoch for standing in standings}
        values = {
            EPOCH: str(min(epochs)),
            UPTODATE: _word(all(standing.is_up_to_date for standing in standings) and len(epochs) == 1),
            DEGRADED: _word(any(standing.is_degraded for standing in standings)),
            HOLDING: _word(any(standing.is_holding for standing in standings)),
            LINK: _word(all(standing.has_link for standing in standings)),
        }
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
