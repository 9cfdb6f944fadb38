"""Runs checkers: each in a task of its own, on monotonic time, with its own time limit and hysteresis.

A check that hangs is cancelled and counts as unknown. One that does not even heed that is left to itself, and no other
look of its checker is begun before it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

from safekit.engine.commands import NOT_CHECKED
from safekit.host.instances import Check, Step
from safekit.plugins import RAISED
from safekit_sdk import Checker, CheckerConfig, PluginError, Scope, Verdict
from safekit_sdk.hysteresis import Hysteresis

OnVerdict = Callable[[str, Verdict], None]
CANCELLATIONS: Final = 8
CANCEL_S: Final = 0.25
MEASURED_S: Final = 1.0
"""The shortest time between two answers of a checker that are told although its health stays."""
SPREAD_MAX_S: Final = 0.25
"""The longest that a first look is put off, so that the checkers of many modules do not all look at once."""


class Watching:
    """The checkers and self-watching resources that are on at the moment."""

    def __init__(
        self,
        checks: list[Check],
        on_verdict: OnVerdict,
        on_trouble: Callable[[str, str], None],
        on_measured: OnVerdict = lambda *_: None,
    ) -> None:
        self._checks = checks
        self._on_verdict = on_verdict
        self._on_trouble = on_trouble
        self._on_measured = on_measured
        self._measured_s: dict[str, float] = {}
        self._running: dict[str, tuple[Scope, list[asyncio.Task[None]]]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._looks: dict[str, asyncio.Task[Verdict]] = {}
        """The last look of each checker."""

    async def replace(self, checks: list[Check], goes_on: Callable[[str], bool]) -> None:
        """Other checkers from now on. Those that are the same stay on, with what they know, where `goes_on` says so of
        their name; it is asked of the watches of resources too."""
        same = {id(new): old for new in checks if (old := next((o for o in self._checks if o.same_as(new)), None))}
        kept = {check.name for check in same.values()}
        gone = [check for check in self._checks if check.name not in kept]
        others = {check.name for check in gone}
        await self._turn_off([name for name in self._running if name in others or not goes_on(name)])
        for check in gone:
            self._spawn_close(check)
        self._checks = [same.get(id(check), check) for check in checks]

    def _spawn_close(self, check: Check) -> None:
        task = asyncio.create_task(_close(check))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def start(self, scope: Scope, steps: list[Step]) -> None:
        """Turn on the checkers of this scope and the watches of these started resources."""
        for check in self._checks:
            if check.scope == scope:
                self._spawn(check.name, scope, self._works(check))
        self.watch(scope, steps)

    def watch(self, scope: Scope, steps: list[Step]) -> None:
        """Turn on the watches of these started resources, which are turned off with the scope."""
        for step in steps:
            if step.resource.watches():
                self._spawn(step.name, scope, [self._watch(step.name, step.resource.watch, None)])

    def _works(self, check: Check) -> list[Coroutine[Any, Any, None]]:
        config: CheckerConfig = check.checker.config
        hysteresis = Hysteresis(config.rise, config.fall)
        works: list[Coroutine[Any, Any, None]] = []
        if check.checker.watches():
            works.append(self._watch(check.name, check.checker.watch, hysteresis, _begin_s(config)))
        if check.checker.checks():
            works.append(self._poll(check.name, check.checker, config, hysteresis))
        return works

    def _spawn(self, name: str, scope: Scope, works: list[Coroutine[Any, Any, None]]) -> None:
        if name in self._running:
            for work in works:
                work.close()
            return
        self._running[name] = (scope, [asyncio.create_task(work) for work in works])

    async def stop(self, *scopes: Scope) -> None:
        """Turn off those of the scopes; each says init, so that no old verdict outlives its checker."""
        await self._turn_off([name for name, (scope, _) in self._running.items() if scope in scopes])

    async def _turn_off(self, names: list[str]) -> None:
        tasks = [task for name in names for task in self._running.pop(name)[1]]
        for name in names:
            self._on_verdict(name, Verdict.init(NOT_CHECKED))
        await _end(tasks)

    async def stop_all(self) -> None:
        await self.stop("pre", "prim", "second", "sec", "both")

    async def close(self) -> None:
        await self.stop_all()
        for check in self._checks:
            await _close(check)

    async def _poll(self, name: str, checker: Checker[Any], config: CheckerConfig, hysteresis: Hysteresis) -> None:
        """The second look comes early by a part of the interval that chance decides: from then on checkers that began
        together look at different times."""
        await asyncio.sleep(_begin_s(config))
        loop = asyncio.get_running_loop()
        due = loop.time() - random.uniform(0.0, 0.5) * config.interval.seconds
        while True:
            self._say(name, await self._look(name, checker, config.timeout.seconds), hysteresis)
            due = max(due + config.interval.seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _look(self, name: str, checker: Checker[Any], timeout_s: float) -> Verdict:
        before = self._looks.get(name)
        if before is not None and not before.done():
            return Verdict.unknown("an earlier check hangs, and does not end when it is told to")
        look = self._looks[name] = asyncio.create_task(_checked(checker))
        look.add_done_callback(_heard)
        try:
            await asyncio.wait({look}, timeout=timeout_s)
            if look.done() and not look.cancelled():
                return look.result()
            trouble = "the check cancelled itself" if look.done() else f"the check took longer than {timeout_s:g} s"
        except RAISED as error:  # a plugin's door
            trouble = f"the check failed: {type(error).__name__}: {error}"
        finally:
            await _end([look])
        self._on_trouble(name, trouble)
        return Verdict.unknown(trouble)

    async def _watch(
        self,
        name: str,
        watch: Callable[[], AsyncIterator[Verdict]],
        hysteresis: Hysteresis | None,
        start_after_s: float = 0.0,
    ) -> None:
        """A watch that ends or raises is begun again, slower each time, at most once a minute."""
        await asyncio.sleep(start_after_s)
        pause_s = 0.5
        while True:
            try:
                async for verdict in watch():
                    self._say(name, verdict, hysteresis)
                trouble = "the watch ended"
            except RAISED as error:  # a plugin's door
                trouble = f"the watch failed: {type(error).__name__}: {error}"
            self._on_trouble(name, trouble)
            self._say(name, Verdict.unknown(trouble), hysteresis)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 60.0)

    def _say(self, name: str, verdict: Verdict, hysteresis: Hysteresis | None) -> None:
        """Nothing of a checker that was turned off and has not ended yet."""
        if name not in self._running:
            return
        said = verdict if hysteresis is None else hysteresis.feed(verdict)
        now_s = asyncio.get_running_loop().time()
        if said is not None:
            self._on_verdict(name, said)
        elif now_s >= self._measured_s.get(name, now_s) + MEASURED_S:
            self._on_measured(name, verdict)
        else:
            return
        self._measured_s[name] = now_s


def _begin_s(config: CheckerConfig) -> float:
    return config.start_after.seconds + random.uniform(0.0, min(config.interval.seconds / 20, SPREAD_MAX_S))


async def _checked(checker: Checker[Any]) -> Verdict:
    """An exit that leaves a task would end the loop."""
    try:
        return await checker.check()
    except (SystemExit, KeyboardInterrupt) as error:
        raise PluginError(f"it tried to end the process: {type(error).__name__}: {error}") from error


def _heard(look: asyncio.Task[Verdict]) -> None:
    """What one that was left to itself raises at its end is nobody's business."""
    if not look.cancelled():
        look.exception()


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """A cancellation can be lost, by a plugin or by asyncio's own wait_for; so it is said again. What does not end
    all the same is left to itself."""
    for _ in range(CANCELLATIONS):
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, rest = await asyncio.wait(tasks, timeout=CANCEL_S)
        tasks = list(rest)


async def _close(check: Check) -> None:
    with contextlib.suppress(*RAISED):  # a plugin's door; it is going anyway
        async with asyncio.timeout(2.0):
            await check.checker.close()
