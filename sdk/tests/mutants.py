"""Plugins that each break one promise, under the conformance suites. Run by test_conformance_refuses in a pytest of its
own; not collected otherwise."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import (
    Checker,
    CheckerConfig,
    Health,
    Lease,
    ModuleKind,
    ModuleRequest,
    ResourceState,
    Status,
    Transition,
    Verdict,
)
from safekit_sdk.procfs import arguments, marked
from safekit_sdk.testing import fakes, leaks
from safekit_sdk.testing.conformance import (
    AppConformance,
    CheckerConformance,
    ResourceConformance,
    WitnessConformance,
)
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.testing.fakes import FakeChecker, FakeResource, Fakes, FakeWatcher

leaks.SETTLE_S = 0.3  # what these mutants leave does not go away by waiting


class CheckerSuite(CheckerConformance):
    watch_patience_s = 0.1

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def make_up(self, config: Any) -> None:
        Fakes(config.directory).say("default", "up")

    async def make_down(self, config: Any) -> None:
        Fakes(config.directory).say("default", "down", "it fell")


def a_child(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "60"], env={**os.environ, **environment})


# -- checkers


class OptimistChecker(FakeChecker):
    """Always up."""

    async def check(self) -> Verdict:
        return Verdict.up()


class TestOptimist(CheckerSuite):
    plugin = OptimistChecker


class TaciturnChecker(FakeChecker):
    """Gives no reason."""

    async def check(self) -> Verdict:
        return Verdict((await super().check()).health)


class TestTaciturn(CheckerSuite):
    plugin = TaciturnChecker


class BlockingChecker(FakeChecker):
    """Sleeps without giving way."""

    async def check(self) -> Verdict:
        time.sleep(0.7)  # noqa: ASYNC251 - the mutation
        return await super().check()


class TestBlocking(CheckerSuite):
    plugin = BlockingChecker


class KeepingChecker(FakeChecker):
    """Never closes its file."""

    async def check(self) -> Verdict:
        os.open("/dev/null", os.O_RDONLY)
        return await super().check()


class TestKeeping(CheckerSuite):
    plugin = KeepingChecker


class CarelessChecker(FakeChecker):
    """Closes its socket only when it is not cancelled."""

    async def check(self) -> Verdict:
        descriptor = socket.socket().detach()
        await asyncio.sleep(0)
        os.close(descriptor)
        return await super().check()


class TestCareless(CheckerSuite):
    plugin = CarelessChecker


class StrayingChecker(FakeChecker):
    """Leaves a task running."""

    async def check(self) -> Verdict:
        self.stray = asyncio.create_task(asyncio.sleep(3600))
        return await super().check()


class TestStraying(CheckerSuite):
    plugin = StrayingChecker


class ParentChecker(FakeChecker):
    """Leaves its child running when it is cancelled."""

    async def check(self) -> Verdict:
        self.child = a_child()
        await asyncio.sleep(0)
        self.child.kill()
        self.child.wait()
        return await super().check()


class TestParent(CheckerSuite):
    plugin = ParentChecker


class OnceChecker(FakeChecker):
    """Can be closed once."""

    closed = False

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


class TestOnce(CheckerSuite):
    plugin = OnceChecker


class StubbornChecker(FakeChecker):
    """Remembers the first answer."""

    first: Verdict | None = None

    async def check(self) -> Verdict:
        self.first = self.first or await super().check()
        return self.first


class TestStubborn(CheckerSuite):
    plugin = StubbornChecker


class BrokenByCancelChecker(FakeChecker):
    """A cancelled check locks it."""

    busy = False

    async def check(self) -> Verdict:
        if self.busy:
            return Verdict.unknown("busy")
        self.busy = True
        await asyncio.sleep(0)
        self.busy = False
        return await super().check()


class TestBrokenByCancel(CheckerSuite):
    plugin = BrokenByCancelChecker


class LateChecker(FakeChecker):
    """Never gives up on what is silent."""

    async def check(self) -> Verdict:
        verdict = await super().check()
        if verdict.health is Health.INIT:
            await asyncio.sleep(3600)
        return verdict


class TestLate(CheckerSuite):
    plugin = LateChecker

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path), "timeout": "200ms"}

    async def make_silent(self, config: Any) -> None:
        Fakes(config.directory).say("default", "init")


class EndingWatcher(FakeWatcher):
    """Ends after its first word."""

    async def watch(self) -> AsyncIterator[Verdict]:
        async for verdict in super().watch():
            yield verdict
            return


class TestEnding(CheckerSuite):
    plugin = EndingWatcher


class ShyWatcher(FakeWatcher):
    """Says nothing of what it finds at first, only of changes."""

    async def watch(self) -> AsyncIterator[Verdict]:
        first = True
        async for verdict in super().watch():
            if not first:
                yield verdict
            first = False


class TestShy(CheckerSuite):
    plugin = ShyWatcher


class DeafWatcher(FakeWatcher):
    """Does not stop when it is cancelled at first, and leaves a task."""

    async def watch(self) -> AsyncIterator[Verdict]:
        self.stray = asyncio.create_task(asyncio.sleep(3600))
        async for verdict in super().watch():
            yield verdict


class TestDeaf(CheckerSuite):
    plugin = DeafWatcher


class SloppyConfig(CheckerConfig, extra="ignore", frozen=False):
    directory: Path
    """Where."""
    retry_delay: int = 3
    undocumented: str = ""


class SloppyChecker(Checker[SloppyConfig], api=99):
    async def check(self) -> Verdict:
        return Verdict.up()

    @classmethod
    def ident(cls, config: SloppyConfig) -> str:
        return f"{config.directory}"

    @classmethod
    def preflight(cls, config: SloppyConfig, kind: ModuleKind) -> list[str]:
        return ["buy a new machine"]


class TestSloppy(CheckerSuite):
    plugin = SloppyChecker


# -- resources


class ResourceSuite(ResourceConformance):
    watch_patience_s = 0.1

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path), "stop_timeout": "5s", "force_stop_timeout": "5s"}

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any], tmp_path: Path) -> Mapping[str, Any]:
        Fakes(tmp_path).tell("default", "half-start", "fail: told to")
        return settings

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        return {path.name for what in ("*.started", "extra*") for path in config.directory.glob(what)}


class DoublingResource(FakeResource):
    """Starts once more at each start."""

    async def start(self) -> None:
        await super().start()
        (self.config.directory / f"extra{len(list(self.config.directory.glob('extra*')))}").touch()

    async def stop(self, force: bool) -> None:
        await super().stop(force)
        for extra in self.config.directory.glob("extra*"):
            extra.unlink()


class TestDoubling(ResourceSuite):
    plugin = DoublingResource


class ForgetfulResource(FakeResource):
    """Knows only what this instance started."""

    mine = False

    async def start(self) -> None:
        await super().start()
        self.mine = True

    async def stop(self, force: bool) -> None:
        if self.mine:
            await super().stop(force)

    async def status(self) -> Status:
        return Status(ResourceState.STARTED if self.mine else ResourceState.STOPPED)


class TestForgetful(ResourceSuite):
    plugin = ForgetfulResource


class HalfResource(FakeResource):
    """A stop overlooks what was started by half."""

    async def stop(self, force: bool) -> None:
        if (await self.status()).state is not ResourceState.FAILED or force:
            await super().stop(force)


class TestHalf(ResourceSuite):
    plugin = HalfResource


class LockedResource(FakeResource):
    """Dies with a lock in place, which a forced stop respects."""

    async def start(self) -> None:
        (self.config.directory / "extra.lock").touch()
        await super().start()
        (self.config.directory / "extra.lock").unlink()

    async def stop(self, force: bool) -> None:
        if not (self.config.directory / "extra.lock").exists():
            await super().stop(force)


class TestLocked(ResourceSuite):
    plugin = LockedResource


class RaisingResource(FakeResource):
    """Fails to stop what is not started."""

    async def stop(self, force: bool) -> None:
        if (await self.status()).state is ResourceState.STOPPED and not force:
            raise RuntimeError("not started")
        await super().stop(force)


class TestRaising(ResourceSuite):
    plugin = RaisingResource


class MeddlingResource(FakeResource):
    """A look at the status starts it; so does being told of a change."""

    async def status(self) -> Status:
        (self.config.directory / f"extra{time.monotonic_ns()}").touch()
        return await super().status()

    async def transition(self, change: Transition) -> None:
        await self.start()

    async def stop(self, force: bool) -> None:
        await super().stop(force)
        for extra in self.config.directory.glob("extra*"):
            extra.unlink()


class TestMeddling(ResourceSuite):
    plugin = MeddlingResource


class BlockingResource(FakeResource):
    """Sleeps without giving way when it starts."""

    async def start(self) -> None:
        time.sleep(0.7)  # noqa: ASYNC251 - the mutation
        await super().start()


class TestBlockingStart(ResourceSuite):
    plugin = BlockingResource


class OpenResource(FakeResource):
    """Never closes what it opened to start."""

    async def start(self) -> None:
        os.open("/dev/null", os.O_RDONLY)
        await super().start()


class TestOpen(ResourceSuite):
    plugin = OpenResource


class SuccessfulResource(FakeResource):
    """Hides that its start failed."""

    async def start(self) -> None:
        try:
            await super().start()
        except Exception:
            self.context.log("well")


class TestSuccessful(ResourceSuite):
    plugin = SuccessfulResource


class TestNothingGiven(ResourceConformance):
    plugin = FakeResource

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        return Fakes(config.directory).started()


class TestBlind(ResourceSuite):
    """The suite's own look sees nothing: it could pass anything."""

    plugin = FakeResource

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        return ()


