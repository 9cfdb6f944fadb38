"""A stretch of a history, entry by entry in the order in which it was written; also of a copy, and without a daemon."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit.journal.history import Entry
from safekit_sdk import ConfigError

_COLUMNS: Final = "incarnation, mono, wall, kind, module, type, body, id"
_FIRST: Final = """
SELECT id FROM entries WHERE module = '' AND kind = 'state' AND type = 'NodeState' ORDER BY (wall > ?), abs(wall - ?)
LIMIT 1
"""
"""The last one before a time, or else the first one after it."""
_ALL: Final = f"""
SELECT {_COLUMNS} FROM entries WHERE id >= ? AND wall <= ? AND kind IN ('event', 'decision', 'beats', 'state', 'quiet')
ORDER BY id
"""
_PAUSES: Final = f"SELECT {_COLUMNS} FROM entries WHERE module = '' AND kind = 'pause' AND id >= ? ORDER BY id LIMIT ?"
MAX_PAUSES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Stretch:
    path: Path
    first_id: int
    """Of a state of the engine, with which it begins."""
    until: float
    """Unix time."""

    def entries(self) -> Iterator[Entry]:
        """ConfigError when the file cannot be read any more."""
        with _connected(self.path) as connection:
            for row in connection.execute(_ALL, (self.first_id, self.until)):
                yield Entry(*row)

    def pauses(self) -> list[Entry]:
        with _connected(self.path) as connection:
            return [Entry(*row) for row in connection.execute(_PAUSES, (self.first_id, MAX_PAUSES))]


def find_stretch(path: Path, since: float, until: float) -> Stretch:
    """From the last state that was recorded before `since`. ConfigError when there is none in the file."""
    try:
        path.stat()
    except OSError as error:
        hint = "as root; or name a copy of a node's history.db with --file"
        raise ConfigError(f"there is no history to read: {error.strerror}", where=str(path), hint=hint) from None
    with _connected(path) as connection:
        found = connection.execute(_FIRST, (since, since)).fetchone()
    if found is None:
        raise ConfigError(
            f"the history {path} has no state of the engine to begin with",
            hint="an earlier version of safekit wrote it; from the next start of the daemon on there is one",
        )
    return Stretch(path, found[0], until)


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise ConfigError(
            f"the history {path} cannot be read: {error}", hint="copy history.db-wal beside it, where there is one"
        ) from None
