"""Full disks, limits of the connection, and modes: what is promised in each holds."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from safekit_resource_rfs.storage import Storage

from safekit_sdk import ConfigError

from .cluster import Node, introduce, mirrored, two_nodes
from .test_pair import compared, equal, handed_over, work

SMALL_BYTES = 24 << 20


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A file system of its own, in memory."""
    directory.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path) -> None:
    """Until the disk is full, and a little over it."""
    with (directory / "big").open("wb", buffering=0) as file:
        for _ in range(2 * SMALL_BYTES >> 20):
            file.write(b"x" * (1 << 20))


async def test_a_full_disk_of_the_primary_is_an_error_of_the_application_and_both_stay_equal(tmp_path: Path) -> None:
    with small_disk(tmp_path / "1" / "data"):
        async with two_nodes(tmp_path) as (one, two):
            await mirrored(one, two)
            with pytest.raises(OSError) as full:
                await asyncio.to_thread(fill, one.directory)
            assert full.value.errno == errno.ENOSPC
            assert await compared(one) == []
            (one.directory / "big").unlink()
            await work(one, 31, 40)
            await equal(one, two)


async def test_a_full_disk_of_the_secondary_makes_it_out_of_date_and_costs_the_primary_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "2" / "data"):
        async with two_nodes(tmp_path) as (one, two):
            await mirrored(one, two)
            writing = asyncio.create_task(asyncio.to_thread(fill, one.directory))
            await two.becomes(up_to_date=False)
            await one.becomes(holding=True)
            await one.stand_alone(2)
            await asyncio.wait_for(writing, 20)
            (one.directory / "big").unlink()
            await work(one, 32, 40)
            await one.pair(2)
            await two.becomes(up_to_date=True, epoch=2)
            await equal(one, two, with_holes=False)  # what is reserved on the primary found no room there


@pytest.mark.long
async def test_a_secondary_that_hangs_is_left_behind_and_compared_when_it_wakes(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two):
        await mirrored(one, two)
        await work(one, 35, 40)
        for pid in two.pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            writing = asyncio.create_task(work(one, 36, 100))
            await one.becomes(holding=True)
            await one.stand_alone(2)
            await writing
        finally:
            for pid in two.pids:
                os.kill(pid, signal.SIGCONT)
        await one.pair(2)
        await two.becomes(up_to_date=True, epoch=2)
        await equal(one, two)


async def test_a_primary_that_cannot_write_its_marks_modifies_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "1" / "data" / "old").mkdir(parents=True)
    async with two_nodes(tmp_path) as (one, two):
        await mirrored(one, two)
        for pid in one.pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        for path in ("old/new", "new"):
            with pytest.raises(OSError) as failed:
                await asyncio.to_thread((one.directory / path).mkdir)
            assert failed.value.errno == errno.EIO
        assert "durable" in (await one.status())["failure"]
        async for verdict in one.resource().watch():
            assert verdict.health == "down"
            break
        with pytest.raises(ConfigError, match="stand alone"):
            await one.stand_alone(2)
        await one.kill()
        await two.promote(2)
        assert [path.name for path in two.directory.iterdir()] == ["old"]
        assert list((two.directory / "old").iterdir()) == []


@pytest.mark.parametrize("mode", ["ordered", "writeback"])
async def test_the_other_modes_leave_both_equal(tmp_path: Path, mode: str) -> None:
    async with two_nodes(tmp_path, mode=mode) as (one, two):
        await mirrored(one, two)
        await work(one, 33)
        await handed_over(one, two, 2)
        await work(two, 34)
        await equal(one, two)


async def test_a_resynchronisation_keeps_to_its_bandwidth(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, bandwidth="4M") as (one, two):
        await one.promote(1)
        await asyncio.to_thread((one.directory / "file").write_bytes, b"y" * (12 << 20))
        await one.pair(1)
        begin_s = asyncio.get_running_loop().time()
        await two.becomes(up_to_date=True)
        assert asyncio.get_running_loop().time() - begin_s > 1.5
        await equal(one, two)


async def test_a_node_of_another_pair_is_not_let_in(tmp_path: Path) -> None:
    async with two_nodes(tmp_path / "a") as (one, two), two_nodes(tmp_path / "b") as (stranger, _):
        await mirrored(one, two)
        await stranger.meet(one)
        await stranger.becomes(connected=False)
        await until_refused(one)
        assert await one.is_(link="paired")
        await introduce(one, two)
        assert await one.is_(link="paired")


async def until_refused(node: Node) -> None:
    async with asyncio.timeout(10):
        while not (await node.status())["refused_connections"]:  # noqa: ASYNC110 - the other process counts
            await asyncio.sleep(0.05)


def cut_power(node: Node) -> None:
    """What a reboot leaves: another boot id."""
    storage = Storage(node.context.state_dir / "durable")
    durable, _ = storage.load()
    storage.store(replace(durable, boot="another"))
    storage.close()


async def test_after_a_power_cut_of_both_the_last_primary_goes_on_and_no_node_does_alone(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two):
        await mirrored(one, two)
        (one.directory / "file").write_text("acknowledged")
        for node in (one, two):
            await node.kill()
            cut_power(node)
        await one.start()
        assert (await one.status())["standing"] == "doubt"
        assert one.context.values["rfs.uptodate"] == "down"
        await two.start()
        await introduce(one, two)
        await one.becomes(up_to_date=True)
        assert await two.is_(up_to_date=False)
        await one.promote(2)
        await introduce(one, two)
        await one.pair(2)
        await two.becomes(up_to_date=True, epoch=2)
        assert (one.directory / "file").read_text() == "acknowledged"
        await equal(one, two)


async def test_after_a_power_cut_of_one_the_other_has_it_all(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two):
        await mirrored(one, two)
        await two.meet(one)  # a watch would have said by now that it is up to date
        await one.kill()
        cut_power(one)
        await one.start()
        await introduce(one, two)
        assert await one.is_(standing="doubt", up_to_date=False)
        assert await two.is_(standing="up", up_to_date=True)
