"""The control socket, and the node's key."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from safekit.bus import keys, messages
from safekit.bus.control import Caller, ControlServer
from safekit.bus.messages import Answer, Call
from safekit_sdk import ConfigError, PeerError
from safekit_sdk.control import AsyncControlClient, ControlClient, Operator, frame, open_to_group

NOBODY = 65534


@pytest_asyncio.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """Where a server listens that answers with what it was asked."""
    server = ControlServer(tmp_path / "run" / "control.sock", echo, group_id=NOBODY)
    await server.start()
    passable(tmp_path)
    yield tmp_path / "run" / "control.sock"
    await server.close()


def passable(place: Path) -> None:
    """pytest's directories are for their owner alone."""
    for directory in (place, *place.parents[:2]):
        directory.chmod(0o755)


async def echo(call: Call, caller: Caller) -> Answer:
    if call.op == "slow":
        await asyncio.sleep(0.3)
    return Answer(id=call.id, result={"op": call.op, "args": call.args, "by": call.by, "caller": caller.value})


def ask(path: Path, op: str, args: dict[str, Any] | None = None, timeout_s: float = 10.0) -> Any:
    return ControlClient(path, Operator("anna", "a test")).call(op, args, timeout_s=timeout_s)


ASKS_AS = """
import os, sys
from pathlib import Path
from safekit_sdk.control import ControlClient
path, uid, gid, *others = Path(sys.argv[1]), *map(int, sys.argv[2:])
os.setgroups(others)
os.setgid(gid)
os.setuid(uid)
try:
    print(ControlClient(path).call("ping", timeout_s=10)["caller"])
except Exception as error:
    print(error)
"""


def ask_as(path: Path, uid: int, gid: int, *others: int) -> str:
    """What another user hears, in a process of its own."""
    argv = [sys.executable, "-c", ASKS_AS, str(path), str(uid), str(gid), *map(str, others)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


async def test_a_call_is_answered_with_who_asked(path: Path) -> None:
    answer = await asyncio.to_thread(ask, path, "ping", {"a": 1})
    assert answer == {"op": "ping", "args": {"a": 1}, "by": "anna (a test)", "caller": "root"}


async def test_root_and_one_group_may_ask_and_the_kernel_says_which_it_is(path: Path) -> None:
    assert (mode(path), mode(path.parent)) == (0o660, 0o710)
    assert (await asyncio.to_thread(ask_as, path, NOBODY, NOBODY)).strip() == "console"
    assert (await asyncio.to_thread(ask_as, path, NOBODY, NOBODY - 1, NOBODY)).strip() == "watcher"
    assert "only root may talk to safekitd" in await asyncio.to_thread(ask_as, path, NOBODY, NOBODY - 1)


async def test_without_a_group_root_alone_may_ask(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "run" / "control.sock", echo)
    await server.start()
    assert (mode(tmp_path / "run" / "control.sock"), mode(tmp_path / "run")) == (0o600, 0o700)
    await server.close()


async def test_a_group_that_is_let_in_later_may_ask_as_one_that_was_there_at_the_start(tmp_path: Path) -> None:
    place = tmp_path / "run" / "control.sock"
    server = ControlServer(place, echo)
    await server.start()
    passable(tmp_path)
    open_to_group(place, NOBODY)
    assert (await asyncio.to_thread(ask_as, place, NOBODY, NOBODY)).strip() == "console"
    assert (await asyncio.to_thread(ask_as, place, NOBODY, NOBODY - 1, NOBODY)).strip() == "watcher"
    await server.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_many_calls_at_once_are_all_answered(path: Path) -> None:
    answers = await asyncio.gather(*(asyncio.to_thread(ask, path, "slow", {"n": n}) for n in range(100)))
    assert sorted(answer["args"]["n"] for answer in answers) == list(range(100))


async def test_a_program_with_a_loop_asks_the_same_way(path: Path) -> None:
    client = AsyncControlClient(path)
    answers = await asyncio.gather(*(client.call("slow", {"n": n}, operator=Operator("bo")) for n in range(30)))
    assert [answer["args"]["n"] for answer in answers] == list(range(30))
    assert {answer["by"] for answer in answers} == {"bo"}
    with pytest.raises(TimeoutError, match="did not answer 'slow'"):
        await client.call("slow", timeout_s=0.05)


@pytest.mark.parametrize("data", [frame(b"not json"), frame(b"{}"), b"abc", b"", b"\xff\xff\xff\xff"])
async def test_what_is_no_call_is_refused_and_the_server_lives_on(path: Path, data: bytes) -> None:
    def babble() -> None:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(path))
            stranger.sendall(data)

    await asyncio.to_thread(babble)
    assert await asyncio.to_thread(ask, path, "ping")


async def test_a_caller_that_hangs_up_disturbs_nobody(path: Path) -> None:
    with pytest.raises(TimeoutError, match="did not answer 'slow' within"):
        await asyncio.to_thread(ask, path, "slow", None, 0.05)
    assert await asyncio.to_thread(ask, path, "slow")


async def test_a_call_that_is_too_large_is_not_sent(path: Path) -> None:
    with pytest.raises(PeerError, match="over the limit"):
        await asyncio.to_thread(ask, path, "ping", {"x": "y" * (messages.MAX_CALL_BYTES + 8192)}, 2.0)
    assert await asyncio.to_thread(ask, path, "ping")


async def test_a_socket_file_that_is_left_over_is_replaced(path: Path) -> None:
    async def new(call: Call, caller: Caller) -> Answer:
        return Answer(id=call.id, result="new")

    again = ControlServer(path, new)
    await again.start()
    assert await asyncio.to_thread(ask, path, "ping") == "new"
    await again.close()


async def test_a_server_that_ends_lets_its_callers_go(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def never(call: Call, caller: Caller) -> Answer:
        asked.set()
        await asyncio.sleep(60)
        return Answer(id=call.id)

    server = ControlServer(tmp_path / "control.sock", never)
    await server.start()
    waiting = asyncio.create_task(AsyncControlClient(tmp_path / "control.sock").call("ping"))
    await asked.wait()
    await server.close()
    with pytest.raises(PeerError, match="ended before it answered"):
        await waiting


def test_without_a_daemon_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no safekitd runs") as told:
        ask(tmp_path / "control.sock", "ping")
    assert "safekit daemon start" in told.value.hint


async def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / ("x" * 120) / "control.sock", echo)
    with pytest.raises(ConfigError, match="too long"):
        await server.start()
    await server.close()


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
