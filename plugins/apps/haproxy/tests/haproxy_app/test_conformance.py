"""The promises of every application, by a real HAProxy."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from safekit_haproxy import HaproxyApp, HaproxyConfig

from haproxy_app.balancer import Balancer
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Haproxy(AppConformance):
    plugin = HaproxyApp

    @pytest.fixture
    def settings(self, base: Balancer) -> Mapping[str, Any]:
        self.base = base
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        self.base.write(more="no such directive")
        return settings

    async def traces(self, config: HaproxyConfig, context: RecordingContext) -> Collection[str]:
        return [f"port {self.base.port}"] if self.base.answer() else []

    async def make_broken(self, config: HaproxyConfig, context: RecordingContext) -> None:
        main = HaproxyApp(config, context)._family.leader()
        if main is not None:
            os.kill(main, signal.SIGKILL)


class TestInACgroup(_Haproxy):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Haproxy):
    with_cgroup = False


del _Haproxy
