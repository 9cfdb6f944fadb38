"""Only the other node's key is let in, and what is sent arrives whole and in order."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from safekit_resource_rfs import connection, turns
from safekit_resource_rfs.claims import read_claim, write_claim
from safekit_resource_rfs.connection import Link
from safekit_resource_rfs.generations import Durable, Generation, Standing
from safekit_resource_rfs.keys import Identity, read_place, write_place
from safekit_resource_rfs.transport import MAX_STRANGERS, Dialer, Listener

from safekit_sdk import ConfigError, PeerError

from .loops import in_own_loop

PATIENCE_S = 10.0


def identity(place: Path) -> Identity:
    place.mkdir()
    return Identity(place)


async def until(condition: Callable[[], bool]) -> None:
    end_s = asyncio.get_running_loop().time() + PATIENCE_S
    while not condition():
        assert asyncio.get_running_loop().time() < end_s
        await asyncio.sleep(0.01)


class Side:
    """What came to one side."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.data = bytearray()
        self.why = ""
        self.changed = asyncio.Event()

    def take(self, link: Link) -> None:
        self.link, link.received, link.lost = link, self._receive, self._lose
        link.start()
        self.changed.set()

    def _receive(self, data: memoryview) -> None:
        self.data += data
        self.changed.set()

    def _lose(self, why: str) -> None:
        self.why = why
        self.link = None
        self.changed.set()

    async def until(self, condition: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not {"linked": self.link, "lost": self.why}[condition]:
                self.changed.clear()
                await self.changed.wait()

    async def bytes_are(self, count: int) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.data) < count:
                self.changed.clear()
                await self.changed.wait()
        return bytes(self.data)

    @property
    def linked(self) -> Link:
        assert self.link
        return self.link


@asynccontextmanager
async def pair(
    own: Identity, trusted: bytes, other: Identity, *, is_dialling: bool = True
) -> AsyncIterator[tuple[Side, Side, Listener, Dialer]]:
    here, there = Side(), Side()
    listener = Listener(own, ("127.0.0.1",), 0, lambda: here.link is None, here.take, PATIENCE_S)
    listener.trust(trusted)
    dialer = Dialer(other, there.take, PATIENCE_S)
    if is_dialling:
        dialer.dial((("127.0.0.1", 1), ("127.0.0.1", listener.port)), own.public)
    try:
        yield here, there, listener, dialer
    finally:
        dialer.stop()
        listener.close()
        for side in (here, there):
            if side.link:
                side.link.close()


@in_own_loop
async def test_what_is_sent_arrives_whole_and_in_order_both_ways(tmp_path: Path) -> None:
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    chance = random.Random(7)
    async with pair(one, two.public, two) as (here, there, _, _):
        await here.until("linked")
        await there.until("linked")
        pieces = [chance.randbytes(chance.choice((0, 1, 20, 4000, 300_000))) for _ in range(200)]
        for piece in pieces:
            here.linked.send(piece)
            there.linked.send(memoryview(piece))
        whole = b"".join(pieces)
        assert await there.bytes_are(len(whole)) == whole
        assert await here.bytes_are(len(whole)) == whole
        assert (here.linked.unsent_bytes, there.linked.unsent_bytes) == (0, 0)


@in_own_loop
async def test_another_key_is_not_let_in(tmp_path: Path) -> None:
    one, two, stranger = (identity(tmp_path / name) for name in "123")
    async with pair(one, two.public, stranger) as (here, there, listener, _):
        await there.until("lost")
        assert here.link is None
        await until(lambda: listener.refused_count > 0)


@in_own_loop
async def test_who_listens_has_to_prove_its_key(tmp_path: Path) -> None:
    one, two, stranger = (identity(tmp_path / name) for name in "123")
    side = Side()
    listener = Listener(stranger, ("127.0.0.1",), 0, lambda: True, side.take, PATIENCE_S)
    listener.trust(two.public)
    dialer = Dialer(two, side.take, PATIENCE_S)
    dialer.dial((("127.0.0.1", listener.port),), one.public)
    try:
        await until(lambda: "verify failed" in dialer.why_not)
        assert side.link is None
    finally:
        dialer.stop()
        listener.close()


