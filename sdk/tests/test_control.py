"""The control socket's messages, frames and clients, against a server that answers what the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from safekit_sdk import ConfigError, PeerError, RefusedError, SafekitError
from safekit_sdk.control import (
    CALL,
    MAX_CALL_BYTES,
    Answer,
    AsyncControlClient,
    Call,
    CallTooLargeError,
    ControlClient,
    Operator,
    decode,
    encode,
    error_body,
    frame,
    open_to_group,
    raise_body,
    read_frame,
    socket_address,
)


@asynccontextmanager
async def server(path: Path, answer: Callable[[Call], bytes]) -> AsyncIterator[Path]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(decode(CALL, await read_frame(reader), MAX_CALL_BYTES)))
        writer.close()
        await writer.wait_closed()

    made = await asyncio.start_unix_server(serve, str(path))
    yield path
    made.close()
    await made.wait_closed()


def says(call: Call) -> bytes:
    return frame(encode(Answer(id=call.id, result={"op": call.op, "args": call.args, "by": call.by})))


async def test_both_clients_say_who_asks_and_get_the_result(tmp_path: Path) -> None:
    anna = Operator("anna", "ssh from 10.0.0.9")
    async with server(tmp_path / "s", says) as path:
        blocking = await asyncio.to_thread(ControlClient(path, anna).call, "ping", {"a": 1})
        assert blocking == await AsyncControlClient(path).call("ping", {"a": 1}, operator=anna)
    assert blocking == {"op": "ping", "args": {"a": 1}, "by": "anna (ssh from 10.0.0.9)"}


@pytest.mark.parametrize("error", [ConfigError("a", where="b", hint="c"), RefusedError("a"), TimeoutError("late")])
async def test_an_error_arrives_as_what_it_was(tmp_path: Path, error: Exception) -> None:
    def fails(call: Call) -> bytes:
        return frame(encode(Answer(id=call.id, error=error_body(error))))

    async with server(tmp_path / "s", fails) as path:
        for ask in (AsyncControlClient(path).call("x"), asyncio.to_thread(ControlClient(path).call, "x")):
            with pytest.raises(type(error)) as told:
                await ask
            assert str(told.value) == str(error)


@pytest.mark.parametrize("said", [b"", b"\x00\x00\x00\x09half", b"\xff\xff\xff\xff", frame(b"{}"), frame(b"\xff")])
async def test_an_answer_that_is_none_is_the_daemons_fault_and_told(tmp_path: Path, said: bytes) -> None:
    async with server(tmp_path / "s", lambda call: said) as path:
        for ask in (AsyncControlClient(path).call("x"), asyncio.to_thread(ControlClient(path).call, "x")):
            with pytest.raises(PeerError):
                await ask


def test_a_message_is_bounded_versioned_and_has_no_unknown_keys() -> None:
    with pytest.raises(CallTooLargeError):
        frame(b"x" * (MAX_CALL_BYTES + 1))
    with pytest.raises(PeerError, match="over the limit"):
        decode(CALL, b"x" * 11, 10)
    for text in (b'{"id": "1", "op": "x", "v": 2}', b'{"id": "1", "op": "x", "y": 1}', b'{"id": "1"}'):
        with pytest.raises(PeerError, match="malformed"):
            decode(CALL, text, 1000)


def test_a_long_name_is_cut_and_an_error_of_a_stranger_has_no_trace() -> None:
    assert len(str(Operator("n" * 1000, "o" * 1000))) < 300
    body = error_body(KeyError("x"))
    assert (body.code, body.message) == ("internal", "KeyError: 'x'")
    with pytest.raises(SafekitError):
        raise_body(body)


def test_the_door_is_open_to_one_group_or_to_root_alone(tmp_path: Path) -> None:
    socket = tmp_path / "run" / "control.sock"
    socket.parent.mkdir()
    socket.touch()
    for group, place, mode in ((65534, 0o710, 0o660), (None, 0o700, 0o600)):
        open_to_group(socket, group)
        assert (socket.parent.stat().st_mode & 0o777, socket.stat().st_mode & 0o777) == (place, mode)
        assert (socket.stat().st_uid, socket.stat().st_gid) == (0, group or 0)


def test_a_path_that_the_kernel_would_not_take_is_told() -> None:
    with pytest.raises(ConfigError, match="too long"):
        socket_address(Path("/" + "x" * 120))
