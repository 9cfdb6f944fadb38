"""The promises of every application, by a real Samba."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import pytest
from safekit_samba import SambaApp, SambaConfig

from safekit_sdk import ModuleKind, ModuleRequest
from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import AppConformance
from samba_app.shares import Shares


class _Samba(AppConformance):
    plugin = SambaApp
    kinds: ClassVar[tuple[ModuleKind, ...]] = ("mirror", "light")

    @pytest.fixture(autouse=True)
    def _shares_for_every_test(self, base: Shares) -> None:
        self.base = base

    @pytest.fixture
    def settings(self, base: Shares) -> Mapping[str, Any]:
        return base.settings

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any], base: Shares) -> Mapping[str, Any]:
        base.write("no such parameter = 1")
        return settings

    def request(self, kind: ModuleKind) -> ModuleRequest:
        vips = () if kind == "light" else ("192.0.2.100/24",)
        return ModuleRequest("test", kind, vips, options={"config": str(self.base.file)})

    async def traces(self, config: SambaConfig, context: RecordingContext) -> Collection[str]:
        return ["the share"] if self.base.client("ls").returncode == 0 else []

    async def make_broken(self, config: SambaConfig, context: RecordingContext) -> None:
        main = SambaApp(config, context)._family.main()
        if main is not None:
            os.kill(main, signal.SIGKILL)


@pytest.mark.long
class TestInACgroup(_Samba):
    with_cgroup = True


@pytest.mark.long
class TestWithoutACgroup(_Samba):
    with_cgroup = False


del _Samba
