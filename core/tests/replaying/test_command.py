"""The command on a recorded history: what is wrong is said, with what to do."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from safekit.cli.output import ExitCode
from safekit.config.compiler import compile_module
from safekit.journal.stretch import find_stretch
from safekit.replaying.changes import read_changes
from safekit_sdk import ConfigError

from .recorded import Pair, Records, mirror, rule
from .test_losses import told

SAFEKIT = Path(sys.prefix) / "bin" / "safekit"
FILE = b"kind: mirror\nheartbeat: {lost_after: 3s}\n"


@pytest.fixture
def pair(records: Records) -> Pair:
    made = Pair(records, mirror(rules=(rule("restart"),)))
    made.silence(1.5)
    made.pass_time(10.0)
    return made


def run(records: Records, *words: str, code: int = 0) -> str:
    """What it prints; no daemon is asked."""
    record = records.of("b")
    assert record.history.flush(30.0)
    command = [str(SAFEKIT), "replay", "web", "--file", str(record.path), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_it_prints_what_differs_and_ends_with_the_code_for_it(pair: Pair, records: Records) -> None:
    shown = run(records, "--set", "heartbeat.lost_after=3s", code=ExitCode.DIFFERENT)
    assert "web on b" in shown
    assert "takes over" in shown
    assert "would not have happened" in shown
    assert "2 would not have happened (false)" in shown
    plain = json.loads(run(records, "-o", "json"))
    assert [finding["judgement"] for finding in plain["findings"]] == ["false", "false"]
    assert plain["deviations"] == []


def test_another_module_file_is_tried(pair: Pair, records: Records, tmp_path: Path) -> None:
    (tmp_path / "module.yaml").write_bytes(FILE)
    shown = run(records, "--from", str(tmp_path / "module.yaml"), code=ExitCode.DIFFERENT)
    assert "would not have happened" in shown
    compiled = compile_module(FILE, "module.yaml", ("a", "b"), "web")
    changes = read_changes("web", ["heartbeat.lost_after=1s", "isolation=availability"], compiled)
    assert told(pair.replay("b", changes=changes)) == told(pair.replay("b"))
    assert changes.rules == ()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("heartbeat.lost_afer=3s", "did you mean 'heartbeat.lost_after'"),
        ("heartbeat.lost_after=3", "is not a duration|without a unit"),
        ("heartbeat.lost_after=200ms", "at least three intervals"),
        ("isolation=avalability", "safety"),
        ("max_loops=0", "at least 1"),
        ("max_loops", "a value is missing"),
        ("disabled_rules=home_dwn", "did you mean 'home_down'"),
    ],
)
def test_a_setting_that_is_none_is_told_with_its_place(pair: Pair, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as told_so:
        pair.replay("b", setting)
    assert "--set" in str(told_so.value)


def test_a_time_that_is_none_is_told(pair: Pair, records: Records) -> None:
    assert "is no time" in run(records, "--since", "yesterday", code=1)
    assert "ends before it begins" in run(records, "--until", "48h", code=1)


def test_a_history_that_cannot_be_read_is_told(pair: Pair, records: Records, tmp_path: Path) -> None:
    record = records.of("b")
    for statement, message in (
        ("UPDATE entries SET body = '{}' WHERE kind = 'beats'", "another version of safekit wrote it"),
        ("DELETE FROM entries WHERE kind = 'state'", "no state of the engine"),
    ):
        assert record.history.flush(30.0)
        with contextlib.closing(sqlite3.connect(record.path, isolation_level=None)) as connection:
            connection.execute(statement)
        with pytest.raises(ConfigError, match=message):
            record.replay()
    other = tmp_path / "other.db"
    with pytest.raises(ConfigError, match="no history to read"):
        find_stretch(other, 0.0, 1.0)
    other.write_bytes(b"this is no history" * 1000)
    with pytest.raises(ConfigError, match="cannot be read"):
        find_stretch(other, 0.0, 1.0)