class BlindRole(fakes.FakeRole):
    """Its status and its watch do not see that it broke; a demotion stops it."""

    async def status(self) -> Status:
        found = await super().status()
        return Status(ResourceState.STARTED) if found.state is ResourceState.FAILED else found

    async def watch(self) -> AsyncIterator[Verdict]:
        yield Verdict.up()
        await asyncio.get_running_loop().create_future()

    async def demote(self, force: bool) -> None:
        await self.stop(force)


class TestBlindRole(ResourceSuite):
    plugin = BlindRole

    async def make_broken(self, config: Any, context: RecordingContext) -> None:
        (config.directory / "default.started").write_text("broken", encoding="utf-8")


class LeavingChildResource(FakeResource):
    """Its child outlives a cancelled start and the stop after it."""

    async def start(self) -> None:
        self.child = a_child(SAFEKIT_RESOURCE=str(self.config.directory))
        await super().start()
        self.child.kill()
        self.child.wait()


class TestLeavingChild(ResourceSuite):
    plugin = LeavingChildResource


@pytest.fixture(autouse=True)
def no_child_is_left(tmp_path: Path) -> Any:
    """What the mutants leave is ended here."""
    yield
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    sleepers = [int(pid) for pid in children if arguments(int(pid)) == ["/bin/sleep", "60"]]
    for pid in {*sleepers, *marked(str(tmp_path))}:
        os.kill(pid, 9)
    for pid in sleepers:
        os.waitpid(pid, 0)


# -- apps


class CarelessApp(fakes.FakeApp):
    """Names checkers with settings that they refuse, writes rules that cannot be read, and module files of one kind."""

    def checkers(self) -> Any:
        return ({"fake": {"name": "a", "directory": "/tmp", "colour": "red"}},)

    def rules(self) -> tuple[str, ...]:
        return ("if it is down then restart it",)

    @classmethod
    def module_file(cls, request: ModuleRequest) -> dict[str, Any]:
        return {"kind": "mirror", "pipeline": [{"fake": {"directory": Path("/tmp")}}]}


class TestCarelessApp(ResourceSuite, AppConformance):
    plugin = CarelessApp


# -- witnesses


class GenerousWitness(fakes.FakeWitness):
    """Gives the lease to all who ask, always with the same epoch."""

    async def acquire(self, module: str, node: str) -> Lease | None:
        return Lease(1, 10)

    async def renew(self, module: str, node: str, epoch: int) -> Lease | None:
        return Lease(1, 10)


class TestGenerous(WitnessConformance):
    plugin = GenerousWitness

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def make_unreachable(self, config: Any) -> None:
        (config.directory / "unreachable").touch()
