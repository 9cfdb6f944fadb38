"""The promises of every checker, with processes that the kernel kills for their memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from safekit_checker_load import LoadChecker

from safekit_sdk.testing.conformance import CheckerConformance


class TestLoad(CheckerConformance):
    plugin = LoadChecker

    @pytest.fixture
    def settings(self, victims: Any) -> Mapping[str, Any]:
        self.victims = victims
        return {"machine_oom_kill": True, "hold": "600ms", "interval": "100ms"}

    async def make_up(self, config: Any) -> None:
        self.victims.end()

    async def make_down(self, config: Any) -> None:
        self.victims.begin()
