"""The promises of every checker."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from safekit_checker_http import HttpChecker

from safekit_sdk.testing.conformance import CheckerConformance

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class TestHttp(CheckerConformance):
    plugin = HttpChecker

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        return {"url": f"http://127.0.0.1:{self.port}/", "timeout": "1s", "fall": 1}

    @pytest_asyncio.fixture(autouse=True)
    async def ended(self) -> AsyncIterator[None]:
        self.server: asyncio.Server | None = None
        self.silent = False
        yield
        self._end()

    def _end(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if self.silent:
                await reader.read()
            writer.write(GOOD)
        writer.close()

    async def make_up(self, config: Any) -> None:
        self.silent = False
        if self.server is None:
            self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def make_down(self, config: Any) -> None:
        self._end()

    async def make_silent(self, config: Any) -> None:
        await self.make_up(config)
        self.silent = True
