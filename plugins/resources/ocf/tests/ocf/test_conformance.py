"""The promises of every resource, with an agent that is promoted, and with one of Debian's."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_ocf import OcfConfig, OcfResource
from safekit_resource_ocf.agents import SCRATCH

from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance

from .agents import DaemonAgent


class TestPromotable(ResourceConformance):
    plugin = OcfResource
    daemon: DaemonAgent

    @pytest.fixture
    def settings(self, daemon: DaemonAgent) -> Mapping[str, Any]:
        self.daemon = daemon
        return {**daemon.settings, "promotable": True, "interval": "1s", "notify": False}

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        (self.daemon.state / "mode.start").write_text("exit 5")
        return settings

    async def traces(self, config: OcfConfig, context: RecordingContext) -> Collection[str]:
        return self.daemon.traces()

    async def make_broken(self, config: OcfConfig, context: RecordingContext) -> None:
        assert self.daemon.pid is not None
        os.kill(self.daemon.pid, signal.SIGKILL)


@pytest.mark.long
class TestDummy(ResourceConformance):
    plugin = OcfResource
    good_config = {"agent": "heartbeat:Dummy", "interval": "1s"}  # noqa: RUF012 - as in every suite

    @pytest.fixture
    def failing_config(self, tmp_path: Path) -> Mapping[str, Any]:
        return {**self.good_config, "parameters": {"state": str(tmp_path / "nowhere" / "state")}}

    async def traces(self, config: OcfConfig, context: RecordingContext) -> Collection[str]:
        return [path.name for path in SCRATCH.glob(f"Dummy-{context.module}-*")]

    async def make_broken(self, config: OcfConfig, context: RecordingContext) -> None:
        for path in SCRATCH.glob(f"Dummy-{context.module}-*"):
            path.unlink()
