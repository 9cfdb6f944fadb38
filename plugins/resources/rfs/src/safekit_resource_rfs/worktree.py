"""Where two directories may differ still, as a tree of paths that live changes move along.

A live change reaches the secondary by itself, or is reported as missed. So what is to be compared follows the names: a
renamed directory takes its work with it, and what leaves a directory that is not compared yet is compared where it
goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from safekit_resource_rfs.compare import split
from safekit_resource_rfs.messages import Marked

NEVER: Final = 1 << 63
_EXCHANGE: Final = 2
Zones: TypeAlias = set[int] | None
"""Of a file; None: all of it, or all beneath a directory; empty: its attributes."""


class Job:
    """What is being done with one file."""

    def __init__(self, node: Node, name: bytes) -> None:
        self.node = node
        self.name = name
        self.is_over = False
        self.is_asked_again = False
        """Something else is known to differ since it began."""


class Listing:
    """A directory's comparison that goes on, and what was asked of it when it began."""

    def __init__(self, node: Node) -> None:
        self.entries = node.entries
        self.deep = node.deep
        self.scan = node.scan
        self.names = node.names
        self.touched: set[bytes] = set()
        """Names that live changes gave or took since."""
        self.is_over = False
        node.entries = node.deep = node.scan = False
        node.names = {}


