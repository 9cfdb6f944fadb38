"""The promises of every resource."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest
from safekit_resource_fence import FenceConfig, FenceResource

from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance


class TestFence(ResourceConformance):
    plugin = FenceResource
    start_cannot_fail = "a fence device that does not answer keeps no application from running"
    power: Any

    @pytest.fixture
    def settings(self, power: Any) -> Mapping[str, Any]:
        self.power = power
        settings: dict[str, Any] = power.settings
        return settings

    async def traces(self, config: FenceConfig, context: RecordingContext) -> Collection[str]:
        return [path.name for path in context.run_dir.iterdir()]

    async def make_broken(self, config: FenceConfig, context: RecordingContext) -> None:
        self.power.mode(monitor="exit 1")

    async def perform(self, verb: str, config: Any, context: RecordingContext) -> None:
        """A device is repaired from outside, before the resource is started again."""
        if verb == "start":
            self.power.mode()
        await super().perform(verb, config, context)
