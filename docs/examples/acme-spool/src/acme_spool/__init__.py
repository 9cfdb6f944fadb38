"""The checker `spool`: up while a spool directory is emptied."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Final

from pydantic import Field

from safekit_sdk import Checker, CheckerConfig, Duration, Verdict

MOST_ENTRIES: Final = 10_000
"""A look at a directory ends after so many."""


class SpoolConfig(CheckerConfig):
    path: Path
    """The directory, on a local disk."""
    at_most: Annotated[int, Field(ge=0)] = 0
    """So many files may lie there for longer."""
    older_than: Duration = Duration(60)
    """Longer than this, by this node's clock."""


class SpoolChecker(Checker[SpoolConfig], api=1):
    """Up while at most `at_most` files in a directory are older than `older_than`."""

    facts: ClassVar[Mapping[str, str]] = {
        "waiting": "files that are older than `older_than`",
        "oldest_s": "the age of the oldest of them, in seconds",
    }

    @classmethod
    def ident(cls, config: SpoolConfig) -> str:
        return config.name or config.path.name or "spool"

    async def check(self) -> Verdict:
        config = self.config
        try:
            ages, is_all = await asyncio.to_thread(_ages, config.path)
        except FileNotFoundError:
            return Verdict.down(f"{config.path} does not exist")
        except OSError as error:
            return Verdict.unknown(f"{config.path} cannot be read: {error.strerror}")
        late = [age for age in ages if age > config.older_than.seconds]
        facts = {"waiting": str(len(late)), "oldest_s": f"{max(late, default=0.0):.0f}"}
        told = f"{len(late)} files in {config.path} are older than {config.older_than}"
        if len(late) > config.at_most:
            return Verdict.down(f"{told}; {config.at_most} may be", **facts)
        return Verdict.up(told, **facts) if is_all else Verdict.unknown(f"{config.path} has too many entries")


def _ages(directory: Path) -> tuple[list[float], bool]:
    """The age of each file in seconds, and whether these are all. OSError when the directory cannot be read."""
    now_s = time.time()
    with os.scandir(directory) as entries:
        looked = list(itertools.islice(entries, MOST_ENTRIES))
        is_all = next(entries, None) is None
    return [now_s - changed_s for changed_s in _files(looked)], is_all


def _files(entries: list[os.DirEntry[str]]) -> Iterator[float]:
    """When each was last changed; one that is taken meanwhile does not lie there."""
    for entry in entries:
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode) and not entry.name.startswith("."):
            yield found.st_mtime
