"""A sparse file arrives sparse, and what is reserved stays reserved: live, and in a resynchronisation."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs import syscalls
from safekit_resource_rfs.extents import holes, is_reserved

from .cluster import Node, compared, introduce, mirrored, two_nodes
from .trees import differences

MIB = 1 << 20
LONG = 4 * MIB
KEEP_SIZE, PUNCH, ZERO = 1, 3, 16
"""Modes of fallocate(2)."""


def write(path: Path) -> None:
    """Two hundred KiB of data in each: in a hole, and in what is reserved."""
    for kind in ("sparse", "reserved"):
        with (path / kind).open("wb") as file:
            if kind == "reserved":
                os.posix_fallocate(file.fileno(), 0, LONG)
            file.truncate(LONG)
            os.pwrite(file.fileno(), b"x" * 200_000, MIB + 1000)


def shapes(path: Path) -> list[tuple[str, int, bool, bool]]:
    """Whether it takes its whole length on the disk, and whether its last MiB is reserved."""
    found = []
    for kind in ("sparse", "reserved"):
        with (path / kind).open("rb") as file:
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
            is_full = status.st_blocks * 512 >= LONG
            found.append((kind, status.st_size, is_full, is_reserved(file.fileno(), LONG - MIB, LONG)))
    return found


WANTED = [("sparse", LONG, False, False), ("reserved", LONG, True, True)]


async def both(one: Node, two: Node) -> list[list[tuple[str, int, bool, bool]]]:
    """Of the real directories."""
    await one.stop()
    await two.stop()
    assert [(one.directory / kind).read_bytes() for kind in ("sparse", "reserved")] == [
        (two.directory / kind).read_bytes() for kind in ("sparse", "reserved")
    ]
    return [shapes(node.directory) for node in (one, two)]


@pytest.mark.parametrize("is_first", [True, False])
async def test_new_files_have_their_shape(pair: tuple[Node, Node], is_first: bool) -> None:
    one, two = pair
    if is_first:
        await one.promote(1)
        write(one.directory)
        await one.pair(1)
        await two.becomes(up_to_date=True)
    else:
        await mirrored(one, two)
        write(one.directory)
    assert await compared(one) == []
    assert await both(one, two) == [WANTED, WANTED]


async def test_what_is_given_up_or_reserved_while_a_node_is_away_has_its_shape(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    for kind in ("sparse", "reserved"):
        (one.directory / kind).write_bytes(b"y" * LONG)
    await two.kill()
    await one.becomes(link="holding")
    await one.stand_alone(2)
    write(one.directory)
    await two.start()
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    assert await compared(one) == []
    assert await both(one, two) == [WANTED, WANTED]


def write_dense(path: Path) -> None:
    for kind in ("punched", "zeroed", "mixed", "odd"):
        (path / kind).write_bytes(b"y" * LONG)
    with (path / "filled").open("wb") as file:
        file.truncate(LONG)


def reshape(path: Path) -> None:
    """Holes where data were, zeros where a hole was, and both beside what is reserved; one ends within a page."""
    shapes: dict[str, list[tuple[int, int, int]]] = {
        "punched": [(PUNCH, MIB, MIB + 8192), (PUNCH, 3 * MIB + 4096, 4096)],
        "zeroed": [(ZERO, MIB, MIB)],
        "mixed": [(PUNCH, MIB, MIB), (KEEP_SIZE, MIB + 65536, 65536)],
    }
    for kind, wanted in shapes.items():
        with (path / kind).open("r+b") as file:
            for each in wanted:
                syscalls.fallocate(file.fileno(), *each)
    with (path / "filled").open("r+b") as file:
        os.pwrite(file.fileno(), bytes(MIB + 8192), MIB)
    with (path / "odd").open("r+b") as file:
        file.truncate(LONG - 100)
        syscalls.fallocate(file.fileno(), PUNCH, 3 * MIB, 2 * MIB)


def holes_of(path: Path) -> dict[str, list[tuple[int, int]]]:
    found = {}
    for file in sorted(path.iterdir()):
        if file.is_file():
            with file.open("rb") as opened:
                found[file.name] = holes(opened.fileno(), 0, file.stat().st_size)
    return found


HOLES = {
    "filled": [(0, MIB), (2 * MIB + 8192, LONG)],
    "mixed": [(MIB, MIB + 65536), (MIB + 131072, 2 * MIB)],
    "odd": [(3 * MIB, LONG - 100)],
    "punched": [(MIB, 2 * MIB + 8192), (3 * MIB + 4096, 3 * MIB + 8192)],
    "zeroed": [],
}


@pytest.mark.parametrize("is_away", [True, False])
async def test_the_same_holes_are_on_both(pair: tuple[Node, Node], is_away: bool) -> None:
    one, two = pair
    await mirrored(one, two)
    write_dense(one.directory)
    if is_away:
        await two.stop()
        await one.stand_alone(2)
    reshape(one.directory)
    if is_away:
        await two.start()
        await introduce(one, two)
        await one.pair(2)
        await two.becomes(up_to_date=True, epoch=2)
    await one.stop()
    await two.stop()
    assert differences(one.directory, two.directory) == []
    assert [holes_of(node.directory) for node in (one, two)] == [HOLES, HOLES]


async def test_a_copy_that_was_carried_by_hand_without_its_holes_gets_them(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, first_sync="overwrite") as (one, two):
        for node in (one, two):
            await node.stop()
        write_dense(one.directory)
        reshape(one.directory)
        for file in filter(Path.is_file, one.directory.iterdir()):
            copied = two.directory / file.name
            copied.write_bytes(file.read_bytes())
            os.utime(copied, ns=(0, file.stat().st_mtime_ns))
        assert holes_of(two.directory)["punched"] == []
        for node in (one, two):
            await node.start()
        await introduce(one, two)
        await mirrored(one, two)
        assert (await one.status())["sent_bytes"] < MIB, "holes are made, not sent"
        await one.stop()
        await two.stop()
        assert differences(one.directory, two.directory) == []
        assert holes_of(two.directory) == HOLES


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A place for a file that nobody may change."""
    place = tmp_path / "2" / "data" / "file"
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes(MIB))
    yield place
    subprocess.run(["chattr", "-i", str(place)], check=True)


