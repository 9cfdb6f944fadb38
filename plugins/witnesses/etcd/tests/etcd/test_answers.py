"""A server that is not etcd, or not well: what it says is never believed, and does not cost more than its share."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from safekit_witness_etcd.gateway import MAX_ANSWER_BYTES

from safekit_sdk import ConfigError, Lease, PeerError
from safekit_sdk.testing.leaks import Belongings, left_since

from .cluster import Cluster
from .conftest import PATIENCE_S, Make

OK = b"HTTP/1.1 200 OK\r\n"


def answer(text: str) -> bytes:
    return OK + f"content-length: {len(text)}\r\n\r\n{text}".encode()


KEY = {"value": "e30=", "mod_revision": "5"}
STRANGE = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\x00 hello\r\n\r\n",
    "no JSON": answer("<html>welcome</html>"),
    "a list": answer("[]"),
    "another program's JSON": answer('{"status": "ok"}'),
    "too few responses": answer('{"succeeded": true, "responses": []}'),
    "no integer": answer('{"header": {"revision": "many"}}'),
    "no base64": answer(json.dumps({"responses": [{"response_range": {"kvs": [{**KEY, "value": "%"}]}}, {}]})),
    "many keys": answer(json.dumps({"responses": [{"response_range": {"kvs": [KEY] * 3}}, {}]})),
    "deep": answer("[" * 20000),
    "too long": OK + b"content-length: 999999999\r\n\r\n" + b" " * (MAX_ANSWER_BYTES + 1),
    "endless": OK + b"transfer-encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n",
    "half": OK + b"content-length: 100\r\n\r\n{",
    "elsewhere": b"HTTP/1.1 307 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "gone": b"HTTP/1.1 404 X\r\ncontent-length: 9\r\n\r\nNot Found",
    "not now": b'HTTP/1.1 503 X\r\ncontent-length: 34\r\n\r\n{"code":14,"message":"no leader"}  ',
}
BELIEVED = ("too few responses", "another program's JSON")
"""They have the form of an answer of etcd's, in which everything that is zero is left out."""


@contextlib.asynccontextmanager
async def server(said: bytes, *, hold: bool = False) -> AsyncIterator[str]:
    """Says this to every request; with `hold` it never ends."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
            if hold:
                await over.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        over.set()
        listening.close()
        await listening.wait_closed()


@pytest.mark.parametrize("what", STRANGE)
async def test_a_strange_answer_is_an_error_with_the_name_of_its_endpoint(make: Make, what: str) -> None:
    async with server(STRANGE[what], hold=what in ("endless", "half")) as url:
        witness = make(url, timeout="500ms")
        with pytest.raises(PeerError) as caught:
            await asyncio.wait_for(witness.acquire("m", "n1", 0), PATIENCE_S)
        assert url in str(caught.value) or what in BELIEVED
        assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("what", ["no JSON", "too long", "not now", "elsewhere", "half"])
async def test_the_next_endpoint_is_asked_after_a_strange_one(etcd: Cluster, make: Make, what: str) -> None:
    async with server(STRANGE[what], hold=what == "half") as url:
        witness = make(url, *etcd.urls, timeout="3s")
        assert isinstance(await asyncio.wait_for(witness.acquire("m", "n1", 0), 3), Lease)


async def test_a_silent_endpoint_leaves_the_others_their_time_and_nothing_behind(etcd: Cluster, make: Make) -> None:
    before = Belongings.now()
    async with server(b"", hold=True) as silent, server(b"", hold=True) as silent_too:
        witness = make(silent, silent_too, *etcd.urls, timeout="1500ms")
        assert isinstance(await asyncio.wait_for(witness.acquire("m", "n1", 0), 1.5), Lease)
        await witness.close()
    assert await left_since(before) == []


async def test_members_of_two_clusters_are_not_mixed(etcd: Cluster, make: Make) -> None:
    other = answer('{"header": {"cluster_id": "42"}, "succeeded": true, "responses": [{}, {}]}')
    async with server(other) as url:
        witness = make(*etcd.urls, url)
        await witness.acquire("m", "n1", 0)
        witness._gateway._prefer(url)
        with pytest.raises(ConfigError, match=r"is a member of the etcd cluster 2a; [0-9a-f]+ was asked before"):
            await witness.renew("m", "n1", 1)
