"""The suites pass what obeys the contract: our fakes. That they fail what does not is in test_conformance_refuses."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.testing import fakes
from safekit_sdk.testing.conformance import (
    AppConformance,
    CheckerConformance,
    ResourceConformance,
    WitnessConformance,
)
from safekit_sdk.testing.context import RecordingContext
from safekit_sdk.testing.fakes import Fakes, install_fakes


@pytest.fixture(autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(install_fakes(tmp_path_factory.mktemp("site")))])


class TestFakeChecker(CheckerConformance):
    plugin = fakes.FakeChecker

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def make_up(self, config: Any) -> None:
        Fakes(config.directory).say("default", "up")

    async def make_down(self, config: Any) -> None:
        Fakes(config.directory).say("default", "down", "it fell")


class TestFakeWatcher(TestFakeChecker):
    plugin = fakes.FakeWatcher


class TestFakeResource(ResourceConformance):
    plugin = fakes.FakeResource

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any], tmp_path: Path) -> Mapping[str, Any]:
        Fakes(tmp_path).tell("default", "half-start", "fail: told to")
        return settings

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        return Fakes(config.directory).started()

    async def make_broken(self, config: Any, context: RecordingContext) -> None:
        (config.directory / "default.started").write_text("broken", encoding="utf-8")


class TestFakeRole(TestFakeResource):
    plugin = fakes.FakeRole


class TestFakeApp(TestFakeResource, AppConformance):
    plugin = fakes.FakeApp

    def request(self, kind: ModuleKind) -> ModuleRequest:
        return ModuleRequest("test", kind, options={"directory": "/tmp"})


class TestFakeWitness(WitnessConformance):
    plugin = fakes.FakeWitness

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"directory": str(tmp_path)}

    async def make_unreachable(self, config: Any) -> None:
        (config.directory / "unreachable").touch()
