"""The durable part of the engine's state: epochs, roles, what the operator wants running. One small row,
on the disk platter before anybody acts on it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from safekit_sdk import ConfigError

_SCHEMA = "CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"


class FactStore:
    """Blocking; used from one thread at a time. `save` returns after fsync (0.7 ms on a quiet disk)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connection = self._open(path)
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"the node's state {path} cannot be opened: {error}",
                hint="free space on its disk; if the file is damaged, move it away: the node then knows no roles",
            ) from None

    @staticmethod
    def _open(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=5)
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA wal_autocheckpoint=64")
        connection.execute(_SCHEMA)
        return connection

    def load(self, key: str) -> bytes | None:
        row = self._connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def save(self, key: str, value: bytes) -> None:
        """OSError when it is not on disk: full, failing, read-only. Then the earlier value still holds."""
        try:
            self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise OSError(f"the node's state cannot be written: {error}") from error

    def close(self) -> None:
        self._connection.close()
