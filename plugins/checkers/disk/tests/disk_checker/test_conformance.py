"""The promises of every checker, on a file system that is mounted read-only and writable again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_checker_disk import DiskChecker

from safekit_sdk.testing.conformance import CheckerConformance

from .file_systems import FileSystem, in_memory


class TestDisk(CheckerConformance):
    plugin = DiskChecker
    disk: FileSystem

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[Mapping[str, Any]]:
        with in_memory(tmp_path / "disk") as self.disk:
            yield {"path": str(self.disk.path), "min_free_inodes": 10}

    async def make_up(self, config: Any) -> None:
        self.disk.remount("rw")

    async def make_down(self, config: Any) -> None:
        self.disk.remount("ro")