class Node:
    """A directory."""

    __slots__ = (
        "changed",
        "children",
        "deep",
        "entries",
        "files",
        "is_gone",
        "listing",
        "name",
        "names",
        "parent",
        "purge",
        "scan",
        "since_here",
        "since_there",
    )

    def __init__(self, parent: Node | None, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.children: dict[bytes, Node] = {}
        self.entries = False
        """All its entries are to be compared."""
        self.deep = False
        """And everything beneath, not only what was born since it was marked."""
        self.scan = False
        """And the entries of everything beneath, without their data."""
        self.names: dict[bytes, Zones] = {}
        """To be compared, whether all entries are or not."""
        self.files: dict[bytes, Job] = {}
        self.listing: Listing | None = None
        self.since_here = NEVER
        self.since_there = NEVER
        self.changed = False
        """Its attributes are to be set when everything in it is done."""
        self.purge = False
        """It is only there, and is removed when it is empty."""
        self.is_gone = False

    @property
    def path(self) -> bytes:
        names: list[bytes] = []
        node: Node = self
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return b"/".join(reversed(names))

    @property
    def has_work(self) -> bool:
        return self.entries or bool(self.names)

    @property
    def is_idle(self) -> bool:
        return not (self.has_work or self.children or self.files or self.listing)

    def is_pending(self, name: bytes) -> bool:
        """Whether the entry may differ still."""
        return self.entries or self.listing is not None or name in self.names

    def add(self, name: bytes, zones: Zones) -> None:
        before = self.names.get(name, ())
        self.names[name] = None if zones is None or before is None else {*zones, *before}

    def child(self, name: bytes) -> Node:
        child = self.children.get(name)
        if child is None:
            child = self.children[name] = Node(self, name)
        return child

    def reset(self) -> None:
        """The comparison that goes on is begun again: its answers are of another path."""
        if self.listing is None:
            return
        self.listing.is_over = True
        self.entries = self.entries or self.listing.entries
        self.deep = self.deep or self.listing.deep
        self.scan = self.scan or self.listing.scan
        for name, zones in self.listing.names.items():
            self.add(name, zones)
        self.listing = None

    def all_nodes(self) -> Iterator[Node]:
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack += node.children.values()


class WorkTree:
    def __init__(self, cancel: Callable[[Job], None]) -> None:
        """`cancel` gives up what a job holds; what the file needs is noted here."""
        self.root = Node(None, b"")
        self._cancel = cancel
        self._stack: list[Node] = []

    @property
    def is_done(self) -> bool:
        return self.root.is_idle and not self.root.changed

    def node(self, path: bytes) -> Node:
        """Made where it is not there yet."""
        node = self.root
        for name in path.split(b"/") if path else ():
            node = node.child(name)
        return node

    def mark(self, marked: Marked, *, here: bool) -> None:
        node = self.node(marked.path)
        node.entries = node.entries or marked.entries or marked.deep
        node.deep = node.deep or marked.deep
        node.changed = True
        if here:
            node.since_here = min(node.since_here, marked.since_ns)
        else:
            node.since_there = min(node.since_there, marked.since_ns)
        for name, zones in marked.files:
            node.add(name, None if zones is None else set(zones))
        self.push(node)

    def add(self, path: bytes, zones: Zones = None) -> None:
        """The entry at the path, with all that it is."""
        if not path:
            self.root.changed = True
            self.push(self.root)
            return
        directory, name = split(path)
        node = self.node(directory)
        node.add(name, zones)
        self.push(node)

    def add_everything(self) -> None:
        self.root.entries = self.root.deep = True
        self.push(self.root)

    def scan(self) -> None:
        self.root.entries = self.root.scan = True
        self.push(self.root)

    def push(self, node: Node) -> None:
        self._stack.append(node)

    def pop(self) -> Node | None:
        """A directory that can be dealt with: nothing above it is pending. Directories without any work of their own
        are returned when all beneath them is done."""
        while self._stack:
            node = self._stack.pop()
            if node.listing is not None or self._is_blocked(node):
                continue
            if node.has_work or node.is_idle:
                return node
            self._stack += node.children.values()
        return None

    def detach(self, node: Node) -> None:
        """It is done with."""
        parent = node.parent
        if parent is not None and parent.children.get(node.name) is node:
            node.is_gone = True
            del parent.children[node.name]
            self.push(parent)

    def finish(self, node: Node) -> None:
        """The comparison of a directory."""
        if node.listing is not None:
            node.listing.is_over = True
        node.listing = None
        self.push(node)

    def finish_job(self, job: Job, *, again: bool = False) -> None:
        job.is_over = True
        if job.node.files.get(job.name) is job:
            del job.node.files[job.name]
        if again or job.is_asked_again:
            job.node.add(job.name, None)
        self.push(job.node)

    def _is_blocked(self, node: Node) -> bool:
        while node.parent is not None:
            parent = node.parent
            if node.is_gone or parent.is_pending(node.name):
                return True
            node = parent
        return False

    def _find(self, path: bytes) -> tuple[Node | None, bool]:
        """The directory of the path if there is work in it, and whether the path may differ still."""
        directory, last = split(path)
        node = self.root
        for name in directory.split(b"/") if directory else ():
            if node.is_pending(name):
                return self._existing(directory), True
            child = node.children.get(name)
            if child is None:
                return None, False
            node = child
        return node, node.is_pending(last)

    def _existing(self, path: bytes) -> Node | None:
        node: Node | None = self.root
        for name in path.split(b"/") if path else ():
            node = node.children.get(name) if node is not None else None
        return node

    def is_pending(self, path: bytes) -> bool:
        """Whether the entry may differ still."""
        node, pending = self._find(path)
        return pending or (node is not None and split(path)[1] in node.files)

    def job(self, path: bytes) -> Job | None:
        directory, name = split(path)
        node = self._existing(directory)
        return node.files.get(name) if node is not None else None

    def touched(self, path: bytes) -> None:
        """A live change gave or took the name."""
        directory, name = split(path)
        node = self._existing(directory)
        if node is not None and node.listing is not None:
            node.listing.touched.add(name)

    def linked(self, path: bytes, existing: bytes) -> None:
        self.touched(path)
        if self.is_pending(existing):
            self.add(path)

    def removed(self, path: bytes) -> None:
        self.touched(path)
        self._drop(self._take(path))

    def renamed(self, old: bytes, new: bytes, flags: int) -> None:
        was_pending, new_was_pending = self._find(old)[1], self._find(new)[1]
        self.touched(old)
        self.touched(new)
        moved, replaced = self._take(old), self._take(new)
        self._put(new, moved, whole=was_pending)
        if flags & _EXCHANGE:
            self._put(old, replaced, whole=new_was_pending)
        else:
            self._drop(replaced)

    def _take(self, path: bytes) -> _Taken:
        directory, name = split(path)
        node = self._existing(directory)
        if node is None:
            return _Taken()
        zones: Zones | bool = node.names.pop(name, False)
        child = node.children.pop(name, None)
        self.push(node)
        return _Taken(zones, node.files.pop(name, None), child)

    def _put(self, path: bytes, taken: _Taken, *, whole: bool) -> None:
        if taken.job is not None:
            self._stop(taken.job)
        if whole or taken.job is not None or taken.zones is None:
            self.add(path)
        elif isinstance(taken.zones, set):
            self.add(path, taken.zones)
        if taken.child is None:
            return
        directory, name = split(path)
        parent = self.node(directory)
        taken.child.parent, taken.child.name = parent, name
        parent.children[name] = taken.child
        for node in taken.child.all_nodes():
            node.reset()
            self._restart_files(node)
        self.push(taken.child)

    def _restart_files(self, node: Node) -> None:
        for job in tuple(node.files.values()):
            self._stop(job)
            node.add(job.name, None)
        node.files.clear()

    def _drop(self, taken: _Taken) -> None:
        if taken.job is not None:
            self._stop(taken.job)
        for node in taken.child.all_nodes() if taken.child is not None else ():
            node.is_gone = True
            node.reset()
            for job in node.files.values():
                self._stop(job)

    def _stop(self, job: Job) -> None:
        job.is_over = True
        self._cancel(job)


class _Taken:
    """What there was to do at a path."""

    def __init__(self, zones: Zones | bool = False, job: Job | None = None, child: Node | None = None) -> None:
        self.zones = zones
        """False: nothing."""
        self.job = job
        self.child = child
