"""The dns checker against a real server that is right, wrong, hostile, silent or gone."""

from __future__ import annotations

import asyncio
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safekit_checker_dns import DnsChecker, DnsConfig

from safekit_sdk import Health, Verdict
from safekit_sdk.testing import a_context, network_namespace, observe

from .server import QR, RD, TC, Answering, address, answer, name, record, serving

HERE = b"\xc0\x0c"
"""A pointer to the name in the question."""


async def look(port: int, **settings: Any) -> Verdict:
    given = {"server": "127.0.0.1", "port": port, "query": "www.example.org", "timeout": "1s", **settings}
    config = DnsConfig.model_validate(given)
    checker = DnsChecker(config, a_context(Path("/nowhere"), state_dir=Path("/tmp"), run_dir=Path("/tmp")))
    return await asyncio.wait_for(checker.check(), config.timeout.seconds)


async def seen(answering: Answering, **settings: Any) -> Verdict:
    async with serving(answering) as server:
        return await look(server.port, **settings)


async def test_a_server_that_resolves_is_up_with_the_answers_and_the_time() -> None:
    verdict = await seen(address("192.0.2.1", "192.0.2.2"))
    assert verdict.health is Health.UP
    assert verdict.facts["answers"] == "192.0.2.1, 192.0.2.2"
    assert (verdict.facts["transport"], float(verdict.facts["latency_ms"]) >= 0) == ("udp", True)


async def test_the_question_is_one_that_every_server_reads() -> None:
    async with serving(address("192.0.2.1")) as server:
        await look(server.port, query="WWW.Example.org.")
        await look(server.port, recursion=False)
    first, second = server.asked
    assert first[2:] == RD.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + name("www.example.org") + b"\0\1\0\1"
    assert second[2:4] == b"\0\0"
    assert first[:2] != second[:2] or (await seen(address("192.0.2.1"))).health is Health.UP


@pytest.mark.parametrize(
    ("kind", "data", "text"),
    [
        ("AAAA", socket.inet_pton(socket.AF_INET6, "2001:db8::1"), "2001:DB8::1"),
        ("CNAME", name("Other.example"), "other.example"),
        ("NS", name("ns1.example.org"), "ns1.example.org."),
        ("PTR", name("host.example.org"), "HOST.example.org"),
        ("MX", b"\0\x0a" + name("mail.example.org"), "10 mail.example.org"),
        ("SRV", b"\0\1\0\2\x13\xc4" + name("sip.example.org"), "1 2 5060 sip.example.org"),
        ("TXT", b"\5v=spf\3 -a", "v=spf -a"),
        ("SOA", name("ns.example") + name("root.example") + bytes(20), "ns.example. root.example. 0 0 0 0 0"),
    ],
)
async def test_what_is_expected_is_written_as_dig_does(kind: str, data: bytes, text: str) -> None:
    right: Answering = lambda query: answer(query, record(HERE, kind, data))  # noqa: E731 - says what it is
    assert (await seen(right, record=kind, expect=[text])).health is Health.UP


async def test_an_address_is_looked_up_in_the_reverse_zone() -> None:
    async with serving(lambda query: answer(query, record(HERE, "PTR", name("a.example")))) as server:
        assert (await look(server.port, query="192.0.2.7", record="PTR")).health is Health.UP
    assert name("7.2.0.192.in-addr.arpa") in server.asked[0]


async def test_an_answer_without_what_is_expected_is_down_and_shown() -> None:
    verdict = await seen(address("192.0.2.66"), expect=["192.0.2.1"])
    assert verdict.health is Health.DOWN
    assert verdict.reason.endswith("asked for www.example.org (A): answers 192.0.2.66, without 192.0.2.1")
    assert (await seen(address("192.0.2.2", "192.0.2.1"), expect=["192.0.2.1"])).health is Health.UP


