"""The promises of every checker, with a program that prints what `safekit status` does; test_node.py has that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_checker_module import ModuleChecker

from safekit_sdk.testing.conformance import CheckerConformance


class TestModule(CheckerConformance):
    plugin = ModuleChecker
    answer: Path

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        self.answer = tmp_path / "answer.json"
        program = tmp_path / "safekit"
        program.write_text(f'#!/bin/sh\n[ "$*" = "status db -o json" ] && exec cat {self.answer}\n')
        program.chmod(0o755)
        return {"module": "db", "program": str(program)}

    async def make_up(self, config: Any) -> None:
        self._say("PRIM", "Ready")

    async def make_down(self, config: Any) -> None:
        self._say("WAIT", "NotReady")

    def _say(self, state: str, readiness: str) -> None:
        module = {"name": "db", "state": state, "readiness": readiness, "epoch": 1, "since_s": 2.5, "reason": "why"}
        self.answer.write_text(json.dumps({"node1": {"result": {"node": "node1", "modules": [module]}}}))
