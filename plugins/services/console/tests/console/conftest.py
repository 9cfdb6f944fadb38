from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from argon2 import PasswordHasher
from fastapi import FastAPI
from safekit_console import accounts, parts, server
from safekit_console.parts import Console
from safekit_console.settings import ConsoleSettings

from console.safekitd import Safekitd, module

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes() -> Iterator[None]:
    """The same hash, with less work: hashing was most of what the tests did. One test looks at the real one."""
    quick = partial(PasswordHasher, time_cost=1, memory_cost=64, parallelism=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "PasswordHasher", quick)
        yield


@dataclass
class Running:
    """A console on node1 of a cluster with the mirror `web` and the mirror `shop`."""

    safekitd: Safekitd
    console: Console
    app: FastAPI

    def client(self, token: str = "") -> httpx.AsyncClient:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="https://console", headers=headers)

    async def token(self, name: str, grants: dict[str, str]) -> str:
        """An API token of a new user."""
        user = await self.console.accounts.add(name, PASSWORD, grants)
        return (await self.console.accounts.issue(user, "test", grants, 600.0))[1]

    async def browser(self, name: str, grants: dict[str, str]) -> Browser:
        """A new user who has signed in."""
        if self.console.accounts.user(name) is None:
            await self.console.accounts.add(name, PASSWORD, grants)
        client = self.client()
        answer = await client.post("/login", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303
        page = await client.get("/me", headers={"accept": "text/html"})
        return Browser(client, page.text.partition('name="csrf" content="')[2].partition('"')[0])


@dataclass
class Browser:
    client: httpx.AsyncClient
    csrf: str


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    safekitd = Safekitd(tmp_path / "control.sock")
    await safekitd.start()
    for node, state in (("node1", "PRIM"), ("node2", "SECOND")):
        safekitd.modules[node] = [module("web", state), module("shop", state)]
    settings = ConsoleSettings(var=tmp_path, socket=safekitd.path)
    console = parts.make(settings)
    await console.records.level()
    await console.handover.prepare()
    watch = asyncio.create_task(console.watch.run())
    async with asyncio.timeout(10):
        while not all(seen.status for seen in console.watch.snapshot.nodes.values()) or not console.watch.snapshot.own:
            await console.watch.after(console.watch.snapshot.number, 1.0)
    yield Running(safekitd, console, server.application(console))
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    console.store.close()
    await safekitd.close()
