"""fio writes through the mount with each of the ways that programs have; what an fsync confirmed is on both nodes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from .cluster import Node, mirrored, two_nodes

WAYS = {
    "psync": ("--ioengine=psync", "--rw=randwrite"),
    "direct": ("--ioengine=libaio", "--direct=1", "--iodepth=8", "--rw=randwrite"),
    "mmap": ("--ioengine=mmap", "--rw=randwrite"),
    "append": ("--ioengine=sync", "--rw=write"),
    "synced": ("--ioengine=psync", "--sync=1", "--rw=randwrite", "--io_size=1m"),
}
OPTIONS = (
    *("--size=8m", "--bs=4k", "--numjobs=2", "--end_fsync=1", "--fsync=64", "--randrepeat=1", "--norandommap=0"),
    *("--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--thread", "--eta=never"),
)
QUICK = ("write", "direct")


def fio(directory: str, way: str, *more: str) -> None:
    command = ["fio", f"--name={way}", f"--directory={directory}", *WAYS[way], *OPTIONS, *more]
    done = subprocess.run(command, cwd="/", check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])


def real(node: Node) -> str:
    """Its directory below the mount, while that is there: the data path holds it open."""
    (pid,) = node.pids
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if link.exists() and link.readlink() == node.directory:
            return f"{link}/."
    raise AssertionError("the data path does not hold the directory")


@pytest.mark.parametrize(
    ("mode", "way"),
    [
        pytest.param(mode, way, marks=() if (mode, way) == QUICK else pytest.mark.long)
        for mode in ("write", "ordered", "writeback")
        for way in WAYS
    ],
)
async def test_what_fio_wrote_is_on_both_nodes(tmp_path: Path, mode: str, way: str) -> None:
    async with two_nodes(tmp_path, mode=mode, timeout="30s") as (one, two):
        await mirrored(one, two)
        await asyncio.to_thread(fio, os.fspath(one.directory), way)
        for place in (one.directory, real(two), real(one)):
            await asyncio.to_thread(fio, os.fspath(place), way, "--verify_only=1")
