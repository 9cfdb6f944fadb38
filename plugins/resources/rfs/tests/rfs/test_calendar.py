"""Comparisons and resynchronisations by the calendar, on two nodes."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs.standing import VERIFIED

from .cluster import Node, compared, introduce, mirrored, two_nodes, until

NEW_YEAR = "0 0 1 1 *"


@contextlib.contextmanager
def behind(node: Node, tmp_path: Path) -> Iterator[Path]:
    """The real directory: what is mounted over it is not bound."""
    place = tmp_path / "behind"
    place.mkdir()
    subprocess.run(["mount", "--bind", str(node.directory.parent), str(place)], check=True)
    try:
        yield place / node.directory.name
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def lose(one: Node, two: Node, epoch: int) -> None:
    """The data path of `two` dies, `one` goes on alone, and `two` comes back."""
    await two.kill()
    await one.becomes(link="holding")
    await one.stand_alone(epoch)
    await two.start()
    await introduce(one, two)


async def test_a_lost_node_waits_for_its_time_and_says_so(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, sync_at=NEW_YEAR) as (one, two):
        await mirrored(one, two)  # the first time at once
        await lose(one, two, 2)
        (one.directory / "file").write_text("written alone")
        await introduce(one, two)
        await one.becomes(link="alone", connected=False)
        for node, whose in ((one, "the other node is not"), (two, "this node is not")):
            assert f"-01-01 00:00 (sync_at): {whose} up to date" in (await node.status())["waits"]
        await one.do("sync")
        await one.pair(2)
        await two.becomes(up_to_date=True, waits="")
        await one.becomes(link="paired", waits="")
        assert await compared(one) == []


async def test_a_break_that_nobody_stood_alone_for_is_made_good_at_once(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, sync_at=NEW_YEAR) as (one, two):
        await mirrored(one, two)
        assert (await one.do("reconnect"))["link"] == "holding"
        await one.becomes(link="paired", waits="")


async def test_a_new_primary_waits_before_it_fills_the_failed_one(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, sync_at=NEW_YEAR) as (one, two):
        await mirrored(one, two)
        await one.kill()
        await two.promote(2)
        await one.start()
        await introduce(one, two)
        await two.becomes(link="alone")
        assert "sync_at" in (await two.status())["waits"]
        await two.do("sync")
        await two.pair(2)
        await one.becomes(up_to_date=True)


async def test_a_swap_does_not_wait(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, sync_at=NEW_YEAR) as (one, two):
        await mirrored(one, two)
        await one.demote()
        await two.promote(2, after="PRIM")
        await two.becomes(link="paired", waits="")


async def test_who_never_came_back_after_a_swap_waits(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, sync_at=NEW_YEAR) as (one, two):
        await mirrored(one, two)
        await one.demote()
        await one.kill()
        await two.promote(2, after="PRIM")
        await two.promote(3)
        await one.start()
        await introduce(one, two)
        assert "sync_at" in (await two.status())["waits"]


async def test_what_a_comparison_found_is_a_value_and_in_the_log(pair: tuple[Node, Node], tmp_path: Path) -> None:
    one, two = pair
    await mirrored(one, two)
    (one.directory / "file").write_text("same")
    resource = one.resource()

    async def watch() -> None:
        async for _ in resource.watch():
            pass

    watching = asyncio.create_task(watch())
    try:
        await until(lambda: one.is_(verified=None))
        assert VERIFIED not in one.context.values
        assert await compared(one) == []
        await until(lambda: one.context.values.get(VERIFIED) == "up")
        with behind(two, tmp_path) as real:
            (real / "file").write_text("evil")
        assert await compared(one)
        await until(lambda: one.context.values.get(VERIFIED) == "down")
        assert "1 of 1 files differ" in one.context.lines[-1]
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@pytest.mark.long
async def test_a_primary_compares_by_itself(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, verify_at="* * * * *") as (one, two):
        await mirrored(one, two)

        async def is_verified() -> bool:
            return (await one.status())["verified"] is not None

        await until(is_verified, patience_s=90)
        assert (await two.status())["verified"] is None
