"""The promises of every resource, for both families."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from safekit_resource_vip import VipConfig, VipResource

from safekit_sdk.testing import RecordingContext
from safekit_sdk.testing.conformance import ResourceConformance


class _Vip(ResourceConformance):
    plugin = VipResource
    address: str
    other: str
    """An address that the neighbour has."""

    @pytest.fixture
    def settings(self, wire: Any) -> Iterator[Mapping[str, Any]]:
        self.wire = wire
        yield {"address": self.address, "conflict_wait": "1s"}

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**settings, "address": self.other}

    @property
    def runner_prefix(self) -> list[str]:
        return list(self.wire.here.prefix)

    def inside(self) -> AbstractContextManager[None]:
        return self.wire.here.inside()

    async def traces(self, config: VipConfig, context: RecordingContext) -> Collection[str]:
        return list(self.wire.holders(str(config.address.ip)))

    async def make_broken(self, config: VipConfig, context: RecordingContext) -> None:
        self.wire.here.command("ip", "address", "delete", str(config.address), "dev", "eth0")


class TestIPv4(_Vip):
    address = "10.5.0.100/24"
    other = "10.5.0.2/24"


class TestIPv6(_Vip):
    address = "fd05::100/64"
    other = "fd05::2/64"


del _Vip
