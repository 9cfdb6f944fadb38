"""Plugins that each break one promise, under the conformance suites. Run by test_conformance_refuses in a pytest of its
own; not collected otherwise."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import (
    Checker,
    CheckerConfig,
    Health,
    ModuleKind,
    Verdict,
)
from safekit_sdk.procfs import arguments, marked
from safekit_sdk.testing import leaks
from safekit_sdk.testing.conformance import (
    CheckerConformance,
)
from safekit_sdk.testing.fakes import FakeChecker, Fakes, FakeWatcher

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

    @classmethod
    def remarks(cls, config: SloppyConfig, kind: ModuleKind) -> list[str]:
        return ["It was a dark and stormy night. " * 20]


class TestSloppy(CheckerSuite):
    plugin = SloppyChecker


# -- resources


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
