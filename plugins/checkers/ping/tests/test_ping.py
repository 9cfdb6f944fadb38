"""The ping checker on a wire with a neighbour that answers, is silent, or is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_ping import PingChecker, PingConfig

from safekit_sdk import Health, Verdict
from safekit_sdk.testing import Namespace, a_context, network_namespace


@pytest.fixture(autouse=True)
def there() -> Iterator[Namespace]:
    """10.6.0.1 and fd06::1 are ours, .2 and ::2 the neighbour's."""
    with network_namespace() as here, network_namespace() as there:
        here.command("ip", "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", there.name)
        for number, namespace in enumerate((here, there), 1):
            namespace.command("ip", "link", "set", "eth0", "up")
            namespace.command("ip", "address", "add", f"10.6.0.{number}/24", "dev", "eth0")
            namespace.command("ip", "address", "add", f"fd06::{number}/64", "dev", "eth0", "nodad")
        with here.inside():
            yield there


async def look(tmp_path: Path, *hosts: str, **settings: Any) -> Verdict:
    config = PingConfig.model_validate({"hosts": hosts, "timeout": "1s", **settings})
    return await asyncio.wait_for(PingChecker(config, a_context(tmp_path)).check(), config.timeout.seconds)


def drop(there: Namespace, *what: str) -> None:
    there.command("nft", "add", "table", "inet", "t")
    there.command("nft", "add", "chain", "inet", "t", "in", "{ type filter hook input priority 0; }")
    there.command("nft", "add", "rule", "inet", "t", "in", *what)


@pytest.mark.parametrize("host", ["10.6.0.2", "fd06::2"])
async def test_a_host_that_answers_is_up_with_its_time(tmp_path: Path, host: str) -> None:
    verdict = await look(tmp_path, host)
    assert verdict.health is Health.UP
    assert verdict.facts[host].endswith(" ms")


@pytest.mark.parametrize("host", ["10.6.0.2", "fd06::2"])
async def test_a_silent_host_is_down(tmp_path: Path, there: Namespace, host: str) -> None:
    drop(there, "icmpv6", "type", "echo-request", "drop") if ":" in host else drop(
        there, "ip", "protocol", "icmp", "drop"
    )
    verdict = await look(tmp_path, host, count=2)
    assert verdict.health is Health.DOWN
    assert "no answer to 2 echo requests" in verdict.reason


async def test_one_lost_request_is_no_silence(tmp_path: Path, there: Namespace) -> None:
    drop(there, "ip", "protocol", "icmp", "numgen", "inc", "mod", "2", "0", "drop")
    assert (await look(tmp_path, "10.6.0.2", count=2)).health is Health.UP


@pytest.mark.parametrize(("host", "what"), [("10.6.0.9", "unreachable"), ("192.0.2.1", "unreachable")])
async def test_a_host_that_is_not_there_and_one_without_a_route_are_down(tmp_path: Path, host: str, what: str) -> None:
    verdict = await look(tmp_path, host, timeout="5s", count=1)
    assert verdict.health is Health.DOWN
    assert what in verdict.reason or "no answer" in verdict.reason


async def test_how_many_must_answer_is_a_setting(tmp_path: Path) -> None:
    hosts = ("10.6.0.2", "10.6.0.9", "fd06::2")
    assert (await look(tmp_path, *hosts)).health is Health.UP
    assert (await look(tmp_path, *hosts, need=2)).health is Health.UP
    verdict = await look(tmp_path, *hosts, need="all")
    assert verdict.health is Health.DOWN
    assert "2 of 3 answer, wanted 3: 10.6.0.9" in verdict.reason


async def test_a_name_that_does_not_resolve_is_unknown_unless_it_does_not_matter(tmp_path: Path) -> None:
    assert (await look(tmp_path, "no-such-name.invalid")).health is Health.UNKNOWN
    assert (await look(tmp_path, "no-such-name.invalid", "10.6.0.2")).health is Health.UP
    assert (await look(tmp_path, "no-such-name.invalid", "10.6.0.9", need=2, count=1)).health is Health.DOWN


async def test_a_source_that_is_not_ours_is_unknown(tmp_path: Path) -> None:
    assert (await look(tmp_path, "10.6.0.2", source="10.6.0.1")).health is Health.UP
    verdict = await look(tmp_path, "10.6.0.2", source="10.6.0.77")
    assert verdict.health is Health.UNKNOWN
    assert "10.6.0.77 is not an address of this node" in verdict.reason


async def test_a_lost_link_is_down(tmp_path: Path, there: Namespace) -> None:
    there.command("ip", "link", "set", "eth0", "down")
    assert (await look(tmp_path, "10.6.0.2", count=1)).health is Health.DOWN


@pytest.mark.parametrize(
    "settings",
    [
        {"hosts": []},
        {"hosts": ["a b"]},
        {"hosts": ["10.0.0.1", "10.0.0.1"]},
        {"hosts": ["10.0.0.1"], "need": 2},
        {"hosts": ["10.0.0.1"], "need": 0},
        {"hosts": ["10.0.0.1"], "source": "eth0"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PingConfig.model_validate(settings)


@pytest.mark.parametrize(("host", "ident"), [("10.0.0.1", "10.0.0.1"), ("::1", "_::1"), ("a.example", "a.example")])
def test_the_identifier_is_the_first_host(host: str, ident: str) -> None:
    assert PingChecker.ident(PingConfig.model_validate({"hosts": [host]})) == ident
