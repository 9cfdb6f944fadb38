"""The promises of every resource, for a directory that is covered, served and given back."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs import RfsConfig, RfsResource
from safekit_resource_rfs.leftovers import detach_all
from safekit_resource_rfs.plan import mounts

from safekit_sdk.process import Family
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance


class TestRfs(ResourceConformance):
    plugin = RfsResource

    @pytest.fixture
    def directory(self, tmp_path: Path) -> Iterator[Path]:
        made = tmp_path / "data"
        made.mkdir()
        yield made
        detach_all(made)

    @pytest.fixture
    def settings(self, directory: Path) -> Mapping[str, Any]:
        return {"directory": str(directory), "listen": ["127.0.0.1"]}

    @pytest.fixture
    def failing_config(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path / "missing"), "name": "data"}

    async def traces(self, config: RfsConfig, context: RecordingContext) -> Collection[str]:
        mounted = [f"mount {mount.kind}" for mount in mounts() if mount.target == config.directory]
        return [*mounted, *map(str, Family.of(context, f"rfs.{context.name}").pids())]

    async def make_broken(self, config: RfsConfig, context: RecordingContext) -> None:
        for pid in Family.of(context, f"rfs.{context.name}").pids():
            os.kill(pid, signal.SIGKILL)
