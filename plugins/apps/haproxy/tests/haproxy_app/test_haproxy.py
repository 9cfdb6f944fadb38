"""What is HAProxy's own: its configuration, its connections in a reload and a stop, its worker."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_haproxy import HaproxyApp, HaproxyConfig, master

from haproxy_app.balancer import Balancer
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.testing import RecordingContext, a_context, watched

PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000

VIPS = ("10.0.0.100/24",)


@pytest_asyncio.fixture
async def app(base: Balancer, tmp_path: Path) -> AsyncIterator[HaproxyApp]:
    made = HaproxyApp(HaproxyConfig.model_validate(base.settings), a_context(tmp_path, name="haproxy"))
    yield made
    await made.stop(True)


async def reload(app: HaproxyApp) -> HaproxyApp:
    changed = HaproxyApp(app.config.model_copy(update={"reload": "2"}), app.context)
    await changed.reconfigure(app.config)
    return changed


async def test_a_configuration_with_an_error_is_told_with_file_and_line(base: Balancer, app: HaproxyApp) -> None:
    base.write(more="no such directive")
    line = base.file.read_text().splitlines().index("no such directive") + 1
    with pytest.raises(ConfigError, match=rf"{base.file}:{line}"):
        await app.start()
    assert f"{base.file}:{line}" in " ".join(HaproxyApp.preflight(app.config, "mirror"))
    assert app._family.pids() == frozenset()


async def test_a_taken_port_is_told(base: Balancer, app: HaproxyApp) -> None:
    with socket.create_server(("127.0.0.1", base.port)), pytest.raises(ConfigError, match="bind"):
        await app.start()
    assert (await app.status()).state is ResourceState.STOPPED


async def test_a_reload_answers_anew_and_loses_no_request(base: Balancer, app: HaproxyApp) -> None:
    await app.start()
    main = app._family.leader()
    reader, writer = await asyncio.open_connection("127.0.0.1", base.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
    await writer.drain()
    await asyncio.to_thread(base.answer)  # so that the worker has read what came before
    base.write("anew")
    await reload(app)
    assert app._family.leader() == main
    assert await asyncio.to_thread(base.answer) == "anew"
    writer.write(b"Connection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"here")
    writer.close()


async def test_a_reload_of_a_file_with_an_error_changes_nothing(base: Balancer, app: HaproxyApp) -> None:
    await app.start()
    base.write("anew", more="no such directive")
    changed = await reload(app)
    assert await asyncio.to_thread(base.answer) == "here"
    assert isinstance(changed.context, RecordingContext)
    assert "goes on with the configuration that it has" in "\n".join(changed.context.lines)


async def test_a_worker_that_hangs_is_down_and_ended_by_force(base: Balancer, app: HaproxyApp) -> None:
    await app.start()
    found = await master.worker(app._socket, 2.0)
    async with watched(app) as said:
        await said.becomes(Health.UP)
        os.kill(found, signal.SIGSTOP)
        assert "no answer" in (await said.becomes(Health.DOWN)).reason
    await app.stop(False)
    assert app._family.pids() == frozenset()


def hold(pid: int) -> None:
    """Until it is killed, as a debugger does, ptrace(2): a stopped process whose master dies is continued by the
    kernel, and sees by then that it should end."""
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    ptrace.restype = ctypes.c_long
    for task in Path(f"/proc/{pid}/task").iterdir():
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            assert ptrace(request, int(task.name), None, None) == 0, os.strerror(ctypes.get_errno())
        os.waitpid(int(task.name), WALL)
        threading.Thread(target=os.waitpid, args=(int(task.name), WALL), daemon=True).start()  # of its end, we are told


async def test_a_worker_that_outlives_its_master_is_found_and_replaced(base: Balancer, app: HaproxyApp) -> None:
    await app.start()
    first = app._family.leader()
    found = await master.worker(app._socket, 2.0)
    hold(found)
    assert first is not None
    async with watched(app) as said:
        os.kill(first, signal.SIGKILL)
        assert str(first) in (await said.becomes(Health.DOWN)).reason
    assert (await app.status()).state is ResourceState.FAILED
    await app.start()
    assert found not in app._family.pids()
    assert await asyncio.to_thread(base.answer) == "here"


@pytest.mark.parametrize("settings", [{"config": "h.cfg"}, {"fall": 0}, {"port": 80}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HaproxyConfig.model_validate(settings)


@pytest.mark.parametrize(("port", "step"), [(None, {}), (443, {"rules": [{"port": 443, "hash": "client_session"}]})])
def test_a_farm_shares_its_clients_before_it_has_the_addresses(port: int | None, step: dict[str, Any]) -> None:
    content = HaproxyApp.module_file(ModuleRequest("web", "farm", VIPS, port=port))
    assert content["pipeline"] == [
        {"nft-lb": {"addresses": ["10.0.0.100"], **step}},
        {"vip": {"address": VIPS[0]}},
        {"haproxy": {}},
    ]
