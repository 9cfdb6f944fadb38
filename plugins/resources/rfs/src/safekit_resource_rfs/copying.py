"""One file of a resync: which of its blocks differ, and sending those.

Checksums are made while the file may be written; a zone that was touched meanwhile counts as different. What is sent is
what the file holds at that position of the stream. A file that is probably equal, and small, is compared before
anything is put into the stream for it.
"""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Final

from safekit_resource_rfs import local
from safekit_resource_rfs.changes import (
    Allocate,
    Bind,
    Change,
    Entry,
    MakeFile,
    Resize,
    Unbind,
    Write,
)
from safekit_resource_rfs.compare import ABSENT, join
from safekit_resource_rfs.desk import Desk
from safekit_resource_rfs.effects import ChecksumHere, EntriesHere, ReadHere
from safekit_resource_rfs.extents import PAGE_BYTES, Extent
from safekit_resource_rfs.marks import WHOLE, ZONE_BYTES
from safekit_resource_rfs.messages import BLOCK_BYTES, Checksum
from safekit_resource_rfs.settling import PERMISSIONS, settle
from safekit_resource_rfs.worktree import Job, Node, Zones

ZONES_AT_ONCE: Final = 2


class FileCopy(Job):
    """From `start` until `done` is called."""

    def __init__(
        self,
        desk: Desk,
        node: Node,
        here: Entry,
        there: Entry | None,
        zones: Zones,
        done: Callable[[FileCopy, bool, int], None],
        differs: Callable[[FileCopy], None],
        *,
        is_sized: bool = False,
        is_settled: bool = False,
    ) -> None:
        """`done` is told whether it has to be looked at again, and of an error that does not go at once. `is_sized`: it
        has the same size on both sides; `is_settled`: and the same attributes.
        `differs` is told that it has to be started again, to be copied."""
        name = here.name
        super().__init__(node, name)
        self._done = done
        self._differs = differs
        self.inode = here.inode
        self.links = here.links
        self._desk = desk
        self._there = there
        self._zones = zones
        self._is_sized = is_sized
        self._is_settled = is_settled
        self._is_probed = not (is_sized and there is not None and zones is None and here.size <= ZONE_BYTES)
        """It is known that it has to be copied, or it was not worth asking."""
        self._probed: dict[str, Sequence[bytes]] = {}
        self._size = here.size
        self._left: deque[int] | range = range(0)
        self._has_begun = self._is_settling = False
        self.slot = 0
        self.began_seq = 0
        """Of its first change."""
        self._comparing: dict[int, dict[str, Sequence[bytes]]] = {}
        self._touched: set[int] = set()
        """Zones that live changes wrote to while they were compared; WHOLE: all."""
        self._blocks: deque[int] = deque()
        self._reading: tuple[int, bool] | None = None
        """Offset of the block that is read, and whether it was written to since."""
        self._counted_bytes = self._count()
        desk.files_total += 1
        desk.bytes_total += self._counted_bytes

    def brings(self, seq: int) -> bool:
        """Whether what that change would have done there is part of what is copied."""
        return self._zones is None and self._is_probed and not 0 < self.began_seq < seq

    def _count(self) -> int:
        return self._size if self._zones is None else min(self._size, len(self._zones) * ZONE_BYTES)

    def start(self) -> bool:
        """False: there is no slot for it now."""
        if not self._is_probed:
            self._probe()
            return True
        slot = self._desk.slots.take()
        if slot is None:
            return False
        self.slot = slot
        self._desk.slots.paths[slot] = join(self.node.path, self.name)
        self._look(self._begin)
        return True

    def _probe(self) -> None:
        self._touched.clear()
        path, ask = join(self.node.path, self.name), self._desk
        ask.ask_there(lambda number: Checksum(number, path, 0, ZONE_BYTES), partial(self._answered, "there"))
        ask.ask_here(lambda number: ChecksumHere(number, path, 0, ZONE_BYTES), partial(self._answered, "here"))

    def _answered(self, side: str, errno: int, digests: Sequence[bytes]) -> None:
        """What cannot be read is a matter of the copy that follows."""
        self._probed[side] = (side.encode(),) if errno else digests
        if self.is_over or len(self._probed) < 2:
            return
        if self._touched or self._probed["here"] != self._probed["there"]:
            self._is_probed = True
            self._differs(self)
        elif self._is_settled:
            self._settled(0)
        else:
            self._settle()

    def _look(self, then: Callable[[Entry], None]) -> None:
        """At the file as it is at this position of the stream."""

        def looked(errno: int, entries: Sequence[Entry]) -> None:
            found = next((entry for entry in entries if entry.name == self.name), None)
            if self.is_over:
                return
            if errno not in (0, *ABSENT):
                self._end(again=True, error=errno)
            elif errno or found is None or found.inode != self.inode or not stat.S_ISREG(found.mode):
                self._end(again=True)
            else:
                then(found)

        path, names = self.node.path, (self.name,)
        self._desk.ask_here(lambda number: EntriesHere(number, path, names), looked)

    def _begin(self, here: Entry) -> None:
        path = join(self.node.path, self.name)
        stream = self._desk.stream
        self._size = here.size  # it may have grown since it was listed
        if self._there is None:
            bind: Change = MakeFile(path, self.slot, here.mode & PERMISSIONS, here.uid, here.gid)
        else:
            bind = Bind(self.slot, path)
        self.began_seq = stream.put(bind)
        if not self._is_sized:
            stream.put(Resize(self.slot, here.size))
        for slot in stream.live_slots.bound_to(path):
            stream.put(Bind(slot, path))
        count = -(-here.size // ZONE_BYTES)
        self._has_begun = True
        self._left = range(count) if self._zones is None else deque(sorted(z for z in self._zones if z < count))
        self.pump()

    def touch(self, zone: int) -> None:
        """A live change writes to it."""
        self._touched.add(zone)
        if self._reading is not None and zone in (WHOLE, self._reading[0] // ZONE_BYTES):
            self._reading = (self._reading[0], True)

    def pump(self) -> None:
        while self._has_begun and not self.is_over and self._desk.may_copy:
            if self._reading is not None:
                return
            if self._blocks:
                self._read(self._blocks.popleft(), at_once=False)
            elif len(self._comparing) >= ZONES_AT_ONCE or not self._next_zone():
                break
        if not (self.is_over or self._reading or self._blocks or self._comparing) and self.slot:
            self._finish_when_through()

    def _next_zone(self) -> bool:
        if not self._left:
            return False
        zone = self._left[0]
        if isinstance(self._left, range):
            self._left = self._left[1:]
        else:
            self._left.popleft()
        if self._there is None:
            self._blocks += range(zone * ZONE_BYTES, min((zone + 1) * ZONE_BYTES, self._size), BLOCK_BYTES)
            return True
        self._touched.discard(zone)
        self._touched.discard(WHOLE) if not self._comparing else None
        self._comparing[zone] = {}
        path, offset = join(self.node.path, self.name), zone * ZONE_BYTES
        ask = self._desk
        ask.ask_there(lambda number: Checksum(number, path, offset, ZONE_BYTES), partial(self._summed, zone, "there"))
        ask.ask_here(lambda number: ChecksumHere(number, path, offset, ZONE_BYTES), partial(self._summed, zone, "here"))
        return True

    def _summed(self, zone: int, side: str, errno: int, digests: Sequence[bytes]) -> None:
        if self.is_over:
            return
        if errno:
            self._end(again=True, error=0 if errno in ABSENT else errno)
            return
        sums = self._comparing[zone]
        sums[side] = digests
        if len(sums) < 2:
            return
        del self._comparing[zone]
        touched = zone in self._touched or WHOLE in self._touched
        pairs = zip_longest(sums["here"], sums["there"])
        for block, (here, there) in enumerate(pairs):
            if touched or here != there:
                self._blocks.append(zone * ZONE_BYTES + block * BLOCK_BYTES)
        self.pump()

    def _read(self, offset: int, *, at_once: bool) -> None:
        self._reading = (offset, False)
        path = join(self.node.path, self.name)
        self._desk.ask_here(
            lambda number: ReadHere(number, path, offset, BLOCK_BYTES, at_once), partial(self._got, offset)
        )

    def _got(self, offset: int, errno: int, extents: Sequence[Extent]) -> None:
        if self.is_over or self._reading is None:
            return
        touched = self._reading[1]
        self._reading = None
        if errno:
            self._end(again=True, error=0 if errno in ABSENT else errno)
        elif touched:
            self._read(offset, at_once=True)
        else:
            self._send(offset, extents)
            self.pump()

    def _send(self, offset: int, extents: Sequence[Extent]) -> None:
        """Holes are made before what is in them is reserved, which keeps what was written."""
        at = offset
        for extent in extents:
            if extent.data:
                self._leave_out(at, extent.start)
                self._desk.stream.put(Write(self.slot, extent.start, extent.data))
                self._desk.copied(len(extent.data))
                at = extent.end
        self._leave_out(at, min(offset + BLOCK_BYTES, self._size))
        for extent in extents:
            if not extent.data and self._desk.may_reserve:
                self._desk.stream.put(Allocate(self.slot, local.KEEP_SIZE, extent.start, extent.end - extent.start))

    def _leave_out(self, start: int, end: int) -> None:
        """A hole, where there may be data. At the end of the file its last page goes only as a whole."""
        if start < end and self._there is not None:
            end = -(-end // PAGE_BYTES) * PAGE_BYTES if end == self._size else end
            self._desk.stream.put(Allocate(self.slot, local.PUNCH, start, end - start))

    def _finish_when_through(self) -> None:
        if self._left or self._is_settling or not self._has_begun:
            return
        self._settle()

    def _settle(self) -> None:
        self._is_settling = True
        there = self._there.xattrs if self._there is not None else b""
        settle(self._desk, self.node, self.name, there, self._settled)

    def _settled(self, error: int) -> None:
        if not self.is_over:
            self._desk.files_done += 1
            self._desk.bytes_done += self._counted_bytes
            self._end(again=error != 0, error=0 if error in ABSENT else error)

    def _end(self, *, again: bool, error: int = 0) -> None:
        self.release()
        self._done(self, again, error)

    def release(self) -> None:
        """Give up what it holds."""
        if self.slot:
            self._desk.slots.give_after(self._desk.stream.put(Unbind(self.slot)), self.slot)
        self.slot = 0
