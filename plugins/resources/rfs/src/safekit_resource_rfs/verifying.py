"""Compares both sides while the application goes on, file by file, each at one position of the stream."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from safekit_resource_rfs import compare
from safekit_resource_rfs.changes import Entry
from safekit_resource_rfs.compare import Local, Pages
from safekit_resource_rfs.connection import Link
from safekit_resource_rfs.inquiring import ANSWER_S, Inquirer, Respondent
from safekit_resource_rfs.messages import BLOCK_BYTES, MAX_BLOCKS, Checksum, Checksummed, List, Listed

_LOG: Final = logging.getLogger(__name__)
MAX_DIFFERENCES: Final = 1000
LOOKS: Final = 5
"""A difference is looked at so often before it is one: times of modification travel a little later."""
PAUSE_S: Final = 0.15
STRETCH_BYTES: Final = BLOCK_BYTES * MAX_BLOCKS


@dataclass(frozen=True, slots=True)
class Difference:
    path: bytes
    what: str


@dataclass(slots=True)
class Course:
    """How far a comparison is."""

    bytes_done: int = 0
    bytes_total: int = 0
    """Known so far."""
    files_done: int = 0
    files_total: int = 0


@dataclass(slots=True)
class Verification:
    """`link` gives the connection, None when there is none; `settle` has due times of modification sent."""

    link: Callable[[], Link | None]
    inquirer: Inquirer
    here: Local
    settle: Callable[[], None]
    bytes_per_s: float = 0.0
    course: Course = field(default_factory=Course)
    differences: list[Difference] = field(default_factory=list)
    failure: str = ""

    async def run(self) -> None:
        """What it found is in `differences`; `failure` says why it could not end."""
        try:
            await self._compare_all()
        except (ConnectionError, TimeoutError) as error:
            self.failure = f"broken off: {str(error) or 'no answer'}"
            _LOG.warning("the comparison was %s", self.failure)

    async def _compare_all(self) -> None:
        left = [b""]
        while left and len(self.differences) < MAX_DIFFERENCES:
            path = left.pop()
            pages, after, last = Pages(self.here), b"", False
            while not last:
                here, there = await self._page(pages, path, after)
                if here is None or there is None:
                    break  # its directory was compared before, or is gone since
                last, after = await self._compare_page(path, here, there, left)

    def _ask(self, question: List | Checksum) -> asyncio.Future[Any]:
        """It is asked when this returns; what is read here before the next await is of the same position."""
        link = self.link()
        if link is None:
            raise ConnectionError("the other node is not connected")
        return self.inquirer.ask(link, question)

    async def _page(self, pages: Pages, path: bytes, after: bytes) -> tuple[Listed | None, Listed | None]:
        """The same part of a directory on both sides; None where it is not there."""
        self.settle()
        answer = self._ask(List(0, path, after))
        here = _listed(pages, path, after)
        async with asyncio.timeout(ANSWER_S):
            there: Listed = await answer
        return here, there if not there.errno else None

    async def _compare_page(self, path: bytes, here: Listed, there: Listed, left: list[bytes]) -> tuple[bool, bytes]:
        """Whether the directory has no more, and up to which name it was compared."""
        ends = [listed.entries[-1].name for listed in (here, there) if not listed.last and len(listed.entries) > 1]
        end = min(ends) if ends else b""
        ours = {entry.name: entry for entry in here.entries if entry.name and (not end or entry.name <= end)}
        theirs = {entry.name: entry for entry in there.entries if entry.name and (not end or entry.name <= end)}
        for name in sorted(ours.keys() | theirs.keys()):
            await self._compare_name(path, name, ours.get(name), theirs.get(name), left)
        return not ends, end

    async def _compare_name(
        self, path: bytes, name: bytes, ours: Entry | None, theirs: Entry | None, left: list[bytes]
    ) -> None:
        self.course.files_total += 1
        what = difference(ours, theirs)
        looks = 1
        while what and looks < LOOKS:
            await asyncio.sleep(PAUSE_S)
            looks += 1
            ours, theirs = await self._look(path, name)
            what = difference(ours, theirs)
        whole = compare.join(path, name)
        if what:
            self._note(whole, what)
        elif ours and stat.S_ISDIR(ours.mode):
            left.append(whole)
        elif ours and stat.S_ISREG(ours.mode):
            await self._compare_data(whole, ours.size)
        self.course.files_done += 1

    async def _look(self, path: bytes, name: bytes) -> tuple[Entry | None, Entry | None]:
        self.settle()
        answer = self._ask(List(0, path, names=(name,)))
        try:
            ours: Entry | None = self.here.entry(compare.join(path, name))
        except OSError:
            ours = None
        async with asyncio.timeout(ANSWER_S):
            there: Listed = await answer
        return ours, next((entry for entry in there.entries if entry.name == name), None)

    async def _compare_data(self, path: bytes, size: int) -> None:
        self.course.bytes_total += size
        for offset in range(0, size, STRETCH_BYTES):
            question = Checksum(0, path, offset, min(STRETCH_BYTES, size - offset))
            answer = self._ask(question)
            ours = Respondent(self.here).answer(question)
            async with asyncio.timeout(ANSWER_S):
                theirs: Checksummed = await answer
            if replace(ours, id=theirs.id) != theirs:
                self._note(path, f"the data differ between {offset} and {offset + question.length}")
                return
            self.course.bytes_done += question.length
            if self.bytes_per_s:
                await asyncio.sleep(question.length / self.bytes_per_s)

    def _note(self, path: bytes, what: str) -> None:
        if len(self.differences) < MAX_DIFFERENCES:
            self.differences.append(Difference(path, what))


def _listed(pages: Pages, path: bytes, after: bytes) -> Listed | None:
    try:
        entries, last = pages.list(path, after, ())
    except OSError:
        return None
    return Listed(0, 0, entries, last)


def difference(ours: Entry | None, theirs: Entry | None) -> str:
    """In words; empty when there is none."""
    if ours is None or theirs is None:
        return "" if ours is theirs else "only on the primary" if ours else "only on the secondary"
    if stat.S_IFMT(ours.mode) != stat.S_IFMT(theirs.mode):
        return "another kind of file"
    if compare.UNREADABLE in (ours.xattrs, theirs.xattrs):
        return "extended attributes that cannot be read"
    names = ["mode", "uid", "gid", "mtime_ns", "device", "target", "xattrs"]
    if not stat.S_ISDIR(ours.mode):
        names += ["size", "links"]
    different = [name for name in names if getattr(ours, name) != getattr(theirs, name)]
    return f"different {', '.join(different)}" if different else ""
