"""The ping witness on loopback, and on a wire with hosts that answer, are silent, or are not there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_witness_ping import PingConfig, PingWitness

from safekit_sdk import ConfigError, Lease, PeerError
from safekit_sdk.testing import a_context
from safekit_sdk.testing.leaks import Belongings, left_since

GONE = "10.8.0.9"
on_the_wire = pytest.mark.usefixtures("inside")


@pytest.fixture
def inside(wire: Any) -> Iterator[None]:
    with wire.here.inside():
        yield


def witness(tmp_path: Path, *hosts: str, **settings: Any) -> PingWitness:
    return PingWitness(PingConfig.model_validate({"hosts": hosts, **settings}), a_context(tmp_path))


@on_the_wire
async def test_whoever_reaches_the_host_gets_a_lease_of_the_epoch_that_it_asked_for(tmp_path: Path) -> None:
    one = witness(tmp_path, "127.0.0.1", lease="4s")
    assert await one.acquire("web", "node1", 0) == Lease(epoch=1, ttl_s=4.0)
    assert await one.acquire("web", "node2", 7) == Lease(epoch=7, ttl_s=4.0)
    assert await one.renew("web", "node1", 7) == Lease(epoch=7, ttl_s=4.0)
    assert await one.acquire("web", "node1", 7, 6) == Lease(epoch=7, ttl_s=4.0), "it knows nothing of node2"


@on_the_wire
async def test_a_host_that_is_gone_is_a_witness_that_is_not_reached_for_both_calls(tmp_path: Path) -> None:
    gone = witness(tmp_path, GONE, timeout="500ms")
    for call in (gone.acquire, gone.renew, gone.probe):
        words = ("web", "node1") if call == gone.probe else ("web", "node1", 1)
        with pytest.raises(PeerError, match=r"no answer to ping from 10\.8\.0\.9 within 500ms"):
            await call(*words)


@on_the_wire
@pytest.mark.parametrize(("host", "protocol"), [("10.8.0.2", "icmp"), ("fd08::2", "icmpv6")])
async def test_a_silent_host_is_not_reached(tmp_path: Path, wire: Any, host: str, protocol: str) -> None:
    wire.drop(protocol, "type", "echo-request")
    with pytest.raises(PeerError):
        await witness(tmp_path, host).acquire("web", "node1", 1)


@on_the_wire
async def test_one_of_several_hosts_is_enough_and_the_probe_says_which(tmp_path: Path) -> None:
    some = witness(tmp_path, GONE, "10.8.0.2", "192.0.2.1", "fd08::2")
    assert isinstance(await some.acquire("web", "node1", 1), Lease)
    gone, there, far, six = (await some.probe("web", "node1")).split("; ")
    assert gone == f"{GONE}: no answer"
    assert there.startswith("10.8.0.2: answered in ")
    assert far == "192.0.2.1: no answer"
    assert six.startswith("fd08::2: answered in ")


@on_the_wire
async def test_two_lost_requests_are_no_silence(tmp_path: Path, wire: Any) -> None:
    wire.drop("icmp", "type", "echo-request", "numgen", "inc", "mod", "3", "<", "2")
    assert isinstance(await witness(tmp_path, "10.8.0.2").acquire("web", "node1", 1), Lease)


@on_the_wire
async def test_a_cut_cable_is_seen_and_its_repair_too(tmp_path: Path, wire: Any) -> None:
    same = witness(tmp_path, "10.8.0.2", timeout="500ms")
    lease = await same.acquire("web", "node1", 3)
    assert isinstance(lease, Lease)
    wire.cut()
    with pytest.raises(PeerError):
        await same.renew("web", "node1", lease.epoch)
    wire.there.command("ip", "link", "set", "eth0", "up")
    for _ in range(20):
        try:
            assert await same.renew("web", "node1", lease.epoch) == lease
            return
        except PeerError:
            continue
    pytest.fail("the host was not reached again")


@on_the_wire
async def test_a_cancelled_call_leaves_nothing(tmp_path: Path) -> None:
    await witness(tmp_path, "10.8.0.2").probe("web", "node1")
    before = Belongings.now()
    for call in (witness(tmp_path, GONE, "10.8.0.2").probe, witness(tmp_path, GONE).probe):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call("web", "node1"), 0.1)
    assert await left_since(before) == []


@on_the_wire
async def test_many_calls_at_once_take_nobody_elses_answer(tmp_path: Path) -> None:
    calls = [witness(tmp_path, host, timeout="500ms").probe("web", "node1") for host in ["10.8.0.2", GONE] * 20]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, str) for answer in answers[::2])
    assert all(isinstance(answer, PeerError) for answer in answers[1::2])


@pytest.fixture
def nobody() -> Iterator[None]:
    """Without the rights of root."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.usefixtures("nobody")
def test_a_process_that_may_not_ping_says_so() -> None:
    config = PingConfig.model_validate({"hosts": ["10.8.0.2", "fd08::2", "fd08::3"]})
    assert len(found := PingWitness.preflight(config, "mirror")) == 2
    assert all("run it as root" in finding for finding in found)
    with pytest.raises(ConfigError, match="may not ping"):
        asyncio.run(
            PingWitness(config, a_context(Path("/nowhere"), state_dir=Path("/"), run_dir=Path("/"))).probe("", "")
        )


@on_the_wire
def test_an_address_of_the_node_itself_is_found_before_it_is_relied_on() -> None:
    config = PingConfig.model_validate({"hosts": ["10.8.0.1", "10.8.0.2", "fd08::1"]})
    found = PingWitness.preflight(config, "mirror")
    assert [finding.partition(" ")[0] for finding in found] == ["10.8.0.1", "fd08::1"]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({}, "hosts"),
        ({"hosts": []}, "hosts"),
        ({"hosts": "10.0.0.1"}, "hosts"),
        ({"hosts": [f"10.0.0.{n}" for n in range(1, 10)]}, "at most 8"),
        ({"hosts": ["router.example"]}, "hosts"),
        ({"hosts": ["10.0.0.1; reboot"]}, "hosts"),
        ({"hosts": ["10.0.0.1", "10.0.0.1"]}, "named twice"),
        ({"hosts": ["224.0.0.1"]}, "not the address of one host"),
        ({"hosts": ["::"]}, "not the address of one host"),
        ({"hosts": ["10.0.0.1"], "timeout": "3s"}, "half of lease"),
        ({"hosts": ["10.0.0.1"], "timeout": "0s"}, "half of lease"),
        ({"hosts": ["10.0.0.1"], "lease": "1s"}, "half of lease"),
        ({"hosts": ["10.0.0.1"], "count": 3}, "count"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValidationError, match=what):
        PingConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("host", "ident"), [("10.0.0.1", "10.0.0.1"), ("::1", "_::1"), ("fe80::1%eth0", "fe80::1_eth0")]
)
def test_the_identifier_is_the_first_host(host: str, ident: str) -> None:
    assert PingWitness.ident(PingConfig.model_validate({"hosts": [host]})) == ident


@on_the_wire
async def test_a_link_local_address_says_its_interface(tmp_path: Path, wire: Any) -> None:
    text = wire.there.command("ip", "-6", "-brief", "address", "show", "dev", "eth0", "scope", "link")
    address = text.split()[-1].partition("/")[0]
    assert isinstance(await witness(tmp_path, f"{address}%eth0").acquire("web", "node1", 1), Lease)
