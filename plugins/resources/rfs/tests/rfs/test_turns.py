"""The loop of the data path, and how it brings files to the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safekit_resource_rfs import syncing, turns
from safekit_resource_rfs.aio import DEPTH, Aio
from safekit_resource_rfs.defects import EXIT_STATUS

from .loops import in_own_loop


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@in_own_loop
async def test_what_is_watched_is_served_and_what_it_asks_of_the_loop_is_done() -> None:
    one, two = socket.socketpair()
    done = asyncio.get_running_loop().create_future()
    here = turns.running()
    order: list[str] = []

    def serve() -> None:
        one.recv(10)
        here.at_end(lambda: order.append("end"))
        order.append("served")
        asyncio.get_running_loop().call_soon(done.set_result, None)

    with one, two:
        here.watch(one.fileno(), serve)
        two.send(b"x")
        async with asyncio.timeout(10):
            await done
        here.unwatch(one.fileno())
    assert order == ["served", "end"]


@in_own_loop
async def test_a_timer_that_is_set_at_the_end_of_a_turn_goes_off() -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def set_timer() -> None:
        loop.call_later(0.01, done.set_result, None)

    turns.running().at_end(set_timer)
    async with asyncio.timeout(10):
        await done


@in_own_loop
async def test_a_timer_goes_off_while_something_is_served_all_the_time() -> None:
    one, two = socket.socketpair()
    with one, two:
        two.send(b"x")
        turns.running().watch(one.fileno(), lambda: None)
        async with asyncio.timeout(10):
            await asyncio.sleep(0.05)
        turns.running().unwatch(one.fileno())


@in_own_loop
async def test_who_was_unwatched_is_not_served() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    here, done = turns.running(), asyncio.get_running_loop().create_future()
    served: list[int] = []

    def serve() -> None:
        for one, _ in pairs:
            here.unwatch(one.fileno())
        asyncio.get_running_loop().call_soon(done.set_result, None)
        served.append(1)

    for one, two in pairs:
        here.watch(one.fileno(), serve)
        two.send(b"x")
    async with asyncio.timeout(10):
        await done
    assert served == [1]
    for one, two in pairs:
        one.close()
        two.close()


@pytest.mark.parametrize(
    "action",
    [
        "loop.turns.at_end(fail)",
        "loop.call_soon(fail)",
        "loop.call_later(0.01, fail)",
        "syncer.sync(0, fail, data_only=True)",
    ],
)
def test_a_defect_ends_the_process(action: str) -> None:
    script = f"""
import asyncio, concurrent.futures
from safekit_resource_rfs import syncing, turns
def fail(*_):
    raise ValueError("on purpose")
async def main():
    syncer = syncing.Syncer(concurrent.futures.ThreadPoolExecutor(1))
    loop = asyncio.get_running_loop()
    {action}
    await asyncio.sleep(10)
asyncio.Runner(loop_factory=turns.Loop).run(main())
"""
    with Path(__file__).open("rb") as file:
        ended = subprocess.run([sys.executable, "-c", script], stdin=file, capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_STATUS
    assert "on purpose" in ended.stderr


def test_only_its_own_loop_will_do() -> None:
    async def ask() -> None:
        turns.running()

    with pytest.raises(Exception, match="not its own"):
        asyncio.run(ask())


async def synced(syncer: syncing.Syncer, descriptors: list[int], *, data_only: bool = False) -> list[int]:
    done = asyncio.get_running_loop().create_future()
    found: list[int] = []

    def then(error: int) -> None:
        found.append(error)
        if len(found) == len(descriptors):
            done.set_result(None)

    for descriptor in descriptors:
        syncer.sync(descriptor, then, data_only=data_only)
        os.close(descriptor)
    syncer.close()
    async with asyncio.timeout(30):
        await done
    return found


def opened(place: Path, count: int) -> list[int]:
    return [os.open(place / str(number), os.O_RDWR | os.O_CREAT) for number in range(count)]


@in_own_loop
@pytest.mark.parametrize("data_only", [True, False])
async def test_more_files_than_the_kernel_takes_are_synced(
    tmp_path: Path, pool: ThreadPoolExecutor, data_only: bool
) -> None:
    assert await synced(syncing.Syncer(pool), opened(tmp_path, 4 * DEPTH), data_only=data_only) == [0] * (4 * DEPTH)


@in_own_loop
async def test_without_the_kernels_help_the_pool_does_it(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Aio:
        raise OSError(errno.ENOSYS, "not here")

    monkeypatch.setattr(syncing, "Aio", refuse)
    directory = os.open(tmp_path, os.O_RDONLY)
    assert await synced(syncing.Syncer(pool), [*opened(tmp_path, 3), directory]) == [0] * 4


@in_own_loop
async def test_what_cannot_be_synced_is_told(pool: ThreadPoolExecutor) -> None:
    reading, writing = os.pipe()
    assert await synced(syncing.Syncer(pool), [reading, writing]) == [errno.EINVAL] * 2
