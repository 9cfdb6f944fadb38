"""What survives the witness: SQLite, WAL, synchronous=FULL. Every record carries a checksum; a store that is missing,
empty or damaged is an error and never an empty start."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from safekit_sdk import ConfigError, RefusedError
from safekit_witness.leases import Record
from safekit_witness.past import Past, unknown

APPLICATION_ID: Final = 0x534B5749
FORMAT: Final = 2
_COLUMNS: Final = "cluster, module, node, epoch, greatest, ttl_s, past_node, past_epoch, past_others, seal"
_LEASES: Final = """
CREATE TABLE leases (cluster TEXT NOT NULL, module TEXT NOT NULL, node TEXT NOT NULL, epoch INTEGER NOT NULL,
  greatest INTEGER NOT NULL, ttl_s REAL NOT NULL, past_node TEXT NOT NULL, past_epoch INTEGER NOT NULL,
  past_others INTEGER NOT NULL, seal INTEGER NOT NULL, PRIMARY KEY (cluster, module)) STRICT
"""
_SCHEMA: Final = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT};
CREATE TABLE clients (cluster TEXT PRIMARY KEY, public_key TEXT NOT NULL UNIQUE, seal INTEGER NOT NULL) STRICT;
{_LEASES};
"""
LOST: Final = (
    "look at the disk; if it is lost, remove the directory, wait until no lease of it can still count, and make a new "
    "witness: `safekit-witness init`, then `admit` each cluster again"
)
Row = tuple[str, str, Record]


class KeepError(RefusedError):
    """It could not be made durable."""


def _seal(*fields: object) -> int:
    return zlib.crc32("\0".join(map(repr, fields)).encode())


def _kept(row: Row) -> tuple[str, tuple[object, ...]]:
    """The statement that keeps it."""
    cluster, module, one = row
    past = one.past
    line = (cluster, module, one.node, one.epoch, one.greatest, float(one.ttl_s), past.node, past.epoch, past.others)
    return f"INSERT OR REPLACE INTO leases ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", (*line, _seal(*line))


def create(path: Path) -> None:
    """A new empty store, durable on return; ConfigError when there is one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise ConfigError(f"there is a store already: {path}", hint="leave it, or choose another --dir") from None
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {_SCHEMA}")
    finally:
        connection.close()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


class Store:
    """Opened by one process at a time. ConfigError when it is not there, in use, or damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.broken = ""
        """Why nothing can be kept any more until a new start; empty while all is well."""
        if not path.is_file():
            raise ConfigError(
                f"there is no store {path}", hint=f"`safekit-witness init` makes one; if it was lost: {LOST}"
            )
        self._connection = sqlite3.connect(path, timeout=0.5, isolation_level=None)
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from None
        except (ConfigError, KeepError):
            self._connection.close()
            raise

    def _open(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")
        execute("COMMIT")
        if execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise self._damaged("it is empty, or the file of another program")
        found = execute("PRAGMA user_version").fetchone()[0]
        if found not in (1, FORMAT):
            raise ConfigError(f"the store {self._path} has format {found}, not {FORMAT}", hint="run the right version")
        if (verdict := execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
            raise self._damaged(str(verdict)[:200])
        if execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
            raise self._damaged("it cannot be written ahead")
        execute("PRAGMA synchronous=FULL")
        if found == 1:
            self._renew_format()
        self.clients(), self.leases()

    def _renew_format(self) -> None:
        """Format 1 does not say to whom epochs were given: they count as given to others, for all who ask."""
        rows = self._connection.execute("SELECT cluster, module, node, epoch, greatest, ttl_s, seal FROM leases")
        records = []
        for row in rows.fetchall():
            self._check(row)
            cluster, module, node, epoch, greatest, ttl_s, _ = row
            records.append((cluster, module, Record(node, epoch, greatest, ttl_s, unknown(below=greatest))))
        statements: list[tuple[str, tuple[object, ...]]] = [("DROP TABLE leases", ()), (_LEASES, ())]
        self._write([*statements, *map(_kept, records), (f"PRAGMA user_version = {FORMAT}", ())])

    def _damaged(self, why: str) -> ConfigError:
        return ConfigError(f"the store {self._path} is damaged: {why}", hint=LOST)

    def _unusable(self, error: sqlite3.Error) -> ConfigError:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            return ConfigError(f"the store {self._path} is in use", hint="another safekit-witness runs on it")
        if isinstance(error, sqlite3.OperationalError):
            hint = "look at the disk: room, rights, errors"
            return ConfigError(f"the store {self._path} cannot be opened: {error}", hint=hint)
        return self._damaged(str(error))

    def close(self) -> None:
        self._connection.close()

    def clients(self) -> dict[str, str]:
        """The cluster of each public key."""
        rows = self._connection.execute("SELECT cluster, public_key, seal FROM clients").fetchall()
        for row in rows:
            self._check(row)
        return {key: cluster for cluster, key, _ in rows}

    def leases(self) -> list[Row]:
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM leases").fetchall()
        for row in rows:
            self._check(row)
        return [
            (c, m, Record(node, epoch, most, ttl_s, Past(*past))) for c, m, node, epoch, most, ttl_s, *past, _ in rows
        ]

    def _check(self, row: tuple[object, ...]) -> None:
        if _seal(*row[:-1]) != row[-1]:
            raise self._damaged(f"the record of {row[0]} has been changed")

    def keep(self, rows: Iterable[Row]) -> None:
        """Make these records durable, all or none; KeepError when that fails. It is not known whether they are on the
        disk then, so nothing may be answered that depends on it."""
        self._write(map(_kept, rows))

    def admit(self, cluster: str, public_key: str) -> None:
        seal = _seal(cluster, public_key)
        self._write([("INSERT INTO clients VALUES (?,?,?)", (cluster, public_key, seal))])

    def expel(self, cluster: str, *, forget: bool) -> None:
        statements = [("DELETE FROM clients WHERE cluster=?", (cluster,))]
        if forget:
            statements.append(("DELETE FROM leases WHERE cluster=?", (cluster,)))
        self._write(statements)

    def _write(self, statements: Iterable[tuple[str, tuple[object, ...]]]) -> None:
        if self.broken:
            raise KeepError(self.broken)
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                self._connection.execute(sql, values)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from None

    def _failed(self, error: sqlite3.Error) -> KeepError:
        """A full disk may get room. After any other error nobody knows what the kernel still has: the end."""
        name = str(getattr(error, "sqlite_errorname", "")) or type(error).__name__
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as second:
            name = f"{name}, {second}"
        if name == "SQLITE_FULL":
            return KeepError("the disk of the witness is full", hint=f"make room on the disk of {self._path}")
        self.broken = f"the witness cannot write its store ({name}) and has to be started anew"
        return KeepError(self.broken, hint=f"look at the disk of {self._path}")
