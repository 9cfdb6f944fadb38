"""Both nodes are stopped at one moment: neither waits for the other, and nobody has to say who goes on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from .cluster import Node, introduce, mirrored, two_nodes
from .test_faults import cut_power
from .test_pair import equal

Pair = tuple[Node, Node]


def append(path: Path, count: int) -> None:
    """As an application that ends writes its last."""
    with path.open("ab", buffering=0) as file:
        for number in range(count):
            file.write(f"{number}\n".encode())
            os.fsync(file.fileno())


async def test_an_application_that_ends_while_the_secondary_stops_waits_for_nobody(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    writing = asyncio.create_task(asyncio.to_thread(append, one.directory / "last", 300))
    await two.stop()
    async with asyncio.timeout(20):
        await writing
    assert await one.is_(link="alone", holding=False)
    await one.stop()
    for node in pair:
        await node.start()
    assert await two.is_(up_to_date=False, standing="doubt")
    assert two.context.values["rfs.uptodate"] == "down"
    await introduce(one, two)
    assert await one.is_(up_to_date=True)
    assert await two.is_(up_to_date=False)
    await one.promote(2)
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    assert (one.directory / "last").read_text().count("\n") == 300
    await equal(one, two)


async def test_both_stopped_at_once_are_both_there_again_without_an_operator(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    append(one.directory / "file", 3)
    await asyncio.gather(one.stop(), two.stop())
    for node in pair:
        await node.start()
    await introduce(one, two)
    assert await one.is_(up_to_date=True)
    await one.promote(2)
    await introduce(one, two)
    await one.pair(2)
    await two.becomes(up_to_date=True, epoch=2)
    await equal(one, two)


async def test_who_left_goes_on_when_the_other_lost_its_memory_and_never_went_on_alone(pair: Pair) -> None:
    """It has all that was acknowledged, also what no disk of the other was asked to keep."""
    one, two = pair
    await mirrored(one, two)
    (one.directory / "file").write_text("acknowledged")
    for pid in one.pids:
        os.kill(pid, signal.SIGSTOP)  # it never hears that the other leaves
    await two.stop()
    await one.kill()
    cut_power(one)
    for node in pair:
        await node.start()
    assert await one.is_(standing="doubt")
    assert await two.is_(standing="doubt")
    await introduce(one, two)
    await two.becomes(up_to_date=True)
    assert await one.is_(up_to_date=False)
    await two.promote(2)
    await introduce(one, two)
    await two.pair(2)
    await one.becomes(up_to_date=True, epoch=2)
    assert (two.directory / "file").read_text() == "acknowledged"
    await equal(one, two)


async def test_a_secondary_that_comes_back_is_up_to_date_again_without_the_engine(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    await two.stop()
    append(one.directory / "meanwhile", 3)
    await two.start()
    await introduce(one, two)
    await two.becomes(up_to_date=True, epoch=1)
    await one.becomes(link="paired")
    await equal(one, two)


async def test_a_primary_that_stops_waits_for_a_secondary_that_hangs_no_longer_than_for_a_lost_one(pair: Pair) -> None:
    one, two = pair
    await mirrored(one, two)
    (one.directory / "file").write_text("x")
    hung = two.pids
    for pid in hung:
        os.kill(pid, signal.SIGSTOP)
    try:
        await one.stop()
    finally:
        for pid in hung:
            os.kill(pid, signal.SIGCONT)
    assert "was silent for 3 s" in (one.context.run_dir / "datapath.log").read_text()


@pytest.mark.long
async def test_a_planned_swap_loses_nothing_because_the_secondary_stood_for_a_moment(tmp_path: Path) -> None:
    """Shorter than its timeout, so it is no lost node. What is not synced is on the way to it."""
    size_bytes = 24 << 20
    async with two_nodes(tmp_path, mode="ordered", timeout="8s") as (one, two):
        await mirrored(one, two)
        stood = two.pids
        for pid in stood:
            os.kill(pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(3.0, lambda: [os.kill(pid, signal.SIGCONT) for pid in stood])
        await asyncio.to_thread((one.directory / "file").write_bytes, bytes(size_bytes))
        await one.demote()
        await two.promote(2, after="PRIM")
        assert (two.directory / "file").stat().st_size == size_bytes
