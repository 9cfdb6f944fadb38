"""Histories that once broke a rule: they may not do so again. docs/bugs-found.md says what each was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from safekit.simulation import run_history

TABLE = Path(__file__).parents[2] / "docs/bugs-found.md"
SEEDS = [int(seed) for seed in re.findall(r"^\| (\d+) \|", TABLE.read_text(encoding="utf-8"), re.MULTILINE)]


def test_the_table_has_seeds() -> None:
    assert len(SEEDS) >= 9


@pytest.mark.parametrize("seed", SEEDS)
def test_what_was_mended_stays_so(seed: int) -> None:
    assert run_history(seed).violation == ""
