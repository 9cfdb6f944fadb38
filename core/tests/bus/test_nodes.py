"""The links between nodes: who is heard, and what happens to everybody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from safekit.bus import keys, messages, nodes, sockets
from safekit.bus.keys import KeyPair
from safekit.bus.messages import Answer, Beat, Call
from safekit.bus.nodes import Listening, NodeBus, PeerAddress
from safekit.bus.sockets import Context
from safekit.engine.reports import Heartbeat
from safekit_sdk import ConfigError, PeerError


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Node:
    name: str
    pair: KeyPair
    port: int
    bus: NodeBus
    heard: list[tuple[str, Heartbeat]] = field(default_factory=list)
    sequence: int = 0

    def beat(self, **changes: Any) -> None:
        self.sequence += 1
        self.bus.send_beat(Heartbeat(**{"node": self.name, "incarnation": 1, "sequence": self.sequence, **changes}))

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.name, "lan", "127.0.0.1", self.port, self.pair.public)

    def know(self, *others: Node) -> None:
        self.bus.configure({Listening("lan", "127.0.0.1", self.port)}, {other.address for other in others})


Make = Callable[[str], Node]


@pytest_asyncio.fixture
async def make() -> AsyncIterator[Make]:
    """Nodes as safekitd has them, each with a context of its own."""
    made: list[tuple[Node, Context]] = []

    def build(name: str) -> Node:
        context = Context()
        heard: list[tuple[str, Heartbeat]] = []

        async def answer(node: str, call: Call) -> Answer:
            if call.op == "never":
                await asyncio.sleep(60)
            if call.op == "refuse":
                return Answer(id=call.id, error=messages.error_body(ConfigError("not so", hint="otherwise")))
            return Answer(id=call.id, result={"from": node, "op": call.op, "args": call.args})

        pair = keys.generate()
        bus = NodeBus(context, pair, lambda network, beat: heard.append((network, beat)), answer)
        bus.start()
        made.append((Node(name, pair, free_port(), bus, heard), context))
        return made[-1][0]

    yield build
    for node, context in made:
        await node.bus.close()
        context.destroy(0)


async def until(there: Callable[[], object], what: str) -> None:
    for _ in range(500):
        if there():
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"not within 10 s: {what}")


async def beats(sender: Node, hearer: Node) -> None:
    """Return when a heartbeat that was sent from now on was heard."""
    before = len([beat for _, beat in hearer.heard if beat.node == sender.name])

    def again() -> bool:
        sender.beat()
        return len([beat for _, beat in hearer.heard if beat.node == sender.name]) > before

    await until(again, f"{hearer.name} hears {sender.name}")


async def pair_of(make: Make) -> tuple[Node, Node]:
    first, second = make("a"), make("b")
    first.know(second)
    second.know(first)
    await beats(first, second)
    await beats(second, first)
    return first, second


async def test_two_nodes_hear_each_other_and_answer_calls(make: Make) -> None:
    first, second = await pair_of(make)
    assert second.heard[0][0] == "lan"
    answer = await first.bus.call("b", "ping", {"x": [1, "ü"]}, 5.0)
    assert answer == {"from": "a", "op": "ping", "args": {"x": [1, "ü"]}}
    with pytest.raises(ConfigError) as refused:
        await first.bus.call("b", "refuse", {}, 5.0)
    assert (refused.value.message, refused.value.hint) == ("not so", "otherwise")


async def test_a_peer_that_does_not_answer_is_told_within_the_limit(make: Make) -> None:
    first, second = await pair_of(make)
    with pytest.raises(PeerError, match="'b' does not answer"):
        await asyncio.wait_for(first.bus.call("b", "never", {}, 0.3), 5)
    with pytest.raises(PeerError, match="not in this cluster"):
        await first.bus.call("z", "ping", {}, 1.0)
    second.bus.configure(set(), set())
    with pytest.raises(PeerError):
        await asyncio.wait_for(first.bus.call("b", "ping", {}, 0.5), 5)


async def test_a_key_that_nobody_knows_is_not_heard(make: Make) -> None:
    first, second = await pair_of(make)
    stranger = make("stranger")
    stranger.know(first)
    for _ in range(50):
        stranger.beat(node="b")
        await asyncio.sleep(0.02)
    with pytest.raises(PeerError):
        await stranger.bus.call("a", "ping", {}, 0.5)
    assert {beat.sequence for _, beat in first.heard if beat.node == "stranger"} == set()
    assert first.bus._members.refused[stranger.pair.public] > 0
    await beats(second, first)


async def test_a_node_that_was_removed_is_heard_no_more_over_the_connection_that_it_has(make: Make) -> None:
    first, second = await pair_of(make)
    first.know()
    heard = len(first.heard)
    for _ in range(25):
        second.beat()
        await asyncio.sleep(0.02)
    assert len(first.heard) == heard
    with pytest.raises(PeerError):
        await second.bus.call("a", "ping", {}, 0.5)


async def test_a_node_that_speaks_in_anothers_name_is_not_heard(make: Make) -> None:
    first, second = await pair_of(make)
    for _ in range(10):
        second.beat(node="a")
    await until(lambda: first.bus.malformed >= 10, "they are counted")
    assert {beat.node for _, beat in first.heard} == {"b"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"kind":"beat","v":2}',
        b'{"kind":"beat","v":1,"heartbeat":{"node":"b","incarnation":' + b"9" * 5000 + b',"sequence":1}}',
        b'{"kind":"call","id":"' + b"x" * 5000 + b'","op":"ping"}',
        b'{"kind":"call","id":"1","op":"ping","args":{},"more":1}',
    ],
)
async def test_what_a_member_garbles_is_refused_and_counted(make: Make, data: bytes) -> None:
    first, second = await pair_of(make)
    before = first.bus.malformed
    assert sockets.send_now(second.bus._beats[first.address], data)
    await until(lambda: first.bus.malformed > before, "it is counted")
    await beats(second, first)


async def test_a_message_that_is_too_large_never_arrives(make: Make) -> None:
    first, second = await pair_of(make)
    sockets.send_now(second.bus._beats[first.address], b"x" * (messages.MAX_CALL_BYTES + 8192))
    await beats(second, first)
    assert await first.bus.call("b", "ping", {}, 5.0)


async def test_connections_of_anything_else_disturb_nobody(make: Make) -> None:
    first, second = await pair_of(make)
    strangers = [socket.create_connection(("127.0.0.1", first.port)) for _ in range(100)]
    try:
        for number, stranger in enumerate(strangers):
            stranger.sendall((b"GET / HTTP/1.1\r\n\r\n", b"\xff" + b"\0" * 8 + b"\x7f\x03", b"\0" * 70_000)[number % 3])
        await beats(second, first)
        await beats(first, second)
    finally:
        for stranger in strangers:
            stranger.close()


async def test_a_large_call_does_not_hold_up_heartbeats(make: Make) -> None:
    first, second = await pair_of(make)
    large = asyncio.create_task(first.bus.call("b", "take", {"content": "x" * (16 << 20)}, 30.0))
    heard = len(second.heard)
    while not large.done():
        first.beat()
        await asyncio.sleep(0.01)
    assert (await large)["op"] == "take"
    assert len(second.heard) > heard


async def test_an_address_that_is_not_ours_is_told(make: Make) -> None:
    node = make("a")
    with pytest.raises(PeerError, match=r"cannot listen on 192\.0\.2\.1 port"):
        node.bus.configure({Listening("lan", "192.0.2.1", node.port)}, set())


async def test_a_peer_that_comes_later_is_heard(make: Make) -> None:
    first, second = make("a"), make("b")
    first.know(second)
    for _ in range(20):
        first.beat()
        await asyncio.sleep(0.02)
    second.know(first)
    await beats(first, second)
    assert Beat(heartbeat=second.heard[-1][1]).heartbeat.node == "a"


async def test_what_takes_an_address_away_is_answered_on_it_and_it_may_come_back(make: Make) -> None:
    first, second = await pair_of(make)
    place = Listening("lan", "127.0.0.1", second.port)

    async def give_up(node: str, call: Call) -> Answer:
        second.bus.configure(set(), set(second.bus._beats))
        return Answer(id=call.id, result="given up")

    second.bus._on_call = give_up
    assert await first.bus.call("b", "ping", {}, 5.0) == "given up"
    second.bus.configure({place}, set(second.bus._beats))  # at once: its socket is not closed and bound anew
    await asyncio.sleep(nodes.RETIRES_S + 0.2)
    assert await first.bus.call("b", "ping", {}, 5.0) == "given up"
    await asyncio.sleep(nodes.RETIRES_S + 0.2)
    with pytest.raises(PeerError):
        await first.bus.call("b", "ping", {}, 0.5)
