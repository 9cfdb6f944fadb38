"""What may differ between the two disks: the write intent log, as a pure set.

A modification waits until its places are marked durably; they are cleared when both disks are known to have what was
marked (a checkpoint). What was created in a marked directory after the mark needs none of its own: resync compares it
completely, because it was born later than the mark. Either disk may lose the modification again, so what was there
before is marked too, where its marks would not tell.

| modification | places |
|---|---|
| data of a file, in a zone | `(its directory, inode, zone)` |
| size, or a range that moves | `(its directory, inode, WHOLE)` |
| a name is created | `(directory)`; then `cover` what was made |
| attributes of an entry | `(directory)`, or `(directory, inode, ATTRIBUTES)`, see below |
| of a file with other names | `(directory, inode, WHOLE)` |
| of a directory itself | the same, or `(its own handle, 0, ATTRIBUTES)` |
| a file's name goes | `(directory)`, `(directory, inode, GONE)`; LOST for GONE when the file has other names |
| a directory goes | `(directory)`, `(its own handle)` |
| a file is renamed | both directories, `(each of them, inode, WHOLE)` |
| a directory is renamed | both directories, `(its own handle, 0, WHOLE)` |
| a link is made | `(directory)`, `(directory, inode, WHOLE)`, `(directory of the existing name, inode, WHOLE)` |

What a rename replaces goes; what an exchange gives the old name is renamed as well. Attributes of a file whose data are
marked are compared with those; of others, all of the directory is marked, as many entries may follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

ZONE_BYTES: Final = 4 << 20
WHOLE: Final = -1
ATTRIBUTES: Final = -2
LOST: Final = -3
GONE: Final = -4
MAX_ZONES: Final = 1024
"""Of one file; more: all of it is marked."""
MAX_PLACES: Final = 200_000
"""More: everything is marked, and the next resync compares all."""
SLACK_NS: Final = 1_000_000_000
"""By how much the clock of a file system lags behind the clock of the process."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is marked."""

    directory: bytes
    """The file handle (name_to_handle_at) of the directory whose entries change, in which an entry's attributes change,
    or which contains the file."""
    inode: int = 0
    """Of the file whose data change. 0: the directory's entries and their attributes."""
    zone: int = 0
    """Index of ZONE_BYTES. WHOLE: all of the file, or, without an inode, all beneath the directory. ATTRIBUTES: only
    those, of the file, or, without an inode, of the directory itself. GONE: this name of the file goes; if a disk loses
    that, the zones that are marked do not tell what it differs in. LOST: it goes, and the file has others: what is
    marked of it could not be found any more."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of the log. Without a place: `everything`, or a clock that was set back to `since_ns`."""

    since_ns: int
    place: Place | None = None
    everything: bool = False


EVERYTHING: Final = Mark(0, None, True)


@dataclass(slots=True)
class MarkedDirectory:
    handle: bytes
    since_ns: int
    entries: bool = False
    deep: bool = False
    """All beneath it."""
    files: dict[int, set[int] | None] = field(default_factory=dict)
    """Zones by inode; None: all of the file."""

    def holds(self, inode: int, zone: int) -> bool:
        if self.deep:
            return True
        if not inode:
            return zone == ATTRIBUTES or (self.entries and zone != WHOLE)
        if zone == ATTRIBUTES:
            return self.entries or inode in self.files
        zones = self.files.get(inode, ())
        return zones is None or zone in zones

    def add(self, inode: int, zone: int, since_ns: int) -> None:
        self.since_ns = min(self.since_ns, since_ns)
        if not inode:
            self.entries = self.entries or zone != ATTRIBUTES
            self.deep = self.deep or zone == WHOLE
            return
        zones = self.files.setdefault(inode, set())
        if zones is None or zone == ATTRIBUTES:
            return
        zones.add(zone)
        if zone == WHOLE or len(zones) > MAX_ZONES:
            self.files[inode] = None

    def places(self) -> Iterator[Place]:
        yield Place(self.handle, 0, WHOLE if self.deep else 0 if self.entries else ATTRIBUTES)
        for inode, zones in self.files.items():
            listed = (WHOLE,) if zones is None else sorted(zones) or (ATTRIBUTES,)
            yield from (Place(self.handle, inode, zone) for zone in listed)


