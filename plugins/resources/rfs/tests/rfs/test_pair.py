"""Two data paths, a directory each: what is written on one is on the other, through failures and back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safekit_resource_rfs.marks import SLACK_NS

from safekit_sdk import ConfigError

from .cluster import Node, compared, introduce, mirrored, two_nodes, until
from .trees import differences
from .workload import Workload

Pair = tuple[Node, Node]


async def work(node: Node, seed: int, count: int = 150) -> None:
    await asyncio.to_thread(Workload(node.directory, seed).steps, count)


async def handed_over(one: Node, two: Node, epoch: int) -> None:
    """The roles are exchanged in good order."""
    await one.demote()
    await two.promote(epoch, after="PRIM")
    await two.becomes(link="paired")


@contextlib.contextmanager
def small(folder: Path) -> Iterator[Path]:
    """The folder is on a small file system, which the file that is given fills."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        yield folder / "filler"
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_secondary_that_cannot_record_what_it_is_is_not_up_to_date_until_it_can(tmp_path: Path) -> None:
    with small(tmp_path / "2" / "state" / "durable") as filler:
        async with two_nodes(tmp_path, checkpoint="100ms") as (one, two):
            await mirrored(one, two)
            with pytest.raises(OSError, match="No space"):
                filler.write_bytes(bytes(1 << 17))
            writing = asyncio.create_task(work(one, 16, 60))
            await two.becomes(up_to_date=False)
            assert "could not be written" in (await two.status())["failure"]
            filler.unlink()
            await two.becomes(up_to_date=True, failure="")
            await writing
            await equal(one, two)


def read(place: str) -> str:
    return Path(place).read_text()


async def equal(one: Node, two: Node, *, with_holes: bool = True) -> None:
    """Both real directories, after both are stopped, the primary first."""
    for node in sorted((one, two), key=lambda node: node.is_primary, reverse=True):
        await node.stop()
    assert "\n".join(differences(one.directory, two.directory, with_holes=with_holes)) == ""


async def test_both_are_covered_and_nothing_can_be_written_before_one_is_primary(pair: Pair) -> None:
    for node in pair:
        assert [path.name for path in node.directory.iterdir()] == ["README.safekit"]
        with pytest.raises(OSError, match="Read-only"):
            (node.directory / "file").write_text("x")


async def test_what_is_there_is_taken_over_in_place_and_given_back(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, _):
        await one.stop()
        (one.directory / "before").write_text("was there")
        await one.start()
        await one.promote(1)
        assert (one.directory / "before").read_text() == "was there"
        (one.directory / "after").write_text("new")
        await one.stop()
        assert sorted(path.name for path in one.directory.iterdir()) == [".safekit-rfs", "after", "before"]


