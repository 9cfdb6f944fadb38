"""The console's records that every node keeps a copy of: users, API tokens, keys. Small, read often, written rarely."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any, Final

from safekit_console.node import NodeClient
from safekit_console.node import Records as Copies
from safekit_sdk import SafekitError

FRESH_S: Final = 1.0
"""So long a copy is used before the node is asked again: another node's console may have written."""
LEVEL_S: Final = 30.0
"""How often nodes that differ are brought to the same state."""


class Records:
    def __init__(self, node: NodeClient) -> None:
        self._node = node
        self._known: Copies = {}
        self._read_s = float("-inf")
        self._lock = asyncio.Lock()

    async def fresh(self) -> None:
        """SafekitError when safekitd does not answer and nothing was read yet."""
        async with self._lock:
            if time.monotonic() - self._read_s < FRESH_S:
                return
            try:
                self._known = await self._node.shared()
            except (SafekitError, TimeoutError):
                if self._read_s == float("-inf"):
                    raise
            self._read_s = time.monotonic()

    def get(self, key: str) -> Any:
        """None when there is none."""
        record = self._known.get(key)
        return json.loads(record["value"]) if record and record["value"] else None

    def below(self, prefix: str) -> dict[str, Any]:
        """Those whose key begins with the prefix, without it."""
        found = {key.removeprefix(prefix): self.get(key) for key in sorted(self._known) if key.startswith(prefix)}
        return {key: value for key, value in found.items() if value is not None}

    async def put(self, key: str, value: Any) -> None:
        """None deletes. Kept here when it returns, and on every node that answers."""
        await self._write({key: "" if value is None else json.dumps(value, sort_keys=True)})

    async def put_new(self, key: str, value: Any) -> Any:
        """What is there already, on whichever node, or this value."""
        await self.level()
        if (found := self.get(key)) is None:
            await self.put(key, value)
            await self.level()
            found = self.get(key)
        return found

    async def _write(self, values: dict[str, str]) -> None:
        async with self._lock:
            number = 1 + max((self._known.get(key, {"number": 0})["number"] for key in values), default=0)
            records = {key: {"number": number, "value": value} for key, value in values.items()}
            await self._node.share(records)
            self._known = await self._node.shared()
            self._read_s = time.monotonic()
        with contextlib.suppress(SafekitError, TimeoutError):
            await self._node.share_on(("*",), records)

    async def level(self) -> None:
        """Take what other nodes have newer, and give them what they miss."""
        everywhere = await self._node.shared_everywhere()
        newest: Copies = {}
        for copies in everywhere.values():
            newest |= {key: one for key, one in copies.items() if _weight(one) > _weight(newest.get(key))}
        for node, copies in everywhere.items():
            if missing := {key: one for key, one in newest.items() if _weight(one) > _weight(copies.get(key))}:
                await self._node.share_on((node,), missing)
        async with self._lock:
            self._known = await self._node.shared()
            self._read_s = time.monotonic()

    async def keep_level(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(SafekitError, TimeoutError):
                await self.level()
            await asyncio.sleep(LEVEL_S)


def _weight(record: dict[str, Any] | None) -> tuple[int, str]:
    return (record["number"], record["value"]) if record else (0, "")
