"""What a client sees: a request at a fixed pace, each on a connection of its own; a slow one delays no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from safekit_sdk import ConfigError

INTERVAL_S: Final = 0.05
TIMEOUT_S: Final = 1.0
ANSWER_BYTES: Final = 64 << 10
AT_ONCE: Final = 100
REQUESTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Target:
    """`http://HOST[:PORT]/PATH`, good below status 400; or `tcp://HOST:PORT`, good when it connects."""

    url: str
    host: str
    port: int
    request: bytes

    @classmethod
    def parse(cls, url: str) -> Target:
        parts = urlsplit(url)
        try:
            port = parts.port or {"http": 80}.get(parts.scheme, 0)
        except ValueError:
            port = 0
        if parts.scheme not in {"http", "tcp"} or not parts.hostname or not port or "\r" in url or "\n" in url:
            raise ConfigError(
                f"{url!r} cannot be asked", where="--probe", hint="http://HOST[:PORT]/PATH or tcp://HOST:PORT"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode() if parts.scheme == "http" else b""
        return cls(url, parts.hostname, port, request)


@dataclass(frozen=True, slots=True)
class Asked:
    start_s: float
    """Monotonic, as all times here."""
    end_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    requests: int
    failed: int
    errors: dict[str, int]
    interruption_ms: float | None
    """The longest time from the start of a first request that failed to the first good answer to one after it; None
    where none came before the end."""
    longest_answer_ms: float


class Probe:
    def __init__(self, target: Target) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[Asked] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Probe]:
        pace = asyncio.create_task(self._pace())
        try:
            yield self
        finally:
            pace.cancel()
            await asyncio.gather(pace, return_exceptions=True)
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=2 * TIMEOUT_S)

    async def _pace(self) -> None:
        due_s = time.monotonic()
        while len(self.asked) < REQUESTS:
            if len(self._tasks) < AT_ONCE:
                task = asyncio.create_task(self._ask())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            due_s = max(due_s + INTERVAL_S, time.monotonic())
            await asyncio.sleep(due_s - time.monotonic())

    async def _ask(self) -> None:
        start_s, error = time.monotonic(), ""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                error = await self._answer()
        except TimeoutError:
            error = "no answer in time"
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as failure:
            error = type(failure).__name__
        self.asked.append(Asked(start_s, time.monotonic(), error))

    async def _answer(self) -> str:
        reader, writer = await asyncio.open_connection(self._target.host, self._target.port, limit=ANSWER_BYTES)
        try:
            if not self._target.request:
                return ""
            writer.write(self._target.request)
            head = await reader.readuntil(b"\r\n")
            status = int(head.split(b" ")[1])
            while await reader.read(ANSWER_BYTES):
                pass
            return "" if status < 400 else f"status {status}"
        except IndexError:
            return "no HTTP"
        finally:
            writer.close()

    def is_served(self, within_s: float) -> bool:
        """Whether all requests that ended lately were served, and one was."""
        since_s = time.monotonic() - within_s
        lately = [one for one in self.asked if one.end_s >= since_s]
        return bool(lately) and not any(one.error for one in lately)

    def seen(self, since_s: float) -> Seen:
        return summarize(one for one in self.asked if one.end_s >= since_s)


def summarize(asked: Iterable[Asked]) -> Seen:
    found = sorted(asked, key=lambda one: one.start_s)
    errors: dict[str, int] = {}
    for one in found:
        if one.error:
            errors[one.error] = errors.get(one.error, 0) + 1
    served = [one.end_s - one.start_s for one in found if not one.error]
    return Seen(
        requests=len(found),
        failed=sum(errors.values()),
        errors=dict(sorted(errors.items())),
        interruption_ms=_longest_ms(found),
        longest_answer_ms=round(max(served, default=0.0) * 1000, 1),
    )


def _longest_ms(ordered: list[Asked]) -> float | None:
    longest_s, begun_s = 0.0, None
    for one in ordered:
        if one.error and begun_s is None:
            begun_s = one.start_s
        elif not one.error and begun_s is not None:
            longest_s, begun_s = max(longest_s, one.end_s - begun_s), None
    return None if begun_s is not None else round(longest_s * 1000, 1)
