"""Holes, data, sizes and times change while a resynchronisation goes on, on file systems with other block sizes."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from safekit_resource_rfs import syscalls

from .cluster import Node, introduce, two_nodes

LONG = 6 << 20
PAGE = 4096
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


def play(path: Path, rnd: random.Random) -> None:
    """One operation through the mount."""
    fd = os.open(path / f"f{rnd.randrange(4)}", os.O_RDWR | os.O_CREAT)
    try:
        start, size = rnd.randrange(LONG), os.fstat(fd).st_size
        if rnd.random() < 0.6:
            start -= start % PAGE
        length = rnd.choice([100, 1024, 4096, 65536, 300_000, 1 << 20])
        deeds: list[Callable[[], object]] = [
            lambda: os.pwrite(fd, rnd.randbytes(length), start),
            lambda: os.pwrite(fd, bytes(length), start),
            lambda: syscalls.fallocate(fd, KEEP_SIZE | PUNCH_HOLE, start, length),
            lambda: syscalls.fallocate(fd, KEEP_SIZE, start, min(length, max(1, size - start))),
            lambda: syscalls.fallocate(fd, KEEP_SIZE | ZERO_RANGE, start, length),
            lambda: os.ftruncate(fd, rnd.choice([start, size, size - size % PAGE + 100, LONG])),
            lambda: os.pwrite(fd, b"t" * 10, max(0, size - 5)),
            lambda: os.pwrite(fd, b"e", size + rnd.randrange(3000)),
            lambda: os.ftruncate(fd, 0),
        ]
        rnd.choices(deeds, [10, 5, 10, 5, 5, 5, 5, 4, 1])[0]()
    finally:
        os.close(fd)


def content(path: Path) -> dict[str, tuple[int, bytes, int]]:
    found = {}
    for file in sorted(path.iterdir()):
        if file.is_file():
            found[file.name] = (file.stat().st_size, file.read_bytes(), file.stat().st_mtime_ns)
    return found


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=60)


def mounted(place: Path, number: int, block: int) -> None:
    image = place / f"{number}.img"
    with image.open("wb") as file:
        file.truncate(100 << 20)
    run("mkfs.ext4", "-q", "-F", "-b", str(block), "-E", "nodiscard", str(image))
    (place / f"{number}" / "data").mkdir(parents=True)
    run("mount", "-o", "loop", str(image), str(place / f"{number}" / "data"))


@pytest.mark.long
@pytest.mark.parametrize("blocks", [(1024, 4096), (0, 0), (4096, 1024), (1024, 1024)])
async def test_live_changes_meet_a_resync(tmp_path: Path, blocks: tuple[int, int]) -> None:
    for number, block in enumerate(blocks, 1):
        if block:
            mounted(tmp_path, number, block)
    try:
        await race(tmp_path, sum(blocks))
    finally:
        for number, block in enumerate(blocks, 1):
            if block:
                run("umount", "-l", str(tmp_path / f"{number}" / "data"))


async def race(tmp_path: Path, seed: int) -> None:
    rnd = random.Random(seed)
    async with two_nodes(tmp_path, first_sync="overwrite", checkpoint="300ms", bandwidth="8M") as (one, two):
        await one.promote(1)
        await several(one, rnd, 100)
        await one.pair(1)
        await two.becomes(up_to_date=True)
        await two.kill()
        await one.stand_alone(2)
        await come_back(one, two, rnd, 2)
        await two.stop()
        await one.stand_alone(3)
        for file in two.directory.iterdir():
            if file.is_file():
                carry(file)
        await come_back(one, two, rnd, 3)
        await asyncio.sleep(0.5)
        await one.stop()
        await two.stop()
        for name, (size, data, mtime_ns) in content(one.directory).items():
            there = content(two.directory)[name]
            assert (there[0], there[2]) == (size, mtime_ns), name
            differ = [at for at in range(0, size, 512) if there[1][at : at + 512] != data[at : at + 512]]
            assert not differ, f"{name}: {len(differ)} sectors, first {differ[:10]}"
        assert content(one.directory).keys() == content(two.directory).keys()


async def several(node: Node, rnd: random.Random, count: int) -> None:
    for _ in range(count):
        await asyncio.to_thread(play, node.directory, rnd)


async def come_back(one: Node, two: Node, rnd: random.Random, epoch: int) -> None:
    """The other node, while the first one is changed before, during and after."""
    await several(one, rnd, 60)
    await two.start()
    await introduce(one, two)
    await one.pair(epoch)
    for count in range(400):
        if await two.is_(up_to_date=True, epoch=epoch):
            break
        if count < 200:
            await several(one, rnd, 1)
        else:
            await asyncio.sleep(0.1)
    else:
        pytest.fail(f"{await one.status()}")
    await several(one, rnd, 20)


def carry(file: Path) -> None:
    """As by hand: without holes, with the same times."""
    about = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
