"""Runs checkers: each in a task of its own, on monotonic time, with its own time limit and hysteresis."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

from safekit.engine.commands import NOT_CHECKED
from safekit.host.instances import Check, Step
from safekit_sdk import Checker, CheckerConfig, Scope, Verdict
from safekit_sdk.hysteresis import Hysteresis

OnVerdict = Callable[[str, Verdict], None]
CANCELLATIONS: Final = 8
CANCEL_S: Final = 0.25


class Watching:
    """The checkers and self-watching resources that are on at the moment."""

    def __init__(self, checks: list[Check], on_verdict: OnVerdict, on_trouble: Callable[[str, str], None]) -> None:
        self._checks = checks
        self._on_verdict = on_verdict
        self._on_trouble = on_trouble
        self._running: dict[str, tuple[Scope, list[asyncio.Task[None]]]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def replace(self, checks: list[Check]) -> None:
        """Other checkers from now on; all are off."""
        for check in self._checks:
            self._spawn_close(check)
        self._checks = checks

    def _spawn_close(self, check: Check) -> None:
        task = asyncio.create_task(_close(check))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def start(self, scope: Scope, steps: list[Step]) -> None:
        """Turn on the checkers of this scope and the watches of these started resources."""
        for check in self._checks:
            if check.scope == scope:
                self._spawn(check.name, scope, self._works(check))
        for step in steps:
            if step.resource.watches():
                self._spawn(step.name, scope, [self._watch(step.name, step.resource.watch, None)])

    def _works(self, check: Check) -> list[Coroutine[Any, Any, None]]:
        config: CheckerConfig = check.checker.config
        hysteresis = Hysteresis(config.rise, config.fall)
        works: list[Coroutine[Any, Any, None]] = []
        if check.checker.watches():
            works.append(self._watch(check.name, check.checker.watch, hysteresis, config.start_after.seconds))
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
        names = [name for name, (scope, _) in self._running.items() if scope in scopes]
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
        await asyncio.sleep(config.start_after.seconds)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._say(name, await self._look(name, checker, config.timeout.seconds), hysteresis)
            due = max(due + config.interval.seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _look(self, name: str, checker: Checker[Any], timeout_s: float) -> Verdict:
        try:
            return await asyncio.wait_for(checker.check(), timeout_s)
        except TimeoutError:
            trouble = f"the check took longer than {timeout_s:g} s"
        except Exception as error:  # a plugin's door
            trouble = f"the check failed: {type(error).__name__}: {error}"
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
            except Exception as error:  # a plugin's door
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
        if said is not None:
            self._on_verdict(name, said)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
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
    with contextlib.suppress(Exception):  # a plugin's door; it is going anyway
        await asyncio.wait_for(check.checker.close(), 2.0)
