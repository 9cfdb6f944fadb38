"""The file that a started program prints to."""

from __future__ import annotations

from pathlib import Path

import pytest

from safekit_sdk import program_log
from safekit_sdk.program_log import ProgramLog


def test_its_last_lines_are_told_and_none_where_there_is_none(tmp_path: Path) -> None:
    log = ProgramLog(tmp_path / "it.log")
    assert log.last_words() == ""
    log.path.write_text("one\ntwo\nthree\nfour\n")
    assert log.last_words() == "two | three | four"


def test_a_long_one_is_emptied_in_place_and_kept_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_log, "MAX_BYTES", 10)
    log = ProgramLog(tmp_path / "it.log")
    log.bound()
    with log.path.open("a") as open_for_good:
        open_for_good.write("x" * 11)
        open_for_good.flush()
        log.bound()
        open_for_good.write("new")
    assert (log.path.read_text(), (tmp_path / "it.log.1").read_text()) == ("new", "x" * 11)
