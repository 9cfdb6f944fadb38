"""Which version of the data a node has, and what two nodes' versions are to each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, unique
from typing import Final

MAX_ANCESTORS: Final = 32


@dataclass(frozen=True, slots=True)
class Generation:
    id: str = ""
    """A UUID in hex. Empty: nothing is known of the data here."""
    epoch: int = 0
    """The engine's, when a primary last began with it, or a secondary was given it."""
    ancestors: tuple[str, ...] = ()
    """The ids before it, newest first."""

    def next(self, new_id: str, epoch: int) -> Generation:
        before = (self.id, *self.ancestors) if self.id else ()
        return Generation(new_id, epoch, before[:MAX_ANCESTORS])

    @property
    def line(self) -> tuple[str, ...]:
        return (self.id, *self.ancestors) if self.id else ()


@unique
class Verdict(Enum):
    SAME = "same"
    I_DESCEND = "i descend"
    IT_DESCENDS = "it descends"
    SPLIT = "split"
    UNRELATED = "unrelated"
    EMPTY_THERE = "empty there"
    EMPTY_HERE = "empty here"


OVERWRITES: Final = frozenset((Verdict.SPLIT, Verdict.UNRELATED, Verdict.EMPTY_THERE))
"""Of a primary for its secondary: what that has of its own is kept aside before it is overwritten."""


def judge(own: Generation, other: Generation) -> Verdict:
    if not own.id:
        return Verdict.EMPTY_HERE
    if not other.id:
        return Verdict.EMPTY_THERE
    if own.id == other.id:
        return Verdict.SAME
    if other.id in own.ancestors:
        return Verdict.I_DESCEND
    if own.id in other.ancestors:
        return Verdict.IT_DESCENDS
    return Verdict.SPLIT if common(own, other) else Verdict.UNRELATED


def common(own: Generation, other: Generation) -> str:
    """The newest id that both had; empty: none."""
    theirs = frozenset(other.line)
    return next((each for each in own.line if each in theirs), "")


@unique
class Standing(Enum):
    """What a node may say of its data."""

    UP = "up"
    """Everything that was ever acknowledged, unless the other node has a newer epoch."""
    DOUBT = "doubt"
    """The machine lost its memory while the other node may have had more than this disk; or this node stopped as a
    secondary, and the other may have gone on."""
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Durable:
    """What a node knows of its data after any crash."""

    generation: Generation = Generation()
    up_to_date: bool = False
    paired: bool = False
    """The other node may have this generation, and everything of it: acknowledging alone needs a new one."""
    primary: bool = False
    """Its last role."""
    doubt: bool = False
    left: bool = False
    """It stopped as a secondary with everything on its disk, and gave its primary leave to go on alone. Who goes on
    takes a new generation first."""
    boot: str = ""
    """The kernel's boot id when it was last opened."""
    clean: bool = True
    """Closed after everything was on the disk."""
    stable: int = 0
    """Number of the last checkpoint that this disk has."""
    cleared: int = 0
    """Number of the checkpoint at which marks were last cleared here: a disk that lacks it is older than the marks."""
    marks_since: str = ""
    """The id of the generation from which on the marks here are complete."""

    @property
    def standing(self) -> Standing:
        if not self.up_to_date:
            return Standing.DOWN
        return Standing.DOUBT if self.doubt or self.left else Standing.UP

    def opened(self, boot: str) -> Durable:
        """As a data path starts. A reboot that no clean end came before has lost what was not synced, which the other
        node may have."""
        lost = self.paired and not self.clean and self.boot != boot
        return replace(self, boot=boot, clean=False, doubt=self.doubt or lost)

    def closed(self) -> Durable:
        """Everything is on this disk, and nothing will change."""
        return replace(self, clean=True)

    def alone(self, new_id: str, epoch: int) -> Durable:
        """As a primary that acknowledges without the other node. The id stays where nobody else can have it."""
        kept = bool(self.generation.id) and not self.paired and self.up_to_date
        generation = replace(self.generation, epoch=epoch) if kept else self.generation.next(new_id, epoch)
        since = self.marks_since or generation.id
        return replace(
            self,
            generation=generation,
            up_to_date=True,
            paired=False,
            primary=True,
            doubt=False,
            left=False,
            marks_since=since,
        )

    def behind(self) -> Durable:
        """As a secondary that lacks something."""
        return replace(self, up_to_date=False, paired=False, primary=False, doubt=False, left=False)

    def trusted(self) -> Durable:
        """Its doubts are gone."""
        return replace(self, doubt=False, left=False)

    def leaving(self) -> Durable:
        """As a secondary that has everything and stops."""
        return replace(self, left=True)

    def with_all(self, generation: Generation, cleared: int) -> Durable:
        """As a secondary that has everything of this generation on its disk, and of that checkpoint of its primary."""
        return replace(
            self,
            generation=generation,
            up_to_date=True,
            paired=True,
            primary=False,
            doubt=False,
            left=False,
            stable=cleared,
            cleared=cleared,
            marks_since=generation.id,
        )


def is_trusted(own: Durable, other: Durable, *, prefer_own: bool) -> bool:
    """Whether a node in doubt, which hears the other, has the best data there are: the other never had this version of
    them, or lacks something and says so, or lost its memory too. `prefer_own` breaks the tie of two that were neither
    primary. One that left has what was acknowledged as long as the other has the same generation; it is needed when
    that one lost its memory."""
    if own.standing is not Standing.DOUBT:
        return False
    if own.left:
        is_same = own.generation.id == other.generation.id
        return is_same and other.standing is Standing.DOUBT and not (own.doubt or other.left)
    if own.generation.id not in other.generation.line:
        return True
    if own.generation.id != other.generation.id or other.standing is Standing.UP or other.left:
        return False
    if other.standing is Standing.DOWN:
        return True
    return prefer_own if own.primary == other.primary else own.primary


@unique
class Comparison(Enum):
    """How a secondary gets what it lacks."""

    MARKS = "marks"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Plan:
    comparison: Comparison
    aside: bool
    """What the secondary has of its own is kept aside before it is overwritten."""


def plan(own: Durable, other: Durable, *, full: bool = False) -> Plan | None:
    """Of the primary `own` for its secondary. None: the other node's data must not be overwritten by these."""
    verdict = judge(own.generation, other.generation)
    if verdict in (Verdict.IT_DESCENDS, Verdict.EMPTY_HERE):
        return None
    aside = verdict in OVERWRITES
    if verdict in (Verdict.UNRELATED, Verdict.EMPTY_THERE) or full:
        return Plan(Comparison.FULL, aside)
    since = common(own.generation, other.generation)
    complete = _reaches(own, since) and _reaches(other, since)
    fresh = other.stable >= own.cleared and own.stable >= other.cleared
    return Plan(Comparison.MARKS if complete and fresh else Comparison.FULL, aside)


def _reaches(durable: Durable, since: str) -> bool:
    """Whether the marks are complete since the generation, or before."""
    line = durable.generation.line
    return durable.marks_since in line and since in line and line.index(durable.marks_since) >= line.index(since)
