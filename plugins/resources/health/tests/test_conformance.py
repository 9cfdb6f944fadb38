"""The promises of every resource, for the instance that answers and for the one that marks."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from safekit_resource_health import HealthConfig, HealthResource

from safekit_sdk import ModuleKind, Scope
from safekit_sdk.process import Family
from safekit_sdk.testing import RecordingContext, a_context
from safekit_sdk.testing.conformance import ResourceConformance


class _Health(ResourceConformance):
    plugin = HealthResource
    scope: Scope

    @pytest.fixture
    def context(self, tmp_path: Path, config: HealthConfig, cgroup: Path | None) -> RecordingContext:
        name = HealthResource.ident(config)
        return a_context(tmp_path, kind=self.kind, name=name, scope=self.scope, cgroup=cgroup)

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return {"port": probe.getsockname()[1], "address": "127.0.0.1"}


class TestServer(_Health):
    scope = "pre"

    @pytest.fixture
    def failing_config(self) -> Iterator[Mapping[str, Any]]:
        with socket.socket() as taken:
            taken.bind(("127.0.0.2", 0))
            taken.listen()
            yield {"port": taken.getsockname()[1], "address": "192.0.2.7"}

    async def traces(self, config: HealthConfig, context: RecordingContext) -> Collection[str]:
        return list(map(str, Family.of(context, f"health.{context.name}").pids()))

    async def make_broken(self, config: HealthConfig, context: RecordingContext) -> None:
        for pid in Family.of(context, f"health.{context.name}").pids():
            os.kill(pid, signal.SIGKILL)
        (context.run_dir / "mark").unlink()


class _MarkSuite(_Health):
    start_cannot_fail = "it writes one line into a directory that the host has made"

    async def traces(self, config: HealthConfig, context: RecordingContext) -> Collection[str]:
        mark = context.run_dir / "mark"
        return ["on"] if mark.exists() and mark.read_text().startswith("on") else []

    async def make_broken(self, config: HealthConfig, context: RecordingContext) -> None:
        (context.run_dir / "mark").unlink()


class TestMarkOfAMirror(_MarkSuite):
    scope = "prim"


@pytest.mark.long
class TestMarkOfAFarm(_MarkSuite):
    scope = "both"
    kind: ClassVar[ModuleKind] = "farm"


del _Health, _MarkSuite
