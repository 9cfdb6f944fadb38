"""The promises of every application, by a real container."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from safekit_podman import PodmanApp, PodmanConfig

from podman_app.box import IMAGE, Box
from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


@pytest.mark.long
class TestPodman(AppConformance):
    plugin = PodmanApp

    @pytest.fixture
    def settings(self, base: Box) -> Mapping[str, Any]:
        self.base = base
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**settings, "image": "localhost/no-such-image"}

    def request(self, kind: ModuleKind) -> ModuleRequest:
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest("test", kind, vips, options={"image": IMAGE})

    async def traces(self, config: PodmanConfig, context: RecordingContext) -> Collection[str]:
        return [f"container {name}" for name in self.base.podman("ps", "--quiet").split()]

    async def make_broken(self, config: PodmanConfig, context: RecordingContext) -> None:
        main = PodmanApp(config, context)._started()[0].processes.main()
        if main is not None:
            os.kill(main, signal.SIGKILL)
