"""What a load balancer sees."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from safekit_resource_health import HealthConfig, HealthResource

from safekit_sdk import ConfigError, ModuleKind, Scope, Share
from safekit_sdk.process import Family
from safekit_sdk.testing import a_context


@pytest.fixture
def config() -> HealthConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return HealthConfig.model_validate({"port": probe.getsockname()[1], "address": "127.0.0.1"})


def made(config: HealthConfig, root: Path, scope: Scope, kind: ModuleKind = "mirror") -> HealthResource:
    return HealthResource(config, a_context(root, name="health", scope=scope, kind=kind))


@pytest_asyncio.fixture
async def server(config: HealthConfig, tmp_path: Path) -> AsyncIterator[HealthResource]:
    resource = made(config, tmp_path, "pre")
    await resource.start()
    yield resource
    await resource.stop(True)


async def said(config: HealthConfig, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", config.port)
    with suppress(ConnectionError):
        writer.write(question)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 10.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def status(config: HealthConfig, path: str = "/health", method: str = "GET") -> int:
    answer = await said(config, f"{method} {path} HTTP/1.1\r\nHost: lb\r\n\r\n".encode())
    return int(answer.split()[1])


@pytest.mark.usefixtures("server")
async def test_a_mirror_answers_200_where_it_is_primary_and_503_elsewhere(config: HealthConfig, tmp_path: Path) -> None:
    assert await status(config) == 503
    mark = made(config, tmp_path, "prim")
    await mark.start()
    assert await status(config) == 200
    assert await status(config, method="HEAD") == 200
    await mark.stop(False)
    assert await status(config) == 503


@pytest.mark.usefixtures("server")
async def test_a_farm_answers_200_while_it_has_buckets_and_a_lease(config: HealthConfig, tmp_path: Path) -> None:
    mark = made(config, tmp_path, "both", "farm")
    await mark.start()
    await mark.lease(5.0)
    assert await status(config) == 503
    await mark.share(Share(frozenset({1, 2})))
    await mark.lease(0.3)
    assert await status(config) == 200
    await asyncio.sleep(0.4)
    assert await status(config) == 503
    await mark.lease(5.0)
    await mark.share(Share(frozenset()))
    assert await status(config) == 503


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", b"HTTP/1.1 404 Not Found"),
        (b"GET /health?verbose HTTP/1.0\r\n\r\n", b"HTTP/1.1 503 Service Unavailable"),
        (b"POST /health HTTP/1.1\r\n\r\n", b"HTTP/1.1 405 Method Not Allowed"),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        (b"GET / " + b"x" * 20_000, b""),
    ],
)
async def test_strange_questions_get_an_answer_or_none_and_harm_nothing(
    config: HealthConfig, question: bytes, answer: bytes
) -> None:
    assert (await said(config, question)).partition(b"\r\n")[0] == answer
    assert await status(config) == 503


async def test_the_server_has_no_rights_and_comes_back_when_it_is_killed(
    config: HealthConfig, server: HealthResource
) -> None:
    family = Family.of(server.context, "health.health")
    (pid,) = family.pids()
    assert uids(pid) == "65534 65534 65534 65534"
    os.kill(pid, signal.SIGKILL)
    while family.pids():  # noqa: ASYNC110 - the kernel rings no bell for that
        await asyncio.sleep(0.01)
    watch = server.watch()
    assert (await anext(watch)).health.value == "up"
    assert await status(config) == 503
    assert family.pids() - {pid}
    await watch.aclose()  # type: ignore[attr-defined]


def test_an_address_that_the_machine_does_not_have_is_told_before_anything_changes() -> None:
    for there in (None, "127.0.0.1", "::1"):
        assert HealthResource.preflight(HealthConfig.model_validate({"address": there}), "farm") == []
    for elsewhere in ("192.0.2.1", "2001:db8::1"):
        [told] = HealthResource.preflight(HealthConfig.model_validate({"address": elsewhere}), "farm")
        assert told.startswith(f"nothing can listen at {elsewhere} on this machine: ")
        assert "`address`" in told


@pytest.mark.usefixtures("server")
async def test_a_port_that_is_taken_is_told(config: HealthConfig, tmp_path: Path) -> None:
    other = HealthResource(config, a_context(tmp_path / "other", name="health", scope="pre", module="other"))
    with pytest.raises(ConfigError) as told:
        await other.start()
    assert "give each its own with `port:`" in told.value.hint
    await other.stop(True)


async def test_many_who_ask_slowly_do_not_keep_others_from_asking(config: HealthConfig, server: HealthResource) -> None:
    del server
    slow = [await asyncio.open_connection("127.0.0.1", config.port) for _ in range(30)]
    for _, writer in slow:
        writer.write(b"GET ")
    assert await status(config) == 503
    for _, writer in slow:
        writer.close()


def uids(pid: int) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return " ".join(next(line for line in lines if line.startswith("Uid:")).split()[1:])
