"""What is Apache's own: its configuration, its requests under way, its main process and workers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_apache import ApacheApp, ApacheConfig

from safekit_sdk import ConfigError, ModuleRequest, ResourceState
from safekit_sdk.process import Family
from safekit_sdk.testing import a_context


@pytest_asyncio.fixture
async def app(site: Any, tmp_path: Path) -> AsyncIterator[ApacheApp]:
    made = ApacheApp(ApacheConfig.model_validate(site.settings), a_context(tmp_path, name="apache"))
    yield made
    await made.stop(True)


def family(app: ApacheApp) -> Family:
    return Family.of(app.context, "apache.apache")


@contextlib.contextmanager
def started(argv: list[str]) -> Iterator[int]:
    """A process of somebody else; when it is `true`, it has ended and nobody has asked how."""
    with subprocess.Popen(argv) as other:
        if argv == ["true"]:
            os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        try:
            yield other.pid
        finally:
            other.terminate()


async def gone(app: ApacheApp, main: int) -> None:
    for _ in range(500):
        if family(app).leader() != main:
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"{main} lives")


async def test_a_configuration_with_an_error_is_told_with_file_and_line(site: Any, app: ApacheApp) -> None:
    site.write("NoSuchDirective on")
    line = site.file.read_text().splitlines().index("NoSuchDirective on") + 1
    with pytest.raises(ConfigError, match=rf"line {line} of {site.file}.*NoSuchDirective"):
        await app.start()
    assert family(app).pids() == frozenset()


async def test_a_taken_port_is_told(site: Any, app: ApacheApp) -> None:
    with socket.create_server(("127.0.0.1", site.port)), pytest.raises(ConfigError, match=r"ended as it started.*bind"):
        await app.start()
    assert (await app.status()).state is ResourceState.STOPPED


@pytest.mark.parametrize("argv", [["true"], ["sleep", "60"]], ids=["dead, not reaped", "another program"])
async def test_the_number_of_a_dead_apache_that_still_exists_does_not_keep_it_from_starting(
    site: Any, app: ApacheApp, argv: list[str]
) -> None:
    with started(argv) as other:
        (site.place / "apache.pid").write_text(f"{other}\n")
        await app.start()
    assert (await app.status()).state is ResourceState.STARTED


async def test_an_apache_with_the_same_configuration_that_is_not_ours_is_told(site: Any, app: ApacheApp) -> None:
    with started(["apache2", "-f", str(site.file), "-DFOREGROUND"]) as other:
        for _ in range(500):
            if site.answers():
                break
            await asyncio.sleep(0.02)
        with pytest.raises(ConfigError, match="already running"):
            await app.start()
        assert (site.place / "apache.pid").read_text().strip() == str(other)


async def test_a_request_under_way_is_finished_by_a_graceful_stop(site: Any, app: ApacheApp) -> None:
    (site.place / "pages" / "large").write_bytes(bytes(8 << 20))
    await app.start()
    connection = site.connect()
    connection.request("GET", "/large")
    response = await asyncio.to_thread(connection.getresponse)
    first = await asyncio.to_thread(response.read, 1024)
    stop = asyncio.create_task(app.stop(False))
    await asyncio.sleep(0.3)
    assert not site.answers()
    rest = await asyncio.to_thread(response.read)
    connection.close()
    await stop
    assert len(first) + len(rest) == 8 << 20
    assert family(app).pids() == frozenset()


async def test_a_request_that_takes_too_long_is_broken_off(site: Any, app: ApacheApp) -> None:
    (site.place / "pages" / "large").write_bytes(bytes(64 << 20))
    await app.start()
    connection = site.connect()
    connection.request("GET", "/large")
    await asyncio.to_thread(connection.getresponse)
    await app.stop(False)
    connection.close()
    assert family(app).pids() == frozenset()


async def test_a_killed_main_process_is_failed_and_a_start_replaces_its_workers(site: Any, app: ApacheApp) -> None:
    await app.start()
    main = family(app).leader()
    assert main is not None
    os.kill(main, signal.SIGKILL)
    await gone(app, main)
    assert (await app.status()).state is ResourceState.FAILED
    await app.start()
    assert family(app).leader() not in (None, main)
    assert site.answers()


async def test_a_killed_worker_is_apaches_own_matter(site: Any, app: ApacheApp) -> None:
    await app.start()
    main = family(app).leader()
    for _ in range(500):  # the main process listens before it has a worker
        if workers := family(app).pids() - {main}:
            break
        await asyncio.sleep(0.01)
    os.kill(min(workers), signal.SIGKILL)
    assert (await app.status()).state is ResourceState.STARTED
    assert family(app).leader() == main


async def test_a_stopped_apache_is_ended_by_force(site: Any, app: ApacheApp) -> None:
    await app.start()
    for pid in family(app).pids():
        os.kill(pid, signal.SIGSTOP)
    await app.stop(True)
    assert family(app).pids() == frozenset()


async def test_the_distributions_configuration_is_found_and_its_variables_are_set(tmp_path: Path) -> None:
    """Only tested, not started: port 80 is the machine's."""
    app = ApacheApp(ApacheConfig(), a_context(tmp_path))
    from safekit_apache import program

    found = program.find(app.config)
    told = await program.environment(found, {"MINE": "1"})
    assert (told["APACHE_RUN_USER"], told["MINE"]) == ("www-data", "1")
    await app._check(found, told)


def test_programs_and_files_that_are_not_there_are_told_before_a_start(site: Any, tmp_path: Path) -> None:
    def told(**settings: str) -> str:
        return " ".join(ApacheApp.preflight(ApacheConfig.model_validate({**site.settings, **settings}), "mirror"))

    assert told() == ""
    assert "no-such-program is not there" in told(program=str(tmp_path / "no-such-program"))
    assert "no-such.conf is not there" in told(config=str(tmp_path / "no-such.conf"))


@pytest.mark.parametrize("settings", [{"config": "httpd.conf"}, {"port": 0}, {"path": "x"}, {"host": "a b"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApacheConfig.model_validate(settings)


def test_a_mirror_has_the_addresses_before_apache() -> None:
    content = ApacheApp.module_file(ModuleRequest("web", "mirror", ("10.0.0.100/24", "fd00::100/64"), port=8080))
    assert content["isolation"] == "availability"
    assert content["pipeline"] == [
        {"vip": {"address": "10.0.0.100/24"}},
        {"vip": {"address": "fd00::100/64"}},
        {"apache": {"port": 8080}},
    ]


@pytest.mark.parametrize("kind", ["mirror", "farm"])
def test_what_a_module_file_lacks_is_told(kind: Any) -> None:
    with pytest.raises(ConfigError) as told:
        ApacheApp.module_file(ModuleRequest("web", kind))
    assert "--" in told.value.hint
