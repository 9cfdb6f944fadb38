"""Virtual time: nothing here waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safekit_sdk import Health
from safekit_sdk.testing import Fakes, VirtualClock, a_context, timeline
from safekit_sdk.testing.fakes import FakeChecker, FakeCheckerConfig


def test_a_year_passes_at_once() -> None:
    clock = VirtualClock()
    clock.run(asyncio.sleep(365 * 86400))
    assert clock.now_s == 365 * 86400


@given(st.lists(st.integers(min_value=0, max_value=5), max_size=30))
def test_sleepers_are_woken_by_time_and_then_in_the_order_they_lay_down(delays: list[int]) -> None:
    woken: list[tuple[float, int]] = []
    clock = VirtualClock()

    async def sleeper(number: int, delay_s: int) -> None:
        await asyncio.sleep(delay_s or 1e-9)
        woken.append((round(clock.now_s), number))

    async def main() -> None:
        await asyncio.gather(*(sleeper(number, delay_s) for number, delay_s in enumerate(delays)))

    clock.run(main())
    assert woken == sorted((delay_s, number) for number, delay_s in enumerate(delays))


def test_advancing_performs_all_that_is_due_its_end_included() -> None:
    clock = VirtualClock()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(0.1)
            ticks.append(clock.now_s)

    async def main() -> None:
        task = asyncio.create_task(tick())
        await clock.advance(0.5)
        assert ticks == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
        task.cancel()

    clock.run(main())


def test_a_time_limit_is_by_the_clock_and_a_cancelled_sleeper_is_not_woken() -> None:
    clock = VirtualClock()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(3600), 5)
        assert clock.now_s == 5
        async with asyncio.timeout(10):
            await asyncio.sleep(1)
        await asyncio.sleep(1)
        assert clock.now_s == 7

    clock.run(main())


def test_settling_lets_everything_else_run_and_no_time_pass() -> None:
    clock = VirtualClock()
    done: list[int] = []

    async def chain() -> None:
        for number in range(100):
            await asyncio.sleep(0)
            done.append(number)

    async def main() -> None:
        task = asyncio.create_task(chain())
        await clock.settle()
        assert len(done) == 100
        assert (task.done(), clock.now_s) == (True, 0.0)

    clock.run(main())


def test_tasks_that_talk_through_sockets_are_waited_for() -> None:
    async def main() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readexactly(4))
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"ping")
            try:
                return await reader.read()
            finally:
                writer.close()

    assert VirtualClock().run(main()) == b"ping"


def test_what_virtual_time_cannot_end_is_an_error_and_no_hang() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="every task waits"):
        VirtualClock().run(forever())


def test_threads_are_refused() -> None:
    with pytest.raises(RuntimeError, match="does not wait for threads"):
        VirtualClock().run(asyncio.to_thread(print))


# -- a checker's schedule


def test_a_checker_s_schedule_says_its_verdicts_at_their_times(tmp_path: Path) -> None:
    fakes, clock = Fakes(tmp_path), VirtualClock()
    settings = {"interval": "10s", "start_after": "5s", "fall": 3, "rise": 2, "directory": tmp_path}
    checker = FakeChecker(FakeCheckerConfig.model_validate(settings), a_context(tmp_path))

    async def main() -> list[tuple[float, Health]]:
        fakes.say("default", "up")
        asyncio.get_running_loop().call_at(42, fakes.say, "default", "down")
        asyncio.get_running_loop().call_at(100, fakes.say, "default", "up")
        return [(at_s, verdict.health) for at_s, verdict in await timeline(checker, 200)]

    assert clock.run(main()) == [(15, Health.UP), (65, Health.DOWN), (115, Health.UP)]
    assert clock.now_s <= 205


def test_a_hanging_check_is_unknown_after_its_time_limit_and_the_next_one_comes_when_due(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path)
    settings = {"interval": "10s", "timeout": "4s", "directory": tmp_path}
    checker = FakeChecker(FakeCheckerConfig.model_validate(settings), a_context(tmp_path))

    async def main() -> list[tuple[float, str, str]]:
        fakes.say("default", "hang")
        asyncio.get_running_loop().call_at(12, fakes.say, "default", "up", "well")
        return [(at_s, verdict.health.value, verdict.reason) for at_s, verdict in await timeline(checker, 30)]

    said = VirtualClock().run(main())
    assert said == [(4, "unknown", "the check took longer than 4 s"), (20, "up", "well")]
