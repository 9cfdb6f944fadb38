"""What this node's console keeps for itself: sessions, the audit journal, answers that may be asked for again. SQLite,
so that a restart signs nobody out."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safekit_console.accounts import User, digest

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS sessions (
  digest TEXT PRIMARY KEY, user TEXT NOT NULL, generation INTEGER NOT NULL, csrf TEXT NOT NULL,
  began REAL NOT NULL, seen REAL NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
  id INTEGER PRIMARY KEY, wall REAL NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL,
  action TEXT NOT NULL, target TEXT NOT NULL, outcome TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS replies (
  key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL, wall REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS used (nonce TEXT PRIMARY KEY, expires REAL NOT NULL);
"""
_ADDED: Final = "ALTER TABLE sessions ADD COLUMN certificate TEXT NOT NULL DEFAULT ''"
"""To what an earlier version has made."""
MAX_SESSIONS: Final = 20
"""Of one user; the oldest ends."""
AUDIT_ROWS: Final = 50_000
FAILED_ROWS: Final = 5_000
"""Of these, failed sign-ins."""
REPLIES_S: Final = 86400.0
MAX_REPLIES: Final = 10_000
SEEN_S: Final = 30.0
"""That a session is in use is written down no more often than this."""


@dataclass(frozen=True, slots=True)
class Session:
    digest: str
    user: str
    generation: int
    csrf: str
    began: float
    seen: float
    address: str
    agent: str
    certificate: str
    """The fingerprint of the one that it began with, and that each connection has to show; empty where none did."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    id: int
    wall: float
    who: str
    origin: str
    action: str
    target: str
    outcome: str


class Store:
    def __init__(self, path: Path, idle_s: float, session_s: float) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        self._db = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        with contextlib.suppress(sqlite3.OperationalError):  # it is there already
            self._db.execute(_ADDED)
        self._idle_s = idle_s
        self._session_s = session_s

    def close(self) -> None:
        self._db.close()

    def begin(self, user: User, address: str, agent: str, certificate: str = "") -> str:
        """A session; what is returned is for the cookie and nowhere else."""
        token, now = secrets.token_urlsafe(32), time.time()
        row = (digest(token), user.name, user.generation, secrets.token_urlsafe(24), now, now, address, agent[:200])
        self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, certificate))
        self._db.execute(
            "DELETE FROM sessions WHERE user = ? AND digest NOT IN "
            "(SELECT digest FROM sessions WHERE user = ? ORDER BY began DESC LIMIT ?)",
            (user.name, user.name, MAX_SESSIONS),
        )
        return token

    def session(self, token: str) -> Session | None:
        """None when it has ended. Using it keeps it from becoming idle."""
        now = time.time()
        row = self._db.execute("SELECT * FROM sessions WHERE digest = ?", (digest(token),)).fetchone()
        if row is None:
            return None
        session = Session(*row)
        if now - session.seen > self._idle_s or now - session.began > self._session_s:
            self.end(session.digest)
            return None
        if now - session.seen > SEEN_S:
            self._db.execute("UPDATE sessions SET seen = ? WHERE digest = ?", (now, session.digest))
        return session

    def touch(self, session_digest: str) -> None:
        """It is in use: a page of it is open."""
        self._db.execute("UPDATE sessions SET seen = ? WHERE digest = ?", (time.time(), session_digest))

    def end(self, session_digest: str, user: str = "") -> bool:
        """With a user: only if it is his."""
        done = self._db.execute(
            "DELETE FROM sessions WHERE digest = ? AND (? = '' OR user = ?)", (session_digest, user, user)
        )
        return done.rowcount > 0

    def end_all(self, user: str) -> None:
        self._db.execute("DELETE FROM sessions WHERE user = ?", (user,))

    def sessions(self, user: str) -> list[Session]:
        rows = self._db.execute("SELECT * FROM sessions WHERE user = ? ORDER BY began DESC", (user,))
        return [Session(*row) for row in rows]

    def note(self, who: str, origin: str, action: str, target: str, outcome: str) -> None:
        """A line of the audit journal."""
        row = (time.time(), who[:200], origin[:200], action[:200], target[:500], outcome[:500])
        done = self._db.execute(
            "INSERT INTO audit (wall, who, origin, action, target, outcome) VALUES (?, ?, ?, ?, ?, ?)", row
        )
        if (done.lastrowid or 0) % 100 == 0:
            self._forget()

    def _forget(self) -> None:
        """The oldest. Strangers, who can cause nothing but failed sign-ins, push out no more than their own."""
        failed = "action = 'sign in' AND outcome LIKE 'failed%'"
        for which, rows in ((failed, FAILED_ROWS), ("1", AUDIT_ROWS)):
            self._db.execute(
                f"DELETE FROM audit WHERE {which} AND id <= "
                f"(SELECT id FROM audit WHERE {which} ORDER BY id DESC LIMIT 1 OFFSET ?)",
                (rows,),
            )

    def audit(self, last: int, before: int = 0) -> list[AuditEntry]:
        """Newest first."""
        rows = self._db.execute(
            "SELECT * FROM audit WHERE ? = 0 OR id < ? ORDER BY id DESC LIMIT ?", (before, before, last)
        )
        return [AuditEntry(*row) for row in rows]

    def reply(self, key: str) -> tuple[str, int, str] | None:
        """What was answered to the request with this idempotency key: the request's digest, the status, the body."""
        found: Sequence[Any] | None = self._db.execute(
            "SELECT request, status, body FROM replies WHERE key = ? AND wall > ?", (key, time.time() - REPLIES_S)
        ).fetchone()
        return (str(found[0]), int(found[1]), str(found[2])) if found else None

    def keep_reply(self, key: str, request: str, status: int, body: str) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", (key, request, status, body, time.time())
        )
        self._db.execute(
            "DELETE FROM replies WHERE wall < ? OR key IN "
            "(SELECT key FROM replies ORDER BY wall DESC LIMIT -1 OFFSET ?)",
            (time.time() - REPLIES_S, MAX_REPLIES),
        )

    def use_once(self, nonce: str, expires: float) -> bool:
        """Whether it is used for the first time."""
        self._db.execute("DELETE FROM used WHERE expires < ?", (time.time(),))
        return self._db.execute("INSERT OR IGNORE INTO used VALUES (?, ?)", (nonce, expires)).rowcount > 0
