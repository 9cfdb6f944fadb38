"""What is MariaDB's own: recovery, its stop, its settings, and where its data are."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_mariadb import MariadbApp, MariadbConfig, question, server

from mariadb_app.database import USER, Database
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.testing import RecordingContext, a_context, watched

BOUND_S = 30.0
VIPS = ("10.0.0.100/24",)
ROWS = "CREATE DATABASE shop; CREATE TABLE shop.rows (row INT PRIMARY KEY); INSERT INTO shop.rows VALUES (1), (2), (3)"


@pytest_asyncio.fixture
async def app(base: Database, tmp_path: Path) -> AsyncIterator[MariadbApp]:
    made = make(base, tmp_path)
    yield made
    await made.stop(True)


def make(base: Database, tmp_path: Path, **settings: Any) -> MariadbApp:
    config = MariadbConfig.model_validate({**base.settings, **settings})
    return MariadbApp(config, a_context(tmp_path, name="mariadb"))


def lines(app: MariadbApp) -> str:
    assert isinstance(app.context, RecordingContext)
    return "\n".join(app.context.lines)


def main_of(app: MariadbApp) -> int:
    pid = app._family.leader()
    assert pid is not None
    return pid


async def until(there: Callable[[], object]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not there():  # noqa: ASYNC110 - what is waited for is on the machine
            await asyncio.sleep(0.02)


def popen(argv: list[str], user: str | None = None) -> subprocess.Popen[bytes]:
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(argv, user=user, cwd="/", **quiet)


async def test_what_was_committed_is_there_after_the_server_was_killed(base: Database, app: MariadbApp) -> None:
    await app.start()
    base.sql(ROWS)
    main = main_of(app)
    async with watched(app) as said:
        await said.becomes(Health.UP)
        os.kill(main, signal.SIGKILL)
        assert str(main) in (await said.becomes(Health.DOWN)).reason
    await app.start()
    assert main_of(app) != main
    assert base.sql("SELECT count(*) FROM shop.rows") == "3"


async def test_a_server_that_hangs_is_down_and_ended_by_force(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, timeout="300ms")
    try:
        await app.start()
        async with watched(app) as said:
            await said.becomes(Health.UP)
            os.kill(main_of(app), signal.SIGSTOP)
            assert "no answer within" in (await said.becomes(Health.DOWN)).reason
    finally:
        await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED


async def test_no_free_connection_and_no_entry_are_not_down(base: Database, app: MariadbApp) -> None:
    await app.start()
    found = await server.find_async(app.config)
    argv = ["mariadb", "--no-defaults", f"--socket={base.place}/socket", "-e", "SELECT sleep(60)"]
    held = [popen(argv) for _ in range(12)]
    try:
        await until(lambda: not base.sql("SELECT 1"))
        verdict = await question.ask(found)
        assert "short of connections" in verdict.reason
        assert verdict.health is Health.UNKNOWN
    finally:
        for process in held:
            process.kill()
            process.wait()
    await app.stop(True)
    await app.start()
    base.sql("ALTER USER root@localhost IDENTIFIED BY 'secret'")
    verdict = await question.ask(found)
    assert (verdict.health, "client_config" in verdict.reason) == (Health.UNKNOWN, True)


async def test_a_server_that_somebody_else_started_is_left_alone(base: Database, app: MariadbApp) -> None:
    other = popen(["/usr/sbin/mariadbd", f"--defaults-file={base.file}"], USER)
    try:
        await until(lambda: base.sql("SELECT 1"))
        with pytest.raises(ConfigError, match=f"another MariaDB runs on .*: {other.pid}"):
            await app.start()
        await app.stop(True)
        assert base.sql("SELECT 1") == "1"
    finally:
        other.kill()
        other.wait(BOUND_S)


async def test_settings_that_lose_transactions_and_errors_are_told(base: Database, app: MariadbApp) -> None:
    base.write("innodb-flush-log-at-trx-commit = 2\ninnodb-doublewrite = 0")
    told = " ".join(MariadbApp.preflight(app.config, "mirror"))
    assert "innodb_flush_log_at_trx_commit is not 1" in told
    assert "innodb_doublewrite is off" in told
    await app.start()
    assert "innodb_doublewrite is off" in lines(app)
    base.write("no-such-setting = 1")
    with pytest.raises(ConfigError, match="no-such-setting"):
        await make(base, base.place).start()


async def test_directories_elsewhere_are_replicated_by_the_module_file(base: Database) -> None:
    logs = base.place / "logs"
    logs.mkdir()
    shutil.chown(logs, USER)
    base.write(f"innodb-log-group-home-dir = {logs}\nlog-bin = {logs}/bin")
    asked = ModuleRequest("shop", "mirror", VIPS, options={"config": str(base.file)})
    with pytest.raises(ValidationError):
        MariadbApp.module_file(ModuleRequest("shop", "mirror", VIPS, options={"data": "/x"}))
    steps = MariadbApp.module_file(asked)["pipeline"]
    assert [step["rfs"]["directory"] for step in steps if "rfs" in step] == [str(base.data), str(logs)]
    shutil.rmtree(logs)
    with pytest.raises(ConfigError, match="cannot be replicated"):
        MariadbApp.module_file(asked)


@pytest.mark.parametrize(
    "asked",
    [
        ModuleRequest("shop", "farm", VIPS),
        ModuleRequest("shop", "mirror"),
        ModuleRequest("shop", "mirror", VIPS, port=3306),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_do(asked: ModuleRequest) -> None:
    with pytest.raises(ConfigError) as told:
        MariadbApp.module_file(asked)
    assert told.value.hint


@pytest.mark.parametrize("settings", [{"config": "my.cnf"}, {"account": "--help"}, {"query": ""}, {"fall": 0}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MariadbConfig.model_validate(settings)
