"""Plugins that obey the contract and do as they are told: real ones (API 1), for tests of what runs plugins.

They are told through files of a directory, so that they can be told in another process too:

    fakes = Fakes(tmp_path)
    fakes.tell("disk", "start", "fail: no space left")      # or hang, block, exit, exit 3; "" for as it should be
    fakes.tell("disk", "half-start", "fail: no space left") # the same when it is half started
    fakes.say("home", "down", "refused")                    # up, down, unknown, init, raise, hang, block, exit
    fakes.calls("disk")                                     # ["start", "stop", …]
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from safekit_sdk.app import App, Entry, ModuleRequest
from safekit_sdk.checker import Checker
from safekit_sdk.config import AppConfig, CheckerConfig, ResourceConfig, WitnessConfig
from safekit_sdk.errors import ConfigError, PeerError, SafekitError
from safekit_sdk.plugin import Context, ModuleKind
from safekit_sdk.resource import Resource, ResourceState, Status, Transition
from safekit_sdk.testing.distribution import install_distribution
from safekit_sdk.units import Scope
from safekit_sdk.verdict import Health, Verdict
from safekit_sdk.witness import Lease, Refusal, Witness

_LOOK_S = 0.005
_BLOCK_S = 3600.0


class Fakes:
    """The directory through which fakes are told what to do, and in which they write what was asked of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def tell(self, name: str, call: str, behaviour: str) -> None:
        """How the named fake behaves at its next calls: `fail: why`, `hang`, `block`, `exit STATUS`; empty: well."""
        _write(self.directory / f"{name}.{call}", behaviour)

    def say(self, name: str, health: str, reason: str = "") -> None:
        """What a checker answers from now on: a health, or one of the behaviours of `tell`."""
        _write(self.directory / f"{name}.health", f"{health} {reason}".strip())

    def calls(self, name: str) -> list[str]:
        """What was asked of the named fake, oldest first: `start`, `stop`, `force-stop`, `promote`, `demote`,
        `force-demote`, `status`, `check`, `watch`, `close`, `transition WAIT ALONE start`."""
        return [call for called, call in self.all_calls() if called == name]

    def all_calls(self) -> list[tuple[str, str]]:
        """Of all the fakes of this directory, with their names."""
        try:
            lines = (self.directory / "calls").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [(entry["name"], entry["call"]) for entry in map(json.loads, lines)]

    def started(self) -> frozenset[str]:
        """Names of the resources that are started."""
        return frozenset(path.name.removesuffix(".started") for path in self.directory.glob("*.started"))

    def note(self, name: str, call: str) -> None:
        """For the fakes: write down a call."""
        with (self.directory / "calls").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"name": name, "call": call, "pid": os.getpid()}) + "\n")

    async def obey(self, name: str, call: str) -> None:
        """For the fakes: write down a call, then behave as told."""
        self.note(name, call)
        await behave(_read(self.directory / f"{name}.{call}"))


async def behave(behaviour: str) -> None:
    """Fail, hang, block the event loop or end the process, as the words say; nothing for an empty text."""
    word, _, rest = behaviour.partition(" ")
    if word in ("fail:", "raise"):
        raise SafekitError(rest or "told to fail")
    if word == "hang":
        await asyncio.get_running_loop().create_future()
    if word == "block":
        time.sleep(float(rest or _BLOCK_S))  # noqa: ASYNC251 - that is what it is told
    if word == "exit":
        os._exit(int(rest or 1))


