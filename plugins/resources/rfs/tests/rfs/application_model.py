"""What applications do to the primary's directory."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from safekit_resource_rfs import changes
from safekit_resource_rfs.changes import Change
from safekit_resource_rfs.marks import ATTRIBUTES, GONE, LOST, WHOLE, ZONE_BYTES, Place
from safekit_resource_rfs.messages import BLOCK_BYTES
from safekit_resource_rfs.sender import Gate, Sender

from .files_model import CAPABILITY, ROOT
from .history_model import History, Promise
from .machine_model import Process

OFFSETS = (0, BLOCK_BYTES, 3 * BLOCK_BYTES, ZONE_BYTES, 2 * ZONE_BYTES + BLOCK_BYTES)
NAMES = (b"a", b"b", b"c", b"d")
SLOTS = 4
MAX_WAITING = 30
Deed = Callable[[], None]
Marking = Callable[[], Iterable[Place]]


class Application:
    """Random operations on one primary, until it is none any more."""

    def __init__(self, process: Process, history: History, random: Random, note: Callable[[str], None]) -> None:
        assert isinstance(process.core, Sender)
        self.process = process
        self.sender: Sender = process.core
        self.files = process.files
        self.history = history
        self.random = random
        self.note = note
        self.is_over = False
        self._waiting: list[Callable[[], None]] = []
        self._slots: dict[int, int] = {}
        self._next_slot = 1
        self._dirty: set[int] = set()
        process.released = self._released
        process.woken = self._woken

    def _released(self, tokens: tuple[Any, ...]) -> None:
        for token in tokens:
            token()

    def _woken(self) -> None:
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def do(self, places: Callable[[], Iterable[Place]], action: Callable[[], None]) -> None:
        """One modification: touched, then executed and recorded at once; done again from the start when it waited."""
        if self.is_over or not self.process.is_alive:
            return
        try:
            gate = self.sender.touch(tuple(places()), self.process.machine.clock_ns())
            if gate is Gate.GO:
                action()
            elif gate is Gate.WAIT and len(self._waiting) < MAX_WAITING:
                self._waiting.append(lambda: self.do(places, action))
        except OSError as error:
            if error.errno != errno.EEXIST:
                self.note(f"an operation failed: {error}")
        self.process.pump()

    def execute(self, change: Change) -> None:
        """A change that can be lost or kept only as a whole."""
        self.files.apply(change)
        self.history.prints.append(self.files.fingerprint())
        length = len(self.history.prints)
        if self.sender.record(change, lambda: self._answered(length)):
            self._answered(length)

    def quietly(self, change: Change) -> None:
        """A change that no tree shows."""
        self.files.apply(change)
        self.sender.record(change, lambda: None)

    def _answered(self, length: int) -> None:
        """At once: in the mode `write` that is a promise; in the others the next fsync is."""
        if self.history.mode == "write":
            self._acknowledged(length)

    def _acknowledged(self, length: int) -> None:
        if not self.is_over:
            self.history.acknowledged = max(self.history.acknowledged, min(length, len(self.history.prints)))

    # operations

    def step(self) -> None:
        kinds = [self._write] * 6 + [self._create] * 3 + [self._sync] * 3 + [self._rename] * 2
        kinds += [self._remove, self._link, self._make_directory, self._attributes, self._xattr, self._truncate]
        kinds += [self._symlink, self._sync_directory, self._punch, self._rename_directory]
        with contextlib.suppress(OSError):
            self.random.choice(kinds)()
        self.process.pump()

    def _paths(self, *, directories: bool = False, files: bool = False) -> list[bytes]:
        found = []
        for path, number in self.files.walk():
            inode = self.files.inodes[number]
            if (directories and inode.is_directory) or (files and inode.is_file):
                found.append(path)
        return sorted(found)

    def _some(self, **kinds: bool) -> bytes:
        paths = self._paths(**kinds)
        if not paths:
            raise OSError(errno.ENOENT, "nothing there")
        return self.random.choice(paths)

    def _free(self) -> bytes:
        directory = self._some(directories=True)
        if directory.count(b"/") >= 2:
            directory = b""
        name = self.random.choice(NAMES)
        return directory + b"/" + name if directory else name

    def _directory(self, path: bytes) -> bytes:
        return self.files.handle(path.rpartition(b"/")[0])

    def _dirty_directories(self, *paths: bytes) -> None:
        for path in paths:
            self._dirty.add(self.files.find(path.rpartition(b"/")[0]))

    def _create(self) -> None:
        path = self._free()

        def make() -> None:
            self.history.file_ids += 1
            slot = self._take_slot()
            self.execute(changes.MakeFile(path, slot, 0o644, self.history.file_ids, 0))
            self._slots[slot] = self.files.find(path)
            self._dirty_directories(path, path + b"/")
            directory = self._directory(path)
            self.sender.cover(Place(directory, self.files.find(path), WHOLE))

        self._try(path, make, exists=False)

    def _try(self, path: bytes, action: Deed, more: Marking = tuple, *, exists: bool, of_file: bool = False) -> None:
        """As a kernel does: it is looked for first."""

        def places() -> Iterable[Place]:
            if self._exists(path) is not exists:
                raise OSError(errno.EEXIST, "came or went meanwhile")
            return (Place(self._directory(path), *(self._number_of_file(path) if of_file else ())), *more())

        self.do(places, action)

    def _number_of_file(self, path: bytes) -> tuple[int, ...]:
        number = self.files.find(path)
        inode = self.files.inodes[number]
        return () if inode.is_directory else (number, WHOLE if inode.links > 1 else ATTRIBUTES)

    def _exists(self, path: bytes) -> bool:
        try:
            self.files.find(path)
        except OSError:
            return False
        return True

    def _take_slot(self) -> int:
        """Whatever file has it is not told that it loses it."""
        slot = self._next_slot
        self._next_slot = slot % SLOTS + 1
        self._slots.pop(slot, None)
        return slot

    def _slot(self, number: int, path: bytes) -> int:
        for slot, bound in self._slots.items():
            if bound == number:
                return slot
        slot = self._take_slot()
        self.quietly(changes.Bind(slot, path))
        self._slots[slot] = number
        return slot

    def _on_file(self, zone: int, act: Callable[[int, int], None]) -> None:
        """`act` with the file's number and slot."""
        path = self._some(files=True)
        number = self.files.find(path)

        def places() -> Iterable[Place]:
            return (Place(self._directory(self._name_of(number)), number, zone),)

        def go() -> None:
            act(number, self._slot(number, self._name_of(number)))
            self._dirty.add(number)

        self.do(places, go)

    def _name_of(self, number: int) -> bytes:
        return next(iter(sorted(path for path, each in self.files.walk() if each == number)), b"")

    def _write(self) -> None:
        offset = self.random.choice(OFFSETS)

        def write(number: int, slot: int) -> None:
            self.history.version += 1
            self.execute(changes.Write(slot, offset, self.history.version.to_bytes(8, "big")))

        self._on_file(offset // ZONE_BYTES, write)

    def _truncate(self) -> None:
        size = self.random.choice((0, BLOCK_BYTES, ZONE_BYTES + 8))

        def truncate(number: int, slot: int) -> None:
            self._forget(number)
            self.execute(changes.Resize(slot, size))

        self._on_file(WHOLE, truncate)

    def _punch(self) -> None:
        offset = self.random.choice(OFFSETS)

        def punch(number: int, slot: int) -> None:
            self._forget(number)
            self.execute(changes.Allocate(slot, 3, offset, BLOCK_BYTES))

        self._on_file(offset // ZONE_BYTES, punch)

    def _forget(self, number: int) -> None:
        """What was promised of it before may go now."""
        self.history.removed[self.files.inodes[number].uid] = len(self.history.prints)

    def _remove(self) -> None:
        path = self._some(files=True, directories=True)
        if not path:
            return

        def remove() -> None:
            number = self.files.find(path)
            inode = self.files.inodes[number]
            if inode.entries:
                return
            if inode.is_file:
                self._forget(number)
            self.execute(changes.Remove(path, inode.is_directory))
            self._dirty_directories(path)
            self._release_slots()

        self._try(path, remove, lambda: self._lost(path), exists=True)

    def _lost(self, path: bytes) -> tuple[Place, ...]:
        """The name of a file goes that may have others."""
        if not self._exists(path):
            return ()
        number = self.files.find(path)
        inode = self.files.inodes[number]
        if inode.is_directory:
            return (Place(self.files.handle(path)),)
        return (Place(self._directory(path), number, LOST if inode.links > 1 else GONE),)

    def _release_slots(self) -> None:
        """A slot goes with the name that it was bound by: another name of the file is bound anew."""
        for slot in tuple(self._slots):
            if self.sender.live_slots.path(slot) is None:
                self.quietly(changes.Unbind(slot))
                del self._slots[slot]

    def _rename(self) -> None:
        self._move(self._some(files=True))

    def _rename_directory(self) -> None:
        self._move(self._some(directories=True))

    def _move(self, old: bytes) -> None:
        new = self._free()
        flags = self.random.choice((0, 0, 0, 2))
        if not old or new == old or new.startswith(old + b"/") or old.startswith(new + b"/"):
            return

        def rename() -> None:
            replaced = self.files.find(new) if self._exists(new) else 0
            if replaced and not flags and self.files.inodes[replaced].is_file:
                self._forget(replaced)
            self.execute(changes.Rename(old, new, flags))
            self._dirty_directories(old, new)
            self._release_slots()

        def places() -> Iterable[Place]:
            yield Place(self._directory(new))
            yield from self._whole(old, new)
            if not self.files.inodes[self.files.find(old)].is_directory:
                yield Place(self._directory(old), self.files.find(old), WHOLE)
            if not flags:
                yield from self._lost(new)
            if flags and self._exists(new):
                yield from self._whole(new, old)
                if not self.files.inodes[self.files.find(new)].is_directory:
                    yield Place(self._directory(new), self.files.find(new), WHOLE)

        self._try(old, rename, places, exists=True)

    def _whole(self, path: bytes, goes_to: bytes) -> tuple[Place, ...]:
        """What gets a name in another way than by creation."""
        number = self.files.find(path)
        if self.files.inodes[number].is_directory:
            return (Place(self.files.handle(path), 0, WHOLE),)
        return (Place(self._directory(goes_to), number, WHOLE),)

    def _link(self) -> None:
        existing, path = self._some(files=True), self._free()

        def link() -> None:
            self.execute(changes.MakeLink(path, existing))
            self._dirty_directories(path)

        def places() -> Iterable[Place]:
            number = self.files.find(existing)
            whole = Place(self._directory(path), number, WHOLE)
            return (whole, Place(self._directory(existing), number, WHOLE))

        self._try(path, link, places, exists=False)

    def _make_directory(self) -> None:
        path = self._free()

        def make() -> None:
            self.execute(changes.MakeDirectory(path, 0o755, 0, 0))
            self.sender.cover(Place(self.files.handle(path)))
            self._dirty_directories(path, path + b"/")

        self._try(path, make, exists=False)

    def _symlink(self) -> None:
        path = self._free()

        def make() -> None:
            self.execute(changes.MakeSymlink(path, self.random.choice(NAMES), 0, 0))
            self._dirty_directories(path, path + b"/")

        self._try(path, make, exists=False)

    def _attributes(self) -> None:
        path = self._some(files=True, directories=True)
        if path:
            mode = self.random.choice((0o600, 0o755, 0o640))
            gid = 7 if mode == 0o640 else None
            self._try(path, lambda: self.execute(changes.SetAttributes(path, mode, gid=gid)), exists=True, of_file=True)

    def _xattr(self) -> None:
        path = self._some(files=True, directories=True)
        name = self.random.choice((b"user.x", CAPABILITY))
        if path and self.random.random() < 0.7:
            value = b"%d" % self.random.randrange(100)
            self._try(path, lambda: self.execute(changes.SetXattr(path, name, value)), exists=True, of_file=True)
        elif path and name in self.files.xattrs(path):
            self._try(path, lambda: self.execute(changes.RemoveXattr(path, name)), exists=True, of_file=True)

    def _sync(self) -> None:
        if self.sender.is_broken:
            return
        path = self._some(files=True)
        number = self.files.find(path)
        self._sync_file(number, self._slot(number, path))

    def _sync_file(self, number: int, slot: int) -> None:
        at = len(self.history.prints)
        pages = {
            at: int.from_bytes(page, "big")
            for at, page in self.files.pages.get(number, {}).items()
            if not self.files.is_lost(number, at)
        }
        promise = Promise(at, self.files.inodes[number].uid, pages)
        left = {"here", "there"}

        def done(side: str) -> None:
            left.discard(side)
            if not left and not self.is_over and not self.sender.is_broken:
                self._acknowledged(at)
                self.history.promises.append(promise)

        change = changes.Sync(slot, False)
        self.process.sync_locally(change, lambda: done("here"))
        self.sender.synced(change, lambda: done("there"))

    def _sync_directory(self) -> None:
        if self.sender.is_broken:
            return
        path = self._some(directories=True)
        at = len(self.history.prints)
        self.sender.synced(changes.SyncDirectory(path), lambda: self._acknowledged(at))

    def record_times(self) -> None:
        """Late, as the file system does. What is marked of these files is enough: this is called before it goes."""
        dirty, self._dirty = self._dirty, set()
        for number in sorted(dirty):
            path = self._name_of(number)
            if (path or number == ROOT) and not self.is_over:
                self.quietly(changes.SetAttributes(path, mtime_ns=self.files.inodes[number].mtime_ns))
