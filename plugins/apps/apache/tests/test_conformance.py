"""The promises of every application, by a real Apache."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from safekit_apache import ApacheApp, ApacheConfig

from safekit_sdk.process import Family
from safekit_sdk.procfs import process_stat
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Apache(AppConformance):
    plugin = ApacheApp

    @pytest.fixture
    def settings(self, site: Any) -> Mapping[str, Any]:
        self.site = site
        return dict(site.settings)

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        self.site.write("NoSuchDirective on")
        return settings

    async def traces(self, config: ApacheConfig, context: RecordingContext) -> Collection[str]:
        return [f"port {config.port}"] if self.site.answers() else []

    async def make_broken(self, config: ApacheConfig, context: RecordingContext) -> None:
        for pid in Family.of(context, f"apache.{context.name}").pids():
            stat = process_stat(pid)
            if stat is not None and stat.session_id == pid:
                os.kill(pid, signal.SIGKILL)


class TestInACgroup(_Apache):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Apache):
    with_cgroup = False


del _Apache
