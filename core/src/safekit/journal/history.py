"""The history: every engine input with its time, every decision with its rule and facts; bounded in age and rows.

One thread writes in batches, behind a bounded queue: a slow or full disk costs history (counted, and an
alarm), never a heartbeat.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entries (
  id INTEGER PRIMARY KEY,
  incarnation INTEGER NOT NULL,
  mono REAL NOT NULL,
  wall REAL NOT NULL,
  kind TEXT NOT NULL,
  module TEXT NOT NULL,
  type TEXT NOT NULL,
  body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_module ON entries (module, kind, id);
"""
_INSERT: Final = "INSERT INTO entries (incarnation, mono, wall, kind, module, type, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
QUEUE_ENTRIES: Final = 20_000
BATCH_ENTRIES: Final = 500
FLUSH_S: Final = 0.2
ALARM_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Entry:
    incarnation: int
    mono: float
    """Seconds of the node's monotonic clock; comparable within one boot."""
    wall: float
    """Seconds since 1970 by the node's clock, for people."""
    kind: str
    """event, decision, log; for a replay state (of the engine), beats (heartbeats that changed nothing), pause (of this
    node), quiet (it ran and heard nothing)."""
    module: str
    """Empty for the node."""
    type: str
    body: str
    """JSON."""
    id: int = 0


MakeEntry = Callable[[], Entry]


@dataclass(frozen=True, slots=True)
class Query:
    module: str | None = None
    kinds: tuple[str, ...] = ()
    after_id: int = 0
    since: float = 0.0
    last: int = 100


_COLUMNS: Final = "incarnation, mono, wall, kind, module, type, body, id"


def query_history(path: Path, query: Query) -> list[Entry]:
    """Newest last; of a node's own history, or of a copy."""
    wanted, values = ["id > ?", "wall >= ?"], [query.after_id, query.since]
    parameters: list[object] = list(values)
    if query.module is not None:
        wanted.append("module = ?")
        parameters.append(query.module)
    if query.kinds:
        wanted.append(f"kind IN ({', '.join('?' * len(query.kinds))})")
        parameters.extend(query.kinds)
    sql = f"SELECT {_COLUMNS} FROM entries WHERE {' AND '.join(wanted)} ORDER BY id DESC LIMIT ?"
    with contextlib.closing(_read_only(path)) as connection:
        rows = connection.execute(sql, (*parameters, query.last)).fetchall()
    return [Entry(*row) for row in reversed(rows)]


def walk_back(path: Path) -> Iterator[Entry]:
    """Every entry, newest first; sqlite3.Error."""
    with contextlib.closing(_read_only(path)) as connection:
        for row in connection.execute(f"SELECT {_COLUMNS} FROM entries ORDER BY id DESC"):
            yield Entry(*row)


def write_copy(path: Path, entries: Iterable[Entry]) -> None:
    """A new file that is read as a node's own history is."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_SCHEMA)
        connection.executemany(
            f"INSERT INTO entries ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(astuple, entries)
        )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)


class History:
    def __init__(self, path: Path, *, keep_rows: int = 500_000, keep_s: float = 90 * 86400.0) -> None:
        self._path = path
        self._keep_rows = keep_rows
        self._keep_s = keep_s
        self._queue: queue.Queue[Entry | MakeEntry | threading.Event] = queue.Queue(QUEUE_ENTRIES)
        self._stop = threading.Event()
        self._written = 0
        self.dropped = 0
        """Entries lost because the disk was too slow or full."""
        self._lost_s = 0.0
        self.trouble = ""
        """Why the last write failed; empty when it did not."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._thread = threading.Thread(target=self._write_all, name="history", daemon=True)
        self._thread.start()

    def append(self, entry: Entry | MakeEntry) -> None:
        """Never waits. What takes long to put into words is made by the thread that writes."""
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            self._lost(1)

    def _lost(self, entries: int) -> None:
        if entries:
            self.dropped += entries
            self._lost_s = time.monotonic()

    @property
    def dropped_lately(self) -> bool:
        """Whether entries were lost within ALARM_S."""
        return self.dropped > 0 and time.monotonic() - self._lost_s < ALARM_S

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything appended so far is written or dropped."""
        done = threading.Event()
        try:
            self._queue.put(done, timeout=timeout_s)
        except queue.Full:
            return False
        return done.wait(timeout_s)

    def close(self) -> None:
        self.flush()
        self._stop.set()
        self._thread.join(timeout=5)

    def query(self, query: Query) -> list[Entry]:
        """Newest last. Blocking; opens its own connection, so any thread may ask."""
        return query_history(self._path, query)

    def _write_all(self) -> None:
        connection: sqlite3.Connection | None = None
        while not self._stop.is_set():
            batch, waiters = self._batch()
            try:
                if connection is None:
                    connection = self._open()
                self._write(connection, batch)
                self.trouble = "" if batch else self.trouble
            except sqlite3.Error as error:
                self._lost(len(batch))
                self.trouble = f"the history cannot be written: {error}"
                connection = self._forget(connection)
                if type(error) is sqlite3.DatabaseError:  # its subclasses tell of the disk, or of us
                    self._set_aside()
            for waiter in waiters:
                waiter.set()
        self._forget(connection)

    def _set_aside(self) -> None:
        """A damaged file is kept under another name, and begun anew: no history is a reason not to run."""
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            with contextlib.suppress(OSError):
                part.rename(part.with_name(f"damaged-{part.name}"))

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=5)
        self._path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_SCHEMA)
        return connection

    @staticmethod
    def _forget(connection: sqlite3.Connection | None) -> None:
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _batch(self) -> tuple[list[Entry], list[threading.Event]]:
        entries: list[Entry] = []
        waiters: list[threading.Event] = []
        with contextlib.suppress(queue.Empty):
            item = self._queue.get(timeout=FLUSH_S)
            while True:
                if isinstance(item, threading.Event):
                    waiters.append(item)
                else:
                    entries.append(item if isinstance(item, Entry) else item())
                if len(entries) >= BATCH_ENTRIES:
                    break
                item = self._queue.get_nowait()
        return entries, waiters

    def _write(self, connection: sqlite3.Connection, batch: Sequence[Entry]) -> None:
        if not batch:
            return
        with connection:
            connection.executemany(
                _INSERT, [(e.incarnation, e.mono, e.wall, e.kind, e.module, e.type, e.body) for e in batch]
            )
        self._written += len(batch)
        if self._written >= 10_000:
            self._written = 0
            self._trim(connection, batch[-1].wall)

    def tidy(self) -> None:
        """Drop what is older than is kept, and give the space back. Blocking; for a thread of its own."""
        with contextlib.closing(self._open()) as connection:
            self._trim(connection, time.time())
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _trim(self, connection: sqlite3.Connection, now_wall: float) -> None:
        with connection:
            connection.execute("DELETE FROM entries WHERE wall < ?", (now_wall - self._keep_s,))
            connection.execute("DELETE FROM entries WHERE id <= (SELECT max(id) FROM entries) - ?", (self._keep_rows,))
