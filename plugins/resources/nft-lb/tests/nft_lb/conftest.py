"""A farm of three on one bridge, with a client of many addresses; each machine a network namespace.

The test plays the engine: it gives each server its share, and the leases.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_nft_lb import NftLbConfig, NftLbResource

from safekit_sdk import BUCKETS, Share
from safekit_sdk.testing import Namespace, a_context, network_namespace

from .counts import COUNTS

VIP = {4: "10.6.0.100", 6: "fd06::100"}
CLIENTS = 40
LEASE_S = COUNTS.bound_s


def address(family: int, number: int) -> str:
    return f"10.6.0.{number}" if family == 4 else f"fd06::{number}"


@dataclass(eq=False)
class Server:
    name: str
    namespace: Namespace
    resource: NftLbResource
    held: frozenset[int] = frozenset()
    place: str = ""


@dataclass(eq=False)
class Farm:
    bridge: Namespace
    client: Namespace
    servers: list[Server]
    owners: list[str] = field(default_factory=lambda: [""] * BUCKETS)
    priors: list[tuple[str, ...]] = field(default_factory=lambda: [()] * BUCKETS)
    director: str = "s1"

    def share(self, server: Server, held: frozenset[int]) -> Share:
        places = {other.name: other.place for other in self.servers if other is not server}
        mine = frozenset(bucket for bucket, owner in enumerate(self.owners) if owner == server.name)
        moving = (mine - held) | {bucket for bucket, earlier in enumerate(self.priors) if earlier}
        return Share(held, moving, tuple(self.owners), tuple(self.priors), self.director, places, 1)

    async def give(self, server: Server, held: frozenset[int], lease_s: float = LEASE_S) -> None:
        with server.namespace.inside():
            await server.resource.share(self.share(server, held))
            await server.resource.lease(lease_s)
        server.held = held

    async def assign(self, owners: Sequence[str], *, keep: bool = True) -> None:
        """Another map: all release, and then all acquire. Without `keep` connections stay nowhere."""
        for bucket, (before, after) in enumerate(zip(self.owners, owners, strict=True)):
            earlier = dict.fromkeys(([before] if before not in {"", after} else []) + list(self.priors[bucket]))
            self.priors[bucket] = tuple(node for node in earlier if node != after)[:3] if keep else ()
        self.owners = list(owners)
        wanted = {s.name: frozenset(b for b, owner in enumerate(owners) if owner == s.name) for s in self.servers}
        for server in self.servers:
            await self.give(server, server.held & wanted[server.name])
        for server in self.servers:
            await self.give(server, wanted[server.name])

    async def spread(self, *names: str) -> None:
        await self.assign([names[bucket % len(names)] for bucket in range(BUCKETS)])

    def ask(self, *words: str) -> list[str]:
        """Run a client's program (clients.py), and return its lines."""
        program = [*self.client.prefix, sys.executable, str(Path(__file__).with_name("clients.py")), *words]
        done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, timeout=COUNTS.bound_s)
        return done.stdout.splitlines()

    def taken(self) -> tuple[int, int]:
        """How many datagrams and connections the programs on all servers were given, as the kernels count them."""
        found = {"UdpInDatagrams": 0, "Udp6InDatagrams": 0, "TcpPassiveOpens": 0}
        for server in self.servers:
            for line in server.namespace.command("nstat", "-asz", *found).splitlines()[1:]:
                name, count, _ = line.split()
                found[name] += int(count)
        return found["UdpInDatagrams"] + found["Udp6InDatagrams"], found["TcpPassiveOpens"]


@pytest.fixture
def family() -> int:
    return 4


@pytest.fixture
def mode() -> str:
    return "directed"


@pytest.fixture
def farm(mode: str, family: int, tmp_path: Path) -> Iterator[Farm]:
    with ExitStack() as stack:
        bridge, client, *machines = (stack.enter_context(network_namespace()) for _ in range(5))
        bridge.command("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        bridge.command("ip", "link", "set", "br0", "up")
        for number, machine in enumerate((client, *machines)):
            plug(bridge, machine, f"p{number}")
            number_it(machine, number or 200)
        for number in range(CLIENTS):
            number_it(client, 201 + number)
        servers = []
        for number, machine in enumerate(machines, 1):
            servers.append(stack.enter_context(a_server(f"s{number}", machine, mode, family, tmp_path / str(number))))
        yield Farm(bridge, client, servers)


def plug(bridge: Namespace, machine: Namespace, port: str, device: str = "eth0") -> None:
    machine.command("ip", "link", "add", device, "type", "veth", "peer", port, "netns", bridge.name)
    bridge.command("ip", "link", "set", port, "master", "br0", "up")
    machine.command("ip", "link", "set", device, "up")


def number_it(machine: Namespace, number: int) -> None:
    for family in (4, 6):
        prefix = "24" if family == 4 else "64"
        flags = ["nodad"] if family == 6 else []
        machine.command("ip", "address", "add", f"{address(family, number)}/{prefix}", "dev", "eth0", *flags)


@contextlib.contextmanager
def a_server(name: str, machine: Namespace, mode: str, family: int, root: Path) -> Iterator[Server]:
    vip = VIP[family]
    settings: dict[str, Any] = {"addresses": [vip], "mode": mode, "rules": [{"port": 7000}, {"port": 7001}]}
    settings["rules"].append({"port": 7000, "protocol": "udp", "hash": "client_session"})
    root.mkdir()
    resource = NftLbResource(NftLbConfig.model_validate(settings), a_context(root, name="lb", kind="farm", node=name))
    with machine.inside():
        asyncio.run(resource.start())
        flags = ["nodad", "preferred_lft", "0"] if family == 6 else []
        machine.command("ip", "address", "add", f"{vip}/{'24' if family == 4 else '64'}", "dev", "eth0", *flags)
    program = [*machine.prefix, sys.executable, str(Path(__file__).with_name("server.py")), name, vip]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            mac = machine.command("cat", "/sys/class/net/eth0/address").strip()
            yield Server(name, machine, resource, place=mac)
        finally:
            process.kill()
            with machine.inside():
                asyncio.run(resource.stop(True))
