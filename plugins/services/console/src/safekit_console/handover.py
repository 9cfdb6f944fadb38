"""Tickets with which an open page goes over to another node's console when its own is gone: signed with a key that all
consoles share, for one node, good once and for a short time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, Final

from safekit_console.accounts import Accounts, User
from safekit_console.records import Records
from safekit_console.store import Store

TICKET_S: Final = 180.0
RENEWED_S: Final = 45.0
"""A page gets new ones so often."""
KEY: Final = "key/handover"
MAX_TICKET: Final = 2000


class HandOver:
    def __init__(self, records: Records, accounts: Accounts, store: Store) -> None:
        self._records = records
        self._accounts = accounts
        self._store = store

    async def prepare(self) -> None:
        await self._records.put_new(KEY, secrets.token_hex(32))

    def ticket(self, user: User, node: str, certificate: str = "") -> str:
        """With a certificate's fingerprint it is for a connection that shows that certificate."""
        body = {"user": user.name, "generation": user.generation, "node": node, "nonce": secrets.token_hex(16)}
        body |= {"certificate": certificate} if certificate else {}
        data = json.dumps(body | {"expires": time.time() + TICKET_S}, sort_keys=True).encode()
        return f"{_text(data)}.{_text(self._sign(data))}"

    def accept(self, ticket: str, node: str, shown: str) -> tuple[User, str] | None:
        """The user, and the certificate that the session is bound to, if any. None when it is not for this node, was
        used, is too old, the user has changed since, or another certificate was shown."""
        body = self._opened(ticket)
        if body is None or body["node"] != node or body["expires"] < time.time():
            return None
        user = self._accounts.user(body["user"])
        bound = body.get("certificate", "")
        if user is None or user.generation != body["generation"] or bound not in ("", shown):
            return None
        return (user, bound) if self._store.use_once(body["nonce"], body["expires"]) else None

    def _opened(self, ticket: str) -> dict[str, Any] | None:
        data, _, signature = ticket[:MAX_TICKET].partition(".")
        try:
            raw = _bytes(data)
            if not hmac.compare_digest(_bytes(signature), self._sign(raw)):
                return None
            return dict(json.loads(raw))
        except ValueError:
            return None

    def _sign(self, data: bytes) -> bytes:
        key = str(self._records.get(KEY) or "")
        if not key:
            raise ValueError("there is no key yet")
        return hmac.new(bytes.fromhex(key), data, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
