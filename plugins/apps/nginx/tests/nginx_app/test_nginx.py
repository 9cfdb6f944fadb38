"""What is nginx's own: its configuration, its requests under way, its master and workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_nginx import NginxApp, NginxConfig

from nginx_app.site import Site
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.testing import a_context, watched


@pytest_asyncio.fixture
async def app(site: Site, tmp_path: Path) -> AsyncIterator[NginxApp]:
    made = NginxApp(NginxConfig.model_validate(site.settings), a_context(tmp_path, name="nginx"))
    yield made
    await made.stop(True)


def master(app: NginxApp) -> int:
    pid = app._processes.main()
    assert pid is not None
    return pid


async def test_a_configuration_with_an_error_is_told_with_file_and_line(site: Site, app: NginxApp) -> None:
    site.write("no_such_directive on;")
    line = site.file.read_text().splitlines().index("no_such_directive on;") + 1
    with pytest.raises(ConfigError, match=rf"no_such_directive.*{site.file}:{line}"):
        await app.start()
    assert app._processes.pids() == frozenset()


async def test_a_taken_port_is_told(site: Site, app: NginxApp) -> None:
    with socket.create_server(("127.0.0.1", site.port)), pytest.raises(ConfigError, match="bind"):
        await app.start()
    assert (await app.status()).state is ResourceState.STOPPED


@pytest.mark.parametrize(("size_bytes", "read"), [(8 << 20, True), (64 << 20, False)])
async def test_a_request_under_way_is_finished_or_broken_off(
    site: Site, app: NginxApp, size_bytes: int, read: bool
) -> None:
    (site.place / "pages" / "large").write_bytes(bytes(size_bytes))
    await app.start()
    connection = site.connect()
    connection.request("GET", "/large")
    response = await asyncio.to_thread(connection.getresponse)
    stop = asyncio.create_task(app.stop(False))
    async with asyncio.timeout(5):
        while site.answers():  # noqa: ASYNC110 - what is waited for is on the machine
            await asyncio.sleep(0.01)
    if read:
        assert len(await asyncio.to_thread(response.read)) == size_bytes
    await stop
    connection.close()
    assert app._processes.pids() == frozenset()


async def test_workers_that_outlive_their_master_are_found_and_replaced(site: Site, app: NginxApp) -> None:
    await app.start()
    first = master(app)
    workers = app._processes.pids() - {first}
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    async with watched(app) as said:
        await said.becomes(Health.UP)
        os.kill(first, signal.SIGKILL)
        assert str(first) in (await said.becomes(Health.DOWN)).reason
    assert (await app.status()).state is ResourceState.FAILED
    await app.start()
    assert master(app) != first
    assert not workers & app._processes.pids()
    assert site.answers()


async def test_a_killed_worker_is_nginxs_own_matter(site: Site, app: NginxApp) -> None:
    await app.start()
    main = master(app)
    os.kill(min(app._processes.pids() - {main}), signal.SIGKILL)
    assert (await app.status()).state is ResourceState.STARTED
    assert master(app) == main


def test_programs_and_files_that_are_not_there_are_told_before_a_start(site: Site, tmp_path: Path) -> None:
    def told(**settings: str) -> str:
        return " ".join(NginxApp.preflight(NginxConfig.model_validate({**site.settings, **settings}), "mirror"))

    assert told() == ""
    assert "no-such-program is not there" in told(program=str(tmp_path / "no-such-program"))
    assert "no-such.conf is not there" in told(config=str(tmp_path / "no-such.conf"))


@pytest.mark.parametrize("settings", [{"config": "nginx.conf"}, {"port": 0}, {"path": "x"}, {"host": "a b"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        NginxConfig.model_validate(settings)


def test_a_farm_shares_its_clients_before_it_has_the_addresses() -> None:
    content = NginxApp.module_file(ModuleRequest("web", "farm", ("10.0.0.100/24",), port=8080, sticky=True))
    rules = [{"port": 8080, "hash": "client_address"}]
    assert content["pipeline"] == [
        {"nft-lb": {"addresses": ["10.0.0.100"], "rules": rules}},
        {"vip": {"address": "10.0.0.100/24"}},
        {"nginx": {"port": 8080}},
    ]


@pytest.mark.parametrize("kind", ["mirror", "farm"])
def test_what_a_module_file_lacks_is_told(kind: Any) -> None:
    with pytest.raises(ConfigError) as told:
        NginxApp.module_file(ModuleRequest("web", kind))
    assert "--" in told.value.hint
