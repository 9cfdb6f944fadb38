"""The promises of every checker, with an address that is removed and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from safekit_checker_ip import IpChecker

from safekit_sdk.testing.conformance import CheckerConformance

from .network import V4, Network, two_machines


class TestIp(CheckerConformance):
    plugin = IpChecker
    network: Network

    @pytest.fixture
    def settings(self) -> Iterator[Mapping[str, Any]]:
        with two_machines() as self.network:
            yield {"address": V4, "interface": "eth0"}

    @property
    def runner_prefix(self) -> list[str]:
        return self.network.here.prefix

    def inside(self) -> AbstractContextManager[None]:
        return self.network.here.inside()

    async def make_up(self, config: Any) -> None:
        await self.make_down(config)
        self.network.add(V4)

    async def make_down(self, config: Any) -> None:
        with contextlib.suppress(RuntimeError):  # it is not there
            self.network.remove(V4)
