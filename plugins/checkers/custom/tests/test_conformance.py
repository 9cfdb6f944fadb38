"""The promises of every checker, for runs and for a loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_checker_custom import CustomChecker

from safekit_sdk.testing.conformance import CheckerConformance

RUN = "#!/bin/sh\nread word < {state}\n[ $word = up ]\n"
LOOP = "#!/bin/sh\nwhile read word < {state}; do echo $word as told; sleep 0.05; done\n"


class _Custom(CheckerConformance):
    plugin = CustomChecker
    script: str
    options: Mapping[str, Any]
    state: Path

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        self.state = tmp_path / "word"
        self.state.write_text("up\n")
        program = tmp_path / "check"
        program.write_text(self.script.format(state=self.state))
        program.chmod(0o755)
        return {"command": [str(program)], "interval": "100ms", **self.options}

    async def make_up(self, config: Any) -> None:
        self._say("up")

    async def make_down(self, config: Any) -> None:
        self._say("down")

    def _say(self, word: str) -> None:
        """At once, so that a program that reads finds one word or the other."""
        new = self.state.with_suffix(".new")
        new.write_text(f"{word}\n")
        new.rename(self.state)


class TestRuns(_Custom):
    script = RUN
    options: Mapping[str, Any] = {}


class TestLoop(_Custom):
    script = LOOP
    options: Mapping[str, Any] = {"loop": True}
