"""The promises of every checker, with an interface whose other end is switched off and on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from safekit_checker_intf import IntfChecker

from safekit_sdk.testing import Namespace, network_namespace
from safekit_sdk.testing.conformance import CheckerConformance


class TestIntf(CheckerConformance):
    plugin = IntfChecker
    here: Namespace

    @pytest.fixture
    def settings(self) -> Iterator[Mapping[str, Any]]:
        with network_namespace() as self.here:
            self.here.command("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "far0")
            yield {"interface": "eth0"}

    @property
    def runner_prefix(self) -> list[str]:
        return self.here.prefix

    def inside(self) -> AbstractContextManager[None]:
        return self.here.inside()

    async def make_up(self, config: Any) -> None:
        self.here.command("ip", "link", "set", "far0", "up")

    async def make_down(self, config: Any) -> None:
        self.here.command("ip", "link", "set", "far0", "down")
