"""Real packets on a bridge: each is taken by one server, that of its hash, in every mode and both families."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_nft_lb.config import DEFAULT_SEED, Hash, Rule
from safekit_resource_nft_lb.delivery import NOWHERE
from safekit_resource_nft_lb.jhash import bucket

from safekit_sdk.testing import network_namespace

from .conftest import CLIENTS, VIP, Farm, address, plug
from .counts import COUNTS

PATIENCE = str(COUNTS.patience_s)
Record = Callable[[str, object], None]
EVERY_WAY = [
    *(("directed", family) for family in (4, 6)),
    ("invisible", 4),
    ("multicast", 6),
    *(pytest.param(mode, family, marks=pytest.mark.long) for mode, family in (("invisible", 6), ("multicast", 4))),
]


@pytest.fixture
def sources(family: int) -> list[str]:
    return [address(family, 201 + number) for number in range(CLIENTS)]


def expected(farm: Farm, client: str, port: int | None = None) -> str:
    return farm.owners[bucket(ip_address(client), DEFAULT_SEED, port)]


@pytest.mark.parametrize(("mode", "family"), EVERY_WAY)
async def test_each_packet_and_connection_is_taken_once_by_who_owns_it(
    farm: Farm, family: int, sources: list[str], record_property: Record
) -> None:
    await farm.spread("s1", "s2", "s3")
    for line in farm.ask("udp", VIP[family], str(COUNTS.packets), "16", PATIENCE, *sources):
        client, port, *names = line.split()
        assert names == [expected(farm, client, int(port))], line
    for line in farm.ask("tcp", VIP[family], str(COUNTS.connections), *sources):
        client, _, name = line.split()
        assert name == expected(farm, client), line
    assert farm.taken() == (COUNTS.packets, COUNTS.connections)
    record_property("packets", COUNTS.packets)
    record_property("connections", COUNTS.connections)


@pytest.mark.parametrize(("mode", "family"), EVERY_WAY)
async def test_fragments_find_their_server(farm: Farm, family: int, sources: list[str]) -> None:
    await farm.spread("s1", "s2", "s3")
    for line in farm.ask("udp", VIP[family], "40", "4000", PATIENCE, *sources):
        client, port, *names = line.split()
        assert names == [expected(farm, client, int(port))], line


@pytest.mark.parametrize(("mode", "family"), EVERY_WAY)
async def test_connections_stay_where_they_are_over_joins_leaves_and_weights(
    farm: Farm, family: int, sources: list[str], record_property: Record
) -> None:
    await farm.spread("s1", "s2")
    with held(farm, VIP[family], COUNTS.held, sources) as ask:
        before = ask()
        assert len(before) == COUNTS.held
        assert set(before) == {"s1", "s2"}
        for names in (("s1", "s2", "s3"), ("s3",), ("s2", "s3"), ("s1",), ("s1", "s2", "s2", "s3")):
            await farm.spread(*names)
            assert ask() == before
            lines = farm.ask("tcp", VIP[family], "40", *sources)
            assert all(line.split()[2] == expected(farm, line.split()[0]) for line in lines), lines
    record_property("held", COUNTS.held)


@pytest.mark.parametrize("mode", ["directed", "invisible"])
async def test_no_new_connection_is_reset_while_the_map_changes(
    farm: Farm, sources: list[str], record_property: Record
) -> None:
    """The next change comes when so many more connections are made that all changes fall into the time of all."""
    await farm.spread("s1", "s2", "s3")
    program = [sys.executable, str(Path(__file__).with_name("clients.py")), "tcp", VIP[4], str(COUNTS.begun), *sources]
    process = await asyncio.create_subprocess_exec(*farm.client.prefix, *program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    maps = [("s1", "s2"), ("s2", "s3", "s1"), ("s3", "s1"), ("s1", "s3", "s2")]
    lines: list[bytes] = []
    for number in range(COUNTS.rebalances):
        lines += [await process.stdout.readline() for _ in range(COUNTS.begun // (COUNTS.rebalances + 1))]
        await farm.spread(*maps[number % len(maps)])
    lines += (await process.communicate())[0].splitlines()
    assert len(lines) == COUNTS.begun
    assert {line.split()[2] for line in lines} == {b"s1", b"s2", b"s3"}
    record_property("begun", COUNTS.begun)
    record_property("rebalances", COUNTS.rebalances)


async def test_other_rules_are_laid_while_connections_begin(farm: Farm, sources: list[str]) -> None:
    await farm.spread("s1", "s2", "s3")
    program = [sys.executable, str(Path(__file__).with_name("clients.py")), "tcp", VIP[4], str(COUNTS.begun), *sources]
    process = await asyncio.create_subprocess_exec(*farm.client.prefix, *program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines: list[bytes] = []
    for number in range(COUNTS.rebalances):
        lines += [await process.stdout.readline() for _ in range(COUNTS.begun // (COUNTS.rebalances + 1))]
        await share_by("client_session" if number % 2 == 0 else "client_address", farm)
    lines += (await process.communicate())[0].splitlines()
    assert len(lines) == COUNTS.begun
    assert {line.split()[2] for line in lines} == {b"s1", b"s2", b"s3"}


@pytest.mark.parametrize(("mode", "family"), [("directed", 4), ("directed", 6), ("invisible", 4)])
async def test_connections_stay_where_they_are_when_their_port_is_shared_by_another_hash(
    farm: Farm, family: int, sources: list[str]
) -> None:
    await farm.spread("s1", "s2", "s3")
    with held(farm, VIP[family], COUNTS.held, sources) as ask:
        before = ask()
        assert set(before) == {"s1", "s2", "s3"}
        await share_by("client_session", farm)
        assert ask() == before
        own = {line.split()[2] for line in farm.ask("tcp", VIP[family], "40", sources[0])}
        assert len(own) > 1, "each connection may reach another server now"
        await share_by("client_address", farm)
        for server in farm.servers:  # someone removed the rules: they are laid again with what is kept
            server.namespace.command("nft", "flush", "ruleset")
        await farm.spread("s1", "s2", "s3")
        assert ask() == before
        own = {line.split()[2] for line in farm.ask("tcp", VIP[family], "40", sources[0])}
        assert own == {expected(farm, sources[0])}


async def share_by(way: Hash, farm: Farm) -> None:
    """Port 7000 on all servers, one after the other."""
    for server in farm.servers:
        before = server.resource.config
        server.resource.config = before.model_copy(update={"rules": (Rule(port=7000, hash=way),)})
        with server.namespace.inside():
            await server.resource.reconfigure(before)


@pytest.mark.parametrize(("mode", "family"), EVERY_WAY)
async def test_the_address_is_reachable_from_the_servers_themselves_and_by_ping(farm: Farm, family: int) -> None:
    await farm.spread("s1", "s2", "s3")
    program = str(Path(__file__).with_name("clients.py"))
    for server in farm.servers:
        line = server.namespace.command(sys.executable, program, "tcp", VIP[family], "1", VIP[family])
        assert line.split()[2] == server.name
    told = farm.client.command("ping", "-c", "5", "-i", "0.05", VIP[family])
    assert "5 packets transmitted, 5 received" in told
    assert "DUP" not in told


@pytest.mark.parametrize(("mode", "family"), EVERY_WAY)
async def test_neighbours_know_one_hardware_address_whoever_speaks(
    farm: Farm, family: int, mode: str, sources: list[str]
) -> None:
    await farm.spread("s1", "s2", "s3")
    known = set()
    for _ in range(3):
        farm.ask("tcp", VIP[family], "40", *sources)
        for server in farm.servers:  # so that they have to ask for the clients' hardware addresses anew
            server.namespace.command("ip", "neighbour", "flush", "dev", "eth0")
        shown = farm.client.command("ip", "neighbour", "show", "to", VIP[family], "dev", "eth0").split()
        known.add(shown[shown.index("lladdr") + 1])
    assert len(known) == 1
    own = {server.place for server in farm.servers}
    assert known & own == ({farm.servers[0].place} if mode == "directed" else set())


@pytest.mark.parametrize("family", [4, 6])
async def test_a_smaller_mtu_behind_a_router_is_heard_of(farm: Farm, family: int) -> None:
    """The router's word goes to the address, and the server whose connection it is about has to hear it."""
    await farm.spread("s1", "s2", "s3")
    with network_namespace() as router, network_namespace() as far:
        plug(farm.bridge, router, "p9")
        router.command("ip", "link", "add", "far0", "type", "veth", "peer", "eth0", "netns", far.name)
        net, near, away = ("10.7.0.0/24", "10.7.0.1", "10.7.0.") if family == 4 else ("fd07::/64", "fd07::1", "fd07::")
        prefix = net.partition("/")[2]
        flags = ["nodad"] if family == 6 else []
        router.command("ip", "address", "add", f"{address(family, 99)}/{prefix}", "dev", "eth0", *flags)
        router.command("ip", "address", "add", f"{near}/{prefix}", "dev", "far0", *flags)
        router.command("ip", "link", "set", "far0", "mtu", "1300", "up")
        forwarding = "net.ipv4.ip_forward=1" if family == 4 else "net.ipv6.conf.all.forwarding=1"
        router.command("sysctl", "-qw", forwarding)
        far.command("ip", "link", "set", "eth0", "up")
        for server in farm.servers:
            server.namespace.command("ip", "route", "add", net, "via", address(family, 99))
        for number in range(2, 8):
            far.command("ip", "address", "flush", "dev", "eth0", "scope", "global")
            far.command("ip", "address", "add", f"{away}{number}/{prefix}", "dev", "eth0", *flags)
            far.command("ip", "route", "replace", "default", "via", near)
            program = str(Path(__file__).with_name("clients.py"))
            assert far.command(sys.executable, program, "pour", VIP[family], "200000").strip() == "200000"