@dataclass(slots=True)
class Layer:
    """The marks of the time between two checkpoints."""

    directories: dict[bytes, MarkedDirectory] = field(default_factory=dict)
    everything: bool = False
    floor_ns: int | None = None
    """The clock was set back to this: nothing counts as marked later."""
    count: int = 0

    def holds(self, place: Place) -> bool:
        if self.everything:
            return True
        directory = self.directories.get(place.directory)
        return directory is not None and directory.holds(place.inode, place.zone)

    def add(self, mark: Mark) -> None:
        if mark.everything:
            self.everything = True
            self.directories.clear()
            self.count = 0
        elif mark.place is None:
            self.floor_ns = mark.since_ns if self.floor_ns is None else min(self.floor_ns, mark.since_ns)
        elif not self.holds(mark.place):
            place = mark.place
            directory = self.directories.get(place.directory)
            if directory is None:
                directory = self.directories[place.directory] = MarkedDirectory(place.directory, mark.since_ns)
            directory.add(place.inode, place.zone, mark.since_ns)
            self.count += 1

    def knows(self, place: Place) -> bool:
        directory = self.directories.get(place.directory)
        return directory is not None and directory.files.get(place.inode, set()) != set()

    def is_whole_elsewhere(self, place: Place) -> bool:
        return any(
            each.handle != place.directory and each.files.get(place.inode, ()) is None
            for each in self.directories.values()
        )

    def marks(self) -> Iterator[Mark]:
        if self.floor_ns is not None:
            yield Mark(self.floor_ns)
        if self.everything:
            yield EVERYTHING
        for directory in self.directories.values():
            yield from (Mark(directory.since_ns, place) for place in directory.places())

    def merge(self, other: Layer) -> None:
        for mark in other.marks():
            self.add(mark)


