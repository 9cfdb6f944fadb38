"""The control socket answers line by line, within bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from safekit_resource_rfs.control import MAX_LINE_BYTES, SOCKET, ControlServer, ask, follow

from safekit_sdk import ConfigError, PeerError


async def perform(request: Mapping[str, Any]) -> Mapping[str, Any]:
    match request["do"]:
        case "refuse":
            raise ConfigError("it may not be", hint="ask another")
        case "stumble":
            raise OSError(28, "No space left on device")
        case "sleep":
            await asyncio.sleep(60)
    return {"heard": request["do"], "epoch": request.get("epoch", 0)}


async def counting() -> AsyncIterator[Mapping[str, Any]]:
    for number in range(3):
        yield {"number": number}


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Path]:
    place = tmp_path / ("long" * 40)
    place.mkdir()
    server = ControlServer(place, perform, counting)
    await server.open()
    yield place
    await server.close()
    assert not (place / SOCKET).exists()


async def test_a_request_is_answered_however_long_the_path_is(directory: Path) -> None:
    assert await ask(directory, {"do": "promote", "epoch": 3}) == {"heard": "promote", "epoch": 3}
    assert (directory / SOCKET).stat().st_mode & 0o777 == 0o600


async def test_a_refusal_says_why_and_what_to_do(directory: Path) -> None:
    with pytest.raises(ConfigError, match="it may not be") as refusal:
        await ask(directory, {"do": "refuse"})
    assert refusal.value.hint == "ask another"
    with pytest.raises(ConfigError, match="No space left"):
        await ask(directory, {"do": "stumble"})


async def test_an_answer_that_does_not_come_is_told(directory: Path) -> None:
    with pytest.raises(PeerError, match="within"):
        await ask(directory, {"do": "sleep"}, 0.05)


async def test_changes_are_followed_to_the_end(directory: Path) -> None:
    seen = []
    with pytest.raises(PeerError):
        async for status in follow(directory):
            seen.append(status["number"])
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("line", [b"x" * (MAX_LINE_BYTES + 10), b"[]\n", b'{"do": 1}\n', b"\xff\n"])
async def test_what_is_no_request_ends_the_connection_and_nothing_else(directory: Path, line: bytes) -> None:
    await _say(directory, line)
    assert await ask(directory, {"do": "status"}) == {"heard": "status", "epoch": 0}


async def _say(directory: Path, line: bytes) -> None:
    descriptor = os.open(directory, os.O_PATH)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)
    try:
        writer.write(line)
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 5) == b""
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_nobody_answers_where_none_runs(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="does not answer"):
        await ask(tmp_path, {"do": "status"})
