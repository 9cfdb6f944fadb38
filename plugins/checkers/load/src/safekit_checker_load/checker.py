"""Up while the machine and the module's cgroup have processor, memory and disk left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import ClassVar

from safekit_checker_load import readings
from safekit_checker_load.config import LoadConfig
from safekit_checker_load.events import Events
from safekit_checker_load.readings import BlindError
from safekit_sdk import Checker, Context, ModuleKind, Verdict
from safekit_sdk.cgroup import unified_mount


class _Look:
    """What one look found."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.too_much: list[str] = []
        self.blind: list[str] = []
        self.facts: dict[str, str] = {}

    def measure(self, what: str, value: float, limit: float | None, *, most: bool, unit: str = "%") -> None:
        """Compare it with its limit, which it may reach; None is no limit."""
        self.facts[what.replace(" ", "_")] = f"{value:.2f}".rstrip("0").rstrip(".")
        if limit is None:
            return
        text = f"{what} {value:.4g}{unit}"
        if value > limit if most else value < limit:
            self.too_much.append(f"{text}, {'at most' if most else 'at least'} {limit:g}{unit} is wanted")
        self.said.append(text)

    def verdict(self) -> Verdict:
        """Down for what was seen, whatever could not be seen."""
        if self.too_much:
            return Verdict.down("; ".join(self.too_much), **self.facts)
        if self.blind:
            return Verdict.unknown("; ".join(self.blind))
        return Verdict.up(", ".join(self.said), **self.facts)


class LoadChecker(Checker[LoadConfig], api=1):
    """Up while the machine and the module's cgroup have processor, memory and disk left."""

    facts: ClassVar[Mapping[str, str]] = {
        "*": "each measurement by its name (`load_per_cpu_5m`, `memory_available`, `io_pressure_60s`), in percent but "
        "for the load; each event (`module_oom_kill`, `machine_oom_kill`) with how often it was",
    }

    def __init__(self, config: LoadConfig, context: Context) -> None:
        super().__init__(config, context)
        self.proc = readings.PROC

    async def watch(self) -> AsyncIterator[Verdict]:
        """A verdict every `interval`. Events count from the beginning of the watch."""
        loop = asyncio.get_running_loop()
        events = self._events()
        while True:
            began_s = loop.time()
            verdict = self._look(events, began_s).verdict()
            took_s = loop.time() - began_s
            if took_s > self.config.timeout.seconds:
                verdict = Verdict.unknown(f"this node stood still: a look took {took_s:.1f} s")
            yield verdict
            await asyncio.sleep(began_s + self.config.interval.seconds - loop.time())

    def _events(self) -> list[tuple[str, Events]]:
        config, hold_s = self.config, self.config.hold.seconds
        found = []
        if config.memory_events:
            read = partial(readings.memory_events, self.context.cgroup)
            found.append(("module", Events(config.memory_events, read, hold_s)))
        if config.machine_oom_kill:
            read = partial(readings.machine_oom_kills, self.proc)
            found.append(("machine", Events(("oom_kill",), read, hold_s)))
        return found

    def _look(self, events: list[tuple[str, Events]], now_s: float) -> _Look:
        look = _Look()
        for part in (self._load, self._memory, self._pressure, partial(self._happened, events, now_s)):
            try:
                part(look)
            except BlindError as blind:
                look.blind.append(str(blind))
            except (ValueError, LookupError) as error:
                look.blind.append(f"the kernel's words are not understood: {error!r}")
        return look

    def _load(self, look: _Look) -> None:
        average = self.config.load_average
        per_cpu = readings.load_averages(self.proc)[average] / readings.processors()
        look.measure(f"load per cpu {average}", per_cpu, self.config.load_per_cpu, most=True, unit="")

    def _memory(self, look: _Look) -> None:
        memory = readings.memory(self.proc)
        config = self.config
        look.measure("memory available", memory.available_percent, config.memory_available_percent, most=False)
        if memory.swap_free_percent is not None:
            look.measure("swap free", memory.swap_free_percent, config.swap_free_percent, most=False)
        elif config.swap_free_percent is not None:
            look.said.append("no swap")

    def _pressure(self, look: _Look) -> None:
        """Only where there is a limit: a kernel that does not account it is no trouble then."""
        config = self.config
        for resource, limit in config.pressure_limits().items():
            value = readings.pressure(resource, config.pressure_average, self._cgroup_of_pressure(), self.proc)
            whose = "" if config.pressure_of == "machine" else " of the module"
            look.measure(f"{resource} pressure{whose} {config.pressure_average}", value, limit, most=True)

    def _cgroup_of_pressure(self) -> Path | None:
        if self.config.pressure_of == "machine":
            return None
        if self.context.cgroup is None:
            raise BlindError("the module has no cgroup; mount cgroup version 2 writable")
        return self.context.cgroup

    def _happened(self, events: list[tuple[str, Events]], now_s: float, look: _Look) -> None:
        for whose, counted in events:
            happened = counted.look(now_s)
            look.too_much += [f"{name} of the {whose}: {count} seen" for name, count in happened.items()]
            look.facts |= {f"{whose}_{name}": str(count) for name, count in happened.items()}
            if not happened:
                look.said.append(f"no memory event of the {whose}")

    @classmethod
    def ident(cls, config: LoadConfig) -> str:
        return config.name or "default"

    @classmethod
    def preflight(cls, config: LoadConfig, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - a hook of the SDK
        found = []
        if config.pressure_limits():
            try:
                readings.pressure("cpu", config.pressure_average, None)
            except BlindError as blind:
                found.append(str(blind))
        if config.memory_events and not _accounts_memory():
            found.append(
                "there is no cgroup version 2 with the memory controller, so `memory_events` cannot be counted; "
                "boot with systemd.unified_cgroup_hierarchy=1, or use `machine_oom_kill`"
            )
        return found


def _accounts_memory() -> bool:
    mount = unified_mount()
    try:
        return mount is not None and "memory" in (mount / "cgroup.controllers").read_text(encoding="ascii").split()
    except OSError:
        return False