async def test_a_server_whose_agent_stands_still_falls_silent_by_itself(farm: Farm, sources: list[str]) -> None:
    await farm.spread("s1", "s2", "s3")
    for server in farm.servers:
        await farm.give(server, server.held, lease_s=0.2)
    await asyncio.sleep(0.5)
    for line in farm.ask("udp", VIP[4], "40", "16", "0.5", *sources):
        assert len(line.split()) == 2, line


async def test_a_flushed_ruleset_is_laid_again_by_the_next_lease(farm: Farm, sources: list[str]) -> None:
    await farm.spread("s1", "s2", "s3")
    for server in farm.servers:
        server.namespace.command("nft", "flush", "ruleset")
        await farm.give(server, server.held)
    for line in farm.ask("udp", VIP[4], "200", "16", PATIENCE, *sources):
        client, port, *names = line.split()
        assert names == [expected(farm, client, int(port))], line


async def test_a_flushed_ruleset_is_seen_and_laid_again_at_once(farm: Farm) -> None:
    await farm.spread("s1", "s2", "s3")
    server = farm.servers[1]
    with server.namespace.inside():
        watch = server.resource.watch()
        assert (await anext(watch)).health.value == "up"
        server.namespace.command("nft", "flush", "ruleset")
        assert (await asyncio.wait_for(anext(watch), 4.0)).health.value == "up"
        await watch.aclose()  # type: ignore[attr-defined]
        shown = server.namespace.command("nft", "list", "ruleset")
    assert shown.count("table ") == 4


