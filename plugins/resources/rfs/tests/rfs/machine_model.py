"""A node with its disks, and the data path that runs on it: performs the effects of the shipped machines, late."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Protocol

from safekit_resource_rfs import effects
from safekit_resource_rfs.changes import Sync
from safekit_resource_rfs.compare import Pages, join, resolve
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Mark, MarkedDirectory, Marks
from safekit_resource_rfs.messages import Marked
from safekit_resource_rfs.receiver import Receiver
from safekit_resource_rfs.sender import Sender

from .files_model import Files

START_S = 1_700_000_000


class World(Protocol):
    random: Random
    now_s: float

    def later(self, delay_s: float, action: Callable[[], None]) -> None: ...

    def note(self, text: str) -> None: ...

    def sent(self, message: Any) -> None: ...

    def dropped(self, process: Process, path: bytes) -> None: ...

    def reported(self, process: Process, report: effects.Report) -> None: ...


@dataclass(frozen=True, slots=True)
class Variant:
    """The shipped classes, or broken ones that the simulation has to catch."""

    name: str = "shipped"
    sender: type[Sender] = Sender
    receiver: type[Receiver] = Receiver
    trusts_reboot: bool = False
    """Doubts nothing after a loss of memory."""


class Machine:
    """One node. Its clock may be wrong."""

    def __init__(self, world: World, name: str, skew_s: float) -> None:
        self.world = world
        self.name = name
        self.skew_s = skew_s
        self.files = Files(self.clock_ns, 1000 if name == "A" else 500_000)
        self.durable = Durable()
        self.marks: list[Mark] = []
        self.boot = 0
        self.is_on = True
        self.process: Process | None = None
        self.lost_memory = False
        """Since it last had everything."""
        self.writes: deque[tuple[Process, Callable[[], None], Callable[[], None]]] = deque()
        """On their way to the disk, in order: what becomes durable, and who is told."""
        self.refuses: Callable[[], bool] | None = None
        """The disk of what has to be durable is full: says of a write that it refuses whether it happened yet."""

        self.refuses_syncs: Callable[[], bool] = lambda: False
        """The disk of the data does."""

    def sync(self, position: int, inode: int | None = None) -> int:
        """The errno."""
        if not self.refuses_syncs():
            self.files.commit(position, inode)
            return 0
        self.world.note(f"{self.name}: a sync fails")
        self.files.refuse(position, self.world.random, inode)
        self.lost_memory = True
        return errno.EIO

    def clock_ns(self) -> int:
        return int((START_S + self.world.now_s + self.skew_s) * 1e9)

    def write(self, process: Process, happen: Callable[[], None], tell: Callable[[], None]) -> None:
        self.writes.append((process, happen, tell))
        if len(self.writes) == 1:
            self._next_write()

    def _next_write(self) -> None:
        boot = self.boot
        self.world.later(self.world.random.choice((0.0005, 0.002, 0.02)), lambda: self._written(boot))

    def _written(self, boot: int) -> None:
        if boot != self.boot or not self.writes:
            return
        process, happen, tell = self.writes.popleft()
        core = process.core
        if self.refuses is None or not isinstance(core, Receiver):
            happen()
        else:
            if self.refuses():
                happen()
            tell = partial(core.store_failed, "full")
        if self.writes:
            self._next_write()
        if process.is_alive:
            tell()
            process.pump()

    def open(self) -> Durable:
        """As a data path starts."""
        self.durable = self.durable.opened(str(self.boot))
        return self.durable

    def kill(self) -> None:
        if self.process is not None:
            self.process.end()

    def lose_power(self) -> None:
        self.kill()
        for _ in range(self.world.random.randint(0, len(self.writes))):
            self.writes.popleft()[1]()
        self.writes.clear()
        self.files.lose_power(self.world.random)
        self.lost_memory = True
        self.is_on = False
        self.boot += 1


class Process:
    """A data path in one role."""

    def __init__(self, machine: Machine, core: Sender | Receiver) -> None:
        self.machine = machine
        self.core = core
        self.is_alive = True
        self.connection: Connection | None = None
        self.released: Callable[[tuple[Any, ...]], None] = lambda tokens: None
        self.woken: Callable[[], None] = lambda: None
        self._pages = Pages(machine.files)
        self._pumping = False

    @property
    def files(self) -> Files:
        return self.machine.files

    def end(self) -> None:
        self.is_alive = False
        self.machine.process = None
        if self.connection is not None:
            self.connection.cut()

    def pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        for effect in self.core.drain():
            getattr(self, "_" + type(effect).__name__.lower())(effect)
            if not self.is_alive:
                break
        self._pumping = False

    def _soon(self, action: Callable[[], None], delays_s: tuple[float, ...] = (0.0001, 0.001, 0.01)) -> None:
        def act() -> None:
            if self.is_alive:
                action()
                self.pump()

        self.machine.world.later(self.machine.world.random.choice(delays_s), act)

    def _send(self, effect: effects.Send) -> None:
        if self.connection is not None:
            self.connection.send(self, effect.message)

    def _disconnect(self, effect: effects.Disconnect) -> None:
        if self.connection is not None:
            self.machine.world.note(f"{self.machine.name} disconnects: {effect.reason}")
            self.connection.close(self)
        self.core.disconnected(self.machine.world.now_s)

    def _release(self, effect: effects.Release) -> None:
        self.released(effect.tokens)

    def _wake(self, effect: effects.Wake) -> None:
        self._soon(self.woken)

    def _report(self, effect: effects.Report) -> None:
        self.machine.world.note(f"{self.machine.name} {effect.event}: {effect.text}")
        self.machine.world.reported(self, effect)

    def _store(self, effect: effects.Store) -> None:
        def happen() -> None:
            self.machine.durable = effect.durable

        self.machine.write(self, happen, lambda: self.core.stored(effect.number))

    def _appendmarks(self, effect: effects.AppendMarks) -> None:
        def happen() -> None:
            self.machine.marks = [*self.machine.marks, *effect.marks]

        self.machine.write(self, happen, lambda: self.core.marks_stored(effect.number))

    def _replacemarks(self, effect: effects.ReplaceMarks) -> None:
        def happen() -> None:
            self.machine.marks = list(effect.marks)

        self.machine.write(self, happen, lambda: self.core.marks_stored(effect.number))

    def _syncall(self, effect: effects.SyncAll) -> None:
        position = self.files.position

        def synced() -> None:
            self.core.synced_all(effect.number, self.machine.sync(position))

        self._soon(synced, (0.0005, 0.005, 0.08))

    def _apply(self, effect: effects.Apply) -> None:
        assert isinstance(self.core, Receiver)
        try:
            self.files.apply(effect.change, keep_aside=effect.aside)
        except OSError as error:
            self.core.applied(effect.seq, error.errno or 5, str(error))
        else:
            self.core.applied(effect.seq, 0)

    def _startsync(self, effect: effects.StartSync) -> None:
        core = self.core
        assert isinstance(core, Receiver)
        try:
            what = self.files.sync(effect.change)
        except OSError as error:
            core.synced(effect.number, error.errno or 5)
            return

        def synced() -> None:
            core.synced(effect.number, self.machine.sync(*what))

        self._soon(synced)

    def _forgetslots(self, effect: effects.ForgetSlots) -> None:
        self.files.forget_slots()

    def _resolvemarks(self, effect: effects.ResolveMarks) -> None:
        def resolved() -> None:
            found: list[Marked] = []
            if not effect.everything:
                directories: tuple[MarkedDirectory, ...] = self.core.marks.directories()
                found = list(resolve(directories, self.files))
            self.core.marks_resolved(effect.number, found)

        self._soon(resolved)

    def _nameshere(self, effect: effects.NamesHere) -> None:
        self._answer("names_read", effect.id, lambda: self.files.entry_names(effect.path), at_once=False)

    def _entrieshere(self, effect: effects.EntriesHere) -> None:
        def entries() -> Any:
            own = self.files.entry(effect.path)
            self.files.entry_names(effect.path)
            return (replace(own, name=b""), *self._existing(effect.path, effect.names))

        self._answer("entries_read", effect.id, entries)

    def _existing(self, path: bytes, names: tuple[bytes, ...]) -> Any:
        for name in names:
            try:
                yield self.files.entry(join(path, name))
            except OSError:
                continue

    def _handlehere(self, effect: effects.HandleHere) -> None:
        self._answer("handle_read", effect.id, lambda: self.files.handle(effect.path))

    def _listhere(self, effect: effects.ListHere) -> None:
        try:
            entries, last = self._pages.list(effect.path, effect.after, effect.names)
        except OSError as error:
            entries, last = (), True
            self.core.listed(effect.id, error.errno or 5, entries, last)  # type: ignore[union-attr]
        else:
            self.core.listed(effect.id, 0, entries, last)  # type: ignore[union-attr]

    def _checksumhere(self, effect: effects.ChecksumHere) -> None:
        def sums() -> Any:
            if self.core.distrusts_cache and self.files.drop_cached(effect.path):
                self.machine.world.dropped(self, effect.path)
            return self.files.checksums(effect.path, effect.offset, effect.length)

        self._answer("checksummed", effect.id, sums, at_once=False)

    def _readhere(self, effect: effects.ReadHere) -> None:
        def extents() -> Any:
            return self.files.read(effect.path, effect.offset, effect.length)

        self._answer("data_read", effect.id, extents, at_once=effect.at_once)

    def _xattrshere(self, effect: effects.XattrsHere) -> None:
        self._answer("xattrs_read", effect.id, lambda: self.files.xattrs(effect.path))

    def _answer(self, method: str, number: int, look: Callable[[], Any], *, at_once: bool = True) -> None:
        def act() -> None:
            try:
                values = look()
            except OSError as error:
                getattr(self.core, method)(number, error.errno or 5, ())
            else:
                getattr(self.core, method)(number, 0, values)

        if at_once:
            act()
        else:
            self._soon(act)

    def sync_locally(self, change: Sync, then: Callable[[], None]) -> None:
        """A primary's own disk."""
        what = self.files.sync(change)

        def synced() -> None:
            error = self.machine.sync(*what)
            if error:
                self.core.disk_failed(error)  # type: ignore[union-attr]
            else:
                then()

        self._soon(synced)


