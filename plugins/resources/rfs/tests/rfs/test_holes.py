"""A sparse file arrives sparse, and what is reserved stays reserved: live, and in a resynchronisation."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs.extents import is_reserved

from .cluster import Node, compared, introduce, mirrored

MIB = 1 << 20
LONG = 4 * MIB


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
