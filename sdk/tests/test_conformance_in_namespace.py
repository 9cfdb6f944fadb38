"""A suite whose resource lives in a network namespace, in this process and in those that it starts."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from address_resource import AddressResource

from safekit_sdk.testing import Namespace, RecordingContext, network_namespace
from safekit_sdk.testing.conformance import ResourceConformance
from safekit_sdk.testing.distribution import install_distribution

ADDRESS = "192.0.2.100/24"


class TestAddress(ResourceConformance):
    plugin = AddressResource
    namespace: Namespace

    @pytest.fixture(autouse=True)
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        points = {"safekit.resources": {"address": "address_resource:AddressResource"}}
        site = install_distribution(tmp_path / "site", "safekit-resource-address", points)
        monkeypatch.setattr(sys, "path", [*sys.path, str(site)])

    @pytest.fixture
    def settings(self) -> Iterator[Mapping[str, Any]]:
        with network_namespace() as self.namespace:
            self.namespace.command("ip", "link", "add", "eth9", "type", "bridge")
            yield {"address": ADDRESS, "interface": "eth9"}

    @property
    def runner_prefix(self) -> list[str]:
        return self.namespace.prefix

    def inside(self) -> AbstractContextManager[None]:
        return self.namespace.inside()

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**settings, "interface": "eth10"}

    async def traces(self, config: Any, context: RecordingContext) -> Collection[str]:
        return [ADDRESS] if ADDRESS in self.namespace.command("ip", "address", "show") else []

    async def make_broken(self, config: Any, context: RecordingContext) -> None:
        self.namespace.command("ip", "address", "delete", ADDRESS, "dev", "eth9")
