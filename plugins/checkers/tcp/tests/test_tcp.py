"""The tcp checker against real sockets; what must not answer is in a network namespace of its own."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from safekit_checker_tcp import TcpChecker, TcpConfig

from safekit_sdk import Context, Duration, Health, Ident, check_api


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("the condition did not come in 10 s")


def checker(**settings: Any) -> TcpChecker:
    return TcpChecker(TcpConfig(**settings), Context("web", "mirror", "n1", "test"))


async def test_a_listening_port_is_up_with_the_time_it_took(serving: Any) -> None:
    async with serving() as port:
        verdict = await checker(port=port).check()
    assert verdict.health is Health.UP
    assert verdict.facts["address"] == f"127.0.0.1:{port}"
    assert float(verdict.facts["latency_ms"]) >= 0


async def test_a_refused_connection_is_down_and_names_the_address_and_the_error(closed_port: int) -> None:
    verdict = await checker(port=closed_port).check()
    assert verdict.health is Health.DOWN
    assert verdict.reason == f"127.0.0.1:{closed_port}: connection refused"
    assert verdict.facts["error"] == "connection refused"


async def test_a_name_with_several_addresses_is_up_when_one_of_them_answers(serving: Any) -> None:
    async with serving() as port:
        assert (await checker(host="localhost", port=port).check()).health is Health.UP


async def test_a_name_whose_every_address_refuses_is_down(closed_port: int) -> None:
    verdict = await checker(host="localhost", port=closed_port).check()
    assert verdict.health is Health.DOWN
    assert "127.0.0.1 connection refused" in verdict.reason


def test_localhost_without_ipv6_is_down_by_its_ipv4_address_alone(in_namespace: Any) -> None:
    verdict = in_namespace(
        lambda: checker(host="localhost", port=80).check(), "sysctl -w net.ipv6.conf.all.disable_ipv6=1"
    )
    assert verdict.health is Health.DOWN


async def test_a_name_that_does_not_resolve_is_unknown_and_says_what_to_do() -> None:
    verdict = await checker(host="no-such-host.invalid", port=80).check()
    assert verdict.health is Health.UNKNOWN
    assert "does not resolve" in verdict.reason
    assert "give an address" in verdict.reason


def test_a_host_that_drops_every_packet_is_down_before_the_timeout(in_namespace: Any) -> None:
    verdict = in_namespace(
        lambda: checker(port=80, timeout="3s").check(),
        "nft add table inet t",
        "nft add chain inet t in { type filter hook input priority 0 ; }",
        "nft add rule inet t in tcp dport 80 drop",
    )
    assert verdict.health is Health.DOWN
    assert verdict.reason == "127.0.0.1:80: no answer in time"


@pytest.mark.parametrize(
    ("route", "error"),
    [
        ("ip link set lo up", "network is unreachable"),
        ("ip route add unreachable 10.99.0.0/24", "no route to host"),
    ],
)
def test_a_host_without_a_route_is_down(in_namespace: Any, route: str, error: str) -> None:
    verdict = in_namespace(lambda: checker(host="10.99.0.1", port=80).check(), route)
    assert verdict.health is Health.DOWN
    assert verdict.facts["error"] == error


def test_a_connection_that_meets_itself_is_down(in_namespace: Any) -> None:
    """The only ephemeral port is the one asked for: the kernel joins the connection to itself."""
    verdict = in_namespace(lambda: checker(port=40000).check(), "sysctl -w net.ipv4.ip_local_port_range=40000\t40000")
    assert verdict.health is Health.DOWN
    assert "met itself" in verdict.reason


def test_a_filter_of_this_node_is_unknown(in_namespace: Any) -> None:
    verdict = in_namespace(lambda: checker(host="10.99.0.1", port=80).check(), "ip route add prohibit 10.99.0.0/24")
    assert verdict.health is Health.UNKNOWN


async def test_no_descriptor_left_for_the_check_is_unknown(closed_port: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    config = checker(port=closed_port)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        verdict = await config.check()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert verdict.health is Health.UNKNOWN


async def test_the_expected_answer_is_up_even_when_it_comes_in_pieces(serving: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"PING\r\n"
        for piece in (b"+PO", b"NG\r\n"):
            writer.write(piece)
            await writer.drain()
        await reader.read()

    async with serving(talk) as port:
        verdict = await checker(port=port, send="PING\r\n", expect="+PONG").check()
    assert verdict.health is Health.UP
    assert "answers as expected" in verdict.reason


async def test_a_greeting_can_be_expected_without_sending(serving: Any) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        await reader.read()

    async with serving(greet) as port:
        assert (await checker(port=port, expect="220 ").check()).health is Health.UP


async def test_another_answer_is_down_and_shown_but_not_what_was_sent(serving: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-ERR \xff no\r\n")

    async with serving(refuse) as port:
        verdict = await checker(port=port, send="AUTH hunter2\r\n", expect="+OK").check()
    assert verdict.health is Health.DOWN
    assert "-ERR" in verdict.reason
    assert "hunter2" not in repr(verdict)


async def test_a_service_that_accepts_and_is_silent_is_down_when_an_answer_is_expected(serving: Any) -> None:
    async with serving() as port:
        verdict = await checker(port=port, expect="220 ", timeout="3s").check()
    assert verdict.health is Health.DOWN
    assert "answered nothing" in verdict.reason


async def test_an_endless_answer_without_what_is_expected_is_down(serving: Any) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with serving(babble) as port:
        verdict = await checker(port=port, expect="220 ").check()
    assert verdict.health is Health.DOWN
    assert "65536 bytes" in verdict.reason


async def test_a_service_that_resets_the_connection_is_down_when_an_answer_is_expected(serving: Any) -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        linger_none = b"\1\0\0\0\0\0\0\0"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)

    async with serving(reset) as port:
        verdict = await checker(port=port, send="PING\n", expect="PONG").check()
    assert verdict.health is Health.DOWN
    assert "reset" in verdict.reason


async def test_a_node_that_stood_still_past_the_timeout_does_not_say_down(closed_port: int) -> None:
    """A timeout of nothing: every answer comes too late to be blamed on the service."""
    verdict = await checker(port=closed_port, timeout=Duration(0)).check()
    assert verdict.health is Health.UNKNOWN
    assert "stood still" in verdict.reason


async def test_a_cancelled_check_leaves_no_descriptor_open(
    serving: Any, open_descriptors: Callable[[], list[str]]
) -> None:
    async with serving() as port:
        before = open_descriptors()
        accepted = asyncio.create_task(checker(port=port, expect="never").check())
        await until(lambda: len(open_descriptors()) == len(before) + 2)
        accepted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await accepted
        await until(lambda: len(open_descriptors()) == len(before))


async def test_a_hundred_checks_leave_no_descriptor_open(
    closed_port: int, serving: Any, open_descriptors: Callable[[], list[str]]
) -> None:
    async with serving() as port:
        before = open_descriptors()
        for _ in range(50):
            await checker(port=port).check()
            await checker(port=closed_port).check()
        await until(lambda: len(open_descriptors()) == len(before))


@pytest.mark.parametrize(
    ("settings", "ident"),
    [
        ({"port": 5432}, "5432"),
        ({"port": 5432, "host": "localhost"}, "5432"),
        ({"port": 5432, "host": "db.example.org"}, "db.example.org.5432"),
        ({"port": 80, "host": "fe80::1%eth0"}, "fe80::1_eth0.80"),
        ({"port": 80, "host": "::ffff:10.0.0.1"}, "_::ffff:10.0.0.1.80"),
        ({"port": 65535, "host": "a" * 253}, "a" * 56 + ".65535"),
        ({"port": 80, "name": "front"}, "front"),
    ],
)
def test_the_identifier_comes_from_the_address_and_is_one_that_rules_can_use(settings: Any, ident: str) -> None:
    derived = TcpChecker.ident(TcpConfig(**settings))
    assert TypeAdapter(Ident).validate_python(derived) == ident


@pytest.mark.parametrize(
    "settings",
    [{}, {"port": 0}, {"port": 65536}, {"port": 80, "host": ""}, {"port": 80, "host": "a b"}, {"port": 80, "send": ""}],
)
def test_settings_that_cannot_work_are_refused(settings: Any) -> None:
    with pytest.raises(ValidationError):
        TcpConfig(**settings)


def test_it_was_written_for_this_sdk() -> None:
    check_api(TcpChecker, "tcp")
