"""`safekit rfs …` on a node with one replicated directory."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from safekit_resource_rfs.commands import app
from typer.testing import CliRunner, Result

from safekit_sdk import ConfigError

from .cluster import Node, mirrored


@pytest.fixture
def run_of_first(pair: tuple[Node, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first node's run directory where the commands look for it."""
    place = tmp_path / "run" / "modules" / "web"
    place.mkdir(parents=True)
    (place / "rfs.data").symlink_to(pair[0].context.run_dir)
    monkeypatch.setenv("SAFEKIT_RUN", str(tmp_path / "run"))


async def invoke(*words: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, list(words))


@pytest.mark.usefixtures("run_of_first")
async def test_the_commands_say_how_it_stands(pair: tuple[Node, Node]) -> None:
    one, two = pair
    await mirrored(one, two)
    (one.directory / "file").write_text("x" * 10_000)
    shown = await invoke("status")
    assert re.search(r"web/data +primary +paired +yes +1", shown.output), shown.output
    told = json.loads((await invoke("status", "web", "--json")).output)
    assert told["web/data"]["generation"]
    verified = await invoke("verify", "web")
    assert (verified.exit_code, verified.stdout) == (0, ""), verified.output
    assert re.search(r"web/data: .*: both nodes were compared: 1 files, all equal", (await invoke("status")).output)
    assert (await invoke("diff", "web/data")).exit_code == 0
    assert (await invoke("sync", "web")).exit_code == 0
    assert json.loads((await invoke("conflicts", "list", "web", "--json")).output) == {"kept": []}


@pytest.mark.usefixtures("run_of_first")
async def test_a_module_that_is_not_here_is_told() -> None:
    failed = await invoke("status", "other")
    assert isinstance(failed.exception, ConfigError)
    assert "other" in failed.exception.message


@pytest.mark.usefixtures("run_of_first")
async def test_versions_that_were_kept_are_listed_shown_and_restored(pair: tuple[Node, Node]) -> None:
    one, _ = pair
    await one.stop()
    kept = one.directory / ".safekit-rfs" / "aside" / "20260101T000000-aa"
    kept.mkdir(parents=True)
    (kept / "file").write_text("lost work")
    await one.start()
    assert re.search(r"20260101T000000-aa +file +9", (await invoke("conflicts", "list", "web")).output)
    shown = await invoke("conflicts", "show", "web", "20260101T000000-aa", "file")
    assert await asyncio.to_thread(Path(shown.output.strip()).read_text) == "lost work"
    refused = await invoke("conflicts", "restore", "web", "20260101T000000-aa", "file")
    assert isinstance(refused.exception, ConfigError)
    await one.promote(1)
    restored = await invoke("conflicts", "restore", "web", "20260101T000000-aa", "file", "--to", "back")
    assert restored.exit_code == 0, restored.exception
    assert (one.directory / "back").read_text() == "lost work"