async def test_what_is_written_is_on_the_other_node(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await work(one, 1)
    await equal(one, two)


async def test_a_first_synchronisation_under_load(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two):
        await one.promote(1)
        await work(one, 2)
        await one.pair(1)
        await work(one, 3)
        await two.becomes(up_to_date=True)
        await work(one, 4, 20)
        await equal(one, two)


async def test_roles_are_exchanged_in_good_order(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await work(one, 5, 60)
    await handed_over(one, two, 2)
    await work(two, 6, 60)
    await handed_over(two, one, 3)
    await work(one, 7, 60)
    await equal(one, two)


async def test_the_other_takes_over_after_a_crash_and_the_old_primary_is_brought_up_to_date(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await work(one, 8)
    await one.kill()
    assert await two.is_(up_to_date=True, epoch=1)
    await two.promote(2)
    await work(two, 9)
    await one.start()
    await introduce(one, two)
    await two.pair(2)
    await one.becomes(up_to_date=True, epoch=2)
    await work(two, 10, 30)
    await equal(one, two)


async def test_a_promotion_that_is_refused_stays_so_and_the_node_can_follow(pair: Pair) -> None:
    one, two = pair
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot become primary"):
            await two.promote(1, after="PRIM")
        assert await two.is_(role="secondary")
        assert [path.name for path in two.directory.iterdir()] == ["README.safekit"]
    two.is_primary = False
    await mirrored(one, two)
    await work(one, 15, 30)
    await equal(one, two)


async def test_a_lost_secondary_holds_what_is_written_until_the_engine_decides(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await two.kill()
    writing = asyncio.create_task(asyncio.to_thread((one.directory / "file").write_text, "held"))
    await one.becomes(holding=True, link="holding")
    assert not writing.done()
    await one.stand_alone(2)
    await asyncio.wait_for(writing, 10)
    await two.start()
    assert not await two.is_(up_to_date=False)
    await introduce(one, two)
    await two.becomes(up_to_date=False)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    await equal(one, two)


async def test_a_short_break_of_the_connection_is_waited_out(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    working = asyncio.create_task(work(one, 11, 400))
    for _ in range(5):
        await asyncio.sleep(0.1)
        await two.do("reconnect")
    await working
    await one.becomes(link="paired")
    await equal(one, two)


async def test_content_on_a_node_that_was_never_synchronised_is_not_overwritten_unasked(tmp_path: Path) -> None:
    async with two_nodes(tmp_path) as (one, two):
        await two.stop()
        (two.directory / "mine").write_text("whose is this?")
        await two.start()
        await one.promote(1)
        (one.directory / "theirs").write_text("the primary's")
        await introduce(one, two)
        await one.pair(1)
        await two.becomes(link="refused")
        assert "never synchronised" in (await two.status())["why_not_connected"]
        await two.do("sync", from_primary=True)
        await two.becomes(up_to_date=True)
        await equal(one, two)


async def test_what_was_carried_by_hand_and_is_equal_is_neither_sent_nor_kept_aside(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, first_sync="overwrite") as (one, two):
        for node in (one, two):
            await node.stop()
            await work(node, 14)
            (node.directory / "large").write_bytes(b"large" * 1_000_000)
        (two.directory / "other").write_text("not the primary's")
        for node in (one, two):
            await node.start()
        await introduce(one, two)
        await mirrored(one, two)
        kept = (await two.do("conflicts"))["kept"]
        assert [one_kept["path"] for one_kept in kept] == ["other"]
        assert (await one.status())["sent_bytes"] < 1_000_000
        await equal(one, two)


async def test_the_loser_of_a_split_keeps_what_it_had_aside(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    (one.directory / "file").write_text("common")
    await one.stop(force=True)
    await two.promote(2)
    (two.directory / "file").write_text("of the second")
    await two.stop(force=True)
    await one.start()
    await one.promote(3)
    (one.directory / "file").write_text("of the first")
    await two.start()
    await introduce(one, two)
    await one.pair(3)
    await two.becomes(up_to_date=True, epoch=3)
    (kept,) = [one_kept for one_kept in (await two.do("conflicts"))["kept"] if one_kept["path"] == "file"]
    place = (await two.do("conflict", set=kept["group"], path="file"))["place"]
    assert read(place) == "of the second"
    with pytest.raises(ConfigError, match="not primary"):
        await two.do("restore", set=kept["group"], path="file", to="file")
    await handed_over(one, two, 4)
    await two.do("restore", set=kept["group"], path="file", to="restored")
    assert (two.directory / "restored").read_text() == "of the second"
    await equal(one, two)


async def test_a_data_path_outlives_whoever_started_it_and_is_found_again(pair: Pair) -> None:
    one, _ = pair
    pids = one.pids
    await one.start()
    assert one.pids == pids
    assert {os.getsid(pid) for pid in pids} != {os.getsid(0)}


async def test_a_dead_mount_is_replaced_at_the_next_start(pair: Pair) -> None:
    one, _ = pair
    await one.promote(1)
    (one.directory / "file").write_text("kept")
    await one.kill()
    with pytest.raises(OSError, match=r"not connected|connection abort"):
        list(one.directory.iterdir())
    await one.start()
    assert [path.name for path in one.directory.iterdir()] == ["README.safekit"]
    await one.promote(2)
    assert (one.directory / "file").read_text() == "kept"


async def test_a_busy_directory_is_not_given_back_but_by_force(pair: Pair) -> None:
    one, _ = pair
    await one.promote(1)
    held = os.open(one.directory, os.O_RDONLY)
    try:
        with pytest.raises(ConfigError):
            await one.stop()
        await one.stop(force=True)
        await until(lambda: not one.pids)
    finally:
        os.close(held)


async def test_what_is_excluded_stays_where_it_is_made(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, exclude=["*.tmp", "cache/*"]) as (one, two):
        await one.promote(1)
        (one.directory / "cache").mkdir()
        for name in ("a.tmp", "cache/b", "kept"):
            (one.directory / name).write_text(name)
        await one.pair(1)
        await two.becomes(up_to_date=True)
        for name in ("c.tmp", "cache/d", "also"):
            (one.directory / name).write_text(name)
        await one.becomes(link="paired")
        await handed_over(one, two, 2)
        assert sorted(path.name for path in two.directory.rglob("*")) == ["also", "cache", "kept"]
        await two.stop()
        await one.stop()
        assert (one.directory / "c.tmp").read_text() == "c.tmp"


async def test_a_comparison_under_load_finds_no_difference_where_there_is_none(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await work(one, 12)
    working = asyncio.create_task(work(one, 13, 300))
    rounds = 0
    while not working.done() or not rounds:
        assert await compared(one) == []
        rounds += 1
    await working
    await equal(one, two)


async def test_what_was_changed_behind_the_mount_is_found_and_copied_again(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, checkpoint="200ms") as nodes:
        await find_and_copy(*nodes)


async def find_and_copy(one: Node, two: Node) -> None:
    await mirrored(one, two)
    for name in ("data", "mode", "same"):
        (one.directory / name).write_text(name * 100_000)
    await one.becomes(marks=0)
    await two.stop()
    (two.directory / "more").mkdir()
    (two.directory / "mode").chmod(0o600)
    damage(two.directory / "data")
    await one.stand_alone(2)
    await two.start()
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    found = await compared(one)
    assert [line.partition(":")[0] for line in found] == ["data", "mode", "more"]
    await one.do("sync", full=False)
    await until(lambda: one.is_(link="paired", resync=None))
    assert await compared(one) == []
    await equal(one, two)


async def test_what_changed_its_attributes_alone_is_not_read_again(pair: Pair) -> None:
    one, two = pair
    await one.promote(1)
    for number in range(100):
        (one.directory / f"{number}").write_text("content")
    await one.pair(1)
    made_s = time.time()
    await one.becomes(link="paired", marks=0)
    await two.kill()
    await one.stand_alone(2)
    await until(lambda: time.time() > made_s + 2 * SLACK_NS / 1e9, "they are older than a clock may be wrong")
    (one.directory / "new").write_text("the only one")
    for number in range(100):
        (one.directory / f"{number}").chmod(0o600)
    await two.start()
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    told = re.search(r"(\d+) files were compared", (await one.status())["event"])
    assert told and int(told[1]) < 10
    await equal(one, two)


async def test_a_few_files_of_a_large_directory_cost_those_files(tmp_path: Path) -> None:
    """Also where they are written anew."""
    async with two_nodes(tmp_path, first_sync="overwrite", checkpoint="100ms") as (one, two):
        for node in (one, two):
            await node.stop()
            for number in range(2000):
                (node.directory / f"{number}").write_text("content")
                os.utime(node.directory / f"{number}", (1e9, 1e9))
            await node.start()
        await introduce(one, two)
        await mirrored(one, two)
        await one.becomes(marks=0)
        await two.kill()
        await one.stand_alone(2)
        for number in range(0, 2000, 500):
            with (one.directory / f"{number}").open("wb" if number % 1000 else "r+b") as file:
                file.write(b"another")
        await two.start()
        await introduce(one, two)
        await one.pair(2)
        await two.becomes(up_to_date=True, epoch=2)
        assert (await one.status())["received_bytes"] < 20_000, "two thousand entries are more than 100,000 bytes"
        await equal(one, two)


def damage(path: Path) -> None:
    """As a disk does it: nothing but the data changes."""
    about = path.stat()
    with path.open("r+b") as file:
        file.seek(50_000)
        file.write(b"!")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
