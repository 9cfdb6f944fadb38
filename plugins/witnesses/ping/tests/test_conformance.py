"""The promises of every witness."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from safekit_witness_ping import PingConfig, PingWitness

from safekit_sdk.testing.conformance import WitnessConformance


class TestPing(WitnessConformance):
    plugin = PingWitness
    wire: Any

    @pytest.fixture
    def settings(self, wire: Any) -> Iterator[Mapping[str, Any]]:
        self.wire = wire
        yield {"hosts": ["10.8.0.2"]}

    @property
    def runner_prefix(self) -> list[str]:
        return list(self.wire.here.prefix)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        with self.wire.here.inside():
            yield

    async def make_unreachable(self, config: PingConfig) -> None:
        self.wire.cut()
