"""A real host process, driven by the daemon's own end, with plugins that behave as badly as they are told to."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from safekit.bus.sockets import Context
from safekit.daemon import configuration
from safekit.daemon.hosts import HostReports, Hosts
from safekit.engine import events
from safekit.engine.actions import Phase, RunPipeline
from safekit.settings import Settings
from safekit_sdk.testing.distribution import install_distribution

PLUGINS = '''
import asyncio, os, time
from pathlib import Path
from safekit_sdk import *

if Path(__file__).with_name("hang").exists():
    time.sleep(60)


class Config(ResourceConfig):
    name: str = "it"
    how: str = ""
    mark: Path = Path("/nowhere")
    note: str = ""


class Thing(Resource[Config], api=1):
    """Does what `how` says; a file says that it is started, and has its note."""

    live_keys = frozenset({"note"})

    async def reconfigure(self, before):
        if self.config.note == "refused":
            raise ValueError("not so")
        self.config.mark.write_text(f"{before.note} {self.config.note}")

    async def start(self):
        how = self.config.how
        self.config.mark.touch()
        self.context.log(f"starting {self.context.name}")
        if how == "raise":
            raise ValueError("boom")
        if how == "exit":
            os._exit(9)
        if how == "leave":
            raise SystemExit(3)
        while how == "loop":
            pass
        if how == "block":
            time.sleep(60)
        if how == "hang":
            await asyncio.sleep(60)
        if how == "leak":
            self.kept = [bytearray(b"x") * (1 << 20) for _ in range(300)]

    async def stop(self, force):
        if self.config.how == "stubborn" and not force:
            raise RuntimeError("no")
        if self.config.how == "immortal":
            raise RuntimeError("never")
        self.config.mark.unlink(missing_ok=True)

    async def status(self):
        return Status(ResourceState.STARTED if self.config.mark.exists() else ResourceState.STOPPED)


class Store(Thing, api=1):
    """Says whose data it has as soon as it runs; what comes after it stands on it."""

    replicates = True
    bears = True

    @classmethod
    def scopes(cls, config, kind):
        return ("both",)

    async def start(self):
        self.context.log("store started")
        self.config.mark.touch()

    async def promote(self):
        self.context.log("store promoted")

    async def demote(self, force):
        pass

    async def watch(self):
        self.context.set_value("rfs.uptodate", "up")
        yield Verdict.up("it runs")
        await asyncio.sleep(60)


class Look(CheckerConfig):
    name: str = "look"
    how: str = ""


class Looker(Checker[Look], api=1):
    """Looks as `how` says."""

    async def check(self):
        how = self.config.how
        if how == "raise":
            raise ValueError("blind")
        if how == "leave":
            raise SystemExit(3)
        if how == "hang":
            await asyncio.sleep(60)
        if how == "large":
            return Verdict.down("x" * 100_000, **{f"f{n}": "y" * 5000 for n in range(100)})
        return Verdict.up("seen")


class Older(Checker[Look], api=7):
    """Of another SDK."""

    async def check(self):
        return Verdict.up()
'''
E = TypeVar("E", bound=events.Event)


@dataclass
class Driver:
    """What safekitd does with hosts, without its engine."""

    hosts: Hosts
    place: Path
    compiled: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    events: list[events.Event] = field(default_factory=list)
    runs: int = 0

    @property
    def mark(self) -> Path:
        return self.place / "mark"

    async def compile(self, text: str, module: str = "m") -> dict[str, Any]:
        """As the daemon has it done: by another process."""
        folder = self.place / "files" / module
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "module.yaml").write_text(text)
        request = {"module": module, "directory": str(folder), "nodes": ["n1", "n2"], "node": "n1"}
        return await configuration._in_another_process(json.dumps(request).encode())

    async def load(self, text: str, module: str = "m") -> None:
        answer = await self.compile(text, module)
        assert answer["error"] is None, answer
        self.compiled[module] = answer["compiled"]

    async def begin(self, text: str, module: str = "m") -> None:
        await self.load(text, module)
        self.hosts.begin(module)
        await self.next(events.HostReady)

    async def run(self, *phases: Phase, module: str = "m", force: bool = False) -> events.PipelineFinished:
        self.order(*phases, module=module, force=force)
        return await self.next(events.PipelineFinished)

    def order(self, *phases: Phase, module: str = "m", force: bool = False) -> None:
        self.runs += 1
        self.hosts.run(RunPipeline(module, self.runs, phases, "WAIT", "ALONE", "start", 1, force))

    async def next(self, kind: type[E], timeout_s: float = 20.0) -> E:
        """The next event of this kind; those before it are gone through."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while asyncio.get_running_loop().time() < deadline_s:
            while self.events:
                event = self.events.pop(0)
                if isinstance(event, kind):
                    return event
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__}; said: {self.said}")

    async def verdict(self, resource: str, health: str) -> events.VerdictChanged:
        while True:
            event = await self.next(events.VerdictChanged)
            if (event.resource, event.health) == (resource, health):
                return event


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "site"
    points = {
        "safekit.resources": {"thing": "badly:Thing", "store": "badly:Store"},
        "safekit.checkers": {"looker": "badly:Looker", "older": "badly:Older"},
    }
    install_distribution(place, "safekit-badly", points, "1.2")
    (place / "badly.py").write_text(PLUGINS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH", "")])))
    return place


Drive = Callable[..., Driver]


@pytest_asyncio.fixture
async def drive(site: Path, tmp_path: Path) -> AsyncIterator[Drive]:
    made: list[tuple[Driver, Context]] = []

    def build(**settings: Any) -> Driver:
        context = Context()
        happened: list[Any] = []
        said: list[str] = []
        places = {name: tmp_path / name for name in ("etc", "var", "run", "log")}
        reports = HostReports(
            submit=happened.append,
            said=lambda module, severity, line: said.append(f"{severity} {line}"),
            compiled=lambda module: (driver.compiled[module], surroundings),
        )
        surroundings = {"node": "n1", "var_dir": str(tmp_path / "var"), "run_dir": str(tmp_path / "run")}
        hosts = Hosts(context, Settings(**{**places, **settings}), reports)
        driver = Driver(hosts, tmp_path, said=said, events=happened)
        hosts.start()
        made.append((driver, context))
        return driver

    yield build
    for driver, context in made:
        await driver.hosts.close()
        context.destroy(0)
