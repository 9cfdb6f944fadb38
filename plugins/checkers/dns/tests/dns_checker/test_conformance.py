"""The promises of every checker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from safekit_checker_dns import DnsChecker

from safekit_sdk.testing.conformance import CheckerConformance

from .server import Server, address, answer, serving


class TestDns(CheckerConformance):
    plugin = DnsChecker
    server: Server

    @pytest.fixture
    async def settings(self) -> AsyncIterator[Mapping[str, Any]]:
        async with contextlib.AsyncExitStack() as stack:
            self.server = await stack.enter_async_context(serving(address("192.0.2.1")))
            yield {"server": "127.0.0.1", "port": self.server.port, "query": "www.example.org", "timeout": "1s"}

    async def make_up(self, config: Any) -> None:
        self.server.answering = address("192.0.2.1")

    async def make_down(self, config: Any) -> None:
        self.server.answering = lambda query: answer(query, code=3)

    async def make_silent(self, config: Any) -> None:
        self.server.answering = lambda query: b""
