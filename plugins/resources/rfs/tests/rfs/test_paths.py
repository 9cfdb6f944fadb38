"""Paths that are longer than the kernel takes at once."""

from __future__ import annotations

import os
from pathlib import Path

from .cluster import Node, compared, introduce, mirrored, until


async def test_a_renamed_directory_may_make_paths_longer_than_the_kernel_takes_at_once(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    deep = deepen(one.directory, 15)
    (one.directory / "t").mkdir()
    inner = deepen(one.directory / "t", 15)
    file = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=inner)
    os.write(file, b"before")
    await two.kill()
    await one.stand_alone(2)
    os.rename("t", "t" * 100, src_dir_fd=os.open(one.directory, os.O_RDONLY), dst_dir_fd=deep)
    os.write(file, b" and after")
    os.fsync(file)
    await two.start()
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    os.write(file, b", live")
    os.mkdir("d", dir_fd=inner)
    assert await compared(one) == []
    await one.do("sync", full=True)
    await until(lambda: one.is_(link="paired", resync=None))
    assert await compared(one) == []
    os.close(file)
    await one.stop(force=True)


def deepen(directory: Path, count: int) -> int:
    """So many directories with long names, one in the other; the innermost, open."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(count):
        os.mkdir("n" * 200, dir_fd=fd)
        below = os.open("n" * 200, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd
