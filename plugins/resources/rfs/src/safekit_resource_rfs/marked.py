"""Marked directories as pages that a frame holds, and how much they ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from safekit_resource_rfs.marks import MAX_PLACES
from safekit_resource_rfs.messages import Marked
from safekit_resource_rfs.wire import MAX_MARKED

PAGE_BYTES: Final = 256 << 10
MAX_MARKED_THERE: Final = 4 * MAX_PLACES
"""Components of paths, files and zones that a primary takes from its secondary; more: everything is compared."""
MAX_MARKED_BYTES: Final = 64 << 20
"""Of paths and names."""
_EACH_BYTES: Final = 32
"""Lengths, flags and time of a directory, or of a file."""
_ZONE_BYTES: Final = 4


def pages_of(directories: Iterable[Marked]) -> Iterator[tuple[Marked, ...]]:
    page: list[Marked] = []
    size_bytes = 0
    for marked in directories:
        for piece in _pieces(marked):
            if page and (size_bytes + _size_bytes(piece) > PAGE_BYTES or len(page) == MAX_MARKED):
                yield tuple(page)
                page, size_bytes = [], 0
            page.append(piece)
            size_bytes += _size_bytes(piece)
    if page:
        yield tuple(page)


def _pieces(marked: Marked) -> Iterator[Marked]:
    """The same directory more than once, with some of its files each time."""
    fits = _size_bytes(marked) <= PAGE_BYTES and len(marked.files) <= MAX_MARKED
    if fits or len(marked.files) < 2:
        yield marked
        return
    half = len(marked.files) // 2
    yield from _pieces(replace(marked, files=marked.files[:half]))
    yield from _pieces(replace(marked, files=marked.files[half:], entries=False, deep=False))


def _size_bytes(marked: Marked) -> int:
    files = sum(_EACH_BYTES + len(name) + _ZONE_BYTES * len(zones or ()) for name, zones in marked.files)
    return _EACH_BYTES + len(marked.path) + files


class Allowance:
    """What a primary takes from its secondary, of one connection."""

    def __init__(self) -> None:
        self._count = 0
        self._bytes = 0

    def takes(self, directories: Iterable[Marked]) -> bool:
        """Each component of a path costs as much as a directory: it becomes one in the tree that is compared."""
        for marked in directories:
            self._count += 1 + marked.path.count(b"/") + sum(1 + len(zones or ()) for _, zones in marked.files)
            self._bytes += len(marked.path) + sum(len(name) for name, _ in marked.files)
        return self._count <= MAX_MARKED_THERE and self._bytes <= MAX_MARKED_BYTES
