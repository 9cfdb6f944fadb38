"""What is Samba's own: its shares, its question, its configuration, where its locks are."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import ValidationError
from safekit_samba import SambaApp, SambaConfig, server

from safekit_sdk import ConfigError, Health, ModuleRequest, ResourceState
from safekit_sdk.testing import a_context, watched
from samba_app.shares import Shares

VIPS = ("10.0.0.100/24",)


@pytest_asyncio.fixture
async def app(base: Shares, tmp_path: Path) -> AsyncIterator[SambaApp]:
    made = make(base, tmp_path)
    yield made
    await made.stop(True)


def make(base: Shares, tmp_path: Path, **settings: Any) -> SambaApp:
    config = SambaConfig.model_validate({**base.settings, **settings})
    return SambaApp(config, a_context(tmp_path, name="samba"))


async def test_a_client_writes_and_reads_again_after_the_server_was_killed(base: Shares, app: SambaApp) -> None:
    await app.start()
    assert base.client(f"put {base.file} told").returncode == 0
    main = app._family.main()
    assert main is not None
    async with watched(app) as said:
        await said.becomes(Health.UP)
        os.kill(main, signal.SIGKILL)
        assert str(main) in (await said.becomes(Health.DOWN)).reason
    await app.start()
    assert "told" in base.client("ls").stdout
    await app.stop(False)
    assert (await app.status()).state is ResourceState.STOPPED
    assert app._family.pids() == frozenset()


async def test_locks_are_this_nodes_and_accounts_are_in_the_directory_of_the_state(base: Shares, app: SambaApp) -> None:
    await app.start()
    assert (app.context.run_dir / "samba" / "locks" / "locking.tdb").exists()
    assert not list(base.place.rglob("locking.tdb"))
    assert list(base.place.rglob("passdb.tdb"))


async def test_a_share_whose_directory_is_gone_is_down_and_one_that_is_closed_unknown(
    base: Shares, app: SambaApp
) -> None:
    await app.start()
    found = await server.find_async(app.config)
    assert (await server.ask(found)).health is Health.UP
    (base.place / "data").rename(base.place / "elsewhere")
    assert (await server.ask(found)).health is Health.DOWN
    (base.place / "elsewhere").rename(base.place / "data")
    base.file.write_text(base.file.read_text().replace("guest ok = yes", "guest ok = no"))
    await app.stop(False)
    await app.start()
    verdict = await server.ask(found)
    assert (verdict.health, "credentials" in verdict.reason) == (Health.UNKNOWN, True)


def test_errors_and_lossy_settings_are_told_before_a_start(base: Shares, tmp_path: Path) -> None:
    def told(**settings: Any) -> str:
        return " ".join(SambaApp.preflight(make(base, tmp_path, **settings).config, "mirror"))

    assert told() == ""
    base.write("strict sync = no")
    assert "strict sync is no" in told()
    base.write("no such parameter = 1")
    assert "no such parameter" in told()
    assert "is not there" in told(config=str(tmp_path / "none"))


def test_shares_and_accounts_are_replicated(base: Shares) -> None:
    asked = ModuleRequest("files", "mirror", VIPS, options={"config": str(base.file)})
    assert SambaApp.module_file(asked)["pipeline"] == [
        {"rfs": {"name": "state", "directory": f"{base.place}/state"}},
        {"rfs": {"name": "data", "directory": f"{base.place}/data"}},
        {"vip": {"address": VIPS[0]}},
        {"samba": {"config": str(base.file)}},
    ]
    (base.place / "data").rmdir()
    with pytest.raises(ConfigError, match="cannot be replicated"):
        SambaApp.module_file(asked)


@pytest.mark.parametrize("settings", [{"config": "smb.conf"}, {"share": "a/b"}, {"server": "a b"}, {"fall": 0}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SambaConfig.model_validate(settings)
