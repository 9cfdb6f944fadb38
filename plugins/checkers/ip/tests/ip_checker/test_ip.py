"""The ip checker with an address that really is removed, moved, and stolen by another machine."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_ip import IpChecker, IpConfig

from safekit_sdk import Health
from safekit_sdk.testing import a_context, watched

from .network import V4, V6, Network, two_machines

BOTH = pytest.mark.parametrize("address", [V4, V6])


@pytest.fixture(autouse=True)
def network() -> Iterator[Network]:
    with two_machines() as made, made.here.inside():
        for address in (V4, V6):
            made.add(address)
        made.here.command("sysctl", "-w", "net.ipv6.conf.eth0.router_solicitation_delay=0")  # nor is DAD begun later
        yield made


def checker(tmp_path: Path, address: str = V4, kind: str = "mirror", **settings: Any) -> IpChecker:
    config = IpConfig.model_validate({"address": address, "interval": "1h", "probe_wait": "60ms", **settings})
    return IpChecker(config, a_context(tmp_path, kind=kind))


@BOTH
async def test_an_address_that_is_removed_is_down_at_once_and_up_when_it_is_back(
    tmp_path: Path, network: Network, address: str
) -> None:
    """The next look would be in an hour."""
    async with watched(checker(tmp_path, address)) as said:
        assert (await said.becomes(Health.UP)).reason == f"{address} is on eth0"
        network.remove(address)
        assert (await said.becomes(Health.DOWN)).reason == f"{address} is not on this machine"
        network.add(address)
        await said.becomes(Health.UP)


async def test_an_address_on_another_interface_is_down_where_one_is_named(tmp_path: Path, network: Network) -> None:
    network.here.command("ip", "link", "add", "br0", "type", "bridge")
    async with watched(checker(tmp_path, interface="eth0")) as said, watched(checker(tmp_path)) as anywhere:
        await said.becomes(Health.UP)
        network.remove(V4)
        await anywhere.becomes(Health.DOWN)
        await said.becomes(Health.DOWN)
        network.here.command("ip", "link", "set", "br0", "up")
        network.here.command("ip", "address", "add", f"{V4}/24", "dev", "br0")
        assert (await anywhere.becomes(Health.UP)).facts["interface"] == "br0"
        await said.are(3)
        assert (await said.becomes(Health.DOWN)).reason == f"{V4} is not on eth0, but on br0"


async def test_an_interface_that_is_switched_off_is_down(tmp_path: Path, network: Network) -> None:
    async with watched(checker(tmp_path)) as said:
        await said.becomes(Health.UP)
        network.here.command("ip", "link", "set", "eth0", "down")
        assert "switched off" in (await said.becomes(Health.DOWN)).reason
        network.here.command("ip", "link", "set", "eth0", "up")
        await said.becomes(Health.UP)


async def test_a_lost_link_is_not_what_this_is_about(tmp_path: Path, network: Network) -> None:
    network.there.command("ip", "link", "set", "eth0", "down")
    async with watched(checker(tmp_path)) as said:
        await said.becomes(Health.UP)


@BOTH
async def test_an_address_that_another_machine_took_is_down_with_who_it_is(
    tmp_path: Path, network: Network, address: str
) -> None:
    async with watched(checker(tmp_path, address, interval="50ms")) as said:
        await said.becomes(Health.UP)
        network.add(address, there=True)
        verdict = await said.becomes(Health.DOWN)
        assert verdict.reason == f"another machine ({network.stranger.hex(':')}) has {address} too"
        network.remove(address, there=True)
        await said.becomes(Health.UP)


@BOTH
async def test_a_thief_that_says_so_is_seen_at_once(tmp_path: Path, network: Network, address: str) -> None:
    async with watched(checker(tmp_path, address)) as said:
        await said.becomes(Health.UP)
        network.add(address, there=True)
        network.claim(address)
        await said.becomes(Health.DOWN)


@BOTH
async def test_a_claim_that_nobody_stands_by_is_looked_into_and_changes_nothing(
    tmp_path: Path, network: Network, address: str
) -> None:
    async with watched(checker(tmp_path, address)) as said:
        await said.becomes(Health.UP)
        network.claim(address)
        await said.are(2)
    assert [verdict.health for verdict in said.verdicts] == [Health.UP, Health.UP]


@pytest.mark.parametrize(("hop_limit", "health"), [(255, Health.DOWN), (254, Health.UP)])
async def test_only_what_was_sent_on_this_wire_counts(
    tmp_path: Path, network: Network, hop_limit: int, health: Health
) -> None:
    with network.advertising(V6, hop_limit):
        async with watched(checker(tmp_path, V6, interval="20ms")) as said:
            await said.are(3)
    assert {verdict.health for verdict in said.verdicts} == {health}


async def test_another_interface_of_this_machine_is_no_other_machine(tmp_path: Path, network: Network) -> None:
    """Linux answers for each of its addresses on every interface."""
    network.here.command("ip", "link", "add", "eth1", "type", "veth", "peer", "eth1", "netns", network.there.name)
    network.there.command("ip", "link", "add", "br0", "up", "type", "bridge")
    for name in ("eth0", "eth1"):
        network.there.command("ip", "link", "set", name, "master", "br0", "up")
    network.here.command("ip", "link", "set", "eth1", "up")
    async with watched(checker(tmp_path, interval="20ms")) as said:
        await said.are(4)
    assert {verdict.health for verdict in said.verdicts} == {Health.UP}


async def test_a_duplicate_may_be_only_logged_or_not_looked_for(tmp_path: Path, network: Network) -> None:
    network.add(V4, there=True)
    logging, ignoring = (checker(tmp_path, duplicate=word, interval="20ms") for word in ("log", "ignore"))
    async with watched(logging) as said, watched(ignoring) as blind:
        await said.are(3)
        await blind.are(3)
    assert {verdict.health for verdict in said.verdicts + blind.verdicts} == {Health.UP}
    assert said.verdicts[-1].facts["other"] == network.stranger.hex(":")
    assert logging.context.lines == [f"another machine ({network.stranger.hex(':')}) has {V4} too"]  # type: ignore[attr-defined]
    assert ignoring.context.lines == []  # type: ignore[attr-defined]


async def test_in_a_farm_all_nodes_have_the_address(tmp_path: Path, network: Network) -> None:
    network.add(V4, there=True)
    async with watched(checker(tmp_path, kind="farm", interval="20ms")) as said:
        await said.are(3)
    assert {verdict.health for verdict in said.verdicts} == {Health.UP}


async def test_a_duplicate_that_the_kernel_finds_is_down(tmp_path: Path, network: Network) -> None:
    network.remove(V6)
    network.add(V6, there=True)
    async with watched(checker(tmp_path, V6)) as said:
        await said.becomes(Health.DOWN)
        network.add(V6, options=())
        await said.are(2)
        verdict = await said.becomes(Health.DOWN)
    assert verdict.reason.endswith("not used: the kernel found another machine that has it")


async def test_an_address_that_is_not_used_yet_is_neither_up_nor_down(tmp_path: Path, network: Network) -> None:
    network.remove(V6)
    async with watched(checker(tmp_path, V6)) as said:
        await said.becomes(Health.DOWN)
        network.add(V6, options=())
        await said.becomes(Health.UP)
    assert [verdict.health for verdict in said.verdicts] == [Health.DOWN, Health.INIT, Health.UP]


async def test_an_address_of_the_loopback_is_not_asked_for(tmp_path: Path) -> None:
    async with watched(checker(tmp_path, "127.0.0.1")) as said:
        await said.becomes(Health.UP)


async def test_looks_go_on_while_the_kernel_tells_of_changes_all_the_time(tmp_path: Path, network: Network) -> None:
    batch = tmp_path / "batch"
    batch.write_text("address add 10.7.0.9/24 dev eth0\naddress delete 10.7.0.9/24 dev eth0\n" * 3000)
    async with watched(checker(tmp_path, interval="10ms", probe_wait="1ms")) as said:
        noise = asyncio.create_task(asyncio.to_thread(network.here.command, "ip", "-batch", str(batch)))
        while not noise.done():
            await said.are(len(said.verdicts) + 1)
        await noise
    assert {verdict.health for verdict in said.verdicts} == {Health.UP}


async def test_no_descriptor_left_is_unknown_and_not_down(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with watched(checker(tmp_path, interval="20ms")) as said:
        await said.becomes(Health.UP)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await said.becomes(Health.UNKNOWN)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await said.becomes(Health.UP)
    assert Health.DOWN not in {verdict.health for verdict in said.verdicts}


def test_without_the_right_to_ask_it_is_told_before_anything_changes() -> None:
    code = (
        "import os\n"
        "from safekit_checker_ip import IpChecker, IpConfig\n"
        "os.setuid(65534)\n"
        "for word in ('down', 'ignore'):\n"
        "    print(IpChecker.preflight(IpConfig(address='10.0.0.1', duplicate=word), 'mirror'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[0].startswith("['ip 10.0.0.1: no right to ask who has it")
    assert done.stdout.splitlines()[1] == "[]"


def test_what_a_duplicate_may_do_is_remarked() -> None:
    assert "duplicate: log" in IpChecker.remarks(IpConfig.model_validate({"address": V4}), "mirror")[0]
    assert IpChecker.remarks(IpConfig.model_validate({"address": V4, "duplicate": "log"}), "mirror") == []
    assert IpChecker.remarks(IpConfig.model_validate({"address": V4}), "farm") == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"address": "10.0.0.1/24"}, "without /24"),
        ({"address": "0.0.0.0"}, "of no machine"),
        ({"address": "224.0.0.1"}, "of no machine"),
        ({"address": "fe80::1"}, "say which"),
        ({"address": "fe80::1%eth0"}, "interface:"),
        ({"interface": "eth 0"}, "match pattern"),
        ({"probe_wait": "3s"}, "must fit"),
        ({"probe_wait": "0s"}, "must fit"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        IpConfig.model_validate({"address": V4, **settings})


@pytest.mark.parametrize(("address", "ident"), [("10.0.0.1", "10.0.0.1"), ("::1", "_::1")])
def test_the_identifier_is_the_address(address: str, ident: str) -> None:
    assert IpChecker.ident(IpConfig.model_validate({"address": address})) == ident
