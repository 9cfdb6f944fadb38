"""What the state machines ask the data path to do. Each effect with a `number` or an `id` is answered by the method
that its docstring names; effects are performed in their order, answers may come in any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from safekit_resource_rfs.changes import Change, Sync, SyncDirectory
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Mark
from safekit_resource_rfs.messages import Message


@dataclass(frozen=True, slots=True)
class Send:
    message: Message
    is_awaited: bool = True
    """Else it may stay a little, to go with what follows."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close the connection, then call `disconnected`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Release:
    """The applications behind these tokens may be answered now, in this order."""

    tokens: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    """Whoever was told to wait by `touch` asks again."""


@dataclass(frozen=True, slots=True)
class Store:
    """Make it durable, then `stored(number)`. One at a time is asked for. A disk that refuses: `store_failed(text)`."""

    number: int
    durable: Durable


@dataclass(frozen=True, slots=True)
class AppendMarks:
    """Append them to the log durably, then `marks_stored(number)`. One AppendMarks or ReplaceMarks at a time."""

    number: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class ReplaceMarks:
    """The log holds these and nothing else, durably; then `marks_stored(number)`."""

    number: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class SyncAll:
    """syncfs of the replicated directory, in the pool; then `synced_all(number, errno)`."""

    number: int


@dataclass(frozen=True, slots=True)
class Apply:
    """At once, before the next effect; then `applied(seq, errno, text)`. Not for syncs."""

    seq: int
    change: Change
    aside: bool


@dataclass(frozen=True, slots=True)
class StartSync:
    """Of what is applied now, in the pool; then `synced(number, errno)`."""

    number: int
    change: Sync | SyncDirectory


@dataclass(frozen=True, slots=True)
class ForgetSlots:
    """No file is bound any more. The first change after it may bind them anew."""


@dataclass(frozen=True, slots=True)
class ResolveMarks:
    """compare.resolve of the marks, in the pool; then `marks_resolved(number, directories)`."""

    number: int
    everything: bool


@dataclass(frozen=True, slots=True)
class NamesHere:
    """Local.entry_names, in the pool; then `names_read(id, errno, names)`."""

    id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class EntriesHere:
    """At once, on the thread that executes: Local.entry of each name in the directory, and of the directory itself
    under an empty name; then `entries_read(id, errno, entries)`, without those that do not exist. `errno` is for the
    directory."""

    id: int
    path: bytes
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class HandleHere:
    """At once: Local.handle of the directory; then `handle_read(id, errno, handle)`."""

    id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class ListHere:
    """A secondary's: compare.Pages.list, at once; then `listed(id, errno, entries, last)`."""

    id: int
    path: bytes
    after: bytes
    names: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ChecksumHere:
    """Local.checksums with holes, in the pool; then `checksummed(id, errno, digests)`."""

    id: int
    path: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class ReadHere:
    """Local.read; then `data_read(id, errno, extents)`: what is data or reserved in the range, in order; the rest is
    hole or behind the end. `at_once`: before anything else, on the thread that executes; else in the pool."""

    id: int
    path: bytes
    offset: int
    length: int
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class XattrsHere:
    """At once; then `xattrs_read(id, errno, values)`, a mapping of names to values."""

    id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """For the log and the engine: what happened, in a word that C's code branches on, and in a sentence."""

    event: str
    text: str


Effect: TypeAlias = (
    Send
    | Disconnect
    | Release
    | Wake
    | Store
    | AppendMarks
    | ReplaceMarks
    | SyncAll
    | Apply
    | StartSync
    | ForgetSlots
    | ResolveMarks
    | NamesHere
    | EntriesHere
    | HandleHere
    | ListHere
    | ChecksumHere
    | ReadHere
    | XattrsHere
    | Report
)