class Marks:
    """`old` is what the checkpoint that goes on will clear, `new` is what was touched since it began, `found` is what
    a verification found to differ: no checkpoint clears it, as both disks have it, in different ways."""

    def __init__(self, log: Iterable[Mark] = ()) -> None:
        self.old = Layer()
        self.new = Layer()
        self.found = Layer()
        self.is_checkpointing = False
        self._covered = Layer()
        self._wanted: dict[Mark, None] = {}
        self._wanted_places: set[Place] = set()
        self._writing: tuple[Mark, ...] = ()
        self._writing_places: set[Place] = set()
        self.latest_ns = 0
        for mark in log:
            self.new.add(mark)
            self.latest_ns = max(self.latest_ns, mark.since_ns)

    @property
    def count(self) -> int:
        return self.old.count + self.new.count

    @property
    def everything(self) -> bool:
        """Also while it is on its way to the log."""
        on_the_way = EVERYTHING in self._wanted or EVERYTHING in self._writing
        return on_the_way or any(layer.everything for layer in (self.old, self.new, self.found))

    def touch(self, places: Iterable[Place], now_ns: int) -> bool:
        """Whether all are marked durably. What is not, is wanted from now on."""
        ready = now_ns >= self.latest_ns - SLACK_NS or self._lower(now_ns)
        self.latest_ns = max(self.latest_ns, now_ns)
        for place in places:
            if place.zone in (LOST, GONE):
                ready = self._lose(place, now_ns) and ready
            elif not (self.new.holds(place) or self._covered.holds(place)) and not self._renew(place, now_ns):
                self._want(Place(place.directory) if place.inode and place.zone == ATTRIBUTES else place, now_ns)
                ready = False
        return ready

    def _renew(self, place: Place, now_ns: int) -> bool:
        """What is marked, and may be cleared soon, is kept: its line is in the log."""
        if not self.old.holds(place):
            return False
        self.new.add(Mark(now_ns, place))
        return True

    def _lose(self, place: Place, now_ns: int) -> bool:
        layers = (self.old, self.new)
        if any(layer.everything for layer in layers) or not any(layer.knows(place) for layer in layers):
            return True
        whole = Place(place.directory, place.inode, WHOLE)
        if place.zone == LOST and not any(layer.is_whole_elsewhere(place) for layer in layers):
            self._wanted[EVERYTHING] = None
            return False
        if self.new.holds(whole) or self._renew(whole, now_ns):
            return True
        self._want(whole, now_ns)
        return False

    def _want(self, place: Place, now_ns: int) -> None:
        if place in self._wanted_places or place in self._writing_places:
            return
        self._wanted_places.add(place)
        if self.count + len(self._wanted) >= MAX_PLACES:
            self._wanted[EVERYTHING] = None
        else:
            self._wanted[Mark(now_ns, place)] = None

    def _lower(self, now_ns: int) -> bool:
        """The clock was set back: what is born now seems older than the marks."""
        if any(mark.place is None and not mark.everything for mark in (*self._wanted, *self._writing)):
            return False
        self.latest_ns = now_ns
        self._wanted[Mark(now_ns)] = None
        return False

    def cover(self, *places: Place) -> None:
        """These were just created in a directory that is marked: nothing has to be marked in them until the next
        checkpoint. `Place(handle, 0)` of a new directory, `Place(directory, inode, WHOLE)` of a new file."""
        for place in places:
            if not self.new.holds(place):
                self._covered.add(Mark(0, place))
        if self._covered.count > MAX_PLACES:
            self._covered = Layer()

    def begin_append(self) -> tuple[Mark, ...]:
        """What is to be written to the log, as one; nothing while the last is on its way."""
        if self._writing or not self._wanted:
            return ()
        self._writing = tuple(self._wanted)
        self._wanted.clear()
        self._writing_places, self._wanted_places = self._wanted_places, set()
        return self._writing

    def end_append(self) -> None:
        """It is on the disk."""
        for mark in self._writing:
            self.new.add(mark)
        self._writing = ()
        self._writing_places = set()

    def abort_append(self) -> None:
        """It could not be written; it is wanted still."""
        self._wanted = dict.fromkeys((*self._writing, *self._wanted))
        self._wanted_places |= self._writing_places
        self._writing = ()
        self._writing_places = set()

    def begin_checkpoint(self) -> None:
        self.old.merge(self.new)
        self.new = Layer()
        self._covered = Layer()
        self.is_checkpointing = True

    def abort_checkpoint(self) -> None:
        self.is_checkpointing = False

    def clear(self) -> tuple[Mark, ...]:
        """Both disks have what was marked before the checkpoint began. Returns all that the log has to hold."""
        self.old = Layer()
        self.is_checkpointing = False
        return tuple(dict.fromkeys((*self.new.marks(), *self.found.marks())))

    def mark_everything(self) -> None:
        """The next comparison is complete. The line is wanted."""
        if not self.new.everything and EVERYTHING not in self._writing:
            self._wanted[EVERYTHING] = None

    def add_found(self, places: Iterable[Place] | None, now_ns: int) -> None:
        """These differ, or None: everything may, until it was compared again. The lines are wanted."""
        lines = [Mark(now_ns, place) for place in places or () if not self.found.holds(place)]
        if places is None or self.found.count + len(lines) > MAX_PLACES:
            lines = [EVERYTHING]
        for line in lines:
            self.found.add(line)
            self._wanted[line] = None

    def clear_found(self) -> None:
        """They were compared."""
        self.found = Layer()

    def directories(self) -> tuple[MarkedDirectory, ...]:
        """All that is marked, with the time of the earliest mark."""
        union = Layer()
        union.merge(self.old)
        union.merge(self.new)
        union.merge(self.found)
        if union.floor_ns is not None:
            for directory in union.directories.values():
                directory.since_ns = min(directory.since_ns, union.floor_ns)
        return tuple(union.directories.values())
