"""The control socket, and the node's key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import zmq

from safekit.bus import keys, messages
from safekit.bus.control import ControlClient, ControlServer
from safekit.bus.messages import Answer, Call
from safekit.bus.sockets import Context
from safekit_sdk import ConfigError, PeerError


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """Where a server listens that answers with what it was asked."""

    async def answer(call: Call) -> Answer:
        if call.op == "slow":
            await asyncio.sleep(0.3)
        return Answer(id=call.id, result={"op": call.op, "args": call.args})

    context = Context()
    server = ControlServer(context, tmp_path / "run" / "control.sock", answer)
    server.start()
    yield tmp_path / "run" / "control.sock"
    await server.close()
    context.destroy(0)


def ask(path: Path, op: str, args: dict[str, Any] | None = None, timeout_s: float = 10.0) -> Any:
    with ControlClient(path) as client:
        return client.call(op, args, timeout_s=timeout_s)


async def test_a_call_is_answered_and_only_root_may_ask(path: Path) -> None:
    assert await asyncio.to_thread(ask, path, "ping", {"a": 1}) == {"op": "ping", "args": {"a": 1}}
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_many_calls_at_once_are_all_answered(path: Path) -> None:
    answers = await asyncio.gather(*(asyncio.to_thread(ask, path, "slow", {"n": n}) for n in range(100)))
    assert sorted(answer["args"]["n"] for answer in answers) == list(range(100))


@pytest.mark.parametrize("frames", [[b"not json"], [b"{}"], [b"a", b"b", b"c"], [b""]])
async def test_what_is_no_call_is_refused_and_the_server_lives_on(path: Path, frames: list[bytes]) -> None:
    def babble() -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
            stranger.linger = 500
            stranger.connect(f"ipc://{path}")
            stranger.send_multipart(frames)

    await asyncio.to_thread(babble)
    assert await asyncio.to_thread(ask, path, "ping")


async def test_a_caller_that_hangs_up_disturbs_nobody(path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not answer 'slow' within"):
        await asyncio.to_thread(ask, path, "slow", None, 0.05)
    await asyncio.sleep(0.5)
    assert await asyncio.to_thread(ask, path, "ping")


async def test_a_call_that_is_too_large_is_not_answered(path: Path) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(ask, path, "ping", {"x": "y" * (messages.MAX_CALL_BYTES + 8192)}, 2.0)
    assert await asyncio.to_thread(ask, path, "ping")


async def test_a_socket_file_that_is_left_over_is_replaced(path: Path) -> None:
    context = Context()
    again = ControlServer(context, path, lambda call: asyncio.sleep(0, Answer(id=call.id, result="new")))
    again.start()
    assert await asyncio.to_thread(ask, path, "ping") == "new"
    await again.close()
    context.destroy(0)


def test_without_a_daemon_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no safekitd runs") as told:
        ask(tmp_path / "control.sock", "ping")
    assert "safekit daemon start" in told.value.hint


async def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    context = Context()
    server = ControlServer(context, tmp_path / ("x" * 120) / "control.sock", lambda call: asyncio.sleep(0))  # type: ignore[arg-type,return-value]
    with pytest.raises(ConfigError, match="too long"):
        server.start()
    await server.close()
    context.destroy(0)


def test_a_key_is_for_root_only_and_survives(tmp_path: Path) -> None:
    pair = keys.generate()
    keys.save(pair, tmp_path / "etc" / "node.key")
    assert keys.load(tmp_path / "etc" / "node.key") == pair
    assert (tmp_path / "etc" / "node.key").stat().st_mode & 0o777 == 0o600
    assert pair.secret not in repr(pair)
    with pytest.raises(FileExistsError):
        keys.save(pair, tmp_path / "etc" / "node.key")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: path.unlink(), "cannot be read"),
        (lambda path: path.write_text("half"), "damaged"),
        (lambda path: path.write_bytes(b"\xff" * 80), "cannot be read"),
        (lambda path: path.write_text("a" * 40 + "\n" + "b" * 40 + "\n"), "damaged"),
        (lambda path: path.chmod(0o644), "open to others"),
    ],
)
def test_a_key_that_cannot_be_trusted_is_told(tmp_path: Path, damage: Any, what: str) -> None:
    path = tmp_path / "node.key"
    keys.save(keys.generate(), path)
    damage(path)
    with pytest.raises(ConfigError, match=what):
        keys.load(path)
