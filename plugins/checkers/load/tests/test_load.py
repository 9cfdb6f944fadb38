"""The load checker: a real OOM kill, this machine as it is, and other machines as their kernels' files tell of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_load import LoadChecker, LoadConfig, readings

from safekit_sdk import Context, Health, Verdict
from safekit_sdk.testing.context import a_context
from safekit_sdk.testing.groups import a_cgroup

BOUND_S = 10.0
EVENTS = "low 0\nhigh {high}\nmax {max}\noom {oom}\noom_kill {oom_kill}\noom_group_kill 0\n"
PRESSURE = """some avg10={0:.2f} avg60={1:.2f} avg300=0.50 total=690665137
full avg10={2:.2f} avg60={3:.2f} avg300=0.00 total=13997731
"""


@contextlib.asynccontextmanager
async def watching(watched: LoadChecker) -> AsyncIterator[Callable[[], Any]]:
    """A function that returns the next verdict, within a bound."""
    verdicts = watched.watch()
    try:
        yield lambda: asyncio.wait_for(anext(verdicts), BOUND_S)
    finally:
        await verdicts.aclose()  # type: ignore[attr-defined]


class Machine:
    """Its /proc and the module's cgroup, in the kernel's words."""

    def __init__(self, place: Path) -> None:
        self.proc, self.cgroup = place / "proc", place / "cgroup"
        (self.proc / "pressure").mkdir(parents=True)
        self.cgroup.mkdir()
        self.load(0.5)
        self.memory(50)
        self.kills(0)
        for resource in ("cpu", "memory", "io"):
            self.pressure(resource, 0)
            self.pressure(resource, 0, module=True)
        self.events()

    def load(self, per_cpu: float) -> None:
        load = per_cpu * readings.processors()
        (self.proc / "loadavg").write_text(f"{load + 5:.2f} {load:.2f} {load - 0.2:.2f} 3/512 8123\n")

    def memory(self, available: int, swap: int = 0, swap_free: int = 0) -> None:
        lines = {
            "MemTotal": 1000,
            "MemFree": 1,
            "MemAvailable": available * 10,
            "SwapTotal": swap,
            "SwapFree": swap_free,
        }
        text = "".join(f"{name}:{size:>12} kB\n" for name, size in lines.items())
        (self.proc / "meminfo").write_text(text + "HugePages_Total:       0\n")

    def kills(self, count: int) -> None:
        (self.proc / "vmstat").write_text(f"pgpgin 42\noom_kill {count}\nnuma_hit 7\n")

    def pressure(self, resource: str, full: float, some: float = 0, *, module: bool = False) -> None:
        path = self.cgroup / f"{resource}.pressure" if module else self.proc / "pressure" / resource
        path.write_text(PRESSURE.format(90, some, 80, full))

    def events(self, high: int = 0, most: int = 0, oom: int = 0, oom_kill: int = 0) -> None:
        text = EVENTS.format(high=high, max=most, oom=oom, oom_kill=oom_kill)
        (self.cgroup / "memory.events").write_text(text)

    def checker(self, **settings: Any) -> LoadChecker:
        settings = {"interval": "100ms", **settings}
        made = LoadChecker(LoadConfig(**settings), Context("web", "mirror", "n1", "test", cgroup=self.cgroup))
        made.proc = self.proc
        return made

    async def first(self, **settings: Any) -> Verdict:
        async with watching(self.checker(**settings)) as verdict:
            said: Verdict = await verdict()
            return said


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_process_that_the_kernel_kills_for_its_memory_is_down_and_after_a_while_up(
    tmp_path: Path, victims: Any
) -> None:
    config = LoadConfig(machine_oom_kill=True, hold="400ms", interval="100ms")
    async with watching(LoadChecker(config, a_context(tmp_path))) as verdict:
        assert (await verdict()).health is Health.UP
        assert await asyncio.to_thread(victims.one) == -9
        down = await verdict()
        assert down.health is Health.DOWN
        assert down.reason == f"oom_kill of the machine: {down.facts['machine_oom_kill']} seen"
        assert int(down.facts["machine_oom_kill"]) >= 1
        for _ in range(60):
            if (said := await verdict()).health is Health.UP:
                break
        assert said.health is Health.UP


async def test_this_machine_is_measured(tmp_path: Path) -> None:
    settings = {"load_per_cpu": 10_000, "memory_available_percent": 0, "swap_free_percent": 0, "machine_oom_kill": True}
    async with watching(LoadChecker(LoadConfig(**settings), a_context(tmp_path))) as verdict:
        said = await verdict()
    assert said.health is Health.UP
    assert 0 <= float(said.facts["load_per_cpu_5m"]) < 10_000
    assert 0 < float(said.facts["memory_available"]) < 100


async def test_the_pressure_of_a_real_cgroup_is_measured_where_the_kernel_accounts_it(tmp_path: Path) -> None:
    config = LoadConfig(pressure_of="module", cpu_pressure=100, memory_pressure=100, io_pressure=100)
    with a_cgroup() as cgroup:
        assert cgroup is not None
        accounted = (cgroup / "memory.pressure").exists()
        async with watching(LoadChecker(config, a_context(tmp_path, cgroup=cgroup))) as verdict:
            said = await verdict()
    if accounted:
        assert said.health is Health.UP
        assert said.facts["memory_pressure_of_the_module_60s"] == "0"
    else:
        assert said.health is Health.UNKNOWN
        assert "psi=1" in said.reason


async def test_more_load_than_allowed_is_down(machine: Machine) -> None:
    assert (await machine.first(load_per_cpu=1.5)).health is Health.UP
    machine.load(2)
    verdict = await machine.first(load_per_cpu=1.5)
    assert verdict.health is Health.DOWN
    assert verdict.reason == "load per cpu 5m 2, at most 1.5 is wanted"
    assert (await machine.first(load_per_cpu=1.95, load_average="15m")).health is Health.UP
    assert (await machine.first(load_per_cpu=2.05, load_average="1m")).health is Health.DOWN


async def test_less_memory_and_swap_than_wanted_is_down(machine: Machine) -> None:
    limits = {"memory_available_percent": 5, "swap_free_percent": 20}
    machine.memory(5)
    verdict = await machine.first(**limits)
    assert verdict.health is Health.UP
    assert "no swap" in verdict.reason
    machine.memory(4, swap=1000, swap_free=100)
    verdict = await machine.first(**limits)
    assert verdict.health is Health.DOWN
    assert verdict.reason == ("memory available 4%, at least 5% is wanted; swap free 10%, at least 20% is wanted")


@pytest.mark.parametrize("module", [False, True])
async def test_pressure_is_down(machine: Machine, module: bool) -> None:
    limits = {"cpu_pressure": 60, "memory_pressure": 10, "io_pressure": 30}
    whose = {"pressure_of": "module"} if module else {}
    assert (await machine.first(**limits, **whose)).health is Health.UP
    machine.pressure("cpu", full=0, some=61, module=module)
    assert (await machine.first(**limits, **whose)).health is Health.DOWN
    machine.pressure("cpu", full=0, some=59, module=module)
    machine.pressure("io", full=31, some=99, module=module)
    verdict = await machine.first(**limits, **whose)
    assert verdict.reason.startswith("io pressure")
    assert (await machine.first(**{**limits, "io_pressure": 40}, **whose)).health is Health.UP
    assert (await machine.first(memory_pressure=70, pressure_average="10s", **whose)).health is Health.DOWN


async def test_an_event_of_the_cgroup_is_down_for_a_while_and_what_was_before_is_past(machine: Machine) -> None:
    machine.events(oom_kill=7, high=90)
    watched = machine.checker(memory_events=["oom", "oom_kill"], hold="800ms")
    async with watching(watched) as verdict:
        assert (await verdict()).health is Health.UP
        machine.events(oom_kill=9, high=95)
        down = [await verdict() for _ in range(2)]
        assert [one.health for one in down] == [Health.DOWN] * 2
        assert down[0].reason == "oom_kill of the module: 2 seen"
        while (await verdict()).health is Health.DOWN:
            pass
        machine.events(oom=1)
        assert (await verdict()).reason == "oom of the module: 1 seen"
    async with watching(watched) as verdict:
        assert (await verdict()).health is Health.UP


async def test_a_cgroup_that_was_made_anew_counts_from_nothing(machine: Machine) -> None:
    machine.events(oom_kill=7)
    async with watching(machine.checker(memory_events=["oom_kill"])) as verdict:
        assert (await verdict()).health is Health.UP
        machine.events(oom_kill=0)
        assert (await verdict()).health is Health.UP
        machine.events(oom_kill=1)
        assert (await verdict()).health is Health.DOWN


async def test_what_the_kernel_does_not_tell_is_unknown_unless_something_else_is_down(machine: Machine) -> None:
    (machine.cgroup / "memory.events").unlink()
    verdict = await machine.first(memory_events=["oom_kill"], load_per_cpu=5)
    assert verdict.health is Health.UNKNOWN
    assert "not accounted" in verdict.reason
    assert (await machine.first(memory_events=["oom_kill"], load_per_cpu=0.1)).health is Health.DOWN
    (machine.proc / "pressure" / "io").unlink()
    assert "psi=1" in (await machine.first(io_pressure=5)).reason
    (machine.proc / "meminfo").write_text("nonsense\n")
    assert (await machine.first(memory_available_percent=5)).health is Health.UNKNOWN


async def test_without_a_cgroup_what_is_asked_of_the_module_is_unknown(tmp_path: Path) -> None:
    for settings in ({"memory_events": ["oom_kill"]}, {"pressure_of": "module", "io_pressure": 10}):
        async with watching(LoadChecker(LoadConfig.model_validate(settings), a_context(tmp_path))) as verdict:
            said = await verdict()
        assert said.health is Health.UNKNOWN
        assert "no cgroup" in said.reason


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "say what is down"),
        ({"memory_events": []}, "say what is down"),
        ({"memory_events": ["low"]}, "oom_kill"),
        ({"load_per_cpu": 0}, "greater than 0"),
        ({"memory_available_percent": 101}, "100"),
        ({"load_per_cpu": 1, "hold": "1s"}, "goes with memory_events"),
        ({"load_per_cpu": 1, "interval": "1ms"}, "busy"),
        ({"load_per_cpu": float("nan")}, "finite"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        LoadConfig.model_validate(settings)
