"""What a virtual address does on a real wire, with a neighbour."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_resource_vip import VipConfig, VipResource

from safekit_sdk import ConfigError, ResourceState, arp, ndp
from safekit_sdk.testing import RecordingContext, a_context
from safekit_sdk.verdict import Health, Verdict

V4, V6 = "10.5.0.100", "fd05::100"
ADDRESSES = [f"{V4}/24", f"{V6}/64"]


@pytest.fixture(autouse=True)
def here(wire: Any) -> Iterator[None]:
    with wire.here.inside():
        yield


def vip(tmp_path: Path, address: str = f"{V4}/24", **settings: object) -> VipResource:
    config = VipConfig.model_validate({"address": address, **settings})
    return VipResource(config, a_context(tmp_path, name=VipResource.ident(config)))


def neighbour_knows(wire: Any, address: str, *options: str) -> str:
    """The hardware address that the neighbour has for this one."""
    shown = wire.there.command("ip", *options, "neighbour", "show", "to", address, "dev", "eth0").split()
    return shown[shown.index("lladdr") + 1] if "lladdr" in shown else ""


async def until(there: Any, what: str) -> None:
    for _ in range(300):
        if there():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not within 6 s: {what}")


@asynccontextmanager
async def watched(resource: VipResource) -> AsyncIterator[list[Verdict]]:
    said: list[Verdict] = []

    async def listen() -> None:
        async for verdict in resource.watch():
            said.append(verdict)

    task = asyncio.create_task(listen())
    try:
        await until(lambda: said, "a first verdict")
        yield said
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_neighbour_that_knew_another_machine_is_corrected_at_once(
    wire: Any, tmp_path: Path, address: str
) -> None:
    ip = address.partition("/")[0]
    wire.there.command("ip", "neighbour", "add", ip, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale")
    resource = vip(tmp_path, address)
    await resource.start()
    await until(lambda: neighbour_knows(wire, ip) == wire.mac(wire.here), "the neighbour knows better")
    await resource.stop(False)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_neighbour_reaches_it_and_it_is_no_source_of_our_own_traffic(
    wire: Any, tmp_path: Path, address: str
) -> None:
    ip = address.partition("/")[0]
    resource = vip(tmp_path, address)
    await resource.start()
    wire.there.command("ping", "-c", "1", "-W", "2", ip)
    route = wire.here.command("ip", "route", "get", "fd05::2" if ":" in ip else "10.5.0.2")
    assert f"src {ip} " not in route
    await resource.stop(False)
    assert wire.holders(ip) == []


async def test_an_address_of_another_machine_is_waited_for_and_then_taken(wire: Any, tmp_path: Path) -> None:
    wire.there.command("ip", "address", "add", f"{V4}/24", "dev", "eth0")
    resource = vip(tmp_path)
    start = asyncio.create_task(resource.start())
    context = resource.context
    assert isinstance(context, RecordingContext)
    await until(lambda: any("has 10.5.0.100" in line for line in context.lines), "it is told who has it")
    assert wire.mac(wire.there) in " ".join(context.lines)
    assert wire.holders(V4) == []
    wire.there.command("ip", "address", "delete", f"{V4}/24", "dev", "eth0")
    await start
    assert wire.holders(V4)
    await resource.stop(False)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_start_fails_with_the_other_machines_hardware_address(wire: Any, tmp_path: Path, address: str) -> None:
    wire.there.command("ip", "address", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
    with pytest.raises(ConfigError, match=wire.mac(wire.there)):
        await vip(tmp_path, address, conflict_wait="300ms").start()
    assert wire.holders(address.partition("/")[0]) == []


async def test_it_is_taken_all_the_same_when_that_is_asked_for(wire: Any, tmp_path: Path) -> None:
    wire.there.command("ip", "address", "add", f"{V4}/24", "dev", "eth0")
    resource = vip(tmp_path, on_conflict="take")
    await resource.start()
    assert wire.holders(V4)
    await resource.stop(True)


async def test_an_address_of_the_machines_own_is_neither_taken_nor_removed(wire: Any, tmp_path: Path) -> None:
    wire.here.command("ip", "address", "add", f"{V4}/24", "dev", "eth0")
    with pytest.raises(ConfigError, match="not put there by safekit"):
        await vip(tmp_path).start()
    await vip(tmp_path).stop(True)
    assert wire.holders(V4)
    assert (await vip(tmp_path).status()).state is ResourceState.STOPPED


async def test_other_addresses_stay_when_it_goes(wire: Any, tmp_path: Path) -> None:
    first, second = vip(tmp_path / "a"), vip(tmp_path / "b", "10.5.0.101/24")
    await first.start()
    await second.start()
    await first.stop(False)
    assert wire.holders(V4) == []
    assert wire.holders("10.5.0.101")
    assert wire.holders("10.5.0.1")
    await second.stop(False)
    assert wire.holders("10.5.0.1")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_it_is_down_when_someone_takes_it_away(wire: Any, tmp_path: Path, address: str) -> None:
    resource = vip(tmp_path, address)
    await resource.start()
    async with watched(resource) as said:
        assert said[0].health is Health.UP
        wire.here.command("ip", "address", "delete", address, "dev", "eth0")
        await until(lambda: said[-1].health is Health.DOWN, "it is seen")
    assert "removed by someone else" in said[-1].reason
    await resource.stop(False)
    await resource.start()
    assert wire.holders(address.partition("/")[0])
    await resource.stop(False)


async def test_it_is_down_without_a_link_and_up_again_with_one(wire: Any, tmp_path: Path) -> None:
    resource = vip(tmp_path)
    await resource.start()
    async with watched(resource) as said:
        wire.there.command("ip", "link", "set", "eth0", "down")
        await until(lambda: said[-1].health is Health.DOWN, "the lost link is seen")
        assert "eth0" in said[-1].reason
        wire.there.command("ip", "link", "set", "eth0", "up")
        await until(lambda: said[-1].health is Health.UP, "the link is back")
    await resource.stop(False)


async def test_a_machine_that_claims_it_is_told_off_at_once(wire: Any, tmp_path: Path) -> None:
    resource = vip(tmp_path, refresh="0s")
    await resource.start()
    async with watched(resource):
        wire.there.command("ping", "-c", "1", "-W", "2", V4)
        with wire.there.inside():
            liar = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            liar.bind(("eth0", 0))
        with liar:
            lie = bytes.fromhex(wire.mac(wire.there).replace(":", ""))
            liar.send(arp.announcements(lie, resource.config.address.ip)[0])
        context = resource.context
        assert isinstance(context, RecordingContext)
        await until(lambda: any("defended" in line for line in context.lines), "it is defended")
        assert neighbour_knows(wire, V4) == wire.mac(wire.here)
    await resource.stop(False)


async def test_on_a_farm_every_node_has_it_and_nobody_is_asked(wire: Any, tmp_path: Path) -> None:
    wire.there.command("ip", "address", "add", f"{V4}/24", "dev", "eth0")
    config = VipConfig.model_validate({"address": f"{V4}/24"})
    resource = VipResource(config, a_context(tmp_path, kind="farm", name=V4))
    await resource.start()
    assert wire.holders(V4)
    await resource.stop(False)


def test_what_this_machine_lacks_is_told_with_what_it_has(wire: Any) -> None:
    def told(**settings: str) -> str:
        return " ".join(VipResource.preflight(VipConfig.model_validate(settings), "mirror"))

    assert "no interface has an address in the network of 192.0.2.9/24" in told(address="192.0.2.9/24")
    assert "eth0 10.5.0.1/24" in told(address="192.0.2.9/24")
    assert "there is no interface eth7" in told(address=f"{V4}/24", interface="eth7")
    assert told(address="192.0.2.9/24", interface="eth0") == ""
    wire.here.command("ip", "link", "add", "eth1", "type", "bridge")
    wire.here.command("ip", "address", "add", "10.5.0.7/24", "dev", "eth1")
    assert "several interfaces" in told(address=f"{V4}/24")


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("10.0.0.100", "lacks the length"),
        ("10.0.0.300/24", "is not an address"),
        ("10.0.0.0/24", "the network"),
        ("10.0.0.255/24", "broadcast"),
        ("127.0.0.5/8", "loopback"),
        ("224.0.0.5/24", "multicast"),
        ("0.0.0.0/0", "unspecified"),
        ("fd00::/64", "the network"),
        ("ff02::1/64", "multicast"),
    ],
)
def test_an_address_that_no_host_can_have_is_refused(address: str, what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        VipConfig.model_validate({"address": address})


@pytest.mark.parametrize("address", ["10.0.0.0/31", "10.0.0.1/32", "fd00::1/128"])
def test_networks_of_one_or_two_hosts_have_neither_network_nor_broadcast_address(address: str) -> None:
    assert str(VipConfig.model_validate({"address": address}).address) == address


def test_damaged_packets_claim_nothing() -> None:
    v4, v6 = VipConfig.model_validate({"address": f"{V4}/24"}), VipConfig.model_validate({"address": f"{V6}/64"})
    mac = bytes.fromhex("020000000001")
    good4, good6 = arp.announcements(mac, v4.address.ip)[0], ndp.announcements(mac, v6.address.ip)[0][54:]
    assert arp.claimant(good4, v4.address.ip) == mac
    assert ndp.claimant(good6, v6.address.ip) == mac
    assert [arp.claimant(good4[:n], v4.address.ip) for n in range(42)] == [None] * 42
    assert all(ndp.claimant(good6[:n], v6.address.ip) in (None, b"") for n in range(len(good6)))
    assert ndp.claimant(good6[:24] + b"\x02\x00" + bytes(30), v6.address.ip) == b""


def test_the_checksum_of_an_advertisement_is_right() -> None:
    """A message with its own checksum in it sums up to zero (RFC 4443)."""
    frame = ndp.announcements(
        bytes.fromhex("020000000001"), VipConfig.model_validate({"address": f"{V6}/64"}).address.ip
    )[0]
    pseudo = frame[22:54] + struct.pack("!IxxxB", len(frame) - 54, 58)
    assert ndp._checksum(pseudo + frame[54:]) == 0