@pytest.mark.parametrize(
    ("code", "told"), [(1, "FORMERR"), (2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED"), (11, "11")]
)
async def test_an_error_is_down_and_named(code: int, told: str) -> None:
    verdict = await seen(lambda query: answer(query, code=code))
    assert verdict.health is Health.DOWN
    assert told in verdict.reason


async def test_an_error_without_the_question_is_heeded() -> None:
    verdict = await seen(lambda query: query[:2] + b"\x80\x01" + bytes(8))
    assert "FORMERR" in verdict.reason


async def test_no_such_record_is_down() -> None:
    assert "there is no such record" in (await seen(answer)).reason


async def test_aliases_are_followed_and_what_belongs_to_others_counts_for_nothing() -> None:
    alias = record(HERE, "CNAME", name("a.example"))
    target = record(name("A.example"), "A", b"\x0a\0\0\1")
    stranger = record(name("b.example"), "A", b"\x0a\0\0\2")
    verdict = await seen(lambda query: answer(query, stranger, target, alias))
    assert verdict.facts["answers"] == "10.0.0.1"
    verdict = await seen(lambda query: answer(query, stranger, alias))
    assert "no such record; it is an alias of a.example." in verdict.reason


async def test_an_answer_that_is_too_slow_is_down() -> None:
    async with serving(lambda query: b"") as server:

        def late(query: bytes) -> bytes:
            server.answering = address("192.0.2.1")
            return b""

        server.answering = late
        verdict = await look(server.port, slow="100ms", count=2)
    assert verdict.health is Health.DOWN
    assert "100ms are allowed" in verdict.reason


async def test_one_lost_question_is_no_silence() -> None:
    async with serving(lambda query: address("192.0.2.1")(query) if len(server.asked) > 1 else b"") as server:
        assert (await look(server.port)).health is Health.UP


async def test_a_silent_server_is_down_before_the_timeout() -> None:
    verdict = await seen(lambda query: b"", timeout="500ms")
    assert verdict.reason.endswith("no answer in time to 3 questions")
    assert verdict.health is Health.DOWN


async def test_a_server_that_is_gone_is_down_at_once() -> None:
    async with serving(address("192.0.2.1")) as server:
        assert (await look(server.port)).health is Health.UP
    for transport in ("udp", "tcp"):
        verdict = await look(server.port, transport=transport, timeout="30s")
        assert verdict.health is Health.DOWN
        assert "connection refused" in verdict.reason


async def test_a_dead_server_is_down_after_fall_and_up_when_it_is_back(tmp_path: Path) -> None:
    async with serving(address("192.0.2.1")) as server:
        config = {"server": "127.0.0.1", "port": server.port, "query": "a.example", "timeout": "1s", "fall": 2}

        def fails() -> None:
            server.answering = lambda query: answer(query, code=2)

        def works() -> None:
            server.answering = address("192.0.2.1")

        steps = await observe(DnsChecker, config, [works, fails, fails, works], tmp_path)
    assert [step.health for step in steps] == [Health.UP, Health.UP, Health.DOWN, Health.UP]


async def test_a_server_without_a_route_is_down_and_a_filter_of_this_node_is_unknown() -> None:
    with network_namespace() as here, here.inside():
        assert "network is unreachable" in (await look(53, server="192.0.2.1")).reason
        here.command("ip", "route", "add", "prohibit", "192.0.2.0/24")
        assert (await look(53, server="192.0.2.1")).health is Health.UNKNOWN


async def test_no_descriptor_left_is_unknown() -> None:
    async with serving(address("192.0.2.1")) as server:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            verdict = await look(server.port)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert verdict.health is Health.UNKNOWN


async def test_what_was_cut_off_is_asked_for_over_tcp() -> None:
    whole = address(*(f"10.0.{n // 250}.{n % 250}" for n in range(500)))
    async with serving(lambda query: answer(query, flags=QR | TC), over_tcp=whole) as server:
        verdict = await look(server.port, expect=["10.0.1.249"])
    assert (verdict.health, verdict.facts["transport"]) == (Health.UP, "tcp")
    assert verdict.facts["answers"].endswith("and 496 more")


async def test_tcp_alone_can_be_asked_for() -> None:
    async with serving(address("192.0.2.1")) as server:
        assert (await look(server.port, transport="tcp")).facts["transport"] == "tcp"
    assert (server.asked, server.asked_over_tcp) == ([], 1)


@pytest.mark.parametrize(
    ("over_tcp", "told"),
    [
        (lambda query: (), "no answer in time"),
        (lambda query: (b"\xff\xff", b"short"), "closed the connection after 5 bytes"),
        (lambda query: (b"\0",), "closed the connection after 1 bytes"),
        (lambda query: b"", "0 bytes, less than a header"),
        (lambda query: answer(b"xx" + query[2:]), "another number"),
        (lambda query: answer(query, flags=QR | TC), "cut off"),
    ],
)
async def test_what_is_wrong_over_tcp_is_down(over_tcp: Answering, told: str) -> None:
    async with serving(over_tcp) as server:
        verdict = await look(server.port, transport="tcp", timeout="500ms")
    assert verdict.health is Health.DOWN
    assert told in verdict.reason


async def test_garbage_is_passed_over_and_a_good_answer_after_it_counts() -> None:
    garbage = (b"", b"\0", bytes(12), bytes(8000), b"\xff" * 512)

    def spoilt(query: bytes) -> list[bytes]:
        return [query, *garbage, query[:2] + b"\xff" * 40, address("192.0.2.1")(query)]

    verdict = await seen(spoilt)
    assert verdict.facts["answers"] == "192.0.2.1"


async def test_nothing_but_garbage_is_down_and_told() -> None:
    verdict = await seen(lambda query: bytes(8000), count=2)
    assert verdict.health is Health.DOWN
    assert "only 2 packets that are none; of the last: it has more than 4096 bytes" in verdict.reason


async def test_a_flood_of_garbage_ends_the_look_early() -> None:
    verdict = await seen(lambda query: [b"x"] * 250, timeout="30s", count=1)
    assert verdict.health is Health.DOWN
    assert "only 200 packets that are none" in verdict.reason


async def test_another_address_than_the_servers_is_not_heard() -> None:
    """It knows the number and the port, and sends first."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.2", 0))

        def betrayed(query: bytes) -> bytes:
            port = next(port for port in open_ports() if port != server.port)
            stranger.sendto(address("192.0.2.66")(query), ("127.0.0.1", port))
            return address("192.0.2.1")(query)

        async with serving(betrayed) as server:
            verdict = await look(server.port)
    assert verdict.facts["answers"] == "192.0.2.1"


def open_ports() -> list[int]:
    """The UDP ports of 127.0.0.1 that are connected to one of it."""
    lines = Path("/proc/thread-self/net/udp").read_text().splitlines()[1:]
    return [int(local[9:], 16) for local, remote in (line.split()[1:3] for line in lines) if remote[:8] == "0100007F"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"server": "ns.example.org"}, "is not an address"),
        ({"server": "0.0.0.0"}, "of no server"),
        ({"server": "fe80::1"}, "say on which"),
        ({"query": "a b"}, "is not a name"),
        ({"query": "a..b"}, "is not a name"),
        ({"query": "bücher.example"}, "xn--"),
        ({"query": f"{'a' * 64}.example"}, "is not a name"),
        ({"query": ".".join(["a" * 62] * 5)}, "254 characters"),
        ({"expect": ["2001:db8::1"]}, "can be no answer"),
        ({"record": "AAAA", "expect": ["www"]}, "can be no answer"),
        ({"slow": "4.5s"}, "nine tenths"),
        ({"count": 0}, "greater than or equal"),
        ({"record": "ANY"}, "Input should be"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DnsConfig.model_validate({"server": "10.0.0.53", "query": "www.example.org", **settings})


@pytest.mark.parametrize(
    ("server", "query", "ident"),
    [
        ("10.0.0.53", "www.example.org.", "10.0.0.53_www.example.org."),
        ("::1", ".", "_::1_."),
        ("::1", "*.b", "_::1__.b"),
    ],
)
def test_the_identifier_is_the_server_and_the_name(server: str, query: str, ident: str) -> None:
    assert DnsChecker.ident(DnsConfig.model_validate({"server": server, "query": query})) == ident
