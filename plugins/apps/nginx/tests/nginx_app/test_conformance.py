"""The promises of every application, by a real nginx."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any

import pytest
from safekit_nginx import NginxApp, NginxConfig

from nginx_app.site import Site
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance


class _Nginx(AppConformance):
    plugin = NginxApp

    @pytest.fixture
    def settings(self, site: Site) -> Mapping[str, Any]:
        self.site = site
        return site.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        self.site.write("no_such_directive on;")
        return settings

    async def traces(self, config: NginxConfig, context: RecordingContext) -> Collection[str]:
        return [f"port {config.port}"] if self.site.answers() else []

    async def make_broken(self, config: NginxConfig, context: RecordingContext) -> None:
        main = NginxApp(config, context)._processes.main()
        if main is not None:
            os.kill(main, signal.SIGKILL)


class TestInACgroup(_Nginx):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Nginx):
    with_cgroup = False


del _Nginx
