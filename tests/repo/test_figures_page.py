"""The page of all figures: each contender has a bar of the length of its median, and a line to its worst run."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "bench"))
    figures = importlib.import_module("figures")
    monkeypatch.setattr(figures, "PLACE", tmp_path)
    yield importlib.import_module("page")
    for name in ("figures", "page"):
        sys.modules.pop(name)


def test_the_statistics_of_a_figure_are_one_bar_and_peers_stand_beside_it(bench: Any, tmp_path: Path) -> None:
    made = bench.Figure
    figures = sys.modules["figures"]
    found = figures.figures("crash", [100.0, 200.0, 400.0], {"keepalived": [800.0]})
    figures.write("failover", [*found, made("rounds", 7, "", 1)])
    chapter = bench.chapter(tmp_path / "failover.json")
    times, rounds = chapter.plots
    assert [(b.contender, b.value, b.most, b.part, b.most_part) for b in times.bars] == [
        ("safekit", 200.0, 400.0, 0.25, 0.5),
        ("keepalived", 800.0, 800.0, 1.0, 1.0),
    ]
    assert [(bar.name, bar.part) for bar in rounds.bars] == [("rounds", 1.0)]
    text = bench.page([chapter])
    assert text.count("<rect") == 3
    assert "200 (400)" in text


def test_what_was_not_measured_anew_is_kept(bench: Any, tmp_path: Path) -> None:
    figures, made = sys.modules["figures"], bench.Figure
    figures.keep("apps", [made("a", 1.0, "ms", 1), made("b", 1.0, "ms", 1)])
    path = figures.keep("apps", [made("b", 2.0, "ms", 3)])
    found = json.loads(path.read_text())["figures"]
    assert [(one["name"], one["value"], one["runs"]) for one in found] == [("a", 1.0, 1), ("b", 2.0, 3)]


def test_figures_of_nothing_and_names_of_others_break_no_page(bench: Any, tmp_path: Path) -> None:
    sys.modules["figures"].write("odd", [bench.Figure("zero", 0.0, "<ms>", 1), bench.Figure("gone.max", 3.0, "MB", 1)])
    text = bench.page([bench.chapter(tmp_path / "odd.json")])
    assert "&lt;ms&gt;" in text
    assert "gone" in text
