"""What applications were promised, and what a node that takes over must have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .files_model import Files


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


@dataclass
class Promise:
    """An fsync that was acknowledged."""

    at: int
    file: int
    pages: dict[int, int]
    """Version of each page."""


@dataclass
class History:
    """Of the data, over all primaries: what was executed, in order, and what applications were promised."""

    mode: str
    prints: list[Any] = field(default_factory=list)
    """The tree after each change."""
    acknowledged: int = 0
    """So many changes have to be there, whichever node takes over."""
    promises: list[Promise] = field(default_factory=list)
    removed: dict[int, int] = field(default_factory=dict)
    """When a file lost a name, or its end, by its id."""
    others: list[list[Any]] = field(default_factory=list)
    """Of nodes that were primary before one that acknowledged nothing yet."""
    version: int = 0
    file_ids: int = 0

    def check_exact(self, files: Files, who: str) -> int:
        """A node that lost no memory has a prefix with everything acknowledged; its length."""
        found = files.fingerprint()
        for prints in (self.prints, *self.others):
            for length in range(len(prints), self.acknowledged - 1, -1):
                if length and prints[length - 1] == found:
                    self._go_on_with(prints)
                    return length
        least = self.prints[self.acknowledged - 1]
        differ = f"{sorted(set(least) - set(found))[:3]} is {sorted(set(found) - set(least))[:3]}"
        raise BrokenPromiseError(
            f"{who} lacks what was acknowledged: {self.acknowledged} of {len(self.prints)} changes: {differ}"
        )

    def _go_on_with(self, prints: list[Any]) -> None:
        if prints is not self.prints:
            self.others = [*self.others, self.prints]
            self.prints = list(prints)

    def check_synced(self, files: Files, who: str) -> None:
        by_id = {files.inodes[number].uid: number for _, number in files.walk() if files.inodes[number].is_file}
        for promise in self.promises:
            if self.removed.get(promise.file, -1) >= promise.at:
                continue
            if promise.file not in by_id:
                raise BrokenPromiseError(f"{who} lacks file {promise.file}, which was synced")
            pages = files.pages.get(by_id[promise.file], {})
            for offset, version in promise.pages.items():
                if int.from_bytes(pages.get(offset, b""), "big") < version:
                    raise BrokenPromiseError(
                        f"{who} lacks version {version} of file {promise.file} at {offset}, which was synced"
                    )

    def check_stable(self, files: Files, who: str) -> None:
        """What was synced is there even if the power goes now."""
        for promise in self.promises:
            if self.removed.get(promise.file, -1) < promise.at and not files.is_stable(promise.file, promise.pages):
                raise BrokenPromiseError(f"{who} can lose file {promise.file}, which was synced")

    def restart(self, files: Files, length: int | None) -> None:
        """What a new primary has, is what counts from now on. `length`: of the prefix, where it is one. Until it
        acknowledges something, the one before has as good a right."""
        self.others = [*self.others, list(self.prints)]
        if length is None:
            self.prints.append(files.fingerprint())
        else:
            del self.prints[length:]
        self.acknowledged = min(self.acknowledged, len(self.prints))

    def begin_alone(self) -> None:
        self.others = []
        self.acknowledged = len(self.prints)
