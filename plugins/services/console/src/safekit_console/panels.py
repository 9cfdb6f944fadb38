"""Panels of installed packages on the page of a module. Their code runs in a process beside this one, so that one that
hangs, crashes or eats memory costs its own panel and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pydantic import ValidationError

from safekit_console.outlook import Nodes
from safekit_sdk.panels import GROUP, ModuleFacts, NodeFacts, Panel

ANSWER_S: Final = 2.0
"""With the import of the plugin, at its first time."""
ASIDE_S: Final = 60.0
"""What hung or crashed is not tried again for so long: each try may cost a page ANSWER_S."""
ANSWER_BYTES: Final = 1 << 20
PANELS: Final = 20


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel, or what is wrong with it."""

    name: str
    package: str
    panel: Panel | None = None
    trouble: str = ""


class Panels:
    def __init__(self) -> None:
        self._entries = {one.name: _package(one) for one in list(entry_points(group=GROUP))[:PANELS]}
        self._worker: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._aside: dict[str, tuple[float, str]] = {}

    async def of(self, facts: ModuleFacts) -> list[Shown]:
        """Those that have something to say of this module, and those that are broken."""
        if not self._entries:
            return []
        async with self._turn:
            found = [await self._one(name, facts) for name in sorted(self._entries)]
        return [shown for shown in found if shown.panel or shown.trouble]

    async def _one(self, name: str, facts: ModuleFacts) -> Shown:
        package = self._entries[name]
        until_s, trouble = self._aside.get(name, (0.0, ""))
        if time.monotonic() < until_s:
            return Shown(name, package, trouble=trouble)
        try:
            async with asyncio.timeout(ANSWER_S):
                said = await self._ask(name, facts)
            panel = said.get("panel")
            made = None if panel is None else Panel.model_validate(panel)
            return Shown(name, package, made, str(said.get("error", ""))[:500])
        except asyncio.CancelledError:
            self._kill()
            raise
        except TimeoutError:
            trouble = f"it did not answer within {ANSWER_S:g} s"
        except (OSError, ValueError, ValidationError):
            trouble = "its process ended, or said what is no panel"
        await self.close()
        self._aside[name] = (time.monotonic() + ASIDE_S, trouble)
        return Shown(name, package, trouble=trouble)

    async def _ask(self, name: str, facts: ModuleFacts) -> Mapping[str, Any]:
        worker = self._worker
        if worker is None or worker.returncode is not None:
            worker = self._worker = await _start()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"name": name, "facts": facts.model_dump(mode="json")}).encode() + b"\n")
        await worker.stdin.drain()
        said = json.loads(await worker.stdout.readline())
        if not isinstance(said, dict):
            raise ValueError("not an answer")
        return said

    async def close(self) -> None:
        if (worker := self._kill()) is not None:
            await worker.wait()

    def _kill(self) -> asyncio.subprocess.Process | None:
        """With what a plugin may have started."""
        worker, self._worker = self._worker, None
        if worker is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
        return worker


async def _start() -> asyncio.subprocess.Process:
    """It finds the packages that this process finds, and nothing else of its environment: that holds settings which are
    no plugin's business."""
    found = os.pathsep.join(place for place in sys.path if place)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "safekit_console.panel_worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONPATH": found, "PYTHONDONTWRITEBYTECODE": "1"},
        limit=ANSWER_BYTES,
        start_new_session=True,
    )


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "a package without metadata"


def facts_of(name: str, nodes: Nodes, inspected: Mapping[str, Mapping[str, Mapping[str, str]]]) -> ModuleFacts:
    known = {node: module for node, module in nodes.items() if module is not None}
    return ModuleFacts(
        name=name,
        kind=next((module.kind for module in known.values()), ""),
        nodes={
            node: NodeFacts(
                state=module.state,
                readiness=module.readiness,
                values={value.resource: value.value for value in module.values},
                facts={value.resource: value.facts for value in module.values if value.facts}
                | dict(inspected.get(node, {})),
            )
            for node, module in known.items()
        },
    )
