"""Joining with a token: once, in time, and only with the node that issued it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from zmq.auth.asyncio import AsyncioAuthenticator

from safekit.bus import keys, sockets
from safekit.bus.join import JoinServer, Token, ask_to_join
from safekit.bus.messages import JoinRequest
from safekit.bus.sockets import Context
from safekit_sdk import ConfigError, PeerError, RefusedError

REQUEST = {"node": "n2", "addresses": {"": "10.0.0.2"}}


@dataclasses.dataclass
class Member:
    server: JoinServer
    pair: keys.KeyPair
    port: int
    now_s: float = 1_000_000.0
    admitted: list[str] = dataclasses.field(default_factory=list)
    refuses: Exception | None = None

    def token(self, ttl_s: float = 600.0) -> Token:
        return self.server.issue("127.0.0.1", self.port, ttl_s)

    async def join(self, token: Token, timeout_s: float = 10.0, **changes: Any) -> str:
        pair = keys.generate()
        return await asyncio.to_thread(ask_to_join, token, {**REQUEST, **changes}, pair, timeout_s)


@pytest_asyncio.fixture
async def member() -> AsyncIterator[Member]:
    context, pair = Context(), keys.generate()
    authenticator = AsyncioAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve(domain=sockets.JOIN_DOMAIN, location="*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def admit(request: JoinRequest) -> str:
        if made.refuses is not None:
            raise made.refuses
        made.admitted.append(request.node)
        return f"the cluster, with {request.node}"

    made = Member(JoinServer(context, pair, admit, lambda: made.now_s), pair, port)
    yield made
    await made.server.close()
    authenticator.stop()
    context.destroy(0)


async def test_a_token_lets_one_node_in(member: Member) -> None:
    token = member.token()
    assert await member.join(Token.parse(str(token))) == "the cluster, with n2"
    with pytest.raises((RefusedError, PeerError)):
        await member.join(token, 2.0)
    assert member.admitted == ["n2"]


async def test_while_another_token_is_out_a_used_one_is_told_so(member: Member) -> None:
    token, _ = member.token(), member.token()
    await member.join(token)
    with pytest.raises(RefusedError, match="used already"):
        await member.join(token)


async def test_an_expired_token_is_told_so_and_lets_nobody_in(member: Member) -> None:
    token = member.token(60.0)
    member.now_s += 61
    with pytest.raises(RefusedError, match="expired"):
        await member.join(token)
    assert member.admitted == []


async def test_five_wrong_secrets_void_every_token(member: Member) -> None:
    token = member.token()
    for _ in range(5):
        with pytest.raises(RefusedError, match="not valid here"):
            await member.join(dataclasses.replace(token, secret=b"\0" * 16))
    with pytest.raises((RefusedError, PeerError)):
        await member.join(token, 2.0)
    assert member.admitted == []


async def test_a_node_in_the_middle_with_another_key_learns_no_secret(member: Member) -> None:
    """The bearer speaks only with the key that the token names, so the one who listens here gets no word of it."""
    token = dataclasses.replace(member.token(), public_key=keys.generate().public)
    with pytest.raises(PeerError, match="does not answer"):
        await member.join(token, 1.0)
    assert member.admitted == []
    assert member.server._wrong == 0


async def test_a_refusal_reaches_the_bearer_and_the_token_stays(member: Member) -> None:
    token = member.token()
    member.refuses = ConfigError("there is a node 'n2' already", hint="join with another --node NAME")
    with pytest.raises(ConfigError, match="a node 'n2' already"):
        await member.join(token)
    member.refuses = None
    assert await member.join(token)


async def test_tokens_on_two_addresses_are_both_heard(member: Member) -> None:
    first = member.token()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    second = member.server.issue("127.0.0.1", port, 600.0)
    assert await member.join(second)
    assert await member.join(first)


async def test_garbage_on_the_port_of_joins_disturbs_no_join(member: Member) -> None:
    token = member.token()
    with socket.create_connection(("127.0.0.1", member.port)) as stranger:
        stranger.sendall(b"\0" * 100_000)
        assert await member.join(token)


async def test_no_more_than_16_tokens_are_out(member: Member) -> None:
    for _ in range(16):
        member.token()
    with pytest.raises(RefusedError, match="16 join tokens"):
        member.token()
    member.now_s += 601
    assert member.token()


async def test_the_secret_is_in_no_log(member: Member, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = member.token()
    await member.join(token)
    assert token.secret.hex() not in caplog.text
    assert str(token) not in caplog.text


ADDRESSES = st.ip_addresses().map(str).filter(lambda text: not text.startswith("::ffff:"))


@given(ADDRESSES, st.integers(1, 65535), st.binary(min_size=16, max_size=16), st.integers(0, 2**32 - 1))
def test_a_token_survives_being_typed(address: str, port: int, secret: bytes, expires: int) -> None:
    token = Token(address, port, PUBLIC, secret, expires)
    assert Token.parse(f" {token}\n") == token


@given(st.data())
def test_a_token_with_a_mistake_is_none(data: st.DataObject) -> None:
    text = str(Token("10.0.0.1", 4801, PUBLIC, b"s" * 16, 1_000))
    place = data.draw(st.integers(0, len(text) - 2))
    letter = data.draw(st.sampled_from("ABCxyz09-_"))
    mistaken = text[:place] + letter + text[place + 1 :]
    for wrong in (mistaken if mistaken != text else text[:place], text[:place], text + "A" * 8):
        with pytest.raises(ConfigError, match="token"):
            Token.parse(wrong)


PUBLIC = keys.generate().public
