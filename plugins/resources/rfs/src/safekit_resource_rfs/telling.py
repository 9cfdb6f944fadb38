"""What a data path says of itself: one flat status for people, the engine and monitoring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from safekit_resource_rfs.comparing import told
from safekit_resource_rfs.desk import Progress
from safekit_resource_rfs.handover import RUNNING
from safekit_resource_rfs.sender import State
from safekit_resource_rfs.serving import DataPath

HOLDING_S: Final = 2.0
"""A primary that holds its acknowledgements for so long tells the engine; a shorter break is waited out."""
AGAIN_S: Final = 2.0
"""Between two statuses to who watches, when nothing changes."""
PAUSE_S: Final = 0.05
"""At least between two."""
_DEGRADED: Final = frozenset((State.ALONE, State.SYNCING, State.HOLDING))


class Teller:
    def __init__(self, path: DataPath) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._started_s = time.time()
        """When this program took the directory, from another perhaps."""
        self._holding_since_s = 0.0
        self._waiting: set[asyncio.Event] = set()
        self._rate = Rate()
        self._verify_rate = Rate()
        path.changed = self.wake

    def wake(self) -> None:
        for event in self._waiting:
            event.set()

    def status(self) -> Mapping[str, Any]:
        path, durable = self._path, self._path.durable
        link = path.link
        return {
            "node": path.settings.node,
            "version": RUNNING,
            "started": self._started_s,
            "peer": path.peer_node,
            "directory": str(path.config.directory),
            "mode": path.config.mode,
            "role": "primary" if path.primary else "secondary",
            "link": self._link(),
            "connected": link is not None,
            "peer_address": link.peer_address if link else "",
            "why_not_connected": "" if link else path.blocked or path.dialer.why_not,
            "waits": self._waits(),
            "up_to_date": durable.standing.value == "up",
            "standing": durable.standing.value,
            "epoch": durable.generation.epoch,
            "generation": durable.generation.id,
            "degraded": self._is_degraded(),
            "holding": self._is_holding(),
            "failure": path.failure,
            "event": path.last_event,
            "place": path.place,
            "marks": path.means.marks.count,
            "marks_everything": path.means.marks.everything,
            "sent_bytes": link.sent_bytes if link else 0,
            "received_bytes": link.received_bytes if link else 0,
            "unsent_bytes": link.unsent_bytes if link else 0,
            "refused_connections": path.listener.refused_count,
            **self._lag(),
            "resync": self._resync(),
            "verify": self._verify(),
            "verified": self._verified(),
        }

    def _link(self) -> str:
        """In a word."""
        if self._path.primary:
            return self._path.primary.sender.state.value
        if self._path.blocked:
            return "refused"
        return "connected" if self._path.link else "unconnected"

    def _waits(self) -> str:
        """For what is in sync_at, in words; empty: for nothing."""
        path, now_s = self._path, time.time()
        if path.primary:
            until_s = path.schedule.opening.waits_until_s if path.primary.sender.state is State.ALONE else None
            whose, now = "the other node is not up to date", "`safekit rfs sync` does it now"
        else:
            until_s = path.schedule.opening.after(now_s) if path.link is None and self._is_behind() else None
            whose, now = "this node is not up to date", "`safekit rfs sync` on the primary does it now"
        if until_s is None:
            return ""
        return f"waits until {time.strftime('%F %H:%M', time.localtime(until_s))} (sync_at): {whose}; {now}"

    def _is_behind(self) -> bool:
        """As far as a secondary knows: a primary that went on alone has another generation."""
        other, durable = self._path.other, self._path.durable
        is_newer_there = other is not None and other.primary and other.generation.id != durable.generation.id
        return not durable.up_to_date or is_newer_there

    def _verified(self) -> dict[str, Any] | None:
        verified = self._path.comparisons.verified
        return asdict(verified) | {"told": told(verified)} if verified else None

    def _is_degraded(self) -> bool:
        if self._path.primary:
            return self._path.primary.sender.state in _DEGRADED
        return not (self._path.link and self._path.durable.up_to_date)

    def _is_holding(self) -> bool:
        """Also while a secondary that came back is compared: the engine then lets this node go on alone. It is asked
        often enough, as the status is told every AGAIN_S."""
        primary = self._path.primary
        if primary is None or primary.sender.state is not State.HOLDING:
            self._holding_since_s = 0.0
            return False
        self._holding_since_s = self._holding_since_s or self._loop.time()
        return self._loop.time() - self._holding_since_s >= HOLDING_S

    def _lag(self) -> dict[str, int]:
        changes, size_bytes = self._path.primary.sender.lag if self._path.primary else (0, 0)
        return {"lag_changes": changes, "lag_bytes": size_bytes}

    def _resync(self) -> dict[str, Any] | None:
        progress = self._path.primary.sender.progress if self._path.primary else None
        if progress is None:
            self._rate = Rate()
            return None
        return self._rate.told(progress, self._loop.time())

    def _verify(self) -> dict[str, Any] | None:
        verification = self._path.verification
        if verification is None or not self._path.is_verifying:
            self._verify_rate = Rate()
            return None
        course = verification.course
        progress = Progress(
            bytes_done=course.bytes_done,
            bytes_total=course.bytes_total,
            files_done=course.files_done,
            files_total=course.files_total,
        )
        return self._verify_rate.told(progress, self._loop.time())

    async def watch(self) -> AsyncIterator[Mapping[str, Any]]:
        """Now, at each change, and every AGAIN_S."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while True:
                event.clear()
                yield self.status()
                await asyncio.sleep(PAUSE_S)
                try:
                    async with asyncio.timeout(AGAIN_S - PAUSE_S):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting.discard(event)


class Rate:
    """How fast a resynchronisation goes, from its beginning on."""

    def __init__(self) -> None:
        self._begin: tuple[float, int] | None = None

    def told(self, progress: Progress, now_s: float) -> dict[str, Any]:
        begin_s, begin_bytes = self._begin = self._begin or (now_s, progress.bytes_done)
        rate = (progress.bytes_done - begin_bytes) / max(now_s - begin_s, 0.001)
        left_bytes = max(0, progress.bytes_total - progress.bytes_done)
        return {
            "done_bytes": progress.bytes_done,
            "total_bytes": progress.bytes_total,
            "done_files": progress.files_done,
            "total_files": progress.files_total,
            "rate_bytes_per_s": round(rate),
            "left_s": round(left_bytes / rate, 1) if rate > 0 else None,
        }
