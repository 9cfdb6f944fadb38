"""What one node knows of a farm's map, and what of it its kernel serves. The protocol is in `farm`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from safekit.engine.actions import TakeShare
from safekit.engine.buckets import BUCKETS, Owners
from safekit.engine.reports import FIRST, NO_MAP, NOBODY, FarmMap

ALL: Final = (1 << BUCKETS) - 1
PLACE: Final = "place."
"""Values of resources with this class tell the same resource on the other nodes something."""
Priors = tuple[tuple[str, ...], ...]
NO_PRIORS: Final[Priors] = ((),) * BUCKETS


@dataclass(frozen=True, slots=True)
class Share:
    map: FarmMap = NO_MAP
    """The newest map that was heard of."""
    map_s: float = float("-inf")
    """Since when it is."""
    held: int = 0
    """What the kernel accepts or may accept; ALL when that is not known."""
    serving: bool = False
    """The module runs, and takes its part."""
    order: TakeShare | None = None
    """The last one that the host was given, and still has in force."""
    number: int = 0
    awaited_until_s: float | None = None
    """When the answer to the last order is due."""
    unsure_s: float | None = None
    """Since when it is not known what the kernel accepts; no lease is given since then."""
    mute: tuple[tuple[str, float], ...] = ()
    """The nodes that are heard and say nothing of the module, and since when."""
    lapsed: bool = False
    """This node slept for so long that its lease may have run out: it serves nothing before it has released all."""
    unsettled: bool = False
    """Time alone may change it."""
    weight: int | None = None
    """The operator's; durable."""

    def none(self) -> Share:
        """Nothing runs any more: nothing is accepted."""
        return replace(self, held=0, serving=False, lapsed=False, order=None, awaited_until_s=None, unsure_s=None)

    def unknown(self) -> Share:
        """Its resources may have been started anew, with nothing."""
        return replace(self, order=None, awaited_until_s=None)

    def unsure(self, now_s: float) -> Share:
        """Nobody is there who could say what the kernel accepts."""
        return replace(self.unknown(), unsure_s=self.unsure_since(now_s))

    def unsure_since(self, now_s: float) -> float:
        return now_s if self.unsure_s is None else self.unsure_s


NO_SHARE: Final = Share()


def bits(owners: Owners, node: str) -> int:
    """A bit for each bucket of this node."""
    return sum(1 << bucket for bucket, owner in enumerate(owners) if owner == node)


@lru_cache(maxsize=256)
def owners_of(farm_map: FarmMap) -> Owners:
    """The owner of each bucket; empty for none, and for all when there is no map or it is not one."""
    return tuple(_named(farm_map, mark) for mark in farm_map.owners[:BUCKETS].ljust(BUCKETS, NOBODY))


@lru_cache(maxsize=256)
def priors_of(farm_map: FarmMap) -> Priors:
    if len(farm_map.priors) != BUCKETS:
        return NO_PRIORS
    return tuple(tuple(filter(None, (_named(farm_map, mark) for mark in marks))) for marks in farm_map.priors)


def _named(farm_map: FarmMap, mark: str) -> str:
    index = ord(mark) - ord(FIRST)
    return farm_map.nodes[index] if 0 <= index < len(farm_map.nodes) else ""


def make_map(epoch: int, leader: str, owners: Owners, priors: Priors, director: str) -> FarmMap:
    nodes = tuple(sorted({*owners, *(node for nodes in priors for node in nodes)} - {""}))
    marks = {node: chr(ord(FIRST) + index) for index, node in enumerate(nodes)} | {"": NOBODY}
    marked = tuple("".join(marks[node] for node in earlier) for earlier in priors)
    return FarmMap(epoch, leader, nodes, "".join(marks[o] for o in owners), marked if any(marked) else (), director)