@in_own_loop
async def test_a_lost_connection_is_made_again(tmp_path: Path) -> None:
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    async with pair(one, two.public, two) as (here, there, _, dialer):
        for _ in range(3):
            await here.until("linked")
            await there.until("linked")
            here.linked.close()
            here.link = None
            await there.until("lost")
            there.why = ""
            dialer.released()
        await here.until("linked")


@in_own_loop
async def test_strangers_that_say_nothing_do_not_keep_the_other_node_out(tmp_path: Path) -> None:
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    async with (
        pair(one, two.public, two, is_dialling=False) as (here, there, listener, dialer),
        crowd(listener.port, MAX_STRANGERS + 4),
    ):
        await until(lambda: listener.refused_count >= 4)
        dialer.dial((("127.0.0.1", listener.port),), one.public)
        await here.until("linked")
        await there.until("linked")


@in_own_loop
async def test_strangers_that_come_all_the_time_and_speak_do_not_keep_out_who_comes_from_elsewhere(
    tmp_path: Path,
) -> None:
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    async with (
        pair(one, two.public, two, is_dialling=False) as (here, _, listener, dialer),
        crowd(listener.port, MAX_STRANGERS, "127.0.0.2") as strangers,
    ):
        for stranger in strangers:
            stranger.sendall(b"\x16")
        dialer.dial((("127.0.0.1", listener.port),), one.public)
        while here.link is None:
            async with crowd(listener.port, 2, "127.0.0.2"):
                await asyncio.sleep(0.001)


@asynccontextmanager
async def crowd(port: int, count: int, address: str = "127.0.0.1") -> AsyncIterator[list[socket.socket]]:
    with ExitStack() as stack:
        strangers = []
        for _ in range(count):
            strangers.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, (address, 0))))
            await asyncio.sleep(0)
        yield strangers


@in_own_loop
async def test_a_listener_without_descriptors_waits_for_some(tmp_path: Path) -> None:
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    async with pair(one, two.public, two, is_dialling=False) as (here, _, listener, dialer):
        with no_descriptors(), socket.create_connection(("127.0.0.1", listener.port)):
            await until(lambda: listener.is_pausing)
        dialer.dial((("127.0.0.1", listener.port),), one.public)
        await here.until("linked")


@contextmanager
def no_descriptors() -> Iterator[None]:
    """But for one, which its caller takes."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Path(os.devnull).open("rb") as highest:
        free = [os.dup(highest.fileno()) for _ in range(8)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[-1] + 1, before[1]))
    extra = []
    try:
        with suppress(OSError):
            while True:
                extra.append(os.open(os.devnull, os.O_RDONLY))
        os.close(free.pop(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for descriptor in free + extra:
            os.close(descriptor)


@in_own_loop
async def test_a_peer_that_does_not_read_loses_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_UNSENT_BYTES", 8 << 20)
    one, two = identity(tmp_path / "1"), identity(tmp_path / "2")
    async with pair(one, two.public, two) as (here, there, _, _):
        await here.until("linked")
        await there.until("linked")
        turns.running().unwatch(there.linked.fileno())
        while not here.why:
            here.linked.send(bytes(1 << 20))
            await asyncio.sleep(0)
        assert "does not read" in here.why


@in_own_loop
async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=str(port)):
            Listener(identity(tmp_path / "1"), ("127.0.0.1",), port, lambda: True, Side().take, PATIENCE_S)


def test_a_key_is_kept(tmp_path: Path) -> None:
    first = identity(tmp_path / "1")
    assert Identity(tmp_path / "1").public == first.public
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "1").iterdir()} == {0o600}


def test_a_place_is_a_port_and_a_key(tmp_path: Path) -> None:
    public = identity(tmp_path / "1").public
    claim = write_claim(Durable(Generation("a" * 32), up_to_date=True, doubt=True, primary=True))
    assert read_place(write_place(65535, public, claim)) == (65535, public, claim)
    assert len(write_place(65535, public, claim)) <= 100
    found = read_claim(claim)
    assert found
    assert (found.standing, found.primary, found.generation.id) == (Standing.DOUBT, True, "a" * 32)
    assert read_claim("what?") is None


@pytest.mark.parametrize("text", ["", "7", "0:" + "A" * 44, "70000:" + "A" * 43 + "=", "7:AA==", "x:y", "7:" + "é" * 9])
def test_a_place_that_says_something_else_is_refused(text: str) -> None:
    with pytest.raises(PeerError, match="does not say"):
        read_place(text)
