"""The intf checker with interfaces that really go, are switched off and lose their link."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_intf import IntfChecker, IntfConfig

from safekit_sdk import Health
from safekit_sdk.hysteresis import Hysteresis
from safekit_sdk.testing import Namespace, a_context, network_namespace, watched


@pytest.fixture(autouse=True)
def here() -> Iterator[Namespace]:
    """eth0 has a link, as long as its other end far0 is up."""
    with network_namespace() as made:
        made.command("ip", "link", "add", "eth0", "up", "type", "veth", "peer", "far0")
        made.command("ip", "link", "set", "far0", "up")
        with made.inside():
            yield made


def checker(tmp_path: Path, **settings: Any) -> IntfChecker:
    return IntfChecker(IntfConfig.model_validate({"interface": "eth0", **settings}), a_context(tmp_path))


FAULTS = {
    "it has no link": (["set", "far0", "down"], ["set", "far0", "up"]),
    "it is switched off": (["set", "eth0", "down"], ["set", "eth0", "up"]),
    "there is no such interface": (["delete", "eth0"], ["add", "eth0", "up", "type", "veth", "peer", "far0"]),
}


@pytest.mark.parametrize("told", FAULTS)
async def test_a_fault_is_down_at_once_and_its_end_is_up(tmp_path: Path, here: Namespace, told: str) -> None:
    """The next look would be in an hour."""
    fault, repair = FAULTS[told]
    async with watched(checker(tmp_path, interval="1h")) as said:
        await said.becomes(Health.UP)
        here.command("ip", "link", *fault)
        assert told in (await said.becomes(Health.DOWN)).reason
        here.command("ip", "link", *repair)
        here.command("ip", "link", "set", "far0", "up")
        await said.becomes(Health.UP)


async def test_an_interface_that_was_renamed_is_down(tmp_path: Path, here: Namespace) -> None:
    async with watched(checker(tmp_path, interval="1h")) as said:
        await said.becomes(Health.UP)
        here.command("ip", "link", "set", "eth0", "name", "eth1")
        assert "no such interface" in (await said.becomes(Health.DOWN)).reason


async def test_a_bridge_is_down_when_the_last_of_its_ports_is(tmp_path: Path, here: Namespace) -> None:
    here.command("ip", "link", "add", "br0", "up", "type", "bridge")
    here.command("ip", "link", "set", "eth0", "master", "br0")
    async with watched(checker(tmp_path, interface="br0", interval="1h")) as said:
        await said.becomes(Health.UP)
        here.command("ip", "link", "set", "far0", "down")
        await said.becomes(Health.DOWN)


async def test_a_link_may_be_of_no_matter(tmp_path: Path, here: Namespace) -> None:
    here.command("ip", "link", "set", "far0", "down")
    async with watched(checker(tmp_path, link=False, interval="1h")) as said:
        assert (await said.becomes(Health.UP)).facts["state"] == "unlinked"
        here.command("ip", "link", "set", "eth0", "down")
        await said.becomes(Health.DOWN)


async def test_what_happens_to_others_is_no_verdict(tmp_path: Path, here: Namespace) -> None:
    async with watched(checker(tmp_path, interval="1h")) as said:
        await said.becomes(Health.UP)
        for number in range(20):
            here.command("ip", "link", "add", f"other{number}", "type", "bridge")
        here.command("ip", "link", "set", "eth0", "mtu", "1400")
        here.command("ip", "link", "set", "far0", "down")
        await said.becomes(Health.DOWN)
    assert [verdict.health for verdict in said.verdicts] == [Health.UP, Health.DOWN]


async def test_without_any_change_a_verdict_is_said_each_interval(tmp_path: Path) -> None:
    async with watched(checker(tmp_path, interval="10ms")) as said:
        await said.are(5)
    assert {verdict.health for verdict in said.verdicts} == {Health.UP}


async def test_a_short_loss_is_none_where_two_looks_are_asked_for(tmp_path: Path, here: Namespace) -> None:
    hysteresis = Hysteresis(rise=1, fall=2)
    async with watched(checker(tmp_path, interval="1h", fall=2)) as said:
        await said.becomes(Health.UP)
        here.command("ip", "link", "set", "far0", "down")
        await said.becomes(Health.DOWN)
        here.command("ip", "link", "set", "far0", "up")
        await said.becomes(Health.UP)
    assert [hysteresis.feed(verdict) for verdict in said.verdicts][1:] == [None, None]


async def test_no_descriptor_left_is_unknown_and_not_down(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with watched(checker(tmp_path, interval="10ms")) as said:
        await said.becomes(Health.UP)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            await said.becomes(Health.UNKNOWN)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        await said.becomes(Health.UP)
    assert Health.DOWN not in {verdict.health for verdict in said.verdicts}


def test_an_interface_that_is_not_there_is_told_before_anything_changes() -> None:
    told = IntfChecker.preflight(IntfConfig(interface="eth7"), "mirror")
    assert told == ["there is no interface eth7; there are: eth0, far0, lo"]


@pytest.mark.parametrize("name", ["", "a" * 16, "eth 0", "eth0/1", "eth0:1", "e\0"])
def test_names_that_no_interface_can_have_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        IntfConfig(interface=name)


@pytest.mark.parametrize(("name", "ident"), [("bond0.100", "bond0.100"), ("-x@y", "_-x_y")])
def test_the_identifier_is_the_interface(name: str, ident: str) -> None:
    assert IntfChecker.ident(IntfConfig(interface=name)) == ident
