"""The promises of every checker, with a safekitd that knows what the suite says; test_node.py has a real one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from safekit_checker_module import ModuleChecker

from safekit_sdk import ModuleSeen
from safekit_sdk.testing import RecordingContext, a_context
from safekit_sdk.testing.conformance import CheckerConformance


class TestModule(CheckerConformance):
    plugin = ModuleChecker
    good_config: ClassVar[Mapping[str, Any]] = {"module": "db"}
    seen = ModuleSeen()

    @pytest.fixture
    def context(self, tmp_path: Path, config: Any) -> RecordingContext:
        async def told(module: str) -> Mapping[str, ModuleSeen]:
            return {"node1": self.seen}

        return a_context(tmp_path, name=self.plugin.ident(config), module_states=told)

    async def make_up(self, config: Any) -> None:
        self.seen = ModuleSeen(state="PRIM", readiness="Ready", epoch=1)

    async def make_down(self, config: Any) -> None:
        self.seen = ModuleSeen(state="WAIT", readiness="NotReady", epoch=1, reason="why")
