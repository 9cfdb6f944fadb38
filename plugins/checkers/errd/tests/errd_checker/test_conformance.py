"""The promises of every checker."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_checker_errd import ErrdChecker

from safekit_sdk.testing.conformance import CheckerConformance


class TestErrd(CheckerConformance):
    plugin = ErrdChecker
    program: Path

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[Mapping[str, Any]]:
        self.program = Path(shutil.copy("/bin/sleep", tmp_path / f"sk{secrets.token_hex(5)}"))
        self.running: list[subprocess.Popen[bytes]] = []
        yield {"process": self.program.name, "interval": "200ms"}
        self._end()

    def _begin(self) -> None:
        self.running.append(subprocess.Popen([str(self.program), "600"]))

    def _end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait(10)
        self.running.clear()

    async def make_up(self, config: Any) -> None:
        if not self.running:
            self._begin()

    async def make_down(self, config: Any) -> None:
        self._end()
