"""Data paths are killed at random moments: nothing that was acknowledged is lost, and both sides end up equal."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from pathlib import Path

import pytest

from .cluster import Node, introduce, mirrored, two_nodes
from .test_pair import equal
from .workload import Workload

PROGRAM = Path(__file__).with_name("committing.py")
ROUNDS = 5


class Committer:
    """A program that commits numbers, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.acknowledged = 0

    @classmethod
    async def start(cls, directory: Path, journal_mode: str, first: int) -> Committer:
        words = (sys.executable, str(PROGRAM), str(directory / "numbers.db"), journal_mode, str(first))
        pipe = asyncio.subprocess.PIPE
        made = cls(await asyncio.create_subprocess_exec(*words, stdout=pipe, stderr=asyncio.subprocess.DEVNULL))
        made.acknowledged = first - 1
        return made

    async def until(self, count: int) -> None:
        """So many more are acknowledged."""
        goal = self.acknowledged + count
        while self.acknowledged < goal:
            assert await self._read(), "it ended by itself"

    async def _read(self) -> bool:
        assert self._process.stdout
        line = (await self._process.stdout.readline()).strip()
        if line.isdigit():
            self.acknowledged = int(line)
        return bool(line)

    async def end(self) -> int:
        """The last number that it said, after all it had said is read."""
        while await self._read():
            pass
        await self._process.wait()
        return self.acknowledged

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()


def numbers(directory: Path) -> list[int]:
    """What the database has, after its recovery."""
    database = sqlite3.connect(directory / "numbers.db")
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in database.execute("SELECT number FROM numbers ORDER BY number")]
    finally:
        database.close()


@pytest.mark.parametrize(("mode", "journal_mode"), [("write", "DELETE"), ("write", "WAL"), ("ordered", "DELETE")])
async def test_every_acknowledged_commit_is_on_the_node_that_takes_over(
    tmp_path: Path, mode: str, journal_mode: str
) -> None:
    chance = random.Random(f"{mode} {journal_mode}")
    async with two_nodes(tmp_path, mode=mode) as nodes:
        one, two = nodes
        await mirrored(one, two)
        first, epoch = 1, 1
        for _ in range(ROUNDS):
            committer = await Committer.start(one.directory, journal_mode, first)
            try:
                await committer.until(chance.randint(5, 60))
                await one.kill()
                last = await committer.end()
            finally:
                committer.kill()
            epoch += 1
            await two.promote(epoch)
            found = await asyncio.to_thread(numbers, two.directory)
            assert found[:last] == list(range(1, last + 1))
            first = found[-1] + 1
            await one.start()
            await introduce(one, two)
            await two.pair(epoch)
            await one.becomes(up_to_date=True, epoch=epoch)
            one, two = two, one
        await equal(one, two)


@pytest.mark.parametrize("seed", range(3))
async def test_either_is_killed_under_a_workload_and_comes_back(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with two_nodes(tmp_path) as nodes:
        one, two = nodes
        await mirrored(one, two)
        epoch = 1
        for number in range(ROUNDS):
            working = asyncio.create_task(asyncio.to_thread(_work, one, seed * 100 + number))
            await asyncio.sleep(chance.random())
            epoch += 1
            if chance.random() < 0.5:
                await _fail_over(one, two, epoch)
                await working
                one, two = two, one
            else:
                await two.kill()
                await one.stand_alone(epoch)
                await _come_back(one, two, epoch)
                await working
        await equal(one, two)


def _work(node: Node, seed: int) -> None:
    """Until it is done, or the data path is killed."""
    try:
        Workload(node.directory, seed).steps(400)
    except OSError:
        return


async def _fail_over(one: Node, two: Node, epoch: int) -> None:
    await one.kill()
    await two.promote(epoch)
    await _come_back(two, one, epoch)


async def _come_back(primary: Node, other: Node, epoch: int) -> None:
    await other.start()
    await introduce(primary, other)
    await primary.pair(epoch)
    await other.becomes(up_to_date=True, epoch=epoch)
