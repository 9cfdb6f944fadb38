"""A process that mounts, so that a test's programs can fault pages in without holding its interpreter. It is told by
lines of JSON what to do, and answers each. Its recorder applies every change to a second directory at once."""

from __future__ import annotations

import asyncio
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
from safekit_resource_rfs.replica import Replica

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs.marking import Marking


class LocalRecorder:
    """Nothing is replicated."""

    def __init__(self) -> None:
        self.refusal = 0
        self.marking: Marking | None = None
        self.synced_count = 0
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

    def synced(self, change: Sync | SyncDirectory) -> Awaitable[None]:
        self.synced_count += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


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

    def synced(self, change: Sync | SyncDirectory) -> Awaitable[None]:
        try:
            self.replica.sync(change)()
        except Exception as error:
            self.errors.append(f"{change}: {error!r}")
        return super().synced(change)


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


RECORDERS = {"mirror": MirrorRecorder, "slow": SlowRecorder, "holding": HoldingRecorder}


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
        elif word == "refuse":
            self.recorder.refusal = value
        elif word == "close":
            await self.mount.close(lazy=bool(value))
        return None


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
    asyncio.run(main(*sys.argv[1:]))
