"""The promises of every application, by a real MariaDB."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import pytest
from safekit_mariadb import MariadbApp, MariadbConfig
from safekit_mariadb.app import NAMES

from mariadb_app.database import Database
from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.procfs import working_in
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Mariadb(AppConformance):
    plugin = MariadbApp
    kinds: ClassVar[tuple[ModuleKind, ...]] = ("mirror", "light")

    @pytest.fixture(autouse=True)
    def _a_server_for_every_test(self, base: Database) -> None:
        self.base = base

    @pytest.fixture
    def settings(self, base: Database) -> Mapping[str, Any]:
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any], base: Database) -> Mapping[str, Any]:
        base.write("no-such-setting = 1")
        return settings

    def request(self, kind: ModuleKind) -> ModuleRequest:
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest("test", kind, vips, options={"config": str(self.base.file)})

    async def traces(self, config: MariadbConfig, context: RecordingContext) -> Collection[str]:
        return [f"process {pid}" for pid in working_in(self.base.data, NAMES)]

    async def make_broken(self, config: MariadbConfig, context: RecordingContext) -> None:
        for pid in working_in(self.base.data, NAMES):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.long
class TestInACgroup(_Mariadb):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Mariadb):
    with_cgroup = False


del _Mariadb
