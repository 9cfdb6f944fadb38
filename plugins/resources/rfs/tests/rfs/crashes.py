"""Rounds of kills and stops under programs that keep what they were told, also in the middle of a resynchronisation.

`python crashes.py --minutes 4 --seed 1 --mode write` says what is wrong, and with which seed and round. A killed node
gets another boot id half of the time, as after a loss of its power: it then doubts what it has."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from rfs import cluster
from rfs.cluster import Node, compared, introduce, mirrored, two_nodes
from rfs.crashing import Postgres, Program, Recorder, Sqlite, postgres_programs
from rfs.test_faults import cut_power
from safekit_sdk import SafekitError

COMPARED_EVERY: Final = 5
Deed = Callable[[], Awaitable[None]]


class Crashes:
    """The engine's part, and the fate's."""

    def __init__(self, one: Node, two: Node, programs: list[Program], chance: random.Random) -> None:
        self._primary, self._other = one, two
        self._programs = programs
        self._chance = chance
        self._epoch = 1
        self.rounds = 0
        self.deed = ""

    async def play(self) -> list[str]:
        """One round; what is wrong afterwards."""
        self.rounds += 1
        deeds: tuple[Deed, ...] = (self._kill_primary, self._kill_other, self._kill_both, self._kill_programs)
        deed = self._chance.choice((*deeds, self._stop_other, self._stop_both, self._swap))
        self.deed = deed.__name__.strip("_")
        await self._everywhere("begin", self._primary)
        await self._a_while(1.5)
        await deed()
        await self._end_programs()
        await self._primary.becomes(link="paired")
        found = [what for program in self._programs for what in await self._missing(program)]
        if self.rounds % COMPARED_EVERY == 0:
            found += await compared(self._primary)
        return found

    async def _missing(self, program: Program) -> list[str]:
        return await asyncio.to_thread(program.missing, self._primary.directory)

    async def _everywhere(self, word: str, node: Node) -> None:
        for program in self._programs:
            await asyncio.to_thread(getattr(program, word), node.directory)

    async def _end_programs(self) -> None:
        for program in self._programs:
            await asyncio.to_thread(program.end)

    async def _a_while(self, most_s: float) -> None:
        await asyncio.sleep(self._chance.uniform(0.02, most_s))

    async def _kill(self, node: Node) -> None:
        await node.kill()
        if self._chance.random() < 0.5:
            cut_power(node)

    # -- what happens

    async def _kill_programs(self) -> None:
        await self._end_programs()

    async def _kill_primary(self) -> None:
        await self._kill(self._primary)
        await self._end_programs()
        self._primary, self._other = self._other, self._primary
        await self._primary.becomes(up_to_date=True)
        self._epoch += 1
        await self._primary.promote(self._epoch)
        await self._everywhere("begin", self._primary)
        await self._return()

    async def _kill_other(self) -> None:
        await self._kill(self._other)
        await self._go_on_alone()
        await self._return()

    async def _kill_both(self) -> None:
        await asyncio.gather(self._kill(self._primary), self._kill(self._other))
        await self._come_back()

    async def _stop_other(self) -> None:
        await self._other.stop(force=self._chance.random() < 0.5)
        await self._go_on_alone()
        await self._return()

    async def _stop_both(self) -> None:
        """The primary's programs are ended first or last, as it happens."""
        if self._chance.random() < 0.5:
            await self._end_programs()
        await asyncio.gather(self._primary.stop(force=True), self._other.stop(force=True))
        await self._come_back()

    async def _swap(self) -> None:
        await self._end_programs()
        await self._primary.demote()
        self._primary, self._other = self._other, self._primary
        self._epoch += 1
        await self._primary.promote(self._epoch, after="PRIM")

    # -- what the engine does

    async def _go_on_alone(self) -> None:
        self._epoch += 1
        await self._primary.stand_alone(self._epoch)
        await self._a_while(0.5)

    async def _come_back(self) -> None:
        """Both: the one that is up to date goes on, the last primary if both are."""
        await self._end_programs()
        for node in (self._primary, self._other):
            await node.start()
        await introduce(self._primary, self._other)
        await introduce(self._primary, self._other)
        await cluster.until(self._is_either_up, "one is up to date")
        if not await self._primary.is_(up_to_date=True):
            self._primary, self._other = self._other, self._primary
        self._epoch += 1
        await self._primary.promote(self._epoch)
        await self._everywhere("begin", self._primary)
        await self._meet_and_pair()

    async def _is_either_up(self) -> bool:
        return await self._primary.is_(up_to_date=True) or await self._other.is_(up_to_date=True)

    async def _return(self) -> None:
        """The other node, which may be killed again while it is compared, or the primary's connection cut."""
        for _ in range(self._chance.randint(0, 2)):
            await self._other.start()
            await self._meet_and_pair(wait=False)
            await self._a_while(0.4)
            if self._chance.random() < 0.3:
                with contextlib.suppress(SafekitError):
                    await self._primary.do("reconnect")
            else:
                await self._kill(self._other)
                await self._go_on_alone()
        await self._other.start()
        await self._meet_and_pair()

    async def _meet_and_pair(self, *, wait: bool = True) -> None:
        await introduce(self._primary, self._other)
        await self._primary.pair(self._epoch)
        if wait:
            await self._other.becomes(up_to_date=True, epoch=self._epoch)


async def crash(place: Path, seed: int, until_s: float, mode: str) -> tuple[int, str]:
    """Rounds that were played, and what was wrong."""
    chance = random.Random(seed)
    programs: list[Program] = [Recorder(), Sqlite(chance.choice(("DELETE", "WAL", "TRUNCATE")))]
    with contextlib.ExitStack() as stack:
        if found := postgres_programs():
            postgres = Postgres(found)
            stack.callback(postgres.close)
            postgres.make(place / "1" / "data")
            programs.append(postgres)
        async with two_nodes(place, mode=mode, checkpoint=chance.choice(("200ms", "30s"))) as (one, two):
            await mirrored(one, two)
            played = Crashes(one, two, programs, chance)
            try:
                while time.monotonic() < until_s:
                    if wrong := await played.play():
                        return played.rounds, f"round {played.rounds}, {played.deed}: {'; '.join(wrong[:20])}"
            except Exception as error:
                return played.rounds, f"round {played.rounds}, {played.deed}: {error!r}"
            finally:
                for program in programs:
                    await asyncio.to_thread(program.end)
            return played.rounds, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--mode", default="write", choices=("write", "ordered", "writeback"))
    parser.add_argument("--patience", type=float, default=60, help="seconds until what has to come must be there")
    given = parser.parse_args()
    cluster.PATIENCE_S = given.patience
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is mounted is unmounted
    with tempfile.TemporaryDirectory(prefix="crashes-", dir="/var/tmp") as place:
        Path(place).chmod(0o755)
        end_s = time.monotonic() + given.minutes * 60
        rounds, wrong = asyncio.run(crash(Path(place), given.seed, end_s, given.mode))
    print(f"seed {given.seed}, {given.mode}: {rounds} rounds; {wrong or 'all there, both equal'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
