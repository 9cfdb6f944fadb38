"""The promises of every checker, and what this one is about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import acme_spool
import pytest
from acme_spool import SpoolChecker, SpoolConfig

from safekit_sdk import Health
from safekit_sdk.testing import a_context, observe
from safekit_sdk.testing.conformance import CheckerConformance


def put(directory: Path, name: str, age_s: float = 3600.0) -> None:
    path = directory / name
    path.touch()
    changed_s = path.stat().st_mtime - age_s
    os.utime(path, (changed_s, changed_s))


class TestSpool(CheckerConformance):
    plugin = SpoolChecker

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "spool")}

    async def make_up(self, config: SpoolConfig) -> None:
        config.path.mkdir(exist_ok=True)
        for path in config.path.iterdir():
            path.unlink()

    async def make_down(self, config: SpoolConfig) -> None:
        config.path.mkdir(exist_ok=True)
        put(config.path, "order")


async def test_files_that_stay_are_counted_and_new_ones_are_not(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    config = SpoolConfig(path=spool, at_most=1)
    steps = [lambda: put(spool, "new", 0.0), lambda: put(spool, "old"), lambda: put(spool, "older", 7200.0)]
    seen = await observe(SpoolChecker, config, steps, tmp_path)
    assert [one.health for one in seen] == [Health.UP, Health.UP, Health.DOWN]
    assert seen[2].answer.facts == {"waiting": "2", "oldest_s": "7200"}
    assert seen[2].answer.reason == f"2 files in {spool} are older than 1m; 1 may be"


async def test_what_is_no_file_of_the_spool_does_not_count(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    (spool / "directory").mkdir(parents=True)
    os.utime(spool / "directory", (0, 0))
    (spool / "link").symlink_to("/nowhere")
    put(spool, ".hidden")
    answer = await SpoolChecker(SpoolConfig(path=spool), a_context(tmp_path)).check()
    assert answer.health is Health.UP


async def test_more_than_can_be_looked_at_is_not_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acme_spool, "MOST_ENTRIES", 2)
    for name in ("a", "b", "c"):
        put(tmp_path, name, 0.0)
    checker = SpoolChecker(SpoolConfig(path=tmp_path), a_context(tmp_path / "own"))
    assert (await checker.check()).health is Health.UNKNOWN
