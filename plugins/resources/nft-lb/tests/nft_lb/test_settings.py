"""What a module file may say, what a machine lacks, and that the hash is the kernel's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_resource_nft_lb import NftLbConfig, NftLbResource, nft, place
from safekit_resource_nft_lb.jhash import bucket

from safekit_sdk import ConfigError
from safekit_sdk.testing import Namespace, a_context, network_namespace

SEED = 0x1234
VIP = {"addresses": ["10.5.0.100"]}


@pytest.fixture
def here() -> Iterator[Namespace]:
    with network_namespace() as namespace:
        namespace.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth1")
        namespace.command("ip", "link", "set", "eth0", "up")
        namespace.command("ip", "address", "add", "10.5.0.1/24", "dev", "eth0")
        namespace.command("ip", "address", "add", "fd05::1/64", "dev", "eth0", "nodad")
        with namespace.inside():
            yield namespace


def config(**settings: Any) -> NftLbConfig:
    return NftLbConfig.model_validate({**VIP, **settings})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"addresses": []}, "at least 1 item"),
        ({"addresses": ["10.5.0.100", "10.5.0.100"]}, "an address is listed twice"),
        ({"rules": [{"port": 80}, {"port": 80, "hash": "client_session"}]}, "rules 1 and 2 both are for tcp port 80"),
        ({"rules": [{"port": 80}, {"port": 80, "address": "10.5.0.100"}]}, "rules 1 and 2 both are for tcp port 80"),
        ({"rules": [{"port": 80, "address": "10.5.0.7"}]}, "which is not one of the addresses (10.5.0.100)"),
        ({"mode": "bridged"}, "'directed', 'invisible' or 'multicast'"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said.replace("(", r"\(").replace(")", r"\)")):
        config(**settings)


@pytest.mark.usefixtures("here")
def test_the_interface_is_the_one_with_an_address_of_the_same_network() -> None:
    found = place.find(config(addresses=["10.5.0.100", "fd05::100"]))
    assert (found.interface, str(found.own4), str(found.own6)) == ("eth0", "10.5.0.1", "fd05::1")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"addresses": ["10.9.0.100"]}, "no interface has an address in the network of 10.9.0.100"),
        ({"addresses": ["10.5.0.100", "10.9.0.100"]}, "10.9.0.100 is not of a network of eth0"),
        ({"interface": "eth7"}, "there is no interface eth7"),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_address_that_does_not_fit_is_told_before_anything_changes(settings: dict[str, Any], said: str) -> None:
    findings = NftLbResource.preflight(config(**settings), "farm")
    assert [said in finding for finding in findings] == [True]


@pytest.mark.usefixtures("here")
def test_a_mirror_has_no_use_for_it() -> None:
    assert "only a farm's clients are shared" in NftLbResource.preflight(config(), "mirror")[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "mode directed: one node receives what all clients send"),
        ({"mode": "invisible"}, "flood what it is sent for an unknown hardware address"),
        ({"mode": "multicast"}, "flood multicast"),
    ],
)
def test_a_plan_says_what_the_mode_means_and_what_else_there_is(settings: dict[str, Any], said: str) -> None:
    (remark,) = NftLbResource.remarks(config(**settings), "farm")
    assert said in remark
    assert ("`invisible`" in remark) is (not settings)
    assert ("`directed`" in remark) is bool(settings)


def test_a_machine_without_the_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nft, "LIBRARY", "libnftables.so.99")
    nft._library.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"libnftables.so.99 is not on this machine") as caught:
            nft.Nft()
        assert "apt-get install nftables" in caught.value.hint
    finally:
        nft._library.cache_clear()


@pytest.mark.usefixtures("here")
def test_a_transaction_is_whole_or_not_at_all() -> None:
    with pytest.raises(ConfigError, match="nftables refused a change"):
        nft.Nft().run("add table inet whole\nadd element inet whole nothing { 1 }")
    assert nft.Nft().listed("tables") == [entry for entry in nft.Nft().listed("tables") if "metainfo" in entry]


@pytest.mark.parametrize("session", [False, True])
@pytest.mark.parametrize("family", [4, 6])
def test_the_hash_is_the_kernels(here: Namespace, family: int, session: bool) -> None:
    """The kernel notes the bucket of each packet that comes over the loopback."""
    key = "ip saddr" if family == 4 else "ip6 saddr"
    key += " . th sport" if session else ""
    nft.Nft().run(
        "table inet look {\n set seen { typeof numgen inc mod 256; flags dynamic; size 256; }\n"
        " chain in {\n  type filter hook prerouting priority -350; policy accept;\n"
        f"  udp dport 9 add @seen {{ jhash {key} mod 256 seed {SEED:#x} }}\n }}\n}}\n"
    )
    kind, target = (socket.AF_INET, "127.0.0.1") if family == 4 else (socket.AF_INET6, "::1")
    for number in range(1, 30):
        source = f"127.9.{number}.{7 * number % 256}" if family == 4 else f"fd05::{number:x}:{7 * number:x}"
        if family == 6:
            here.command("ip", "address", "add", f"{source}/128", "dev", "lo", "nodad")
        nft.Nft().run("flush set inet look seen")
        with socket.socket(kind, socket.SOCK_DGRAM) as sender:
            sender.bind((source, 40000 + number))
            sender.sendto(b"x", (target, 9))
        found = next(entry["set"]["elem"] for entry in nft.Nft().listed("set inet look seen") if "set" in entry)
        assert found == [bucket(ip_address(source), SEED, 40000 + number if session else None)]


async def test_a_stop_waits_for_clients_that_the_program_has_not_accepted_yet(here: Namespace, tmp_path: Path) -> None:
    here.command("ip", "link", "set", "lo", "up")
    resource = NftLbResource(config(rules=[{"port": 8080}]), a_context(tmp_path, kind="farm"))
    with socket.create_server(("127.0.0.1", 8080)) as listener:
        await asyncio.wait_for(resource.settle(), 5)
        with socket.create_connection(("127.0.0.1", 8080)):
            settling = asyncio.ensure_future(resource.settle())
            await asyncio.wait([settling], timeout=0.1)
            assert not settling.done()
            accepted, _ = listener.accept()
            with accepted:
                await asyncio.wait_for(settling, 5)


async def test_a_stop_waits_for_clients_that_have_an_answer_of_the_kernel_only(here: Namespace, tmp_path: Path) -> None:
    """As Apache has it: a connection without a request is not handed to the program (tcp(7), TCP_DEFER_ACCEPT)."""
    here.command("ip", "address", "add", "10.5.0.100/32", "dev", "lo")
    here.command("ip", "link", "set", "lo", "up")
    resource = NftLbResource(config(rules=[{"port": 8080}]), a_context(tmp_path, kind="farm"))
    with socket.create_server(("10.5.0.100", 8080)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 30)
        with socket.create_connection(("10.5.0.100", 8080)) as client:
            settling = asyncio.ensure_future(resource.settle())
            await asyncio.wait([settling], timeout=0.1)
            assert not settling.done()
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            accepted, _ = listener.accept()
            with accepted:
                await asyncio.wait_for(settling, 5)
