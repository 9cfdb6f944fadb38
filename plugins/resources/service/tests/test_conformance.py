"""The promises of every resource, for scripts and for commands, with a cgroup and without."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_service import ServiceConfig, ServiceResource

from safekit_sdk.process import Family
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def family(context: RecordingContext) -> Family:
    return Family.of(context, f"service.{context.name}.{context.scope}")


def living(context: RecordingContext) -> list[str]:
    return [str(pid) for pid in family(context).pids()]


class _Command(ResourceConformance):
    plugin = ServiceResource

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"command": ["/bin/sleep", "600"], "settle": "20ms"}

    @pytest.fixture
    def failing_config(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"command": [str(script(tmp_path / "fails", "sleep 600 & echo no >&2; exit 3"))]}

    async def traces(self, config: ServiceConfig, context: RecordingContext) -> Collection[str]:
        return living(context)

    async def make_broken(self, config: ServiceConfig, context: RecordingContext) -> None:
        for pid in family(context).pids():
            os.kill(pid, signal.SIGKILL)


class TestCommand(_Command):
    with_cgroup = True


@pytest.mark.long
class TestCommandWithoutACgroup(_Command):
    with_cgroup = False


class TestDaemon(_Command):
    """A program that goes to the background by itself."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        start = script(tmp_path / "daemon", f"setsid sleep 600 & echo $! > {tmp_path}/pid")
        return {"command": [str(start)], "pidfile": str(tmp_path / "pid")}


class _Scripts(ResourceConformance):
    plugin = ServiceResource

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        script(tmp_path / "bin" / "start_prim", f"setsid sleep 600 & echo $! > {tmp_path}/pid")
        script(tmp_path / "bin" / "stop_prim", f"[ -f {tmp_path}/pid ] && kill $(cat {tmp_path}/pid); true")
        return {"scripts": str(tmp_path / "bin"), "pidfile": str(tmp_path / "pid")}

    @pytest.fixture
    def failing_config(self, tmp_path: Path) -> Mapping[str, Any]:
        script(tmp_path / "bad" / "start_prim", "sleep 600 & exit 3")
        return {"scripts": str(tmp_path / "bad")}

    async def traces(self, config: ServiceConfig, context: RecordingContext) -> Collection[str]:
        return living(context)

    async def make_broken(self, config: ServiceConfig, context: RecordingContext) -> None:
        for pid in family(context).pids():
            os.kill(pid, signal.SIGKILL)


class TestScripts(_Scripts):
    with_cgroup = True


@pytest.mark.long
class TestScriptsWithoutACgroup(_Scripts):
    with_cgroup = False


del _Command, _Scripts
