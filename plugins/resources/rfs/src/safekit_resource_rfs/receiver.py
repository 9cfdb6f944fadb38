"""The secondary's side: signatures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.effects import Effect
from safekit_resource_rfs.generations import Durable
from safekit_resource_rfs.marks import Marks
from safekit_resource_rfs.messages import FromPrimary, Marked
from safekit_resource_rfs.sender import Limits


class Receiver:
    """Methods change it and queue effects; call `drain` after each, and perform each effect before taking the next: a
    change that fails withdraws those behind it."""

    def __init__(self, durable: Durable, marks: Marks, session: str, limits: Limits = Limits()) -> None:
        """`session`: fresh for each process and each time it becomes secondary."""

    @property
    def durable(self) -> Durable: ...

    def drain(self) -> Iterator[Effect]: ...

    def connected(self, now_s: float) -> None: ...

    def received(self, message: FromPrimary, now_s: float) -> None:
        """PeerError: the connection is to be closed, then `disconnected`."""

    def disconnected(self, now_s: float) -> None: ...

    def tick(self, now_s: float) -> None: ...

    # answers to effects
    def applied(self, seq: int, errno: int, text: str = "") -> None: ...

    def synced(self, seq: int, errno: int) -> None: ...

    def synced_all(self, number: int, errno: int) -> None: ...

    def stored(self, number: int) -> None: ...

    def store_failed(self, text: str) -> None: ...

    def marks_stored(self, number: int) -> None: ...

    def marks_resolved(self, number: int, directories: Sequence[Marked]) -> None: ...

    def listed(self, id: int, errno: int, entries: Sequence[Entry], last: bool) -> None: ...

    def checksummed(self, id: int, errno: int, digests: Sequence[bytes]) -> None: ...

    def xattrs_read(self, id: int, errno: int, names: Sequence[bytes]) -> None: ...
