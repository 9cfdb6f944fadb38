"""The operations behind `safekit doctor`: what this node says of itself, and the same of every node with its clock."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import Field, ValidationError

from safekit import __version__, engine
from safekit.config.compiled import CompiledModule
from safekit.daemon.machine import machine_facts
from safekit.daemon.module_facts import is_edited, module_facts
from safekit.daemon.operations import Args, Name, NoArgs, Operations, Power
from safekit.daemon.past import NO_PAST, Past, read_past
from safekit.diagnosis import diagnose
from safekit.diagnosis.facts import (
    ClockFacts,
    ClusterFacts,
    MachineFacts,
    NodeAnswer,
    NodeFacts,
    PeerFacts,
    ProcessFacts,
)
from safekit_sdk import ConfigError, PeerError, SafekitError

if TYPE_CHECKING:
    from safekit.daemon.daemon import Daemon

T = TypeVar("T")
NO_NAMES: Final[set[str]] = set()
DISK_S: Final = 4.0
"""How long a disk may take for one thing that is asked of it."""
PREFLIGHT_S: Final = 8.0
"""How long the plugins of all modules together are asked what the machine lacks."""
PREFLIGHTS: Final = 8
"""So many modules are looked at when none is named: each takes a process, and about a second of a processor."""
ABREAST: Final = 2
CLOCK_S: Final = 3.0
CLOCKS: Final = 3
"""The shortest of so many round trips measures the clock best."""


class ExamineArgs(Args):
    module: Name | None = None
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 20.0


class FactsArgs(Args):
    module: Name | None = None


class Examination:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def register(self, operations: Operations) -> None:
        operations.add("clock", NoArgs, self.clock, peers=True)
        operations.add("facts", FactsArgs, self.facts, peers=True)
        operations.add("diagnose", ExamineArgs, self.diagnose, peers=False, needs=Power.LOOK)

    async def clock(self, args: NoArgs) -> float:
        """Unix time."""
        del args
        return time.time()

    async def diagnose(self, args: ExamineArgs) -> dict[str, Any]:
        """What `safekit doctor` says of every node."""
        return diagnose(await self._examine(args)).model_dump(mode="json")

    async def _examine(self, args: ExamineArgs) -> ClusterFacts:
        """Every node's facts, or why there are none."""
        own = self._daemon.configuration
        self._refuse_unknown(args.module)
        asked_wall = time.time()
        names = [node.name for node in own.cluster.nodes]
        answers = await asyncio.gather(*[self._answer(node, args) for node in names])
        return ClusterFacts(asker=own.node, asked_wall=asked_wall, nodes=tuple(answers), module=args.module or "")

    def _refuse_unknown(self, module: str | None) -> None:
        known = self._daemon.configuration.store.modules()
        if module is not None and module not in known:
            raise ConfigError(
                f"there is no module '{module}' on this node", hint=f"there are: {', '.join(known) or 'none'}"
            )

    async def _answer(self, node: str, args: ExamineArgs) -> NodeAnswer:
        try:
            async with asyncio.timeout(args.timeout_s):
                return await self._asked(node, args)
        except ValidationError:
            return NodeAnswer(node=node, trouble="its answer is not understood; does it run another version?")
        except TimeoutError:
            return NodeAnswer(node=node, trouble=f"no answer within {args.timeout_s:g} s")
        except SafekitError as error:
            silent = isinstance(error, PeerError)
            return NodeAnswer(node=node, trouble="" if silent else error.message[:4000])

    async def _asked(self, node: str, args: ExamineArgs) -> NodeAnswer:
        asked = FactsArgs(module=args.module)
        if node == self._daemon.configuration.node:
            return NodeAnswer(node=node, facts=await self.facts_of(asked), clock=await self.clock_of(node))
        clock = await self.clock_of(node)
        answer = await self._daemon.bus.call(node, "facts", asked.model_dump(), args.timeout_s)
        return NodeAnswer(node=node, facts=NodeFacts.model_validate(answer), clock=clock)

    async def clock_of(self, node: str) -> ClockFacts:
        if node == self._daemon.configuration.node:
            return ClockFacts(ahead_s=0.0, error_s=0.0)
        return min([await self._measure(node) for _ in range(CLOCKS)], key=lambda one: one.error_s)

    async def _measure(self, node: str) -> ClockFacts:
        """Its answer was made between the call and its return, in the middle if both ways took as long."""
        wall, began_s = time.time(), time.monotonic()
        there = float(await self._daemon.bus.call(node, "clock", {}, CLOCK_S))
        trip_s = time.monotonic() - began_s
        return ClockFacts(ahead_s=there - (wall + trip_s / 2), error_s=trip_s / 2)

    async def facts(self, args: FactsArgs) -> dict[str, Any]:
        return (await self.facts_of(args)).model_dump(mode="json")

    async def facts_of(self, args: FactsArgs) -> NodeFacts:
        """This node's."""
        daemon, own = self._daemon, self._daemon.configuration
        spec = daemon.runtime.node.membership.spec
        installed = [name for name in sorted(own.modules) if args.module in (None, name)]
        disk = _Disk()
        past = await disk.give("history", lambda: self._past(spec.lost_after_s), NO_PAST)
        edits = await disk.give("files", lambda: {name for name in installed if is_edited(own.store, name)}, NO_NAMES)
        found = [module_facts(daemon, name, edited=name in edits) for name in installed]
        return NodeFacts(
            node=own.node,
            machine=await self._machine(disk, installed, everything=args.module is not None),
            process=self._process(),
            revision=own.cluster.revision,
            networks=tuple(sorted(listening.network for listening in own.listening())),
            lost_after_s=spec.lost_after_s,
            interval_s=spec.heartbeat_interval_s,
            peers=self._peers(past),
            beats_s=past.beats_s,
            modules=tuple(module for module in found if module is not None),
            broken=tuple(name for name in own.store.modules() if name not in own.modules),
            alarms=tuple(alarm for alarm in past.alarms if args.module in (None, alarm.module) or not alarm.module),
            unread=tuple(disk.failed),
        )

    async def _machine(self, disk: _Disk, names: list[str], *, everything: bool) -> MachineFacts:
        own = self._daemon.configuration
        parts = [own.modules[name].compiled for name in names if own.node in own.modules[name].compiled.nodes]
        settings = self._daemon.settings
        machine = await disk.give("machine", lambda: machine_facts(settings, parts), MachineFacts())
        lacks = await self._lacks(parts, everything=everything)
        unchecked = tuple(module.name for module in parts if module.name not in lacks)
        found = {name: lacking for name, lacking in lacks.items() if lacking}
        return machine.model_copy(update={"lacks": found, "unchecked": unchecked})

    def _past(self, lost_after_s: float) -> Past:
        self._daemon.history.flush(2.0)
        path = self._daemon.settings.var / "history.db"
        return read_past(self._daemon.history, path, self._daemon.recorder.incarnation, lost_after_s)

    def _process(self) -> ProcessFacts:
        policy = os.sched_getscheduler(os.getpid()) & ~os.SCHED_RESET_ON_FORK
        return ProcessFacts(
            pid=os.getpid(),
            version=__version__,
            realtime_wanted=self._daemon.settings.realtime,
            realtime=policy in (os.SCHED_RR, os.SCHED_FIFO),
            locked=_locked_kib() > 0,
            alarms=tuple(self._daemon.describe()["alarms"]),
        )

    def _peers(self, past: Past) -> tuple[PeerFacts, ...]:
        return tuple(
            PeerFacts(
                node=peer.node,
                alive=peer.alive,
                hears_us=peer.hears_us >= 0,
                silent_s=peer.networks,
                longest_gap_s=past.gaps_s.get(peer.node, 0.0),
                losses=past.losses.get(peer.node, 0),
            )
            for peer in engine.peers(self._daemon.runtime.node, time.monotonic())
        )

    async def _lacks(self, modules: list[CompiledModule], *, everything: bool) -> dict[str, tuple[str, ...]]:
        """By module, of those that were looked at in time; none lacks anything whose tuple is empty."""
        found: dict[str, tuple[str, ...]] = {}
        turns = asyncio.Semaphore(ABREAST)

        async def look(name: str) -> None:
            own = self._daemon.configuration
            async with turns:
                try:
                    found[name] = (await own.compile(name, own.store.directory(name))).findings
                except SafekitError as error:
                    found[name] = (f"its configuration is not accepted any more: {error}",)

        chosen = modules if everything else modules[:PREFLIGHTS]
        work = [asyncio.create_task(look(module.name)) for module in chosen]
        if work:
            _, late = await asyncio.wait(work, timeout=PREFLIGHT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
        return {name: tuple(one[:4000] for one in lacking[:50]) for name, lacking in found.items()}


class _Disk:
    """Asks for things that a disk that hangs or fails does not give."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    async def give(self, what: str, job: Callable[[], T], otherwise: T) -> T:
        try:
            async with asyncio.timeout(DISK_S):
                return await asyncio.to_thread(job)
        except (TimeoutError, OSError, sqlite3.Error):
            self.failed.append(what)
            return otherwise


def _locked_kib() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmLck:"):
            return int(line.split()[1])
    return 0
