"""Resources, apps and witnesses that each break one promise; see mutants.py."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from mutants import a_child, no_child_is_left

from safekit_sdk import (
    Lease,
    ModuleRequest,
    Refusal,
    ResourceState,
    Status,
    Transition,
    Verdict,
)
from safekit_sdk.testing import fakes
from safekit_sdk.testing.conformance import (
    AppConformance,
    ResourceConformance,
    WitnessConformance,
)
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.testing.fakes import FakeResource, Fakes

__all__ = ["no_child_is_left"]


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


class WitnessSuite(WitnessConformance):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def make_unreachable(self, config: Any) -> None:
        (config.directory / "unreachable").touch()


class GenerousWitness(fakes.FakeWitness):
    """Gives the lease to all who ask, always with the same epoch."""

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease:
        return Lease(1, 10)

    async def renew(self, module: str, node: str, epoch: int) -> Lease:
        return Lease(1, 10)


class TestGenerous(WitnessSuite):
    plugin = GenerousWitness


class ForgettingWitness(fakes.FakeWitness):
    """Knows only to whom it gave the last lease."""

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        with self._leases() as leases:
            if module in leases:
                holder, last, until_s, given = leases[module]
                leases[module] = (holder, last, until_s, {name: one for name, one in given.items() if one == last})
        return await super().acquire(module, node, epoch, after)


class TestForgetting(WitnessSuite):
    plugin = ForgettingWitness


class NotingWitness(fakes.FakeWitness):
    """Takes down also what it refuses."""

    async def acquire(self, module: str, node: str, epoch: int, after: int | None = None) -> Lease | Refusal:
        answer = await super().acquire(module, node, epoch, after)
        if isinstance(answer, Refusal):
            with self._leases() as leases:
                holder, last, until_s, given = leases[module]
                leases[module] = (holder, last, until_s, {**given, node: last + 1})
        return answer


class TestNoting(WitnessSuite):
    plugin = NotingWitness
