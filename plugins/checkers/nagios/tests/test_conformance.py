"""The promises of every checker, with Debian's check_tcp."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from safekit_checker_nagios import NagiosChecker

from safekit_sdk.testing.conformance import CheckerConformance


class TestNagios(CheckerConformance):
    plugin = NagiosChecker
    listener: socket.socket | None = None

    @pytest.fixture
    def settings(self) -> Iterator[Mapping[str, Any]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        yield {"command": ["check_tcp", "-H", "127.0.0.1", "-p", str(self.port)], "timeout": "5s"}
        self._close()

    def _close(self) -> None:
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    async def make_up(self, config: Any) -> None:
        if self.listener is None:
            self.listener = socket.create_server(("127.0.0.1", self.port), backlog=64)

    async def make_down(self, config: Any) -> None:
        self._close()