class Connection:
    """Between a primary's and a secondary's process. Ends are told late that it was cut, or learn it by silence."""

    def __init__(self, world: World, primary: Process, secondary: Process, carry: Callable[..., None]) -> None:
        self.world = world
        self.ends = (primary, secondary)
        self._open = [True, True]
        self._carry = carry
        self._arrives_s = [0.0, 0.0]
        self.is_silent = False
        primary.connection = secondary.connection = self
        for end in self.ends:
            end.core.connected(world.now_s)
        for end in self.ends:
            end.pump()

    def send(self, sender: Process, message: Any) -> None:
        side = self.ends.index(sender)
        self.world.sent(message)
        if not all(self._open) or self.is_silent:
            return
        delay_s = self.world.random.choice((0.0002, 0.0005, 0.003))
        self._arrives_s[side] = max(self._arrives_s[side], self.world.now_s + delay_s)
        self.world.later(self._arrives_s[side] - self.world.now_s, lambda: self._deliver(1 - side, message))

    def _deliver(self, side: int, message: Any) -> None:
        if self._open[side] and not self.is_silent and self.ends[side].is_alive:
            self._carry(self.ends[side], message)

    def cut(self) -> None:
        """Each end hears of it by itself; what is on its way may arrive before."""
        for side in (0, 1):
            self.world.later(self.world.random.choice((0.0, 0.001, 0.05)), lambda side=side: self._end(side))  # type: ignore[misc]

    def close(self, by: Process) -> None:
        side = self.ends.index(by)
        self._open[side] = False
        if by.connection is self:
            by.connection = None
        self.world.later(0.001, lambda: self._end(1 - side))

    def _end(self, side: int) -> None:
        end = self.ends[side]
        if not self._open[side]:
            return
        self._open[side] = False
        if end.connection is self:
            end.connection = None
        if end.is_alive:
            end.core.disconnected(self.world.now_s)
            end.pump()


def start(machine: Machine, core: Sender | Receiver) -> Process:
    machine.process = Process(machine, core)
    return machine.process


def marks_of(machine: Machine) -> Marks:
    return Marks(machine.marks)
