"""What is Redis's own: what it has acknowledged, its two kinds of files, its question, its configuration."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_redis import RedisApp, RedisConfig, question, server

from redis_app.database import USER, Database
from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.procfs import arguments
from safekit_sdk.testing import a_context, watched

BOUND_S = 20.0


@pytest_asyncio.fixture
async def app(base: Database, tmp_path: Path) -> AsyncIterator[RedisApp]:
    made = make(base, tmp_path)
    yield made
    await made.stop(True)


def make(base: Database, tmp_path: Path, **settings: Any) -> RedisApp:
    config = RedisConfig.model_validate({**base.settings, **settings})
    return RedisApp(config, a_context(tmp_path, name="redis"))


def main_of(app: RedisApp) -> int:
    pid = app._family.main()
    assert pid is not None
    return pid


def popen(argv: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, user=USER, cwd="/", stdout=subprocess.DEVNULL)


async def test_what_was_acknowledged_is_there_after_a_kill(base: Database, app: RedisApp) -> None:
    await app.start()
    main = main_of(app)
    async with watched(app) as said:
        await said.becomes(Health.UP)
        assert base.cli("SET", "told", "yes") == "OK"
        os.kill(main, signal.SIGKILL)
        assert str(main) in (await said.becomes(Health.DOWN)).reason
    assert (await app.status()).state is ResourceState.STOPPED
    await app.start()
    assert main_of(app) != main
    assert base.cli("GET", "told") == "yes"
    assert base.cli("CONFIG", "GET", "appendfsync").split() == ["appendfsync", "always"]


async def test_a_cut_end_of_the_file_is_forgiven_and_damage_within_is_told(base: Database, app: RedisApp) -> None:
    await app.start()
    for number in range(20):
        base.cli("SET", f"key{number}", "x" * 100)
    await app.stop(False)
    [file] = (base.data / "appendonlydir").glob("*.incr.aof")
    whole = file.read_bytes()
    file.write_bytes(whole[:-10])
    await app.start()
    assert base.cli("GET", "key18") == "x" * 100
    await app.stop(False)
    file.write_bytes(whole.replace(b"*3\r\n", b"!3\r\n", 3))
    with pytest.raises(ConfigError, match="append only file"):
        await app.start()


async def test_a_snapshot_is_not_forgotten_when_writes_are_logged_from_now_on(base: Database, tmp_path: Path) -> None:
    """By `appendonly yes` alone Redis would begin with nothing."""
    before = make(base, tmp_path, durable=False)
    await before.start()
    base.cli("SET", "old", "data")
    base.cli("SAVE")
    await before.stop(False)
    (base.data / "appendonlydir").mkdir()  # as a start leaves it that died in the midst
    shutil.chown(base.data / "appendonlydir", USER)
    for _ in range(2):
        app = make(base, tmp_path)
        await app.start()
        assert base.cli("GET", "old") == "data"
        os.kill(main_of(app), signal.SIGKILL)
        await app.stop(True)
    assert list((base.data / "appendonlydir").glob("*.manifest"))


async def test_a_server_that_hangs_is_down(base: Database, tmp_path: Path) -> None:
    app = make(base, tmp_path, timeout="200ms", key="safekit:check")
    try:
        await app.start()
        async with watched(app) as said:
            await said.becomes(Health.UP)
            assert base.cli("GET", "safekit:check") == str(main_of(app))
            os.kill(main_of(app), signal.SIGSTOP)
            assert "no answer within" in (await said.becomes(Health.DOWN)).reason
    finally:
        await app.stop(True)
    assert (await app.status()).state is ResourceState.STOPPED


async def test_a_password_is_read_from_a_file_and_without_it_nothing_is_down(base: Database, tmp_path: Path) -> None:
    base.write("requirepass secret")
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    app = make(base, tmp_path, password=f"file:{file}")
    try:
        await app.start()
        assert (await question.ask(server.find(app.config), "1")).health is Health.UP
        assert "secret" not in " ".join(arguments(main_of(app)))
        verdict = await question.ask(server.find(make(base, tmp_path).config), "1")
        assert (verdict.health, "password" in verdict.reason) == (Health.UNKNOWN, True)
    finally:
        await app.stop(True)


async def test_a_server_that_somebody_else_started_is_left_alone(base: Database, app: RedisApp) -> None:
    other = popen(["redis-server", str(base.file)])
    try:
        deadline_s = time.monotonic() + BOUND_S
        while base.cli("PING") != "PONG":
            assert time.monotonic() < deadline_s
        with pytest.raises(ConfigError, match=f"another server runs on .*: {other.pid}"):
            await app.start()
        await app.stop(True)
        assert base.cli("PING") == "PONG"
    finally:
        other.kill()
        other.wait(BOUND_S)


def test_errors_of_the_configuration_and_lossy_settings_are_told_before_a_start(base: Database, tmp_path: Path) -> None:
    def told(**settings: Any) -> str:
        return " ".join(RedisApp.preflight(make(base, tmp_path, **settings).config, "mirror"))

    assert told() == ""
    assert "appendonly is not yes" in told(durable=False)
    base.write("appendonly yes")
    assert "appendfsync is not always" in told(durable=False)
    base.write("maxmemory-policy no-such-policy")
    assert "line 4" in told()
    base.write("include no-such-file")
    assert told() != ""


def test_the_data_directory_is_found_where_an_included_file_says_it(base: Database) -> None:
    included = base.place / "more.conf"
    elsewhere = base.place / "elsewhere"
    included.write_text(f'dir "{elsewhere}"\n')
    base.write(f"include {base.place}/m*.conf")
    asked = ModuleRequest("shop", "mirror", ("10.0.0.100/24",), options={"config": str(base.file)})
    assert RedisApp.module_file(asked)["pipeline"][0] == {"rfs": {"name": "data", "directory": str(elsewhere)}}


@pytest.mark.parametrize("settings", [{"config": "r.conf"}, {"password": "secret"}, {"fall": 0}, {"user": "-x"}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RedisConfig.model_validate(settings)
