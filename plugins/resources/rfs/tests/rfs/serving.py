"""A process that mounts, so that a test's programs can fault pages in without holding its interpreter. It is told by
lines of JSON what to do, and answers each. Its recorder applies every change to a second directory at once."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safekit_resource_rfs.changes import Change, Sync, SyncDirectory
from safekit_resource_rfs.exclusion import Exclusion
from safekit_resource_rfs.marks import Place
from safekit_resource_rfs.mount import Mount
from safekit_resource_rfs.recorder import Heard
from safekit_resource_rfs.replica import Replica
from safekit_resource_rfs.turns import Loop

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.marking import Marking


class LocalRecorder:
    """Nothing is replicated."""

    def __init__(self) -> None:
        self.refusal = 0
        self.marking: Marking | None = None
        self.synced_count = 0
        self.breaks_at = "nothing yet"
        self.errors: list[str] = []

    def touch(self, *places: Place) -> Awaitable[None] | None:
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        if self.marking:
            self.marking.touch(*places)
        return None

    def cover(self, *places: Place) -> None:
        if self.marking:
            self.marking.cover(*places)

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        return True

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        self.synced_count += 1
        then()

    def disk_failed(self, error: int) -> None:
        self.errors.append(f"a sync failed: {os.strerror(error)}")


class MirrorRecorder(LocalRecorder):
    """Applies to the replica what was touched before; what cannot be applied is an error."""

    def __init__(self, replica: Replica) -> None:
        super().__init__()
        self.replica = replica

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        problem = self.marking and self.marking.check(change, is_last=answer is not None)
        if problem:
            self.errors.append(problem)
        try:
            self.replica.apply(change)
        except Exception as error:
            self.errors.append(f"{str(change)[:300]}: {error!r}")
        return super().record(change, answer)

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        try:
            fd = self.replica.to_sync(change)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except Exception as error:
            self.errors.append(f"{change}: {error!r}")
        super().synced(change, then)


class SlowRecorder(MirrorRecorder):
    """Marks and answers take their time, and connections end: slots are bound anew."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica)
        self._random = random.Random(1)
        self._ready: set[Place] = set()

    def touch(self, *places: Place) -> Awaitable[None] | None:
        super().touch(*places)
        if self._ready.issuperset(places):
            if self._random.random() < 0.01:
                self._ready.clear()
            return None
        self._ready.update(places)
        return asyncio.sleep(self._random.random() / 500)

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        super().record(change, None)
        if answer is None or self._random.random() < 0.5:
            return True
        asyncio.get_running_loop().call_later(self._random.random() / 500, answer)
        return False


class HoldingRecorder(MirrorRecorder):
    """Never lets an application be answered."""

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        super().record(change, answer)
        return False


class WaitingRecorder(MirrorRecorder):
    """Lets all wait between `hold` and `go`."""

    held: asyncio.Event | None = None

    def touch(self, *places: Place) -> Awaitable[None] | None:
        super().touch(*places)
        return self._released(self.held) if self.held else None

    @staticmethod
    async def _released(held: asyncio.Event) -> None:
        await held.wait()

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        if self.held:
            self._syncing = asyncio.ensure_future(self._sync_then(self.held, then))
        else:
            super().synced(change, then)

    async def _sync_then(self, held: asyncio.Event, then: Heard) -> None:
        await held.wait()
        then()

    def hold(self) -> None:
        self.held = asyncio.Event()

    def go(self) -> None:
        if self.held:
            self.held.set()
        self.held = None


class BreakingRecorder(MirrorRecorder):
    """Has a defect at changes in whose text there is the word that it was told, or in the method of that name."""

    def touch(self, *places: Place) -> Awaitable[None] | None:
        if self.breaks_at == "touch":
            raise ValueError("on purpose")
        return super().touch(*places)

    def synced(self, change: Sync | SyncDirectory, then: Heard) -> None:
        if self.breaks_at == "synced":
            raise ValueError("on purpose")
        super().synced(change, then)

    def record(self, change: Change, answer: Callable[[], None] | None) -> bool:
        if self.breaks_at in str(change):
            raise ValueError("on purpose")
        return super().record(change, answer)


RECORDERS = {
    "mirror": MirrorRecorder,
    "slow": SlowRecorder,
    "holding": HoldingRecorder,
    "waiting": WaitingRecorder,
    "breaking": BreakingRecorder,
}


class Server:
    def __init__(self, mount: Mount, recorder: LocalRecorder) -> None:
        self.mount = mount
        self.recorder = recorder

    async def do(self, word: str, value: Any) -> Any:
        if word == "serve":
            await self.mount.serve(self.recorder)
        elif word == "cover":
            await self.mount.cover(b"covered again\n")
        elif word == "flush":
            await self.mount.settle()
            return self.recorder.errors
        elif word == "forget_slots":
            self.mount.forget_slots()
        elif word == "count_synced":
            return self.recorder.synced_count
        elif word == "count_nodes":
            return self.mount.nodes
        elif word == "close":
            await self.mount.close(lazy=bool(value))
        else:
            self._prepare(word, value)
        return None

    def _prepare(self, word: str, value: Any) -> None:
        """How the recorder behaves from now on."""
        if word == "refuse":
            self.recorder.refusal = value
        elif word == "break_at":
            self.recorder.breaks_at = value
        elif word == "fail_resize":
            os.ftruncate = _truncate_and_fail
        elif word == "hold" and isinstance(self.recorder, WaitingRecorder):
            self.recorder.hold()
        elif word == "go" and isinstance(self.recorder, WaitingRecorder):
            self.recorder.go()


def _truncate_and_fail(fd: int, size: int) -> None:
    """Once."""
    os.ftruncate = truncate
    truncate(fd, size)
    raise OSError(errno.EIO, os.strerror(errno.EIO))


truncate = os.ftruncate


async def main(directory: str, second: str, kind: str, cache: str, exclude: str) -> None:
    pool = ThreadPoolExecutor(4)
    exclusion = Exclusion(filter(None, exclude.split(",")))
    replica_fd = os.open(second, os.O_RDONLY | os.O_DIRECTORY) if second else -1
    recorder = RECORDERS[kind](Replica(replica_fd, exclusion=exclusion)) if second else LocalRecorder()
    limits = {"max_nodes": 500} if cache == "small" else {}
    notice, is_writeback = b"the data are on the other node\n", cache == "writeback"
    mount = await Mount.open(Path(directory), notice, pool, is_writeback=is_writeback, exclusion=exclusion, **limits)
    server = Server(mount, recorder)
    if kind == "mirror":
        recorder.marking = Marking(mount.root_fd, replica_fd)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    print(json.dumps([mount.root_fd, None]), flush=True)
    while line := await lines.readline():
        try:
            answer = [await server.do(*json.loads(line)), None]
        except OSError as error:
            answer = [None, error.errno]
        print(json.dumps(answer), flush=True)
    if not mount.ended.done():
        await mount.close(lazy=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(main(*sys.argv[1:]))
