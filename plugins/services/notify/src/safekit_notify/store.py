"""What has to survive a restart: how far each journal was read, what is to be told, what was told. Each thread has
one of its own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from safekit_notify.incidents import Event
from safekit_notify.message import Message

MAX_EVENTS: Final = 5000
MAX_MESSAGES: Final = 500
KEPT_TOLD: Final = 2000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS place (node TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS event (
  key TEXT PRIMARY KEY, node TEXT, number INTEGER, module TEXT, wall REAL, heard REAL, body TEXT
);
CREATE TABLE IF NOT EXISTS message (
  id INTEGER PRIMARY KEY, destination TEXT, keys TEXT, message TEXT, tries INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL, error TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS told (id INTEGER PRIMARY KEY, key TEXT UNIQUE);
"""


@dataclass(frozen=True, slots=True)
class Queued:
    id: int
    destination: str
    keys: tuple[str, ...]
    message: Message
    tries: int
    due_s: float
    error: str


class Store:
    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def place(self, node: str) -> int | None:
        """The last number of the node's journal that was read; None for a node that is new."""
        row = self._db.execute("SELECT number FROM place WHERE node = ?", (node,)).fetchone()
        return int(row[0]) if row else None

    def take(self, node: str, number: int, events: Iterable[Event]) -> None:
        """New events, and how far the journal was read with them. What is over the bound is not told."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (node, number))
            room = MAX_EVENTS - int(self._db.execute("SELECT count(*) FROM event").fetchone()[0])
            known = {*self.told(), *self.claimed()}
            self._db.executemany(
                "INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?)",
                [_row(event) for event in events if event.key not in known][: max(room, 0)],
            )

    def events(self) -> list[Event]:
        """Those of which nothing is decided yet."""
        rows = self._db.execute("SELECT key, node, number, module, wall, heard, body FROM event ORDER BY heard, number")
        return [
            Event(key, node, number, module, wall_s, heard_s, json.loads(body))
            for key, node, number, module, wall_s, heard_s, body in rows.fetchall()
        ]

    def forget(self, keys: Iterable[str]) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(keys)

    def _forget(self, keys: Iterable[str]) -> None:
        self._db.executemany("DELETE FROM event WHERE key = ?", [(key,) for key in keys])

    def queue(self, keys: tuple[str, ...], messages: Iterable[tuple[str, Message]], due_s: float) -> None:
        """By destination; the events become messages at once or not at all."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(keys)
            self._db.executemany(
                "INSERT INTO message (destination, keys, message, due) VALUES (?, ?, ?, ?)",
                [(name, json.dumps(keys), json.dumps(message.plain()), due_s) for name, message in messages],
            )
            self._db.execute(
                "DELETE FROM message WHERE id NOT IN (SELECT id FROM message ORDER BY id DESC LIMIT ?)", (MAX_MESSAGES,)
            )

    def queued(self) -> list[Queued]:
        rows = self._db.execute("SELECT id, destination, keys, message, tries, due, error FROM message ORDER BY id")
        return [
            Queued(number, name, tuple(json.loads(keys)), Message(**json.loads(text)), tries, due_s, error)
            for number, name, keys, text, tries, due_s, error in rows.fetchall()
        ]

    def sent(self, queued: Queued) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute("DELETE FROM message WHERE id = ?", (queued.id,))
            self._tell(queued.keys)

    def tell(self, keys: Iterable[str]) -> None:
        """They were told, here or by another node."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._forget(keys)
            self._tell(keys)

    def _tell(self, keys: Iterable[str]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO told (key) VALUES (?)", [(key,) for key in keys])
        self._db.execute(
            "DELETE FROM told WHERE id NOT IN (SELECT id FROM told ORDER BY id DESC LIMIT ?)", (KEPT_TOLD,)
        )

    def not_sent(self, queued: Queued, error: str, due_s: float | None) -> None:
        """To be tried again then; given up when it is None."""
        if due_s is None:
            self._db.execute("DELETE FROM message WHERE id = ?", (queued.id,))
        else:
            asked = "UPDATE message SET tries = tries + 1, error = ?, due = ? WHERE id = ?"
            self._db.execute(asked, (error[:1000], due_s, queued.id))

    def told(self) -> list[str]:
        """The latest first."""
        return [row[0] for row in self._db.execute("SELECT key FROM told ORDER BY id DESC")]

    def claimed(self) -> set[str]:
        """What this node has begun to tell."""
        return {key for row in self._db.execute("SELECT keys FROM message") for key in json.loads(row[0])}


def _row(event: Event) -> tuple[str, str, int, str, float, float, str]:
    return event.key, event.node, event.number, event.module, event.wall_s, event.heard_s, json.dumps(event.body)