def _write(path: Path, text: str) -> None:
    """At once for whoever reads it meanwhile."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


class FakeCheckerConfig(CheckerConfig):
    directory: Path
    """Where the fake is told what to do."""


class _Answering(Checker[FakeCheckerConfig]):
    """What the fake checkers share."""

    def __init__(self, config: FakeCheckerConfig, context: Context) -> None:
        super().__init__(config, context)
        self._fakes = Fakes(config.directory)
        self._told = config.directory / f"{context.name}.health"

    async def _answer(self, told: str) -> Verdict:
        word, _, reason = told.partition(" ")
        if word in list(Health):
            return Verdict(Health(word), reason or f"told to say {word}")
        await behave(told)
        return Verdict.unknown("not told what to say")

    async def close(self) -> None:
        self._fakes.note(self.context.name, "close")


class FakeChecker(_Answering, api=1):
    """Says what it is told."""

    async def check(self) -> Verdict:
        self._fakes.note(self.context.name, "check")
        return await self._answer(_read(self._told))


class FakeWatcher(_Answering, api=1):
    """Says what it is told as soon as it is told something else."""

    async def watch(self) -> AsyncIterator[Verdict]:
        self._fakes.note(self.context.name, "watch")
        before = None
        while True:
            told = _read(self._told)
            if told != before:
                yield await self._answer(told)
            before = told
            await asyncio.sleep(_LOOK_S)


class FakeResourceConfig(ResourceConfig):
    directory: Path
    """Where the fake is told what to do and shows that it is started."""


class FakeAppConfig(AppConfig):
    directory: Path
    """Where the fake is told what to do and shows that it is started."""


M = TypeVar("M", FakeResourceConfig, FakeAppConfig)


class _Marked(Resource[M]):
    """Started while a file NAME.started says so; half started (failed) while it says anything else."""

    @classmethod
    def preflight(cls, config: M, kind: ModuleKind) -> list[str]:  # noqa: ARG003 - the contract's
        return [] if config.directory.is_dir() else [f"{config.directory} is no directory: make it"]

    @property
    def _fakes(self) -> Fakes:
        return Fakes(self.config.directory)

    def _mark(self, what: str) -> Path:
        return self.config.directory / f"{self.context.name}.{what}"

    async def start(self) -> None:
        await self._fakes.obey(self.context.name, "start")
        if _read(self._mark("started")) != "started":
            _write(self._mark("started"), "half")
        await asyncio.sleep(0)
        await behave(_read(self._mark("half-start")))
        _write(self._mark("started"), "started")
        self.context.log(f"{self.context.name} started")

    async def stop(self, force: bool) -> None:
        await self._fakes.obey(self.context.name, "force-stop" if force else "stop")
        await asyncio.sleep(0)
        for what in ("promoted", "started"):
            self._mark(what).unlink(missing_ok=True)

    async def status(self) -> Status:
        await self._fakes.obey(self.context.name, "status")
        states = {"": ResourceState.STOPPED, "started": ResourceState.STARTED}
        found = _read(self._mark("started"))
        return Status(states.get(found, ResourceState.FAILED), found)

    async def transition(self, change: Transition) -> None:
        self._fakes.note(self.context.name, f"transition {change.before} {change.after} {change.action}")


class FakeResource(_Marked[FakeResourceConfig], api=1):
    """Starts and stops as it is told."""


class FakeRole(_Marked[FakeResourceConfig], api=1):
    """On in both roles; promoted while a file NAME.promoted exists. Says down as soon as it is no longer started."""

    @classmethod
    def scopes(cls, config: FakeResourceConfig, kind: ModuleKind) -> tuple[Scope, ...]:  # noqa: ARG003 - the contract's
        return (config.when or "both",)

    async def promote(self) -> None:
        await self._fakes.obey(self.context.name, "promote")
        _write(self._mark("promoted"), "promoted")
        self.context.set_value(f"fake.{self.context.name}", "up")

    async def demote(self, force: bool) -> None:
        await self._fakes.obey(self.context.name, "force-demote" if force else "demote")
        self._mark("promoted").unlink(missing_ok=True)
        self.context.set_value(f"fake.{self.context.name}", "down")

    async def watch(self) -> AsyncIterator[Verdict]:
        self._fakes.note(self.context.name, "watch")
        before = None
        while True:
            found = _read(self._mark("started"))
            if found != before:
                yield Verdict.up("started") if found == "started" else Verdict.down("the mark is gone")
            before = found
            await asyncio.sleep(_LOOK_S)


class FakeApp(_Marked[FakeAppConfig], App[FakeAppConfig], api=1):
    """An app that brings a fake checker and a rule."""

    def checkers(self) -> tuple[Entry, ...]:
        return ({"fake": {"name": self.context.name, "directory": str(self.config.directory)}},)

    def rules(self) -> tuple[str, ...]:
        return (f"fake_down: if (fake.{self.context.name} == down) then restart",)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        if "directory" not in request.options:
            raise ConfigError("the fake app needs its directory", hint="--option directory=DIR")
        return {"kind": request.kind, "pipeline": [{"fake-app": {"directory": request.options["directory"]}}]}


class FakeWitnessConfig(WitnessConfig):
    directory: Path
    """Where the leases are; a file `unreachable` in it makes every call fail."""


_Leases = dict[str, tuple[str, int, float, dict[str, int]]]
"""Of each module: the holder, the last epoch, until when, and the last epoch that each node was given."""
_NO_LEASE: Final[tuple[str, int, float, dict[str, int]]] = ("", 0, 0.0, {})


def _epoch(given: tuple[str, int]) -> int:
    return given[1]


class FakeWitness(Witness[FakeWitnessConfig], api=1):
    """Leases in a file, by the machine's monotonic clock, for all processes of the machine."""

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        with self._leases() as leases:
            holder, last, until_s, given = leases.get(module, _NO_LEASE)
            wait_s = until_s - time.monotonic()
            if holder not in ("", node) and wait_s > 0:
                return Refusal(f"{holder} has the lease", wait_s)
            other, newest = max((one for one in given.items() if one[0] != node), key=_epoch, default=("", 0))
            if after is not None and newest > after:
                return Refusal(f"{other} had it since, with epoch {newest}: {node} may lack what it wrote")
            epoch = max(epoch, last + 1)
            return self._give(leases, module, node, epoch, {**given, node: epoch})

    async def renew(self, module: str, node: str, epoch: int) -> Lease | Refusal:
        with self._leases() as leases:
            holder, last, _, given = leases.get(module, _NO_LEASE)
            if (node, epoch) != (holder, last):
                return Refusal("it is no more the last lease")
            return self._give(leases, module, node, epoch, given)

    def _give(self, leases: _Leases, module: str, node: str, epoch: int, given: dict[str, int]) -> Lease:
        ttl_s = self.config.lease.seconds
        leases[module] = (node, epoch, time.monotonic() + ttl_s, given)
        return Lease(epoch, ttl_s)

    async def release(self, module: str, node: str, epoch: int) -> None:
        with self._leases() as leases:
            holder, last, _, given = leases.get(module, _NO_LEASE)
            if (node, epoch) == (holder, last):
                leases[module] = ("", epoch, 0.0, given)

    async def probe(self, module: str, node: str) -> str:  # noqa: ARG002 - the interface
        with self._leases() as leases:
            holder, epoch, *_ = leases.get(module, _NO_LEASE)
            return f"{holder or 'nobody'} has the lease, epoch {epoch}"

    @contextlib.contextmanager
    def _leases(self) -> Iterator[_Leases]:
        """All leases, for this process alone; written back when the block ends well."""
        if (self.config.directory / "unreachable").exists():
            raise PeerError("the fake witness was told to be unreachable")
        with (self.config.directory / "leases").open("a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            leases = json.loads(file.read() or "{}")
            yield leases
            file.truncate(0)
            file.write(json.dumps(leases))


_ENTRY_POINTS = {
    "safekit.checkers": {"fake": "FakeChecker", "fake-watch": "FakeWatcher"},
    "safekit.resources": {"fake": "FakeResource", "fake-role": "FakeRole"},
    "safekit.apps": {"fake-app": "FakeApp"},
    "safekit.witnesses": {"fake": "FakeWitness"},
}


def install_fakes(directory: Path) -> Path:
    """Make a distribution `safekit-fakes` in the directory, whose entry points name these fakes: `fake` and
    `fake-watch` (checkers), `fake` and `fake-role` (resources), `fake-app`, `fake` (witness).
    It is found by whoever has the directory in sys.path or PYTHONPATH. Returns the directory."""
    points = {group: {name: f"{__name__}:{cls}" for name, cls in of.items()} for group, of in _ENTRY_POINTS.items()}
    return install_distribution(directory, "safekit-fakes", points)
