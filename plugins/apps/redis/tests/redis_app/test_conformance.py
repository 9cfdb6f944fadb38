"""The promises of every application, by a real Redis."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import pytest
from safekit_redis import RedisApp, RedisConfig
from safekit_redis.server import NAMES

from redis_app.database import Database
from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.procfs import working_in
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Redis(AppConformance):
    plugin = RedisApp
    kinds: ClassVar[tuple[ModuleKind, ...]] = ("mirror", "light")

    @pytest.fixture(autouse=True)
    def _a_server_for_every_test(self, base: Database) -> None:
        self.base = base

    @pytest.fixture
    def settings(self, base: Database) -> Mapping[str, Any]:
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any], base: Database) -> Mapping[str, Any]:
        base.write("no-such-setting 1")
        return settings

    def request(self, kind: ModuleKind) -> ModuleRequest:
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest("test", kind, vips, options={"config": str(self.base.file)})

    async def traces(self, config: RedisConfig, context: RecordingContext) -> Collection[str]:
        return [f"process {pid}" for pid in working_in(self.base.data, NAMES)]

    async def make_broken(self, config: RedisConfig, context: RecordingContext) -> None:
        for pid in working_in(self.base.data, NAMES):
            os.kill(pid, signal.SIGKILL)


class TestInACgroup(_Redis):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Redis):
    with_cgroup = False


del _Redis