async def test_an_immutable_copy_with_the_same_data_is_as_good(tmp_path: Path, immutable: Path) -> None:
    async with two_nodes(tmp_path, first_sync="overwrite") as (one, two):
        for node in (one, two):
            await node.stop()
        with (one.directory / "file").open("wb") as file:
            file.truncate(MIB)
        for path in (immutable, one.directory / "file"):
            os.utime(path, (1e9, 1e9))
        await asyncio.to_thread(subprocess.run, ["chattr", "+i", str(immutable)], check=True)
        for node in (one, two):
            await node.start()
        await introduce(one, two)
        await mirrored(one, two)


def test_only_what_was_never_written_all_along_is_reserved(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb+") as file:
        fd = file.fileno()
        os.posix_fallocate(fd, 0, MIB)
        file.truncate(2 * MIB)
        os.pwrite(fd, b"x" * 4096, 512 << 10)
        os.fsync(fd)
        ranges = [(0, 256 << 10), (1000, 2000), (0, MIB), (MIB, 2 * MIB), (512 << 10, (512 << 10) + 4096), (0, 2 * MIB)]
        assert [is_reserved(fd, *each) for each in ranges] == [True, True, False, False, False, False]


def test_a_file_system_that_does_not_say_reserves_nothing() -> None:
    with Path("/proc/self/status").open("rb") as file:
        assert not is_reserved(file.fileno(), 0, 4096)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Path]:
    """A place on a file system that cannot reserve: ext4 without extents."""
    image, place = tmp_path / "image", tmp_path / "plain"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-O", "^extent,^64bit,^metadata_csum", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_a_secondary_that_cannot_reserve_has_the_data(tmp_path: Path, plain: Path) -> None:
    settings: dict[str, Any] = {"first_sync": "overwrite"}
    one, two = Node(tmp_path / "1", 1, settings), Node(plain, 2, settings)
    try:
        for node in (one, two):
            await node.start()
        await introduce(one, two)
        await one.promote(1)
        write(one.directory)
        await one.pair(1)
        await two.becomes(up_to_date=True)
        assert await compared(one) == []
        assert (await both(one, two))[0] == WANTED
    finally:
        for node in (one, two):
            await node.remove()
