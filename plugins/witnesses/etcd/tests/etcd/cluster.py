"""A real etcd cluster of one or three members on loopback, which the test kills, freezes and starts again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

START_S = 30.0
TICK_S = 0.02


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = START_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not await holds():
        assert time.monotonic() < deadline_s, f"not so within {within_s} s"
        await asyncio.sleep(TICK_S)


class NotStartedError(Exception):
    """A member ended at its start: another process was given its port in between."""


def free_ports(address: str, count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class Member:
    name: str
    client_url: str
    peer_url: str
    directory: Path
    options: list[str]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        arguments = ["etcd", "--name", self.name, "--data-dir", str(self.directory / self.name), *self.options]
        arguments += ["--listen-client-urls", self.client_url, "--advertise-client-urls", self.client_url]
        arguments += ["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url]
        arguments += ["--heartbeat-interval", "50", "--election-timeout", "500", "--log-level", "error"]
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """As by a power loss; also while it is frozen."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


@dataclass
class Cluster:
    members: list[Member]
    verify: ssl.SSLContext | bool = False
    """What the test itself looks with."""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def urls(self) -> list[str]:
        return [member.client_url for member in self.members]

    def start(self) -> None:
        for member in self.members:
            if not member.runs:
                member.start()

    async def mend(self) -> None:
        """All members run and answer, whatever was done to them."""
        for member in self.members:
            if member.runs:
                member.thaw()
        self.start()
        await self.ready()

    def kill(self) -> None:
        for member in self.members:
            member.kill()

    async def post(self, url: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with httpx.AsyncClient(verify=self.verify, trust_env=False, timeout=2) as client:
            response = await client.post(url + path, json=body, headers=self.headers)
            response.raise_for_status()
            answer: dict[str, Any] = response.json()
            return answer

    async def ready(self) -> None:
        """Every member that runs answers what the majority agreed on."""
        deadline_s = time.monotonic() + START_S
        for member in self.members:
            while member.process:
                if not member.runs:
                    raise NotStartedError((member.directory / f"{member.name}.log").read_text()[-2000:])
                with contextlib.suppress(httpx.HTTPError):
                    await self.post(member.client_url, "/v3/kv/range", {"key": "Zm9v"})
                    break
                assert time.monotonic() < deadline_s, f"{member.name} did not become ready"
                await asyncio.sleep(TICK_S)

    async def leader(self) -> Member:
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            for member in self.members:
                if member.process:
                    with contextlib.suppress(httpx.HTTPError):
                        status = await self.post(member.client_url, "/v3/maintenance/status", {})
                        if status.get("leader") == status["header"]["member_id"]:
                            return member
            await asyncio.sleep(TICK_S)
        raise AssertionError("no member became the leader")

    async def followers(self) -> list[Member]:
        leader = await self.leader()
        return [member for member in self.members if member is not leader]


def a_cluster(directory: Path, size: int, scheme: str = "http", options: list[str] | None = None) -> Cluster:
    """Not started. At an address of its own, so that no outgoing connection of this machine is given its ports."""
    address = f"127.{random.randrange(64, 128)}.{random.randrange(256)}.{random.randrange(1, 255)}"
    ports = free_ports(address, 2 * size)
    urls = [(f"{scheme}://{address}:{ports[i]}", f"http://{address}:{ports[size + i]}") for i in range(size)]
    all_of_them = ",".join(f"m{i}={peer}" for i, (_, peer) in enumerate(urls))
    shared = ["--initial-cluster", all_of_them, "--initial-cluster-token", directory.name, *(options or [])]
    return Cluster([Member(f"m{i}", client, peer, directory, shared) for i, (client, peer) in enumerate(urls)])


@contextlib.asynccontextmanager
async def running(directory: Path, size: int, **kind: Any) -> AsyncIterator[Cluster]:
    """A cluster that answers; all its processes are gone at the end."""
    verify = kind.pop("verify", False)
    for attempt in range(3):
        place = directory / f"etcd{attempt}"
        place.mkdir()
        cluster = a_cluster(place, size, **kind)
        cluster.verify = verify
        try:
            cluster.start()
            await cluster.ready()
            yield cluster
            return
        except NotStartedError:
            if attempt == 2:
                raise
        finally:
            cluster.kill()
