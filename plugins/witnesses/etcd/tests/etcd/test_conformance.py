"""The promises of every witness, with an etcd of one member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from safekit_witness_etcd import EtcdConfig, EtcdWitness

from safekit_sdk.testing.conformance import WitnessConformance

from .cluster import Cluster


class TestEtcd(WitnessConformance):
    plugin = EtcdWitness
    cluster: Cluster

    @pytest.fixture
    async def settings(self, etcd: Cluster, prefix: str) -> Mapping[str, Any]:
        self.cluster = etcd
        return {"endpoints": etcd.urls, "prefix": prefix}

    async def make_unreachable(self, config: EtcdConfig) -> None:
        self.cluster.kill()
