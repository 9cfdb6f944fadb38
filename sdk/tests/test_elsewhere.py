"""A question to safekitd about a module: answered, refused, not understood, silence; over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from safekit_sdk import Context, PeerError
from safekit_sdk.control import CALL, MAX_CALL_BYTES, Answer, Call, decode, encode, frame, read_frame
from safekit_sdk.elsewhere import NODES_MAX, ModuleSeen, module_states


@asynccontextmanager
async def daemon(path: Path, result: Any = None, *, silent: bool = False) -> AsyncIterator[list[Call]]:
    """Answers whatever is asked with the result; what it was asked."""
    asked: list[Call] = []
    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        call = decode(CALL, await read_frame(reader), MAX_CALL_BYTES)
        asked.append(call)
        if silent:
            await reader.read()
        else:
            writer.write(frame(encode(Answer(id=call.id, result=result))))
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    async with server:
        yield asked
        await asyncio.gather(*filter(None, serving))


async def test_the_answer_is_by_node(tmp_path: Path) -> None:
    said = {"n1": {"state": "PRIM", "readiness": "Ready", "epoch": 3, "new": 1}, "n2": {"heard": False}, "n3": {}}
    async with daemon(tmp_path / "s", said) as asked:
        found = await module_states(tmp_path / "s", "db")
    assert asked[0].args == {"module": "db"}
    assert str(found["n1"]) == "PRIM/Ready"
    assert found["n2"] == ModuleSeen(heard=False)
    assert found["n3"] == ModuleSeen()


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"n1": 1},
        {"n1": {"state": "x" * 33}},
        {"n1": {"epoch": "new"}},
        {f"n{n}": {} for n in range(NODES_MAX + 1)},
    ],
)
async def test_an_answer_that_is_something_else_is_an_error(tmp_path: Path, said: Any) -> None:
    async with daemon(tmp_path / "s", said):
        with pytest.raises(PeerError, match="not understood"):
            await module_states(tmp_path / "s", "db")


async def test_silence_ends_with_the_time_and_nobody_there_is_told_at_once(tmp_path: Path) -> None:
    async with daemon(tmp_path / "s", silent=True):
        with pytest.raises(TimeoutError):
            await module_states(tmp_path / "s", "db", timeout_s=0.05)
    with pytest.raises(PeerError, match="no safekitd"):
        await module_states(tmp_path / "gone", "db")


async def test_a_context_that_is_not_of_a_host_says_that_nobody_knows() -> None:
    with pytest.raises(PeerError, match="no safekitd is here"):
        await Context("web", "mirror", "n1", "it").module_states("db")
