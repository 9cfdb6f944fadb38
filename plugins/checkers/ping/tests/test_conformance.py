"""The promises of every checker, in a network of the test's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import pytest
from safekit_checker_ping import PingChecker

from safekit_sdk.testing import Namespace, network_namespace
from safekit_sdk.testing.conformance import CheckerConformance


class TestPing(CheckerConformance):
    plugin = PingChecker
    here: Namespace

    @pytest.fixture
    def settings(self) -> Iterator[Mapping[str, Any]]:
        with network_namespace() as self.here:
            yield {"hosts": ["127.0.0.7"], "timeout": "1s", "count": 1}

    @property
    def runner_prefix(self) -> list[str]:
        return self.here.prefix

    def inside(self) -> AbstractContextManager[None]:
        return self.here.inside()

    async def make_up(self, config: Any) -> None:
        self.here.command("ip", "link", "set", "lo", "up")

    async def make_down(self, config: Any) -> None:
        self.here.command("ip", "link", "set", "lo", "down")
