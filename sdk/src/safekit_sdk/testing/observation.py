"""What a checker says of a world that changes: observations in, verdicts out, with rise and fall applied.

def appears(): path.touch()
def vanishes(): path.unlink()
seen = await observe(AgeChecker, {"path": str(path), "fall": 2}, [appears, vanishes, vanishes_still], tmp_path)
assert [step.health for step in seen] == ["up", "up", "down"]
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safekit_sdk.checker import Checker
from safekit_sdk.config import Config
from safekit_sdk.errors import PluginError
from safekit_sdk.hysteresis import Hysteresis
from safekit_sdk.testing.context import a_context
from safekit_sdk.verdict import Health, Verdict

World = Callable[[], object]
"""Changes what the checker looks at, before the next check; it may be async."""


@dataclass(frozen=True, slots=True)
class Step:
    """One check of a sequence."""

    answer: Verdict
    """What the checker answered; `unknown` for an exception or a time-out, as the host counts them."""
    said: Verdict | None
    """What the rules hear: the verdict, when this answer changed the health."""
    health: Health
    """The health after it."""


async def look(checker: Checker[Any]) -> Verdict:
    """One check as the host makes it: within `timeout`, a failure is a verdict unknown."""
    limit_s = checker.config.timeout.seconds
    try:
        async with asyncio.timeout(limit_s):
            return await checker.check()
    except TimeoutError:
        return Verdict.unknown(f"the check took longer than {limit_s:g} s")
    except Exception as error:
        return Verdict.unknown(f"the check failed: {type(error).__name__}: {error}")


async def observe(
    plugin: type[Checker[Any]], config: Config | Mapping[str, Any], worlds: Iterable[World], tmp_path: Path
) -> list[Step]:
    """One checker looks at each world in turn. PluginError for a checker that only watches."""
    if not plugin.checks():
        raise PluginError(f"{plugin.__name__} has no check", hint="test its watch with CheckerConformance")
    model: Any = config if isinstance(config, Config) else plugin.config_model.model_validate(config)
    checker = plugin(model, a_context(tmp_path, name=plugin.ident(model)))
    hysteresis = Hysteresis(model.rise, model.fall)
    steps = []
    try:
        for world in worlds:
            change = world()
            if inspect.isawaitable(change):
                await change
            answer = await look(checker)
            steps.append(Step(answer, hysteresis.feed(answer), hysteresis.standing.health))
    finally:
        await checker.close()
    return steps


async def timeline(checker: Checker[Any], for_s: float) -> list[tuple[float, Verdict]]:
    """Run the checker's schedule as the host does (start_after, interval, timeout, rise, fall) for a time, and return
    what it said and when, in seconds from the beginning. Meant for `VirtualClock.run`."""
    loop, config = asyncio.get_running_loop(), checker.config
    began_s = loop.time()
    hysteresis = Hysteresis(config.rise, config.fall)
    said: list[tuple[float, Verdict]] = []
    due_s = began_s + config.start_after.seconds
    while due_s <= began_s + for_s:
        await asyncio.sleep(due_s - loop.time())
        verdict = hysteresis.feed(await look(checker))
        if verdict is not None:
            said.append((round(loop.time() - began_s, 9), verdict))
        due_s = max(due_s + config.interval.seconds, loop.time())
    return said
