"""Who starts when many have to start on one node."""

from __future__ import annotations

import asyncio
from pathlib import Path

from safekit_resource_kvm_vm.turns import Turn


def waits(place: Path) -> list[Path]:
    return list(place.glob("waits-*"))


async def test_of_a_hundred_the_important_ones_start_first_and_a_few_at_a_time(tmp_path: Path) -> None:
    started: list[int] = []
    running: set[int] = set()
    most = 0

    async def start(number: int) -> None:
        nonlocal most
        turn = Turn()
        await turn.take(tmp_path, f"vm{number}", priority=number % 10, at_once=4)
        started.append(number)
        running.add(number)
        most = max(most, len(running))
        await asyncio.sleep(0)
        running.remove(number)
        turn.give_back()

    busy = [Turn() for _ in range(4)]
    for turn in busy:
        await turn.take(tmp_path, "earlier", priority=0, at_once=4)
    waiting = [asyncio.create_task(start(number)) for number in range(100)]
    await asyncio.sleep(0)  # each has begun to wait
    assert len(waits(tmp_path)) == 100
    for turn in busy:
        turn.give_back()
    await asyncio.gather(*waiting)
    assert most <= 4
    for at, number in enumerate(started):
        overtaken = [later for later in started[at:] if later % 10 > number % 10]
        assert len(overtaken) < 4, "each of them had a turn of its own"


async def test_a_turn_is_given_back_after_its_time_by_stop_or_by_the_end_of_its_process(tmp_path: Path) -> None:
    first, second = Turn(), Turn()
    await first.take(tmp_path, "vm1", priority=0, at_once=1)
    waiting = asyncio.create_task(second.take(tmp_path, "vm2", priority=0, at_once=1))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.keep(0.01)
    await waiting
    second.give_back()
    await first.take(tmp_path, "vm1", priority=0, at_once=1)
    first.give_back()


async def test_one_that_stops_waiting_is_in_nobodys_way(tmp_path: Path) -> None:
    first, second, third = Turn(), Turn(), Turn()
    await first.take(tmp_path, "vm1", priority=0, at_once=1)
    given_up = asyncio.create_task(second.take(tmp_path, "vm2", priority=9, at_once=1))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    (tmp_path / "waits-0000-of-a-dead-process").touch()
    first.give_back()
    await third.take(tmp_path, "vm3", priority=0, at_once=1)
    third.give_back()
    assert waits(tmp_path) == []
