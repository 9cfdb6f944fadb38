"""The promises of every resource, in every mode."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import pytest
from safekit_resource_nft_lb import NftLbConfig, NftLbResource

from safekit_sdk import ModuleKind
from safekit_sdk.testing import Namespace, RecordingContext, network_namespace
from safekit_sdk.testing.conformance import ResourceConformance


class _NftLb(ResourceConformance):
    plugin = NftLbResource
    kind: ClassVar[ModuleKind] = "farm"
    mode: str

    @pytest.fixture
    def here(self) -> Iterator[Namespace]:
        with network_namespace() as here:
            here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth1")
            here.command("ip", "link", "set", "eth0", "up")
            here.command("ip", "address", "add", "10.5.0.1/24", "dev", "eth0")
            yield here

    @pytest.fixture
    def settings(self, here: Namespace) -> Mapping[str, Any]:
        self.here = here
        return {"addresses": ["10.5.0.100"], "mode": self.mode, "rules": [{"port": 80}]}

    @pytest.fixture
    def failing_config(self, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**settings, "addresses": ["10.9.9.100"]}

    @property
    def runner_prefix(self) -> list[str]:
        return list(self.here.prefix)

    def inside(self) -> AbstractContextManager[None]:
        return self.here.inside()

    async def traces(self, config: NftLbConfig, context: RecordingContext) -> Collection[str]:
        return [line for line in self.here.command("nft", "list", "tables").splitlines() if "safekit-" in line]

    async def make_broken(self, config: NftLbConfig, context: RecordingContext) -> None:
        tables = [line for line in self.here.command("nft", "list", "tables").splitlines() if "arp safekit-" in line]
        for table in tables:
            self.here.command("nft", "delete", *table.split())


class TestDirected(_NftLb):
    mode = "directed"


class TestInvisible(_NftLb):
    mode = "invisible"


@pytest.mark.long
class TestMulticast(_NftLb):
    mode = "multicast"


del _NftLb