async def test_no_packet_travels_twice_whatever_the_servers_believe(farm: Farm) -> None:
    """Each believes that all buckets belong to another one, in a ring."""
    await farm.spread("s1", "s2", "s3")
    for number, server in enumerate(farm.servers):
        farm.owners = [farm.servers[(number + 1) % 3].name] * 256
        await farm.give(server, frozenset())
    before = frames(farm)
    farm.client.command(
        *f"{sys.executable} {Path(__file__).with_name('clients.py')} udp {VIP[4]} 10 16 0.5 {address(4, 201)}".split()
    )
    assert frames(farm) - before < 100


SEND = """import itertools, socket, sys, time
for number in itertools.count():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, int(sys.argv[2]))
        sender.sendto(b"x", (sys.argv[1], 7000))
    print(number, flush=True)
    time.sleep(0.02)
"""


@contextmanager
def sending(farm: Farm, vip: str, ttl: int = 64) -> Iterator[None]:
    """A datagram fifty times a second."""
    program = [*farm.client.prefix, sys.executable, "-c", SEND, vip, str(ttl)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield
        finally:
            process.kill()


async def test_who_was_the_director_stays_until_no_client_sends_to_it(farm: Farm) -> None:
    """Its rules gone, what clients send to it would be answered with a reset."""
    await farm.spread("s1", "s2", "s3")
    first, vip = farm.servers[0], VIP[4]
    neighbour = ("ip", "neighbour", "replace", vip, "lladdr", first.place, "dev", "eth0", "nud")
    farm.client.command(*neighbour, "permanent")
    with sending(farm, vip):
        farm.director = "s2"
        await farm.spread("s2", "s3")
        with first.namespace.inside():
            settling = asyncio.ensure_future(first.resource.settle())
            await asyncio.wait([settling], timeout=1.0)
            assert not settling.done()
            farm.client.command("ip", "neighbour", "del", vip, "dev", "eth0")
            async with asyncio.timeout(10.0):
                await settling


async def test_who_leaves_says_so_and_stays_until_nobody_passes_anything_on_to_it(farm: Farm) -> None:
    """A copy for one that has left, where packets are forwarded, is answered with `time exceeded`."""
    await farm.spread("s1", "s2", "s3")
    first, told = farm.servers[0], f"place.{farm.servers[0].resource.context.name}"
    neighbour = ("ip", "neighbour", "replace", VIP[4], "lladdr", first.place, "dev", "eth0", "nud", "permanent")
    farm.client.command(*neighbour)
    with first.namespace.inside():
        with sending(farm, VIP[4], ttl=1):
            stopping = asyncio.ensure_future(first.resource.stop(False))
            await asyncio.wait([stopping], timeout=1.0)
            assert not stopping.done()
            assert first.resource.context.values[told] == NOWHERE  # type: ignore[attr-defined]
        async with asyncio.timeout(10.0):
            await stopping
        assert first.namespace.command("nft", "list", "ruleset") == ""


async def test_nothing_is_passed_on_to_a_server_without_a_place(farm: Farm) -> None:
    farm.servers[2].place = NOWHERE
    await farm.spread("s1", "s2")
    with farm.servers[0].namespace.inside():
        shown = farm.servers[0].namespace.command("nft", "list", "ruleset")
    assert farm.servers[1].place in shown
    assert NOWHERE not in shown


def frames(farm: Farm) -> int:
    """How many frames all ports of the bridge have sent."""
    shown = farm.bridge.command("sh", "-c", "cat /sys/class/net/p*/statistics/tx_packets")
    return sum(map(int, shown.split()))


@contextmanager
def held(farm: Farm, vip: str, count: int, sources: list[str]) -> Iterator[Any]:
    """Connections that stay open; a call asks each for its server."""
    program = [sys.executable, str(Path(__file__).with_name("clients.py")), "hold", vip, str(count), *sources]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*farm.client.prefix, *program], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "open\n"

        def ask() -> list[str]:
            process.stdin.write("\n")
            process.stdin.flush()
            return list(process.stdout.readline().split())

        try:
            yield ask
        finally:
            process.kill()
